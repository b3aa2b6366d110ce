"""Every op of the table: value, gradient, dtype, plan, threads, errors."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.autograd import gradcheck, gradgradcheck
from tests.ops.table import CASES, IDS, OPS, Op

MAX_ELEMENTS_FOR_DIFFERENCES = 700
MAX_ELEMENTS_FOR_SECOND_DIFFERENCES = 110


def values(result: object) -> np.ndarray:
    assert isinstance(result, fnn.Tensor)
    return np.asarray(result.detach())


@pytest.mark.parametrize(("op", "case"), CASES, ids=IDS)
def test_value_in_float64_is_the_reference(op: Op, case: int) -> None:
    arrays = op.inputs(case)
    got = values(op.run(*map(fnn.tensor, arrays)))
    expected = np.asarray(op.reference(*arrays))
    assert got.shape == expected.shape
    # Cancellation (batch norm of inputs near 100) leaves an error in proportion to the whole.
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize(("op", "case"), CASES, ids=IDS)
def test_value_in_float32_is_close_and_stays_float32(op: Op, case: int) -> None:
    arrays = op.inputs(case, np.float32)
    got = values(op.run(*map(fnn.tensor, arrays)))
    expected = np.asarray(op.reference(*(a.astype(np.float64) for a in arrays)))
    if op.grad:
        assert got.dtype == np.float32
    scale = np.maximum(1.0, np.abs(expected))
    np.testing.assert_allclose(got / scale, expected / scale, atol=op.f32_tolerance)


def small_cases(most: int) -> dict[str, Any]:
    """Return the arguments of `parametrize` for the cases with a gradient and at most so many elements."""
    pairs = zip(CASES, IDS, strict=True)
    chosen = [(c, i) for c, i in pairs if c[0].grad and sum(a.size for a in c[0].inputs(c[1])) <= most]
    return {"argnames": ("op", "case"), "argvalues": [c for c, _ in chosen], "ids": [i for _, i in chosen]}


WITH_GRADIENT = [op for op in OPS if op.grad]


@pytest.mark.parametrize("op", WITH_GRADIENT, ids=[op.name for op in WITH_GRADIENT])
@pytest.mark.parametrize("most", [MAX_ELEMENTS_FOR_DIFFERENCES, MAX_ELEMENTS_FOR_SECOND_DIFFERENCES])
def test_every_row_has_a_case_for_differences(op: Op, most: int) -> None:
    sizes = [sum(a.size for a in op.inputs(case)) for case in range(len(op.shapes))]
    assert any(2 <= size <= most for size in sizes)


@pytest.mark.parametrize(**small_cases(MAX_ELEMENTS_FOR_DIFFERENCES))
def test_gradient_is_the_finite_difference(op: Op, case: int) -> None:
    arrays = op.inputs(case)
    tensors = [fnn.tensor(a, requires_grad=True) for a in arrays]
    assert gradcheck(op.run, tensors, eps=1e-6, atol=1e-6, rtol=1e-5)


# Two arguments of a loss with a kink where they are equal.
APART_FROM_EACH_OTHER = ("l1_loss",)


@pytest.mark.parametrize(**small_cases(MAX_ELEMENTS_FOR_SECOND_DIFFERENCES))
def test_second_derivative_is_the_finite_difference_of_the_first(op: Op, case: int) -> None:
    arrays = op.inputs(case)
    if op.name.startswith(APART_FROM_EACH_OTHER):
        arrays[1] = arrays[1] + 0.011
    tensors = [fnn.tensor(a, requires_grad=True) for a in arrays]
    assert gradgradcheck(op.run, tensors, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("op", "case"), CASES, ids=IDS)
def test_threads_do_not_change_a_bit(op: Op, case: int) -> None:
    arrays = op.inputs(case, np.float32)
    seen = set()
    before = fnn.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            fnn.set_num_threads(threads)
            tensors = [fnn.tensor(a, requires_grad=op.grad) for a in arrays]
            result = op.run(*tensors)
            bits = [values(result).tobytes()]
            if op.grad:
                result.sum().backward()
                bits += [t.grad.numpy().tobytes() for t in tensors if t.grad is not None]
            seen.add(b"".join(bits))
    finally:
        fnn.set_num_threads(before)
    assert len(seen) == 1


class Row(nn.Module):
    """A model whose parameters are a row's inputs; the batch is not used."""

    def __init__(self, op: Op, arrays: list[np.ndarray]) -> None:
        super().__init__()
        self.op = op
        self.inputs = [nn.Parameter(fnn.tensor(a)) for a in arrays]
        for i, parameter in enumerate(self.inputs):
            self.register_parameter(f"input{i}", parameter)
        with fnn.no_grad():
            shape = op.run(*self.inputs).shape
        # Uneven, so that an element in the wrong place shows.
        self.register_buffer("weights", fnn.linspace(0.5, 1.5, max(1, math.prod(shape))).reshape(shape))

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return (self.op.run(*self.inputs) * self.weights).sum()


@pytest.mark.parametrize(("op", "case"), [c for c in CASES if c[0].grad], ids=[i for i, c in zip(IDS, CASES, strict=True) if c[0].grad])  # fmt: skip
def test_three_planned_steps_have_the_bits_of_three_eager_ones(op: Op, case: int) -> None:
    eager, planned = (Row(op, op.inputs(case, np.float32)) for _ in range(2))
    optimizer = optim.SGD(eager.parameters(), lr=1e-3)
    step = fnn.TrainStep(planned, lambda loss, _: loss, optim.SGD(planned.parameters(), lr=1e-3))
    batch = np.zeros((8, 1), np.float32), np.zeros(8, np.int64)
    for _ in range(3):
        loss = eager(None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert step(*batch) == loss.item()
        assert step.reason is None
    for parameter, expected in zip(planned.inputs, eager.inputs, strict=True):
        assert values(parameter).tobytes() == values(expected).tobytes()


BAD = [(op, shapes, message) for op in OPS for shapes, message in op.bad]


@pytest.mark.parametrize(("op", "shapes", "message"), BAD, ids=[b[0].name for b in BAD])
def test_shapes_that_do_not_fit_are_named(op: Op, shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        op.run(*(fnn.zeros(*s) for s in shapes))
