"""Every check has a net that fails it, and healthy nets pass all; nothing is left behind."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.diagnostics import Diagnosis

ROWS, WIDTH, CLASSES = 203, 7, 3
SEEDS = range(5)
Make = Callable[[], nn.Module]


def problem(seed: int, kind: str = "classes") -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    scores = x @ rng.normal(size=(WIDTH, CLASSES)) + 0.5 * rng.gumbel(size=(ROWS, CLASSES))
    if kind == "classes":
        return x, scores.argmax(1)
    if kind == "binary":
        return x, (scores[:, :1] > 0).astype(np.float32)
    return x, (scores[:, :2] / scores[:, :2].std()).astype(np.float32)


def net(activation: Callable[[], nn.Module] = nn.ReLU, depth: int = 2, width: int = 25, out: int = CLASSES) -> Any:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(width if i else WIDTH, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, out))


def diagnosed(seed: int, model: Any, optimizer: Any = None, loss: Any = None, data: Any = None) -> Diagnosis:
    x, y = problem(seed) if data is None else data
    return fnn.diagnose(model, loss or nn.CrossEntropyLoss(), x, y, optimizer, verbose=False)


HEALTHY: dict[str, tuple[Make, Any, str]] = {
    "relu": (net, nn.CrossEntropyLoss(), "classes"),
    "tanh": (lambda: net(nn.Tanh, out=1), nn.BCEWithLogitsLoss(), "binary"),
    "smoothed": (net, nn.CrossEntropyLoss(label_smoothing=0.2), "classes"),
    "sum": (net, nn.CrossEntropyLoss(reduction="sum"), "classes"),
    "function": (net, nn.functional.cross_entropy, "classes"),
    "regression": (lambda: net(out=2), nn.MSELoss(), "regression"),
    "log-softmax": (lambda: nn.Sequential(net(), nn.LogSoftmax(1)), nn.NLLLoss(), "classes"),
    "probability": (lambda: nn.Sequential(net(out=1), nn.Sigmoid()), nn.BCELoss(), "binary"),
    "norm and dropout": (
        lambda: nn.Sequential(
            nn.Linear(WIDTH, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.4), nn.Linear(24, CLASSES)
        ),
        nn.CrossEntropyLoss(),
        "classes",
    ),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_net_passes_all(name: str, seed: int) -> None:
    make, loss, kind = HEALTHY[name]
    fnn.manual_seed(seed)
    model = make()
    report = diagnosed(seed, model, optim.Adam(model.parameters(), lr=3e-3), loss, problem(seed, kind))
    assert report.verdict == "ok", str(report)
    assert len(report) == 15


class Doubled(fnn.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return 3 * grad


class WrongGradient(nn.Module):
    def forward(self, x: Any) -> Any:
        return Doubled.apply(x)


class Detached(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.detach()


def constant(value: float) -> Make:
    def make() -> nn.Module:
        model = net()
        for parameter in model.parameters():
            nn.init.constant_(parameter, value)
        return model

    return make


def changed(change: Callable[[Any], Any], activation: Any = nn.ReLU) -> Make:
    def make() -> nn.Module:
        model = net(activation)
        with fnn.no_grad():
            change(model)
        return model

    return make


def with_layer(layer: type[nn.Module]) -> Make:
    return lambda: nn.Sequential(
        nn.Linear(WIDTH, 24), nn.ReLU(), nn.Linear(24, 24), layer(), nn.ReLU(), nn.Linear(24, CLASSES)
    )


# Name of the net, how it is made, and all checks that it must not pass, and no others but those that may follow.
BROKEN: list[tuple[str, Make, set[str], set[str]]] = [
    ("zeros", constant(0.0), {"symmetry", "overfit a handful", "gradients", "dead units"}, {"activations"}),
    ("constant", constant(0.1), {"symmetry"}, {"overfit a handful", "gradients"}),
    ("dead", changed(lambda m: nn.init.constant_(m[0].bias, -100.0)), {"dead units", "overfit a handful"}, {"activations", "gradients"}),
    ("half dead", changed(lambda m: m[2].bias.data.narrow(0, 0, 10).fill_(-100.0)), {"dead units"}, {"activations"}),
    ("saturated", changed(lambda m: m[0].weight.data.mul_(60.0), nn.Tanh), {"saturated units"}, set()),
    ("sigmoid, 20 deep", lambda: net(nn.Sigmoid, 20), {"activations", "gradients", "overfit a handful"}, set()),
    ("exploding", changed(lambda m: m[2].weight.data.mul_(1e4)), {"activations", "initial loss"}, {"overfit a handful", "gradients"}),
    ("wrong gradient", with_layer(WrongGradient), {"gradient check"}, set()),
    ("detached", with_layer(Detached), {"gradient check", "gradients"}, {"overfit a handful"}),
    ("large last layer", changed(lambda m: m[4].weight.data.mul_(40.0)), {"initial loss"}, set()),
    ("no capacity", lambda: nn.Sequential(nn.Linear(WIDTH, 1), nn.ReLU(), nn.Linear(1, CLASSES)), {"overfit a handful"}, {"dead units"}),
]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("make", "found", "follow"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_net_fails_its_checks(make: Make, found: set[str], follow: set[str], seed: int) -> None:
    fnn.manual_seed(seed)
    report = diagnosed(seed, make())
    failed = {check.name for check in report if check.verdict != "ok"}
    assert found <= failed <= found | follow, str(report)
    assert all(check.advice for check in report if check.verdict != "ok")


def scaled(x: Any, y: Any) -> Any:
    return x * np.array([1e3, *[1.0] * (WIDTH - 1)], np.float32), y


def holed(x: Any, y: Any) -> Any:
    x = x.copy()
    x[[3, 90], 2] = np.nan, np.inf
    return x, y


def with_constant(x: Any, y: Any) -> Any:
    return np.column_stack([x[:, 1:], np.full(len(x), 2.0, np.float32)]), y


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("change", "check", "verdict"),
    [
        (scaled, "feature scale", "problem"),
        (lambda x, y: (30 * x, y), "feature scale", "warning"),
        (lambda x, y: (1e-4 * x, y), "feature scale", "problem"),
        (holed, "data finite", "problem"),
        (with_constant, "constant features", "warning"),
        (lambda x, y: (0 * x + 1, y), "constant features", "problem"),
        (lambda x, y: (x, np.where(np.arange(len(y)) % 100 < 98, 0, y)), "label balance", "problem"),
        (lambda x, y: (x, 0 * y), "label balance", "problem"),
    ],
)
def test_bad_data_are_found(change: Any, check: str, verdict: str, seed: int) -> None:
    fnn.manual_seed(seed)
    report = diagnosed(seed, net(), data=change(*problem(seed)))
    if check == "label balance" and report[check].value < 100:
        verdict = "warning"
    assert report[check].verdict == verdict, str(report)
    assert {one.verdict for one in report[:5] if one.name not in {check, "initial loss"}} <= {"ok"}


@pytest.mark.parametrize(("factor", "shift", "check"), [(1e3, 0, "target scale"), (0.003, 0, "target scale"), (1, 9, "initial loss")])  # fmt: skip
def test_targets_of_an_odd_scale_are_found(factor: float, shift: float, check: str) -> None:
    fnn.manual_seed(2)
    x, y = problem(2, "regression")
    report = diagnosed(2, net(out=2), loss=nn.MSELoss(), data=(x, (factor * y + shift).astype(np.float32)))
    assert report[check].verdict == "problem"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("lr", "expected"),
    [(1e3, {"learning rate": "problem", "loss stays finite": "problem", "update ratio": "problem"}),
     (0.1, {"learning rate": "ok", "loss stays finite": "ok", "update ratio": "ok"}),
     (1e-6, {"learning rate": "problem", "loss stays finite": "ok", "update ratio": "warning"})],
)  # fmt: skip
def test_a_rate_too_high_or_too_low_is_found(lr: float, expected: dict[str, str], seed: int) -> None:
    fnn.manual_seed(seed)
    model = net()
    report = diagnosed(seed, model, optim.SGD(model.parameters(), lr=lr))
    found = {name: report[name].verdict for name in expected}
    if lr < 1e-3:
        # Some weights may move by less than 1e-7.
        found["update ratio"] = found["update ratio"].replace("problem", "warning")
    assert found == expected, str(report)
    assert ("too low" in report["learning rate"].measured) == (lr < 1e-3)
    assert not {check.name for check in report if check.verdict != "ok"} - set(expected)


def test_a_slow_rate_is_a_warning() -> None:
    fnn.manual_seed(3)
    model = net()
    report = diagnosed(3, model, optim.SGD(model.parameters(), lr=1e-3))
    assert report["learning rate"].verdict == "warning"
    assert "too low" in report["learning rate"].measured


def test_a_rate_that_does_not_explode_but_is_too_high_is_found() -> None:
    fnn.manual_seed(5)
    model = net(nn.Tanh)
    report = diagnosed(5, model, optim.Adam(model.parameters(), lr=3.0))
    assert report["learning rate"].verdict == "problem"
    assert "lower" in report["learning rate"].advice


def test_the_layer_where_the_loss_explodes_is_named() -> None:
    fnn.manual_seed(1)
    model = net()
    groups = [
        {"params": [*model[0].parameters(), *model[2].parameters()], "lr": 1e-9},
        {"params": model[4].parameters(), "lr": 1e4},
    ]
    report = diagnosed(1, model, optim.SGD(groups, lr=1.0))
    assert "layer '4', Linear" in report["loss stays finite"].measured
    model = nn.Sequential(nn.Linear(WIDTH, CLASSES), Exponential())
    report = diagnosed(1, model, optim.SGD(model.parameters(), lr=1e4))
    assert "comes out of layer '1', Exponential" in report["loss stays finite"].measured


class Exponential(nn.Module):
    def forward(self, x: Any) -> Any:
        return fnn.exp(x)


def test_the_wrong_gradient_is_located() -> None:
    fnn.manual_seed(0)
    report = diagnosed(0, with_layer(WrongGradient)())
    assert "from '2.bias' back" in report["gradient check"].measured
    # Of 1.5 times the gradient: 0.5 / sqrt((1 + 1.5 ** 2) / 2) for one direction, at most sqrt(2) as much for two.
    assert 0.39 < report["gradient check"].value < 0.56


def test_initial_loss_is_compared_with_that_of_knowing_nothing() -> None:
    fnn.manual_seed(0)
    x, y = problem(0)
    report = diagnosed(0, net())
    assert f"{math.log(3):.4g}" in report["initial loss"].expected
    model = net(out=2)
    x, y = problem(0, "regression")
    report = diagnosed(0, model, loss=nn.MSELoss(), data=(x, y))
    assert f"{y.var(axis=0).mean():.4g}, that of the mean of y" in report["initial loss"].expected
    measured = float(np.square(np.asarray(model(x).detach()) - y).mean())
    assert report["initial loss"].value == pytest.approx(measured, rel=1e-5)


def test_layer_statistics_are_those_of_the_reference() -> None:
    fnn.manual_seed(0)
    model = net(nn.Tanh, depth=1)
    x, y = problem(0)
    first, activation, last = diagnosed(0, model).layers
    weight, bias = (np.array(p.detach(), np.float64) for p in model[0].parameters())
    out_weight, out_bias = (np.array(p.detach(), np.float64) for p in model[2].parameters())
    before = x @ weight.T + bias
    hidden = np.tanh(before)
    logits = hidden @ out_weight.T + out_bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    slope = p - np.eye(CLASSES)[y]
    for layer, values, gradient in (
        (first, before, (slope @ out_weight) * (1 - hidden**2)),
        (activation, hidden, slope @ out_weight),
        (last, logits, slope),
    ):
        assert layer.mean == pytest.approx(values.mean(), abs=1e-6)
        assert layer.rms == pytest.approx(np.sqrt((values**2).mean()), rel=1e-5)
        assert layer.signal == pytest.approx(np.sqrt(values.var(axis=0).mean()), rel=1e-5)
        assert layer.gradient == pytest.approx(np.sqrt((gradient**2).mean()), rel=1e-4)
    assert activation.saturated == pytest.approx((np.abs(hidden) > 0.98).mean())
    assert (activation.units, activation.kind, activation.dead, first.saturated) == (25, "Tanh", None, None)


def everything(model: Any, optimizer: Any) -> list[Any]:
    state = optimizer.state_dict()
    return [
        {name: value.numpy().tobytes() for name, value in model.state_dict().items()},
        [None if param.grad is None else param.grad.tolist() for param in model.parameters()],
        {n: {key: np.asarray(value).tolist() for key, value in kept.items()} for n, kept in state["state"].items()},
        state["param_groups"],
        sorted(vars(optimizer)),
        [(module.training, len(module._forward_hooks)) for module in model.modules()],
        fnn.get_rng_state(),
    ]


@pytest.mark.parametrize(("kind", "settings"), [("Adam", {}), ("SGD", {"momentum": 0.5}), ("LBFGS", {"max_iter": 3})])
def test_it_leaves_no_trace(kind: str, settings: dict[str, Any]) -> None:
    x, y = problem(3)
    results = []
    for tested in (True, False):
        fnn.manual_seed(6)
        model, loss = HEALTHY["norm and dropout"][0](), nn.CrossEntropyLoss()
        optimizer = getattr(optim, kind)(model.parameters(), lr=0.02, **settings)
        step = fnn.TrainStep(model, loss, optimizer)
        for start in range(0, 160, 32):
            step(x[start : start + 32], y[start : start + 32])
        loss(model(x), fnn.from_numpy(y)).backward()
        model[1].eval()
        if tested:
            before = everything(model, optimizer)
            fnn.diagnose(model, loss, x, y, optimizer, verbose=False)
            fnn.sharpness(model, loss, x, y, iterations=2)
            fnn.loss_along(model, loss, x, y, points=3)
            assert everything(model, optimizer) == before
        model.train()
        losses = [step(x[start : start + 32], y[start : start + 32]) for start in range(0, 160, 32)]
        results.append((losses, everything(model, optimizer)))
    assert results[0] == results[1]


def test_an_error_leaves_no_trace_either() -> None:
    fnn.manual_seed(6)
    model = net()
    optimizer = optim.Adam(model.parameters())
    calls = []

    def loss(output: Any, target: Any) -> Any:
        calls.append(1)
        if len(calls) > 40:
            raise KeyError("boom")
        return nn.functional.cross_entropy(output, target)

    before = everything(model, optimizer)
    with pytest.raises(KeyError, match="boom"):
        fnn.diagnose(model, loss, *problem(1), optimizer, verbose=False)
    assert everything(model, optimizer) == before


def test_it_is_reproducible() -> None:
    reports = []
    for threads in (1, 2):
        fnn.set_num_threads(threads)
        fnn.manual_seed(4)
        model = HEALTHY["norm and dropout"][0]()
        reports.append(str(diagnosed(4, model, optim.Adam(model.parameters()))))
    assert reports[0] == reports[1]


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    fnn.manual_seed(0)
    report = fnn.diagnose(constant(0.0)(), nn.CrossEntropyLoss(), *problem(0))
    text = capsys.readouterr().out
    assert text == f"{report}\n"
    assert text.startswith("check ")
    assert "\nsymmetry           problem  all units have the same weights in 0.weight, 2.weight" in text
    assert "    try: begin with random weights" in text
    assert f"{len(report.problems)} problems, {len(report.warnings)} warnings" in text
    assert repr(report) == f"Diagnosis({len(report.problems)} problems, {len(report.warnings)} warnings, 12 checks)"
    with pytest.raises(KeyError, match="Diagnosis: expected one of"):
        report["color"]


def test_plot(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fnn.manual_seed(0)
    model = net()
    report = diagnosed(0, model, optim.Adam(model.parameters()))
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"^Diagnosis\.plot needs matplotlib: pip install fastnn-cpu\[plot\]$"):
            report.plot()
    pytest.importorskip("matplotlib")
    figure = report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 1000
    by_layer, _, losses = figure.axes
    signal = by_layer.lines[0].get_ydata()
    np.testing.assert_array_equal(signal, [layer.signal for layer in report.layers])
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), report.overfit_losses)


X, Y = problem(0)


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((3, nn.MSELoss(), X, Y), {}, TypeError, "diagnose: expected model to be an nn.Module; got int"),
        ((nn.Linear(7, 3), 3, X, Y), {}, TypeError, "diagnose: expected loss to be a function or a module; got int"),
        ((nn.Linear(7, 3), nn.MSELoss(reduction="none"), X, Y), {}, ValueError, "diagnose: expected a loss with reduction 'mean' or 'sum'; got 'none'"),
        ((nn.Linear(7, 3), nn.MSELoss(), X, Y, "Adam"), {}, TypeError, "diagnose: expected optimizer to be an Optimizer; got str"),
        ((nn.Linear(7, 3), nn.MSELoss(), X, Y[:5]), {}, ValueError, "diagnose: expected x and y of one length; got 203 and 5"),
        ((nn.Linear(7, 3), nn.MSELoss(), X, Y), {"batch_size": 0}, ValueError, "diagnose: expected batch_size of at least 1; got 0"),
        ((nn.Linear(7, 3), nn.MSELoss(), X, Y), {"rows": 0}, ValueError, "diagnose: expected rows of at least 1; got 0"),
        ((nn.Linear(7, 3), nn.MSELoss(), X, Y), {"steps": 9}, ValueError, "diagnose: expected steps of at least 10; got 9"),
    ],
)  # fmt: skip
def test_bad_settings(arguments: Any, settings: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        fnn.diagnose(*arguments, **settings)
    assert str(raised.value) == message
