"""Penalties: values, gradients, what is chosen, messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.reference import update_options as reference

import fastnn as fnn
from fastnn import nn
from fastnn.nn import penalties

CASES: list[tuple[nn.Module, dict[str, float]]] = [
    (penalties.L1(0.3), {"l1": 0.3}),
    (penalties.L2(0.7), {"l2": 0.7}),
    (penalties.ElasticNet(0.3, 0.7), {"l1": 0.3, "l2": 0.7}),
    (penalties.Lp(0.6, 0.5), {"strength": 0.6, "p": 0.5}),
    (penalties.Lp(0.6, 1.0), {"strength": 0.6, "p": 1.0}),
    (penalties.Lp(0.6, 1.3), {"strength": 0.6, "p": 1.3}),
    (penalties.Lp(0.6, 1.5), {"strength": 0.6, "p": 1.5}),
    (penalties.Lp(0.6, 2.0), {"strength": 0.6, "p": 2.0}),
    (penalties.Lp(0.6, 3.3), {"strength": 0.6, "p": 3.3}),
]
IDS = [repr(penalty) for penalty, _ in CASES]


def weights(*shape: int) -> np.ndarray:
    w = np.random.default_rng(3).normal(size=shape)
    w.flat[::5] = 0  # where the subgradient is 0
    return w


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (3, 50), (40, 130), (3, 4, 5)], ids=str)
@pytest.mark.parametrize(("penalty", "settings"), CASES, ids=IDS)
def test_value_and_gradient_are_the_references(
    penalty: nn.Module, settings: dict[str, float], shape: tuple[int, ...]
) -> None:
    w = fnn.tensor(weights(*shape), requires_grad=True)
    value = penalty(w)
    assert tuple(value.shape) == ()
    np.testing.assert_allclose(value.item(), reference.penalty(weights(*shape), **settings), rtol=1e-12)
    (3 * value).backward()
    expected = 3 * reference.penalty_grad(weights(*shape), **settings)
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("penalty", "settings"), CASES, ids=IDS)
def test_gradients_are_the_difference_quotients(penalty: nn.Module, settings: dict[str, float]) -> None:
    del settings
    # Nowhere near 0, where some have a corner.
    start = np.random.default_rng(4).uniform(0.5, 2, size=(5, 7)) * np.resize([1, -1, -1], (5, 7))
    w = fnn.tensor(start, requires_grad=True)
    penalty(w).backward()
    for place in np.ndindex(*start.shape):
        moved = [start.copy(), start.copy()]
        moved[0][place] += 1e-6
        moved[1][place] -= 1e-6
        above, below = (penalty(fnn.tensor(m)).item() for m in moved)
        assert w.grad.numpy()[place] == pytest.approx((above - below) / 2e-6, rel=1e-6)


@pytest.mark.parametrize(("penalty", "settings"), CASES, ids=IDS)
def test_float32_is_near(penalty: nn.Module, settings: dict[str, float]) -> None:
    w = weights(40, 130).astype(np.float32)
    param = fnn.tensor(w, requires_grad=True)
    value = penalty(param)
    value.backward()
    np.testing.assert_allclose(value.item(), reference.penalty(w.astype(float), **settings), rtol=1e-5)
    expected = reference.penalty_grad(w.astype(float), **settings)
    np.testing.assert_allclose(param.grad.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_weights_only_unless_told() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    sizes = {name: float(np.abs(p.detach().numpy()).sum()) for name, p in model.named_parameters()}
    assert penalties.L1(1.0)(model).item() == pytest.approx(sizes["0.weight"] + sizes["2.weight"])
    assert penalties.L1(1.0, include_bias=True)(model).item() == pytest.approx(sum(sizes.values()))
    assert penalties.L1(1.0)([model[0].weight]).item() == pytest.approx(sizes["0.weight"])


def test_more_weights_than_one_op_takes() -> None:
    params = [fnn.full((2, 2), float(i), requires_grad=True) for i in range(70)]
    value = penalties.L1(0.5)(params)
    assert value.item() == 0.5 * 4 * sum(range(70))
    value.backward()
    assert [p.grad.tolist()[1][1] for p in params] == [0.0] + [0.5] * 69


def test_the_first_pattern_counts() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Linear(2, 2))
    w = [model[i].weight.detach().numpy().astype(float) for i in (0, 2)]
    penalty = penalties.PerLayer({"0.*": penalties.L1(0.3), "[02].*": penalties.L2(0.7, include_bias=True)})
    bias = model[2].bias.detach().numpy().astype(float)
    expected = 0.3 * np.abs(w[0]).sum() + 0.7 * ((w[1] ** 2).sum() + (bias**2).sum())
    assert penalty(model).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: penalties.L1(-1), ValueError, "L1: expected strength of at least 0, and finite; got -1"),
        (lambda: penalties.L2(float("nan")), ValueError, "L2: expected strength of at least 0, and finite; got nan"),
        (lambda: penalties.L2(float("inf")), ValueError, "L2: expected strength of at least 0, and finite; got inf"),
        (lambda: penalties.L2("a"), TypeError, "L2: expected strength to be a number; got 'a'"),
        (lambda: penalties.ElasticNet(-2, 1), ValueError, "ElasticNet: expected l1 of at least 0, and finite; got -2"),
        (lambda: penalties.ElasticNet(1, -2), ValueError, "ElasticNet: expected l2 of at least 0, and finite; got -2"),
        (lambda: penalties.Lp(-1, 1), ValueError, "Lp: expected strength of at least 0, and finite; got -1"),
        (lambda: penalties.Lp(1, 0), ValueError, "Lp: expected p above 0, and finite; got 0"),
        (lambda: penalties.Lp(1, float("nan")), ValueError, "Lp: expected p above 0, and finite; got nan"),
        (
            lambda: penalties.L1(1)(nn.Tanh()),
            ValueError,
            "L1: expected at least one parameter of 2 dimensions or more; got none",
        ),
        (
            lambda: penalties.L1(1, include_bias=True)([]),
            ValueError,
            "L1: expected at least one parameter; got none",
        ),
        (lambda: penalties.PerLayer({}), ValueError, "PerLayer: expected at least one pattern; got none"),
        (
            lambda: penalties.PerLayer({"*": nn.Tanh()}),
            TypeError,
            "PerLayer: expected L1, L2, ElasticNet or Lp for '*'; got Tanh",
        ),
        (
            lambda: penalties.PerLayer({"*": penalties.L1(1), "7.*": penalties.L1(1)})(nn.Linear(2, 2)),
            ValueError,
            "PerLayer: expected every pattern to match a parameter's name; '7.*' matches none",
        ),
        (
            lambda: penalties.PerLayer({"*": penalties.L1(1)})([]),
            TypeError,
            "PerLayer: expected a module; got list",
        ),
        (
            lambda: penalties.PerLayer({"bias": penalties.L1(1)})(nn.Linear(2, 2)),
            ValueError,
            "PerLayer: expected at least one parameter of 2 dimensions or more; got none",
        ),
    ],
)
def test_bad_settings(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message
