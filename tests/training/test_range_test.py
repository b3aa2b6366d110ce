"""The range test: its rates and losses against a loop by hand, what it suggests, and that it leaves no trace."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

ROWS, WIDTH = 53, 5
RNG = np.random.default_rng(8)
X = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
Y = (X @ RNG.normal(size=(WIDTH, 2)) + 1).astype(np.float32)
SETTINGS = {"start_lr": 1e-4, "end_lr": 3.0, "num_iter": 41, "batch_size": 8}


def make(kind: str = "Adam", **settings: Any) -> tuple[nn.Module, Any, Any]:
    fnn.manual_seed(6)
    model = nn.Sequential(nn.Linear(WIDTH, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 2))
    groups = [
        {"params": model[0].parameters(), "lr": 0.3},
        {"params": [*model[1].parameters(), *model[4].parameters()]},
    ]
    return model, nn.MSELoss(), getattr(optim, kind)(groups, lr=0.01, **settings)


def everything(model: nn.Module, optimizer: Any) -> list[Any]:
    state = optimizer.state_dict()
    return [
        {name: value.numpy().tobytes() for name, value in model.state_dict().items()},
        [None if param.grad is None else param.grad.tolist() for param in model.parameters()],
        {n: {key: value.tolist() for key, value in kept.items()} for n, kept in state["state"].items()},
        state["param_groups"],
        sorted(vars(optimizer)),
        [module.training for module in model.modules()],
        fnn.get_rng_state(),
    ]


@pytest.mark.parametrize(("kind", "settings"), [("Adam", {}), ("SGD", {"momentum": 0.5})])
def test_it_leaves_no_trace(kind: str, settings: dict[str, float]) -> None:
    results = []
    for tested in (True, False):
        model, loss, optimizer = make(kind, **settings)
        step = fnn.TrainStep(model, loss, optimizer)
        for start in range(0, 40, 8):
            step(X[start : start + 8], Y[start : start + 8])
        loss(model(X), fnn.from_numpy(Y)).backward()
        model[1].eval()
        if tested:
            before = everything(model, optimizer)
            fnn.lr_range_test(model, loss, optimizer, X, Y, **SETTINGS)
            assert everything(model, optimizer) == before
        model.train()
        losses = [step(X[start : start + 8], Y[start : start + 8]) for start in range(0, 40, 8)]
        results.append((losses, everything(model, optimizer)))
    assert results[0] == results[1]


def test_it_leaves_no_trace_of_an_error() -> None:
    model, _, optimizer = make()
    before = everything(model, optimizer)
    calls = []

    def loss(output: fnn.Tensor, target: fnn.Tensor) -> fnn.Tensor:
        calls.append(1)
        raise RuntimeError("no loss today")

    with pytest.raises(RuntimeError, match="no loss today"):
        fnn.lr_range_test(model, loss, optimizer, X, Y, **SETTINGS)
    assert calls
    assert everything(model, optimizer) == before


def test_losses_are_those_of_a_loop_by_hand() -> None:
    found = fnn.lr_range_test(*make("SGD", momentum=0.5), X, Y, **SETTINGS, smoothing=0.7, diverge_factor=math.inf)
    model, loss, optimizer = make("SGD", momentum=0.5)
    # 6 whole batches of 8 in 53 rows: 7 orders for 41 batches.
    orders = [fnn._core.permutation(ROWS)[:48] for _ in range(7)]
    order = np.concatenate(orders)[: 41 * 8]
    losses, average, smoothed = [], 0.0, []
    for i in range(41):
        rows = order[8 * i : 8 * i + 8]
        for group in optimizer.param_groups:
            group["lr"] = 1e-4 * 3e4 ** (i / 40)
        value = loss(model(X[rows]), fnn.from_numpy(Y[rows]))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
        if not math.isfinite(losses[-1]):
            losses.pop()
            break
    for i, value in enumerate(losses):
        average = 0.7 * average + 0.3 * value
        smoothed.append(average / (1 - 0.7 ** (i + 1)))
    np.testing.assert_allclose(found.lrs, (1e-4 * 3e4 ** (np.arange(41) / 40))[: len(losses)], rtol=1e-12)
    # The recursion's rates differ from the formula's in the last bits.
    np.testing.assert_allclose(found.raw_losses[:20], losses[:20], rtol=1e-5)
    np.testing.assert_allclose(found.losses[:20], smoothed[:20], rtol=1e-5)


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    found = fnn.lr_range_test(*make("SGD"), X, Y, **SETTINGS)
    least = int(np.argmin(found.losses))
    assert 3 < least < len(found.losses) - 1
    log = np.log(found.lrs)
    falls = [(found.losses[i + 1] - found.losses[i - 1]) / (log[i + 1] - log[i - 1]) for i in range(1, least)]
    assert found.suggestion == pytest.approx(found.lrs[1 + int(np.argmin(falls))])
    assert repr(found) == (
        f"LRRangeTest({len(found.lrs)} rates from 0.0001 to {found.lrs[-1]:.3g}, suggestion {found.suggestion:.3g})"
    )


def test_it_ends_where_the_loss_blows_up() -> None:
    found = fnn.lr_range_test(*make("SGD"), X, Y, 1e-3, 1e6, 60, 16, diverge_factor=2.0)
    smallest = np.minimum.accumulate(found.losses)
    assert len(found.lrs) == len(found.losses) == len(found.raw_losses) < 60
    assert found.losses[-1] > 2 * smallest[-1]
    assert (found.losses[:-1] <= 2 * smallest[:-1]).all()
    assert np.isfinite(found.losses).all()


def test_no_suggestion_where_nothing_falls() -> None:
    model = nn.Linear(WIDTH, 2, dtype=fnn.float64)
    with fnn.no_grad():
        model.weight.copy_(np.linalg.lstsq(X, Y - Y.mean(0), rcond=None)[0].T)
    found = fnn.lr_range_test(
        model,
        nn.MSELoss(),
        optim.SGD(model.parameters(), lr=1),
        np.ones((9, WIDTH)),
        np.zeros((9, 2)),
        1.0,
        100.0,
        9,
        99,
    )
    assert found.suggestion is None
    assert repr(found).endswith("no suggestion)")


def test_plot(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    found = fnn.lr_range_test(*make("SGD"), X, Y, **SETTINGS)
    figure = found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert [line.get_label() for line in axes.lines] == ["loss", "smoothed", f"suggestion {found.suggestion:.2g}"]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), found.losses)


def test_plot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fnn.lr_range_test(*make("SGD"), X, Y, **SETTINGS)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"^LRRangeTest.plot needs matplotlib: pip install fastnn-cpu\[plot\]$"):
        found.plot()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"start_lr": 0}, ValueError, "lr_range_test: expected start_lr above 0; got 0"),
        ({"start_lr": 0.1, "end_lr": 0.1}, ValueError, "lr_range_test: expected end_lr above start_lr 0.1; got 0.1"),
        ({"num_iter": 1}, ValueError, "lr_range_test: expected num_iter of at least 2; got 1"),
        ({"batch_size": 0}, ValueError, "lr_range_test: expected batch_size of at least 1; got 0"),
        ({"smoothing": 1.0}, ValueError, "lr_range_test: expected smoothing in [0, 1); got 1.0"),
        ({"diverge_factor": 1}, ValueError, "lr_range_test: expected diverge_factor above 1; got 1"),
        ({"end_lr": "10"}, TypeError, "lr_range_test: expected end_lr to be a number; got '10'"),
        ({"model": 3}, TypeError, "lr_range_test: expected model to be an nn.Module; got int"),
        ({"optimizer": None}, TypeError, "lr_range_test: expected optimizer to be one of fastnn's; got NoneType"),
        ({"y": Y[:9]}, ValueError, "lr_range_test: expected x and y of one length; got 53 and 9"),
        ({"x": X * math.inf}, ValueError, "lr_range_test: expected a finite loss at start_lr 1e-07; got none"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_errors(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    model, loss, optimizer = make()
    with pytest.raises(error) as caught:
        fnn.lr_range_test(**{"model": model, "loss": loss, "optimizer": optimizer, "x": X, "y": Y, **settings})
    assert str(caught.value) == message
