"""A planned step beside eager ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

Optimizer = Callable[[Iterable[nn.Parameter]], optim.Optimizer]
Array = NDArray[np.float32]


def has_eager_bits(
    eager: nn.Module,
    planned: nn.Module,
    new: Optimizer,
    x: Array,
    y: Array,
    *,
    before: Callable[[int], object] = lambda i: None,
) -> fnn.TrainStep:
    """Train both by mean squared errors for four steps, and assert equal losses, parameters and statistics.

    `before` is called with the number of each step.
    """
    optimizer, step = new(eager.parameters()), fnn.TrainStep(planned, nn.MSELoss(), new(planned.parameters()))
    for i in range(4):
        before(i)
        loss = F.mse_loss(eager(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert step(x, y) == loss.item()
        assert step.reason is None
    for name, value in eager.state_dict().items():
        np.testing.assert_array_equal(planned.state_dict()[name].numpy(), value.numpy(), err_msg=name)
    return step
