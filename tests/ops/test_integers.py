"""Integers are exact over all of int64: every operation against Python's own, and its errors."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fastnn as fnn
from fastnn import _core

LEAST, MOST = -(2**63), 2**63 - 1
EDGES = [
    LEAST,
    LEAST + 1,
    -(2**53) - 1,
    -(2**53),
    -7,
    -2,
    -1,
    0,
    1,
    2,
    3,
    2**31,
    2**53,
    2**53 + 1,
    2**62 + 1,
    MOST - 1,
    MOST,
]
INTEGERS = st.sampled_from(EDGES) | st.integers(LEAST, MOST)


def wrapped(x: int) -> int:
    return (x - LEAST) % 2**64 + LEAST


BINARY: dict[str, Callable[[int, int], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "maximum": max,
    "minimum": min,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
OPERATORS = {"add": "+", "sub": "-", "mul": "*", "floor_divide": "//", "remainder": "%"}
IN_PLACE = {
    "add": operator.iadd,
    "sub": operator.isub,
    "mul": operator.imul,
    "floor_divide": operator.ifloordiv,
    "remainder": operator.imod,
}
SYMBOLS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
}


def result(name: str, a: int, b: int) -> Any:
    value = BINARY[name](a, b)
    return value if isinstance(value, bool) else wrapped(value)


@settings(max_examples=400, deadline=None)
@given(pairs=st.lists(st.tuples(INTEGERS, INTEGERS), min_size=1, max_size=9), name=st.sampled_from(sorted(BINARY)))
def test_operations_of_two_tensors_and_of_a_tensor_and_a_number(pairs: list[tuple[int, int]], name: str) -> None:
    if name in ("floor_divide", "remainder"):
        pairs = [(a, b or 5) for a, b in pairs]
    a, b = fnn.tensor([a for a, _ in pairs]), fnn.tensor([b for _, b in pairs])
    expected = [result(name, *pair) for pair in pairs]
    assert getattr(a, name)(b).tolist() == expected
    first = pairs[0][1]
    by_number = [result(name, x, first) for x, _ in pairs]
    assert getattr(a, name)(first).tolist() == by_number
    assert getattr(a[:, None], name)(fnn.tensor(first)).tolist() == [[x] for x in by_number]
    if name in SYMBOLS:
        symbol = SYMBOLS[name]
        assert symbol(a, b).tolist() == expected
        assert symbol(a, first).tolist() == by_number
        assert symbol(pairs[0][0], b).tolist() == [result(name, pairs[0][0], y) for _, y in pairs]
        for other, values in ((b, expected), (first, by_number)):
            changed = a.clone()
            alias = changed.view(-1)
            assert IN_PLACE[name](changed, other) is changed
            assert changed.tolist() == values == alias.tolist()
            changed = a.clone()
            getattr(changed, f"{name}_")(other)
            assert changed.tolist() == values


@settings(max_examples=100, deadline=None)
@given(base=INTEGERS, exponent=st.integers(0, 70))
def test_powers_wrap_around(base: int, exponent: int) -> None:
    expected = wrapped(base**exponent)
    assert (fnn.tensor([base]) ** exponent).tolist() == [expected]
    assert (fnn.tensor([base]) ** fnn.tensor([exponent])).tolist() == [expected]
    assert (base ** fnn.tensor([exponent])).tolist() == [expected]


@settings(max_examples=100, deadline=None)
@given(values=st.lists(INTEGERS, min_size=1, max_size=20))
def test_functions_and_reductions(values: list[int]) -> None:
    x = fnn.tensor(values)
    assert x.tolist() == values == x.numpy().tolist() == fnn.from_numpy(np.array(values)).tolist()
    assert [x[i].item() for i in range(len(values))] == values == [int(t) for t in x]
    assert (-x).tolist() == [wrapped(-v) for v in values]
    assert x.abs().tolist() == [wrapped(abs(v)) for v in values]
    assert x.sign().tolist() == [(v > 0) - (v < 0) for v in values]
    assert x.square().tolist() == [wrapped(v * v) for v in values]
    assert x.sum().item() == wrapped(sum(values)) == x[:, None].sum(0).item()
    product = 1
    for value in values:
        product = wrapped(product * value)
    assert x.prod().item() == product
    assert (x.max().item(), x.min().item()) == (max(values), min(values)) == (x.amax(0).item(), x.amin(0).item())
    assert (x.argmax().item(), x.argmin().item()) == (values.index(max(values)), values.index(min(values)))
    assert x.max(0).values.item() == max(values)
    assert (x.any().item(), x.all().item()) == (any(values), all(values))
    assert x.cat([x]).tolist() == values if hasattr(x, "cat") else fnn.cat([x, x]).tolist() == values * 2
    assert x.double().tolist() == [float(v) for v in values]


@settings(max_examples=100, deadline=None)
@given(values=st.lists(INTEGERS, min_size=1, max_size=9), number=INTEGERS, other=INTEGERS)
def test_filling_choosing_and_clamping_by_a_number(values: list[int], number: int, other: int) -> None:
    x = fnn.tensor(values)
    mask = x < number
    low, high = sorted((number, other))
    assert x.masked_fill(mask, number).tolist() == [max(v, number) for v in values]
    assert fnn.where(mask, number, x).tolist() == [max(v, number) for v in values]
    clamped = [min(max(v, low), high) for v in values]
    assert x.clamp(low, high).tolist() == clamped
    assert x.clone().clamp_(low, high).tolist() == clamped
    assert fnn.full((2,), number).tolist() == [number] * 2 == fnn.full_like(x[:1].expand(2), number).tolist()
    assert x.clone().fill_(number).tolist() == [number] * len(values)
    changed = x.clone()
    changed[0] = number
    assert changed.tolist() == [number, *values[1:]]
    changed[mask] = other
    assert changed.tolist()[1:] == [other if v < number else v for v in values[1:]] or mask[0].item()
    assert fnn.add(x, fnn.tensor(number), alpha=3).tolist() == [wrapped(v + 3 * number) for v in values]
    assert x.clone().sub_(number, alpha=3).tolist() == [wrapped(v - 3 * number) for v in values]


@settings(max_examples=100, deadline=None)
@given(values=st.lists(INTEGERS, min_size=1, max_size=9), data=st.data())
def test_indexing_and_scattering(values: list[int], data: Any) -> None:
    x, n = fnn.tensor(values), len(values)
    index = data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    at = fnn.tensor(index)
    chosen = [values[i] for i in index]
    assert x[at].tolist() == chosen == x.gather(0, at).tolist() == x.index_select(0, at).tolist()
    expected = list(values)
    for i, value in zip(index, values, strict=True):
        expected[i] = wrapped(expected[i] + value)
    assert x.scatter_add(0, at, x).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(start=INTEGERS, step=st.integers(-(2**62), 2**62).filter(bool), n=st.integers(0, 20), part=st.integers(0, 2**61))
def test_ranges(start: int, step: int, n: int, part: int) -> None:
    end = start + n * step - (part % abs(step) if n else 0) * (1 if step > 0 else -1)
    if not LEAST <= end <= MOST:
        return
    assert fnn.arange(start, end, step).tolist() == list(range(start, end, step))
    if step == 1:
        assert fnn.arange(start, end).tolist() == list(range(start, end))


def test_named_examples() -> None:
    assert fnn.arange(2**53 + 1, 2**53 + 4).tolist() == [2**53 + 1, 2**53 + 2, 2**53 + 3]
    assert fnn.arange(LEAST, MOST, 2**63 - 1).tolist() == [LEAST, -1, MOST - 1]
    assert fnn.linspace(2**53 + 1, 2**53 + 5, 3, dtype=fnn.int64).tolist() == [2**53 + 1, 2**53 + 3, 2**53 + 5]
    assert fnn.linspace(-3, 4, 5, dtype=fnn.int64).tolist() == [-3, -1, 0, 2, 4]
    assert repr(fnn.tensor([2**53 + 1, -1])) == f"tensor([{2**53 + 1},               -1])"
    assert f"{fnn.tensor(2**53 + 1):_d}" == f"{2**53 + 1:_d}"
    assert str(fnn.tensor(MOST)) == f"tensor({MOST})"
    assert [fnn.tensor(LEAST).__floordiv__(-1).item(), fnn.tensor(LEAST).remainder(-1).item()] == [LEAST, 0]
    assert _core.one_hot(fnn.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert [(fnn.tensor([True]) + True).item(), (fnn.tensor([True]) + 1).item()] == [True, 2]


@pytest.mark.parametrize("width", [2**53 - 1, 2**53 + 3, 2**62, 2**64 - 1])
def test_random_integers_reach_all_of_a_wide_range(width: int) -> None:
    low = LEAST if width > 2**63 else -5
    fnn.manual_seed(1)
    drawn = fnn.randint(low, low + width, (4000,)).tolist()
    assert all(low <= value < low + width for value in drawn)
    # Odd and even, low and high: a float64 of this size has no lowest bits.
    assert 0.4 < sum(value & 1 for value in drawn) / 4000 < 0.6
    assert 0.4 < sum(value - low < width // 2 for value in drawn) / 4000 < 0.6


TOO_LARGE = [2**63, -(2**63) - 1, 2**200, np.uint64(2**63)]


@pytest.mark.parametrize("number", TOO_LARGE, ids=str)
@pytest.mark.parametrize(
    "call",
    [
        lambda x, n: x + n,
        lambda x, n: n - x,
        lambda x, n: x * n,
        lambda x, n: x // n,
        lambda x, n: x == n,
        lambda x, n: x < n,
        lambda x, n: x.maximum(n),
        lambda x, n: x.clamp(n),
        lambda x, n: x.masked_fill(x == 1, n),
        lambda x, n: x.fill_(n),
        lambda x, n: x.add_(n),
        lambda x, n: fnn.full((2,), n),
        lambda x, n: fnn.arange(n),
        lambda x, n: fnn.tensor(n),
        lambda x, n: fnn.tensor([n, -1]),
        lambda x, n: fnn.tensor([[1, 2], [n, 3]]),
        lambda x, n: x.__setitem__(0, n),
    ],
)
def test_integers_outside_of_int64_are_refused(call: Callable[[fnn.Tensor, Any], Any], number: Any) -> None:
    for x in (fnn.tensor([1, 2]), fnn.tensor([1.0, 2.0])):
        before = x.tolist()
        with pytest.raises(
            ValueError, match=r"int64 can hold; got |\[-9223372036854775808, 9223372036854775807\]; got "
        ):
            call(x, number)
        assert x.tolist() == before


def test_large_integers_among_floats_are_floats() -> None:
    np.testing.assert_array_equal(fnn.tensor([2**63, 0.5]).numpy(), np.array([2.0**63, 0.5], np.float32))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x, zero: x // zero, "floor_divide"),
        (lambda x, zero: x % zero, "remainder"),
        (lambda x, zero: x.floor_divide(zero), "floor_divide"),
        (lambda x, zero: 5 // (x * zero), "floor_divide"),
        (lambda x, zero: 5 % (x * zero), "remainder"),
        (lambda x, zero: x.__ifloordiv__(zero), "floor_divide_"),
        (lambda x, zero: x.__imod__(zero), "remainder_"),
        (lambda x, zero: x.remainder_(zero), "remainder_"),
    ],
)
def test_division_of_integers_by_zero(call: Callable[[fnn.Tensor, Any], Any], name: str) -> None:
    for zero in (0, False, fnn.tensor(0), fnn.tensor([0]), fnn.tensor([3, 0, 1])):
        x = fnn.tensor([1, 2, 3])
        with pytest.raises(ZeroDivisionError, match=re.escape(f"{name}: expected divisors other than 0; got 0")):
            call(x, zero)
        assert x.tolist() == [1, 2, 3]
    assert (fnn.zeros(0, dtype=fnn.int64) // 0).tolist() == []


# Subnormal numbers count as 0 in kernels.
NORMAL = st.floats(-1e6, 1e6, allow_subnormal=False)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, -0.3, 2.5, 7.0, 1e300, float("inf"), float("-inf"), float("nan")])


@settings(max_examples=300, deadline=None)
@given(a=FLOATS | NORMAL, b=FLOATS | NORMAL)
def test_divisions_of_floats_are_pythons(a: float, b: float) -> None:
    x, y = fnn.tensor(np.array([a])), fnn.tensor(np.array([b]))
    if b == 0:
        with np.errstate(all="ignore"):
            expected = float(np.float64(a) / np.float64(b)), float("nan")
    elif np.isinf(a) and not np.isnan(b):
        expected = float("nan"), float("nan")
    else:
        expected = a // b, a % b
    for quotient, rest in (
        ((x // y).item(), (x % y).item()),
        ((x // b).item(), (x % b).item()),
        ((a // y).item(), (a % y).item()),
    ):
        np.testing.assert_array_equal([quotient, rest], list(expected))


def test_gradients_of_divisions() -> None:
    a = fnn.tensor(np.array([7.3, -7.3, 0.4]), requires_grad=True)
    b = fnn.tensor(np.array([2.0, 2.0, -0.3]), requires_grad=True)
    ((a % b) * fnn.tensor(np.array([1.0, 2.0, 3.0]))).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), [1.0, 2.0, 3.0])
    np.testing.assert_allclose(b.grad.numpy(), [-3.0, 8.0, 6.0])
    a.grad = None
    (a // 2 + a % 2.5).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [1.0, 1.0, 1.0])
