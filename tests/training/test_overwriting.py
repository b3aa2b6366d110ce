"""Ops of a plan write over what nobody reads any more, and over nothing else: a step has the bits of eager ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.planned import has_eager_bits

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

Join = Callable[[fnn.Tensor, fnn.Tensor], fnn.Tensor]
JOINS: dict[str, Join] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: b - a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (b * b + 1),
    "twice": lambda a, b: (a + a) * b,
    "later": lambda a, b: (a + b) * (a - b) + a,
    "broadcast": lambda a, b: a + b.mean((0, 2, 3), keepdim=True),
}


class Net(nn.Module):
    """Two convolutions, each with an activation, that meet; and a norm."""

    def __init__(self, activation: nn.Module, join: Join) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.activation, self.head = nn.BatchNorm2d(8), activation, nn.Linear(8, 1)
        self._join = join

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        first = self.activation(self.one(x))
        second = self.activation(self._join(self.norm(self.two(first)), first))
        return self.head(second.mean((2, 3)))


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.Tanh(), nn.LeakyReLU(0.2), nn.SiLU(), nn.Identity()])
def test_a_plan_overwrites_only_what_is_done_with(activation: nn.Module, join: str) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(9, 3, 7, 6)).astype(np.float32), rng.normal(size=(9, 1)).astype(np.float32)
    fnn.manual_seed(1)
    eager, planned = Net(activation, JOINS[join]), Net(activation, JOINS[join])
    planned.load_state_dict(eager.state_dict())
    has_eager_bits(eager, planned, lambda params: optim.SGD(params, lr=0.01, momentum=0.9), x, y)


class Shared(nn.Module):
    """The gradient of one parameter is a view of what the other's gradient is made of."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(1)
        self.one, self.two = (nn.Parameter(rng.normal(size=s).astype(np.float32)) for s in ((1, 4, 3, 2), (4, 3, 1, 2)))

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        two = self.two.reshape(1, 4, 3, 2)
        return (x * (self.one.tanh() + two)).mean((2, 3)).sum(1, keepdim=True)


class Shifted(nn.Module):
    """The gradient of the shift is a view of the one between a norm and a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.shift = nn.Parameter(np.random.default_rng(1).normal(size=(9, 4, 6)).astype(np.float32))

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return F.relu(self.norm(x) + self.shift.reshape(9, 4, 3, 2)).mean((2, 3)).sum(1, keepdim=True)


@pytest.mark.parametrize("make", [Shared, Shifted])
def test_a_gradient_that_is_a_view_is_kept(make: Callable[[], nn.Module]) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(9, 4, 3, 2)).astype(np.float32), rng.normal(size=(9, 1)).astype(np.float32)
    has_eager_bits(make(), make(), lambda params: optim.SGD(params, lr=0.1), x, y)
