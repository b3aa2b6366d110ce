"""Norms of any order: values, gradients at zeros and at ties, second derivatives, errors."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

import fastnn as fnn
from fastnn.autograd import gradcheck, gradgradcheck
from fastnn.nn import functional as F

ORDERS = (-math.inf, -3.0, -1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 7.0, math.inf)


def textbook(x: np.ndarray, p: float, axis: tuple[int, ...] | None, keepdims: bool) -> np.ndarray:
    sizes = np.abs(x.astype(np.float64))
    with np.errstate(divide="ignore"):
        if p == 0:
            return np.sum(sizes != 0, axis, keepdims=keepdims).astype(np.float64)
        if math.isinf(p):
            return np.asarray((np.max if p > 0 else np.min)(sizes, axis, keepdims=keepdims))
        return np.asarray(np.sum(sizes**p, axis, keepdims=keepdims) ** (1 / p))


def subgradient(x: np.ndarray, p: float, axis: tuple[int, ...] | None) -> np.ndarray:
    """PyTorch's `norm_backward` of an output gradient of 1."""
    sizes, norm = np.abs(x), textbook(x, p, axis, True)
    if p == 0:
        return np.zeros_like(x)
    if math.isinf(p):
        ties = sizes == norm
        return np.sign(x) * ties / ties.sum(axis, keepdims=True)
    with np.errstate(all="ignore"):
        slope = np.sign(x) * sizes ** (p - 1) * norm ** (1 - p)
    return np.where((norm == 0) | (x == 0), 0.0, slope)


@settings(max_examples=300, deadline=None)
@given(
    x=arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5),
        elements=st.sampled_from([0.0, 0.0, -0.0, 1.0, -1.0, 0.25, -3.5, 2.0]),
    ),
    p=st.sampled_from(ORDERS),
    data=st.data(),
)
def test_value_and_subgradient_are_pytorchs_at_zeros_and_ties(x: np.ndarray, p: float, data: Any) -> None:
    axis = data.draw(st.none() | st.sets(st.integers(0, x.ndim - 1), min_size=1).map(lambda s: tuple(sorted(s))))
    keepdim, dtype = data.draw(st.booleans()), data.draw(st.sampled_from([np.float32, np.float64]))
    leaf = fnn.tensor(x.astype(dtype), requires_grad=True)
    norm = leaf.norm(p, axis, keepdim)
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    assert norm.dtype == leaf.dtype
    expected = textbook(x, p, axis, keepdim)
    assert norm.shape == expected.shape
    np.testing.assert_allclose(norm.detach().numpy(), expected, rtol=tolerance)
    norm.sum().backward()
    np.testing.assert_allclose(leaf.grad.numpy(), subgradient(x, p, axis), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("p", ORDERS)
def test_first_and_second_derivatives_are_finite_differences_away_from_zero(p: float) -> None:
    rng = np.random.default_rng(3)
    x = rng.permutation(np.linspace(0.4, 2.1, 24)).reshape(2, 3, 4) * rng.choice([-1, 1], (2, 3, 4))
    for dim in (None, 1, (0, 2)):
        leaf = fnn.tensor(x, requires_grad=True)
        assert gradcheck(lambda t, dim=dim: t.norm(p, dim), [leaf], eps=1e-6, atol=1e-6, rtol=1e-5)
        assert gradgradcheck(lambda t, dim=dim: t.norm(p, dim), [leaf], eps=1e-6, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("p", ORDERS)
def test_second_derivatives_at_a_row_of_zeros_are_finite(p: float) -> None:
    leaf = fnn.tensor(np.array([[0.0, 0.0], [0.0, 3.0], [1.0, 2.0]]), requires_grad=True)
    (grad,) = fnn.autograd.grad((leaf.norm(p, dim=1) ** 2).sum(), [leaf], create_graph=True)
    (grad.square().sum() + leaf.sum()).backward()
    assert np.isfinite(leaf.grad.numpy()).all()


def penalty(network: Any, x: fnn.Tensor) -> fnn.Tensor:
    (grad,) = fnn.autograd.grad(network(x).sum(), [x], create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def test_a_gradient_penalty_of_a_dead_network_is_finite() -> None:
    network = fnn.nn.Sequential(fnn.nn.Linear(3, 4), fnn.nn.ReLU(), fnn.nn.Linear(4, 1))
    network[0].bias.data.fill_(-100.0)
    loss = penalty(network, fnn.ones(5, 3, requires_grad=True))
    loss.backward()
    assert loss.item() == 1.0
    assert all(p.grad is None or np.isfinite(p.grad.numpy()).all() for p in network.parameters())


def test_names_of_the_2_norm_and_dtypes() -> None:
    x = fnn.tensor([[3.0, -4.0], [6.0, 8.0]])
    for p in (None, "fro", 2, 2.0, np.float32(2), fnn.tensor(2).item()):
        np.testing.assert_array_equal(x.norm(p, dim=1).numpy(), [5.0, 10.0])
        np.testing.assert_array_equal(fnn.norm(x, p, (1,)).numpy(), [5.0, 10.0])
    assert x.norm(dim=[]).shape == ()
    assert x.norm(dtype=fnn.float64).dtype == fnn.float64
    assert fnn.tensor(-3.0).norm(3).item() == pytest.approx(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fnn.ones(2, 2).norm("nuc"), ValueError, "norm: expected p to be a number, 'fro' or None; got 'nuc'"),
        (lambda: fnn.ones(2).norm([2]), TypeError, "norm: expected p to be a number, 'fro' or None; got list"),
        (lambda: fnn.ones(2).norm(math.nan), ValueError, "norm: expected a number p; got nan"),
        (lambda: fnn.tensor([1, 2]).norm(), TypeError, "norm: expected a floating-point tensor; got int64"),
        (
            lambda: fnn.ones(2, dtype=fnn.float64).norm(dtype=fnn.float32),
            TypeError,
            "norm: expected a dtype that holds float64; got float32",
        ),
        (
            lambda: fnn.ones(2, 0).norm(math.inf, dim=1),
            ValueError,
            "norm: expected an element to take the inf-norm of; got shape (2, 0)",
        ),
        (
            lambda: fnn.ones(0).norm(-1),
            ValueError,
            "norm: expected an element to take the -1-norm of; got shape (0,)",
        ),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


def test_empty_sums_have_norm_zero() -> None:
    for p in (0, 0.5, 1, 2, 3):
        np.testing.assert_array_equal(fnn.ones(2, 0).norm(p, dim=1).numpy(), [0.0, 0.0])


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf])
def test_normalize_of_a_row_of_zeros(p: float) -> None:
    x = fnn.tensor(np.array([[0.0, 0.0, 0.0], [0.0, 2.0, -1.0]]), requires_grad=True)
    y = F.normalize(x, p)
    np.testing.assert_allclose(
        y.detach().numpy()[1], np.array([0, 2, -1]) / textbook(np.array([0.0, 2, -1]), p, None, False)
    )
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy()[0], 1e12)
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("p", [0.5, 1.5, -1.0])
def test_lp_pooling_has_finite_gradients_at_zeros(p: float) -> None:
    x = fnn.tensor(np.array([[[0.0, 0.0, 0.0, 4.0, 1.0, 9.0]]]), requires_grad=True)
    y = F.lp_pool1d(x, p, 2)
    expected = [textbook(np.array(pair), p, None, False) for pair in ([0.0, 0.0], [0.0, 4.0], [1.0, 9.0])]
    np.testing.assert_allclose(y.detach().numpy()[0, 0], expected)
    (grad,) = fnn.autograd.grad(y.sum(), [x], create_graph=True)
    (grad.square().sum() + x.sum()).backward()
    assert np.isfinite(x.grad.numpy()).all()
    np.testing.assert_array_equal(grad.detach().numpy()[0, 0, :2], [0.0, 0.0])
