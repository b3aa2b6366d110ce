"""Digests of what some models hold after training: `python -m tests.bits` prints them as JSON.

They are one and the same on every processor, for any number of threads. Sizes are small, since processors are emulated, too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn.penalties import Lp

Array = np.ndarray[Any, Any]


def _data(shape: tuple[int, ...], classes: int) -> tuple[Array, Array]:
    # Whole numbers over a power of two: NumPy's normal numbers depend on the system's functions.
    rng = np.random.default_rng(0)
    x = (rng.integers(-4096, 4096, shape) / 1024).astype(np.float32)
    return x, rng.integers(0, classes, shape[0])


def _train(
    model: nn.Module, optimizer: Any, shape: tuple[int, ...], classes: int, steps: int = 6, **settings: Any
) -> bytes:
    """All parameters and buffers after some planned steps."""
    x, y = _data(shape, classes)
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer, **settings)
    for _ in range(steps):
        step(x, y)
    return b"".join(np.asarray(value).tobytes() for _, value in sorted(model.state_dict().items()))


def _dense(widths: tuple[int, ...], activation: Callable[[], nn.Module], **settings: Any) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(fan_in, fan_out), activation()]
        if settings.get("batch_norm"):
            layers.append(nn.BatchNorm1d(fan_out))
        if settings.get("dropout"):
            layers.append(nn.Dropout(settings["dropout"]))
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def iris() -> bytes:
    """A small net."""
    model = _dense((4, 16, 16, 3), nn.ReLU)
    return _train(model, optim.Adam(model.parameters()), (16, 4), 3)


def rl() -> bytes:
    """tanh."""
    model = _dense((17, 64, 64, 6), nn.Tanh)
    return _train(model, optim.RMSprop(model.parameters(), momentum=0.9), (65, 17), 6)


def mnist() -> bytes:
    """A wide input, in two chunks of the inner dimension."""
    model = _dense((784, 67, 33, 10), nn.ReLU)
    return _train(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), (33, 784), 10, steps=4)


def regul() -> bytes:
    """Batch norm, dropout, gradient noise, an Lp penalty."""
    model = _dense((20, 37, 21, 4), nn.GELU, batch_norm=True, dropout=0.3)
    settings: dict[str, Any] = {"grad_noise": (0.3, 0.55), "penalty": Lp(0.01, p=1.5), "clip_grad_norm": 2.0}
    return _train(model, optim.AdamW(model.parameters()), (31, 20), 4, **settings)


def lenet() -> bytes:
    """Convolutions, pooling; Winograd's algorithm in the second."""
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2),
        nn.SiLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16),
        nn.Flatten(),
        nn.Linear(16 * 49, 10),
    )
    return _train(model, optim.NAdam(model.parameters()), (9, 1, 28, 28), 10, steps=4)


def float64() -> bytes:
    """The same arithmetic in double precision."""
    model = _dense((7, 19, 5), nn.Softplus).double()
    x, y = _data((23, 7), 5)
    optimizer = optim.Adagrad(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(model(fnn.tensor(x.astype(np.float64))), fnn.tensor(y)).backward()
        optimizer.step()
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def functions() -> bytes:
    """Elementary functions and random numbers."""
    x, _ = _data((257, 3), 2)
    t = fnn.tensor(x)
    parts = [t.exp(), t.tanh(), t.sigmoid(), t.sin(), t.cos(), t.erf(), t.abs().log(), t.abs() ** 1.7, fnn.randn(1001)]
    parts += [t.double().exp(), t.double().tanh(), t.double().abs() ** 1.7, fnn.randn(101, dtype=fnn.float64)]
    return b"".join(part.numpy().tobytes() for part in parts)


TASKS = (iris, rl, mnist, regul, lenet, float64, functions)


def digests() -> dict[str, str]:
    """The first half of each task's SHA-256."""
    found = {}
    for task in TASKS:
        fnn.manual_seed(7)
        found[task.__name__] = hashlib.sha256(task()).hexdigest()[:32]
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(digests(), indent=1) + "\n")
