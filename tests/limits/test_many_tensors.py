"""More tensors than a word has bits."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn


@pytest.mark.parametrize("count", [31, 32, 33, 64, 65, 100])
def test_every_tensor_of_a_cat_gets_its_part_of_the_gradient(count: int) -> None:
    parts = [fnn.tensor(np.full((2, i % 3 + 1), float(i)), requires_grad=True) for i in range(count)]
    y = fnn.cat(parts, 1)
    weight = np.arange(y.numel(), dtype=np.float64).reshape(y.shape)
    (y * y * fnn.tensor(weight)).sum().backward()
    start = 0
    for i, part in enumerate(parts):
        width = part.shape[1]
        assert part.grad is not None
        np.testing.assert_array_equal(part.grad.numpy(), 2 * i * weight[:, start : start + width])
        start += width


@pytest.mark.parametrize("count", [33, 70])
def test_every_tensor_of_a_stack_gets_its_part_of_the_gradient(count: int) -> None:
    parts = [fnn.tensor([float(i), 1.0], requires_grad=True) for i in range(count)]
    (fnn.stack(parts) ** 2).sum().backward()
    for i, part in enumerate(parts):
        assert part.grad is not None
        assert part.grad.tolist() == [2.0 * i, 2.0]
