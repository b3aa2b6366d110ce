"""Tensors without elements: every layer, function and op, with a dimension of 0 in every place."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from tests.limits.cases import FUNCTIONS, LAYERS, METHODS
from tests.limits.process import Verdict, outcomes
from tests.ops.table import OPS, Op

BATCHES = 3

# Ops of what no one else computes: the reference of these has another result, or none.
ALLOWED = re.compile(r"^(returned|(ValueError|TypeError|IndexError):)")


def _shapes(op: Op) -> list[tuple[tuple[int, ...], ...]]:
    """Return the shapes of all cases with a size, or a dimension of one input, made 0."""
    found = set()
    for shapes in op.shapes:
        for size in set(itertools.chain(*shapes)):
            found.add(tuple(tuple(0 if n == size else n for n in shape) for shape in shapes))
        for i, shape in enumerate(shapes):
            for d in range(len(shape)):
                found.add(tuple((*s[:d], 0, *s[d + 1 :]) if j == i else s for j, s in enumerate(shapes)))
    return sorted(found)


def _compare(op: Op, shapes: tuple[tuple[int, ...], ...]) -> Verdict:
    """Run an op forwards and backwards, and compare it with its reference, if that has a result."""
    arrays = [np.full(shape, 0.5) for shape in shapes]
    inputs = [fnn.tensor(array, requires_grad=op.grad) for array in arrays]
    result = op.run(*inputs)
    if op.grad:
        result.sum().backward()
        for tensor in inputs:
            assert tensor.grad is None or tensor.grad.shape == tensor.shape
    got = result.detach().numpy()
    try:
        with np.errstate(all="ignore"):
            expected = np.asarray(op.reference(*arrays))
    except (ValueError, IndexError, ZeroDivisionError, TypeError):
        return Verdict("returned")
    if got.shape != expected.shape:
        return Verdict(f"is of shape {got.shape}; expected {expected.shape}")
    same = np.allclose(got, expected, rtol=1e-11, atol=1e-12, equal_nan=True)
    return Verdict("returned" if same else f"is {got.ravel()[:5]}; expected {expected.ravel()[:5]}")


def cases() -> list[tuple[str, Callable[[], Any]]]:
    """Return every op, function, layer and method with something empty."""
    ops = [(f"{op.name} of {shapes}", partial(_compare, op, shapes)) for op in OPS for shapes in _shapes(op)]
    calls = [(name, partial(call, *shapes)) for call in FUNCTIONS + LAYERS + METHODS for name, shapes in call.emptied()]
    return ops + calls


@pytest.mark.parametrize("batch", range(BATCHES))
def test_what_is_empty_has_a_result_or_a_named_error(batch: int) -> None:
    found = outcomes("tests.limits.test_zero_sizes:cases", batch, BATCHES)
    assert found
    wrong = {case: how for case, how in found.items() if not ALLOWED.match(how)}
    assert not wrong, "\n".join(f"{case}: {how}" for case, how in wrong.items())


@pytest.mark.parametrize("shape", [(1, 0, 7, 2), (0, 3, 7, 2), (2, 0, 3, 3)])
def test_instance_norm_of_no_channels_or_images_is_empty(shape: tuple[int, ...]) -> None:
    x = fnn.ones(*shape, requires_grad=True)
    y = nn.InstanceNorm2d(shape[1] or 4)(x)
    y.sum().backward()
    assert y.shape == shape
    assert x.grad is not None
    assert x.grad.shape == shape
