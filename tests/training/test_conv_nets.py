"""Nets of images: the plan has the bits of the eager loop, and the way that PyTorch goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn

N, CLASSES, STEPS = 13, 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 2, 9, 11))
Y = np.arange(N) * 7 % CLASSES


def _lenet(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(2, 5, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(5, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, CLASSES),
    )  # fmt: skip


def _normed(nn: Any) -> Any:
    """Conv → batch norm → ReLU, the last two convolutions by Winograd's algorithm."""
    return nn.Sequential(
        nn.Conv2d(2, 9, 3, padding=1, bias=False), nn.BatchNorm2d(9), nn.ReLU(),
        nn.Conv2d(9, 17, 3, padding=1, bias=False), nn.BatchNorm2d(17, momentum=0.3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(17, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES),
    )  # fmt: skip


def _depthwise(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding="same", groups=8), nn.ReLU(),
        nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12), nn.ReLU6(), nn.AdaptiveMaxPool2d((2, 1)), nn.Flatten(), nn.Linear(24, CLASSES),
    )  # fmt: skip


def _padded(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, padding_mode="reflect"), nn.GELU(), nn.GroupNorm(2, 8),
        nn.Conv2d(8, 8, 3, padding=2, padding_mode="circular", dilation=2), nn.SiLU(),
        nn.ConvTranspose2d(8, 3, 3, 2, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 18 * 22, CLASSES),
    )  # fmt: skip


def _sequence(nn: Any) -> Any:
    return nn.Sequential(
        nn.Flatten(2), nn.Conv1d(2, 8, 5, 2, padding=3), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(3), nn.Conv1d(8, 9, 3, padding="same"), nn.ReLU(),
        nn.ConvTranspose1d(9, 2, 3, 2), nn.Flatten(), nn.Linear(70, CLASSES),
    )  # fmt: skip


def _residual(nn: Any) -> Any:
    """The strided convolution by Winograd's algorithm too."""

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, channels: int, out: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(out)
            self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(out)
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

        def forward(self, x: Any) -> Any:
            h = nn.functional.relu(self.bn1(self.conv1(x)))
            return nn.functional.relu(self.bn2(self.conv2(h)) + self.shortcut(x))

    return nn.Sequential(
        Block(2, 16, 1), Block(16, 24, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, CLASSES)
    )


NETS: dict[str, Callable[[Any], Any]] = {
    "LeNet": _lenet,
    "batch norms": _normed,
    "depthwise": _depthwise,
    "padding modes": _padded,
    "sequences": _sequence,
    "residual": _residual,
}


def optimizer_of(lib: Any, model: Any) -> Any:
    return lib.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)


def eager(lib: Any, model: Any, x: np.ndarray) -> list[float]:
    optimizer, losses = optimizer_of(lib, model), []
    for _ in range(STEPS):
        loss = lib.nn.functional.cross_entropy(model(lib.tensor(x)), lib.tensor(Y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def planned(model: Any, x: np.ndarray) -> list[float]:
    step = fnn.TrainStep(model, fnn.nn.CrossEntropyLoss(), optimizer_of(fnn, model))
    losses = [step(x, Y) for _ in range(STEPS)]
    assert step.reason is None
    return losses


def bits(model: Any) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NETS)
def test_the_plan_has_the_bits_of_the_eager_loop(name: str, dtype: Any) -> None:
    def make() -> Any:
        fnn.manual_seed(4)
        model = NETS[name](fnn.nn)
        return model.double() if dtype == np.float64 else model

    x, model = X.astype(dtype), make()
    losses = eager(fnn, model, x)
    before = fnn.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            fnn.set_num_threads(threads)
            other = make()
            assert planned(other, x) == losses
            assert bits(other) == bits(model)
    finally:
        fnn.set_num_threads(before)


@pytest.mark.parametrize("name", NETS)
def test_the_way_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    torch.manual_seed(0)
    theirs, ours = NETS[name](torch.nn).double(), NETS[name](fnn.nn).double()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    expected = eager(torch, theirs, X)
    assert expected[-1] < 0.95 * expected[0]  # it goes somewhere
    np.testing.assert_allclose(planned(ours, X), expected, rtol=1e-8)
    for (key, value), found in zip(theirs.state_dict().items(), ours.state_dict().values(), strict=True):
        np.testing.assert_allclose(found.numpy(), value.numpy(), rtol=1e-7, atol=1e-9, err_msg=key)
    theirs.eval()
    ours.eval()
    with torch.no_grad(), fnn.no_grad():
        np.testing.assert_allclose(ours(X).numpy(), theirs(torch.tensor(X)).numpy(), rtol=1e-7, atol=1e-8)
