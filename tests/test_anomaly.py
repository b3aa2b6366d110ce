"""Origin of NaN: the op, the layer, forward or backward."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn, optim
from fastnn.autograd import detect_anomaly, set_detect_anomaly
from fastnn.nn import functional as F

X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
Y = np.arange(9) % 3


class Log(nn.Module):
    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return x.log()


def net() -> nn.Sequential:
    fnn.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.Tanh(), Log()), nn.Linear(5, 3))


def leaf(*values: float) -> fnn.Tensor:
    return fnn.tensor(values, requires_grad=True)


FORWARD = "detect_anomaly: backward began at a nan; the first nan came out of the forward pass of log"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # 0 · ∞ in the gradient, of finite values: PyTorch's own example.
        (lambda: (leaf(0.0, 1.0).sqrt() * 0.0).sum().backward(), "detect_anomaly: the backward of sqrt returned nan as the gradient of input 0"),
        (lambda: (leaf(-1.0).log() * leaf(2.0)).sum().backward(), FORWARD),
        (lambda: fnn.autograd.grad((leaf(-1.0).log() + 1).sum(), [leaf(1.0)], allow_unused=True), FORWARD),
        (lambda: F.cross_entropy(net()(X), Y).backward(), f"{FORWARD} in layer '1.1', Log()"),
        (lambda: net()[1](X).sum().backward() if False else (net()[1](leaf(-1.0))).sum().backward(), f"{FORWARD} in layer '1', Log()"),
        (lambda: Log()(leaf(-1.0)).sum().backward(), f"{FORWARD} in Log()"),
    ],
)  # fmt: skip
def test_the_op_and_the_layer_are_named(call: Callable[[], object], message: str) -> None:
    with detect_anomaly(), pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        call()
    call()  # outside, nobody minds


def test_the_first_of_several_is_named() -> None:
    x = leaf(-1.0, 2.0)
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"forward pass of log$"):
        (((x.log() * 2).exp() + x.sqrt()) * x).sum().backward()


def test_nan_in_a_layer_s_backward_names_the_layer() -> None:
    class Root(nn.Module):
        def forward(self, x: fnn.Tensor) -> fnn.Tensor:
            return (x - x).sqrt() * 0.0

    model = nn.Sequential(nn.Linear(4, 5), Root())
    with detect_anomaly(), pytest.raises(RuntimeError) as caught:
        model(X).sum().backward()
    assert str(caught.value) == (
        "detect_anomaly: the backward of sqrt in layer '1', Root() returned nan as the gradient of input 0"
    )


def test_nan_that_no_gradient_meets_is_let_through_as_in_pytorch() -> None:
    x = leaf(-1.0, 4.0)
    with detect_anomaly():
        fnn.where(x > 0, x.log(), 0.0).sum().backward()
    assert x.grad.tolist() == [0, 0.25]


def test_nan_of_the_batch_has_no_origin() -> None:
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"^detect_anomaly: backward began at a nan$"):
        F.mse_loss(nn.Linear(1, 1)(np.full((2, 1), np.nan, np.float32)), np.zeros((2, 1), np.float32)).backward()


def test_pytorch_raises_for_the_same_gradient() -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    for lib in (torch, fnn):
        x = lib.tensor([0.0, 1.0], requires_grad=True)
        with lib.autograd.set_detect_anomaly(True), pytest.raises(RuntimeError, match="nan"):
            (x.sqrt() * 0.0).sum().backward()


def test_switches_nest_and_are_undone() -> None:
    assert not _core.is_anomaly_enabled()
    with detect_anomaly():
        with set_detect_anomaly(False):
            assert not _core.is_anomaly_enabled()
        assert _core.is_anomaly_enabled()
        with detect_anomaly(check_nan=False):
            assert not _core.is_anomaly_enabled()
    assert not fnn.is_anomaly_enabled()
    assert not nn.Module._hooked
    switch = set_detect_anomaly(True)
    try:
        assert _core.is_anomaly_enabled()
    finally:
        switch.__exit__()
    made = detect_anomaly()
    assert not _core.is_anomaly_enabled()
    with pytest.raises(ValueError, match="left"), made:
        raise ValueError("left")
    assert not _core.is_anomaly_enabled()
    assert nn.Linear(1, 1)._hooked is False


def test_hooks_still_run_and_scopes_end_with_their_layers() -> None:
    model = net()
    seen = []
    handle = model[0].register_forward_hook(lambda module, args, output: seen.append(type(module).__name__))
    with detect_anomaly():
        model(X)
        handle.remove()
        model(X)
        assert seen == ["Linear"]
        assert _core.set_anomaly_scope(None) is None


def test_a_training_step_runs_eagerly_meanwhile_and_says_where() -> None:
    model = net()
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    before = [p.tolist() for p in model.parameters()]
    with detect_anomaly(), pytest.raises(RuntimeError, match=re.escape(f"{FORWARD} in layer '1.1', Log()")):
        trainer.fit(X, Y, verbose=False)
    assert trainer.step.reason == "anomalies are being looked for"
    assert [p.tolist() for p in model.parameters()] == before
    good = nn.Linear(4, 3)
    step = fnn.TrainStep(good, nn.CrossEntropyLoss(), optim.SGD(good.parameters(), lr=0.1))
    step(X, Y)
    assert step.reason is None
    with detect_anomaly():
        step(X, Y)
        assert step.reason is not None
    step(X, Y)
    assert step.reason is None


@pytest.mark.parametrize("name", ["mode", "check_nan"])
def test_errors(name: str) -> None:
    with pytest.raises(TypeError) as caught:
        set_detect_anomaly(**{"mode": True, name: "yes"})
    assert str(caught.value) == f"set_detect_anomaly: expected {name} to be a bool; got 'yes'"
    assert not _core.is_anomaly_enabled()
