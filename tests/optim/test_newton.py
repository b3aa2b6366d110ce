"""Newton's method on functions with known minima, a net, and what it refuses."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

METHODS = ("exact", "cg")


def leaf(*values: float) -> fnn.Tensor:
    return fnn.tensor(list(values), dtype=fnn.float64, requires_grad=True)


def values(x: fnn.Tensor) -> np.ndarray:
    return np.asarray(x.detach())


def gradient_norm(loss: Callable[[], fnn.Tensor], params: list[Any]) -> float:
    found = fnn.autograd.grad(loss(), params)
    return float(np.sqrt(sum((values(g) ** 2).sum() for g in found if g is not None)))


@pytest.mark.parametrize("settings", [{"method": "exact"}, {"method": "cg", "cg_tol": 0.0}], ids=METHODS)
def test_a_quadratic_takes_one_step(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(7, 7))
    full, b = root @ root.T + 0.1 * np.eye(7), rng.normal(size=7)
    x, y = leaf(*rng.normal(size=3)), fnn.tensor(rng.normal(size=(2, 2)), requires_grad=True)
    matrix, vector = fnn.tensor(full), fnn.tensor(b)

    def loss() -> fnn.Tensor:
        z = fnn.cat([x, y.flatten()])
        return 0.5 * (z * (matrix @ z)).sum() - (vector * z).sum()

    optim.Newton([x, y], damping=0.0, **settings).step(loss)
    found = np.concatenate([values(x), values(y).ravel()])
    np.testing.assert_allclose(found, np.linalg.solve(full, b), rtol=1e-9, atol=1e-9)
    assert x.grad is None


def test_one_damped_step_is_the_formula() -> None:
    start = np.array([0.7, -1.3])
    x = leaf(*start)
    optimizer = optim.Newton([x], lr=0.3, damping=2.5)
    optimizer.step(lambda: (x**4).sum() + x[0] * x[1])
    gradient = 4 * start**3 + start[::-1]
    full = np.diag(12 * start**2) + np.array([[0.0, 1.0], [1.0, 0.0]])
    expected = start - 0.3 * np.linalg.solve(full + 2.5 * np.eye(2), gradient)
    np.testing.assert_allclose(values(x), expected, rtol=1e-13)
    step = expected - start

    def value(x: np.ndarray) -> float:
        return float((x**4).sum() + x[0] * x[1])

    ratio = (value(expected) - value(start)) / (gradient @ step + 0.5 * step @ full @ step)
    assert ratio > 0.75
    assert optimizer.damping == 2.5 / 4


def rosenbrock(x: fnn.Tensor) -> fnn.Tensor:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@pytest.mark.parametrize("method", METHODS)
def test_rosenbrock(method: str) -> None:
    x = leaf(-1.2, 1.0)
    optimizer = optim.Newton([x], method=method)
    losses = [optimizer.step(lambda: rosenbrock(x)).item() for _ in range(40)]
    assert all(b <= a for a, b in itertools.pairwise(losses))
    np.testing.assert_allclose(values(x), [1.0, 1.0], atol=1e-9)


def iris_sized(penalty: float = 1e-3) -> tuple[nn.Module, Callable[[], fnn.Tensor]]:
    rng = np.random.default_rng(1)
    labels = np.arange(150) % 3
    x = fnn.tensor(rng.normal(size=(150, 4)) + labels[:, None] * [1.0, -0.7, 0.4, 0.0])
    y = fnn.tensor(labels)
    fnn.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()

    def loss() -> fnn.Tensor:
        return F.cross_entropy(model(x), y) + penalty * sum((p**2).sum() for p in model.parameters())

    return model, loss


def steps_until(optimizer: Any, loss: Callable[[], fnn.Tensor], params: list[Any], norm: float, most: int) -> int:
    for step in range(most):
        if gradient_norm(loss, params) < norm:
            return step
        if isinstance(optimizer, optim.Newton):
            optimizer.step(loss)
        else:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    return most


@pytest.mark.parametrize("method", METHODS)
def test_a_net_the_size_of_iris_to_the_last_digits_in_far_fewer_steps_than_adam(method: str) -> None:
    model, loss = iris_sized()
    params = list(model.parameters())
    steps = steps_until(optim.Newton(params, method=method), loss, params, 1e-8, 200)
    assert steps < 100
    model, loss = iris_sized()
    params = list(model.parameters())
    most = 10 * steps
    assert steps_until(optim.Adam(params, lr=0.02), loss, params, 1e-8, most) == most


def test_a_net_in_float32() -> None:
    model = iris_sized()[0].float()
    x, y = fnn.tensor(np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)), fnn.tensor(np.arange(30) % 3)
    optimizer = optim.Newton(model.parameters(), damping=0.1)
    losses = [optimizer.step(lambda: F.cross_entropy(model(x), y)).item() for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.dtype == fnn.float32 for p in model.parameters())


def saddle(x: fnn.Tensor) -> fnn.Tensor:
    return x[0] ** 2 - x[1] ** 2 + 0.25 * x[1] ** 4


@pytest.mark.parametrize(
    ("method", "start"), [("exact", (1.0, 0.0)), ("exact", (0.0, 0.0)), ("exact", (1.0, 1e-3)), ("cg", (1.0, 1e-3))]
)
def test_a_saddle_is_left_for_the_minimum(method: str, start: tuple[float, float]) -> None:
    x = leaf(*start)
    optimizer = optim.Newton([x], method=method)
    for _ in range(60):
        optimizer.step(lambda: saddle(x))
    np.testing.assert_allclose(np.abs(values(x)), [0.0, 2**0.5], atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_negative_curvature_all_round(method: str) -> None:
    x = leaf(0.3, -0.4)
    optimizer = optim.Newton([x], method=method, damping=0.0)
    for _ in range(40):
        optimizer.step(lambda: x.cos().sum())
    np.testing.assert_allclose(values(x.cos()), [-1.0, -1.0], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_without_curvature_still_falls(method: str) -> None:
    x = leaf(1.0, -2.0)
    optimizer = optim.Newton([x], method=method, damping=0.0)
    optimizer.step(lambda: x.abs().sum())
    assert np.abs(values(x)).sum() < 3.0


def test_a_step_that_would_rise_is_tried_again_with_more_damping() -> None:
    x = leaf(2.0)
    calls = []

    def loss() -> fnn.Tensor:
        calls.append(fnn.is_grad_enabled())
        return (1 + x**2).sqrt().sum()  # Newton's step from 2 is to -8

    optimizer = optim.Newton([x], damping=0.0)
    assert optimizer.step(loss).item() == pytest.approx(5**0.5)
    assert optimizer.damping > 0
    assert calls[0]
    assert len(calls) > 2
    assert not any(calls[1:])
    assert loss().item() < 5**0.5


@pytest.mark.parametrize("method", METHODS)
def test_at_a_minimum_the_parameters_stay(method: str) -> None:
    x = leaf(0.0, 0.0)
    optim.Newton([x], method=method).step(lambda: (x**2).sum() + 1.0)
    assert values(x).tolist() == [0.0, 0.0]


def test_a_parameter_that_is_not_used_stays() -> None:
    x, unused = leaf(1.0), leaf(5.0)
    optim.Newton([x, unused], damping=0.0).step(lambda: x.square().sum() + 1.0)
    np.testing.assert_allclose(values(x), [0.0], atol=1e-9)
    assert values(unused).tolist() == [5.0]


@pytest.mark.parametrize("method", METHODS)
def test_resuming_takes_the_same_steps(method: str) -> None:
    def run(interrupted: bool) -> bytes:
        x = leaf(-1.2, 1.0)
        optimizer = optim.Newton([x], method=method, damping=0.3)
        for i in range(8):
            if interrupted and i == 4:
                saved = json.loads(json.dumps(optimizer.state_dict()))
                optimizer = optim.Newton([x])
                optimizer.load_state_dict(saved)
            optimizer.step(lambda: rosenbrock(x))
        assert optimizer.state_dict()["state"][0]["step"] == 8
        return values(x).tobytes()

    assert run(False) == run(True)


def test_settings_are_read_at_each_step() -> None:
    x = leaf(4.0)
    optimizer = optim.Newton([{"params": [x], "damping": 0.0}])
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step(lambda: x.square().sum() + 1.0)
    assert values(x).tolist() == [3.0]
    x.grad = fnn.ones(1, dtype=fnn.float64)
    optimizer.zero_grad()
    assert x.grad is None


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: optim.Newton([]), ValueError, "Newton: expected at least one parameter; got none"),
    (lambda: optim.Newton([fnn.ones(2)]), ValueError,
     "Newton: expected leaves that require grad; got a tensor of shape (2,) that is none"),
    (lambda: optim.Newton(leaf(1.0)), TypeError, "Newton: expected an iterable of Tensors; got a Tensor"),
    (lambda: optim.Newton([np.ones(2)]), TypeError, "Newton: expected parameters that are Tensors; got ndarray"),
    (lambda: optim.Newton([leaf(1.0)] * 2), ValueError, "Newton: expected each parameter once; got one twice"),
    (lambda: optim.Newton([{"params": [leaf(1.0)]}, {"params": [leaf(1.0)]}]), ValueError,
     "Newton: expected one parameter group; got 2"),
    (lambda: optim.Newton([leaf(1.0)], lr=0.0), ValueError, "Newton: expected lr above 0; got 0.0"),
    (lambda: optim.Newton([leaf(1.0)], damping=-1.0), ValueError, "Newton: expected damping of at least 0; got -1.0"),
    (lambda: optim.Newton([leaf(1.0)], method="full"), ValueError,
     "Newton: expected method to be 'exact' or 'cg'; got 'full'"),
    (lambda: optim.Newton([leaf(1.0)], cg_iterations=0), ValueError,
     "Newton: expected cg_iterations of at least 1; got 0"),
    (lambda: optim.Newton([leaf(1.0)], cg_tol=1.0), ValueError, "Newton: expected cg_tol in [0, 1); got 1.0"),
    (lambda: optim.Newton([fnn.zeros(2001, requires_grad=True)]), ValueError,
     "Newton: expected at most 2000 parameters for the full Hessian; got 2001 (use method='cg', or LBFGS)"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "message"), BAD, ids=[b[2][8:40] for b in BAD])
def test_bad_settings(make: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        make()


def test_closures_that_do_not_fit_leave_the_parameters_alone() -> None:
    x = leaf(1.0, 2.0)
    optimizer = optim.Newton([x])

    def calls_backward() -> fnn.Tensor:
        loss = (x**2).sum()
        loss.backward()
        return loss

    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: 1.0, TypeError, r"^Newton.step: expected a closure that returns the loss, a Tensor; got float$"),
        (lambda: x**2, ValueError, r"^Newton.step: expected a loss of one element; got shape \(2,\)$"),
        (lambda: (x / 0).sum() + 1.0, ValueError, r"^Newton.step: expected a finite loss; got inf$"),
        (calls_backward, RuntimeError, r"a second time"),
        (lambda: fnn.ones(()), RuntimeError, r"^grad: element 0 of tensors does not require grad"),
    ]
    for closure, kind, message in cases:
        with pytest.raises(kind, match=message):
            optimizer.step(closure)
    assert values(x).tolist() == [1.0, 2.0]


def test_a_state_of_another_shape_is_refused() -> None:
    optimizer = optim.Newton([leaf(1.0)])
    saved = optim.Newton([leaf(1.0), leaf(2.0)]).state_dict()
    with pytest.raises(ValueError, match=r"^loaded state dict contains a parameter group that doesn't match"):
        optimizer.load_state_dict(saved)
    with pytest.raises(
        ValueError, match=r"^load_state_dict: expected the keys 'state' and 'param_groups'; got \['state'\]$"
    ):
        optimizer.load_state_dict({"state": {}})
