"""L-BFGS: its trajectory, minima of known functions, the irises, resuming, errors."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from tests.reference import closure_optim as reference

STEPS = 100
# Far from the defaults, so that a setting left unread shows. Where the sign of a rounding error would decide how often
# the loss is evaluated, no two implementations agree; so each stops before, or takes few steps at a time.
CASES: list[dict[str, Any]] = [
    {},
    {"line_search_fn": "strong_wolfe"},
    {"lr": 0.3, "max_iter": 1},
    {"lr": 0.1, "max_iter": 2, "history_size": 3},
    {"lr": 0.02, "max_iter": 3, "max_eval": 2, "maximize": True},
    {"lr": 20.0, "max_iter": 4, "max_eval": 5, "line_search_fn": "strong_wolfe", "tolerance_change": 1e-4},
    {"lr": 0.5, "max_iter": 2, "history_size": 2, "line_search_fn": "strong_wolfe", "maximize": True},
    {"lr": 0.2, "max_iter": 6, "tolerance_grad": 3e-2},
    {"lr": 0.2, "max_iter": 8, "tolerance_change": 2e-3},
    {"lr": 60.0, "max_iter": 10, "max_eval": 7, "line_search_fn": "strong_wolfe", "tolerance_change": 1e-5},
]
IDS = ["-".join(settings) or "defaults" for settings in CASES]

RNG = np.random.default_rng(3)
X = RNG.normal(size=(30, 6)) * (1, 2, 0.5, 1, 3, 1)
SIGNS = np.where(X @ RNG.normal(size=6) + RNG.normal(size=30) > 0, 1.0, -1.0)
START = RNG.normal(size=6)
PENALTY = 0.02


def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
    """Logistic regression with a penalty, which is strictly convex."""
    z = np.exp(-SIGNS * (X @ w))
    grad = X.T @ (-SIGNS * z / (1 + z)) / len(X) + PENALTY * w
    return float(np.log1p(z).mean() + PENALTY / 2 * w @ w), grad


def closure_of(library: Any, optimizer: Any, parts: list[Any], sign: float) -> Callable[[], Any]:
    a, b = library.tensor(X * -SIGNS[:, None]), parts

    def closure() -> Any:
        optimizer.zero_grad()
        w = library.cat([part.reshape(-1) for part in b])
        loss = sign * ((1 + (a @ w).exp()).log().mean() + PENALTY / 2 * (w * w).sum())
        loss.backward()
        return loss

    return closure


def trajectory(library: Any, settings: dict[str, Any], steps: int = STEPS) -> tuple[list[np.ndarray], Any, Any]:
    parts = [library.tensor(START[:4].reshape(2, 2), requires_grad=True), library.tensor(START[4:], requires_grad=True)]
    optimizer = library.optim.LBFGS(parts, **settings)
    closure = closure_of(library, optimizer, parts, -1.0 if settings.get("maximize") else 1.0)
    path = []
    for _ in range(steps):
        optimizer.step(closure)
        path.append(np.concatenate([part.detach().numpy().ravel() for part in parts]))
    return path, optimizer, closure


@pytest.mark.parametrize("settings", CASES, ids=IDS)
def test_trajectory_is_the_reference(settings: dict[str, Any]) -> None:
    sign = -1.0 if settings.get("maximize") else 1.0
    evaluations = 0

    def counted(w: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal evaluations
        evaluations += 1
        loss, grad = objective(w)
        return sign * loss, sign * grad

    expected = reference.lbfgs(START, counted, STEPS, **settings)
    path, optimizer, _ = trajectory(fnn, settings)
    assert optimizer.state_dict()["state"][0]["func_evals"] == evaluations
    for found, wanted in zip(path, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    assert np.linalg.norm(expected[-1] - START) > 0.1


@pytest.mark.parametrize("settings", CASES, ids=IDS)
def test_trajectory_is_torchs(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    try:
        expected, theirs, _ = trajectory(torch, settings)
    except TypeError:
        pytest.skip("this PyTorch's LBFGS does not maximize")
    found, ours, _ = trajectory(fnn, settings)
    for mine, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-6)
    state, wanted_state = ours.state_dict()["state"][0], theirs.state_dict()["state"][0]
    assert set(wanted_state) - {"al"} == set(state)
    assert state["n_iter"] == wanted_state["n_iter"]
    assert state["func_evals"] == wanted_state["func_evals"]


def test_torchs_state_is_gone_on_from() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    settings = {"max_iter": 2, "line_search_fn": "strong_wolfe"}
    _, theirs, their_closure = trajectory(torch, settings, 3)
    _, ours, closure = trajectory(fnn, settings, 1)
    with fnn.no_grad():
        for mine, other in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
            mine.copy_(other.detach().numpy())
    ours.load_state_dict(theirs.state_dict())
    for _ in range(3):
        ours.step(closure)
        theirs.step(their_closure)
    for mine, other in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-9, atol=1e-9)


def test_a_short_step_down_a_steep_slope_is_the_last() -> None:
    p = fnn.tensor(np.array([1.0]), requires_grad=True)
    optimizer = optim.LBFGS([p], lr=1e-4, tolerance_change=1e-3)

    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = 1000 * (p * p).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert optimizer.state[p]["n_iter"] == 1
    assert p.item() == pytest.approx(1 - 1e-4)


def rosenbrock(p: fnn.Tensor) -> fnn.Tensor:
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def beale(p: fnn.Tensor) -> fnn.Tensor:
    return sum((c - p[0] + p[0] * p[1] ** power) ** 2 for power, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


@pytest.mark.parametrize(
    ("function", "start", "minimum"),
    [
        (rosenbrock, (-1.2, 1.0), (1.0, 1.0)),
        (rosenbrock, (-3.0, -4.0), (1.0, 1.0)),
        (beale, (1.0, 1.0), (3.0, 0.5)),
        (beale, (0.0, -1.0), (3.0, 0.5)),
    ],
)
def test_strong_wolfe_finds_the_minimum(
    function: Callable[[fnn.Tensor], fnn.Tensor], start: tuple[float, float], minimum: tuple[float, float]
) -> None:
    p = fnn.tensor(np.array(start), requires_grad=True)
    optimizer = optim.LBFGS(
        [p], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-10, tolerance_change=1e-16
    )
    evaluations = 0

    def closure() -> fnn.Tensor:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = function(p)
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), minimum, atol=1e-8)
    # Steepest descent takes thousands.
    assert evaluations < 100
    assert optimizer.state[p]["func_evals"] == evaluations


# The irises. What SciPy 1.17 reaches after 200 iterations, by the seed of the start:
#     minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B",
#              options={"maxiter": 200, "maxfun": 100000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 10}).fun
SCIPYS_LOSS = {0: 0.171361, 1: 0.171244, 2: 0.171253, 3: 0.171374}
SHAPES = [(16, 4), (16,), (16, 16), (16,), (3, 16), (3,)]
DECAY = 0.01


def irises() -> tuple[np.ndarray, np.ndarray]:
    with (Path(__file__).parents[2] / "data" / "iris.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    x = np.array([[float(value) for value in row[:4]] for row in rows])
    species = sorted({row[4] for row in rows})
    return (x - x.mean(0)) / x.std(0), np.array([species.index(row[4]) for row in rows])


def first_weights(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, shape) / math.sqrt(shape[-1] if len(shape) == 2 else 16) for shape in SHAPES]


def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
    """Cross-entropy of the net 4-16-16-3 with tanh, plus the penalty, and its gradient."""
    x, y = irises()
    ends = np.cumsum([math.prod(shape) for shape in SHAPES])
    w1, b1, w2, b2, w3, b3 = (p.reshape(s) for p, s in zip(np.split(flat, ends[:-1]), SHAPES, strict=True))
    h1 = np.tanh(x @ w1.T + b1)
    h2 = np.tanh(h1 @ w2.T + b2)
    logits = h2 @ w3.T + b3
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    d3 = (np.exp(log_p) - np.eye(3)[y]) / len(y)
    d2 = d3 @ w3 * (1 - h2**2)
    d1 = d2 @ w2 * (1 - h1**2)
    grads = [d1.T @ x, d1.sum(0), d2.T @ h1, d2.sum(0), d3.T @ h2, d3.sum(0)]
    loss = -log_p[np.arange(len(y)), y].mean() + DECAY / 2 * flat @ flat
    return float(loss), np.concatenate([g.ravel() for g in grads]) + DECAY * flat


def reached(seed: int) -> tuple[float, np.ndarray]:
    x, y = irises()
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    with fnn.no_grad():
        for parameter, value in zip(model.parameters(), first_weights(seed), strict=True):
            parameter.copy_(value)
    params = list(model.parameters())
    optimizer = optim.LBFGS(
        params, max_iter=200, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=0
    )
    x, y = fnn.tensor(x), fnn.tensor(y)

    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y) + DECAY / 2 * sum((p * p).sum() for p in params)
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item(), np.concatenate([p.detach().numpy().ravel() for p in params])


@pytest.mark.parametrize("seed", sorted(SCIPYS_LOSS))
def test_irises_reach_the_loss_of_scipy(seed: int) -> None:
    loss, weights = reached(seed)
    assert loss == pytest.approx(loss_and_gradient(weights)[0], rel=1e-9)
    assert loss == pytest.approx(SCIPYS_LOSS[seed], rel=0.01)


def test_scipys_loss_is_what_stands_here() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    start = np.concatenate([p.ravel() for p in first_weights(1)])
    options = {"maxiter": 200, "maxfun": 100000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 10}
    theirs = optimize.minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options).fun
    assert theirs == pytest.approx(SCIPYS_LOSS[1], rel=1e-3)
    assert reached(1)[0] == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("settings", CASES, ids=IDS)
def test_resuming_gives_the_same_bits(settings: dict[str, Any]) -> None:
    whole = trajectory(fnn, settings, 9)[0][-1]
    _, first, _ = trajectory(fnn, settings, 4)
    parts = [fnn.tensor(p.detach(), requires_grad=True) for p in first.param_groups[0]["params"]]
    second = optim.LBFGS(parts, lr=7.0)
    second.load_state_dict(first.state_dict())
    closure = closure_of(fnn, second, parts, -1.0 if settings.get("maximize") else 1.0)
    for _ in range(5):
        second.step(closure)
    np.testing.assert_array_equal(np.concatenate([p.detach().numpy().ravel() for p in parts]), whole)


def test_a_state_that_does_not_fit_is_refused() -> None:
    _, optimizer, _ = trajectory(fnn, {"max_iter": 2}, 2)
    saved = optimizer.state_dict()
    state = saved["state"][0]
    for change, message in (
        ({"d": fnn.zeros(5)}, "load_state_dict: expected 'd' of parameter 0 of shape (6,); got (5,)"),
        ({"old_dirs": [fnn.zeros(2)]}, "load_state_dict: expected 'old_dirs' of parameter 0 of shape (6,); got (2,)"),
        ({"ro": None}, "load_state_dict: expected 'ro' in the state of parameter 0"),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            optimizer.load_state_dict({**saved, "state": {0: {**state, **change}}})
        assert str(error.value) == message


def test_float32_and_float64_side_by_side() -> None:
    a = fnn.tensor(np.array([2.0, -3.0], np.float32), requires_grad=True)
    b = fnn.tensor(np.array([[5.0]]), requires_grad=True)
    optimizer = optim.LBFGS([a, b], line_search_fn="strong_wolfe")

    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = (a * a).sum().double() + 3 * ((b - 1) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(a.detach().numpy(), 0.0, atol=1e-4)
    np.testing.assert_allclose(b.detach().numpy(), 1.0, atol=1e-4)


def test_a_parameter_without_gradient_stays() -> None:
    a, b = fnn.ones(2, requires_grad=True), fnn.ones(3, requires_grad=True)
    optimizer = optim.LBFGS([b, a])

    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss

    with fnn.no_grad():
        assert optimizer.step(closure).item() == 2.0
    assert b.tolist() == [1.0] * 3
    assert float(abs(a).max()) < 1e-5


def test_a_closure_that_raises_changes_nothing() -> None:
    p = fnn.tensor(np.array([-1.2, 1.0]), requires_grad=True)
    optimizer = optim.LBFGS([p], max_iter=30, line_search_fn="strong_wolfe")
    calls = 0

    def closure() -> fnn.Tensor:
        nonlocal calls
        calls += 1
        if calls in {9, 17}:
            raise KeyboardInterrupt
        optimizer.zero_grad()
        loss = rosenbrock(p)
        loss.backward()
        return loss

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert p.tolist() == [-1.2, 1.0]
    assert optimizer.state_dict()["state"] == {}
    optimizer.param_groups[0]["max_iter"] = 2
    optimizer.step(closure)
    before, saved = p.tolist(), optimizer.state_dict()["state"][0]
    optimizer.param_groups[0]["max_iter"] = 30
    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert p.tolist() == before
    after = optimizer.state_dict()["state"][0]
    assert after["n_iter"] == saved["n_iter"] == 2
    assert len(after["ro"]) == len(saved["ro"])


@pytest.mark.parametrize("wall", [math.nan, math.inf])
def test_the_line_search_comes_back_from_where_the_loss_is_not_finite(wall: float) -> None:
    p = fnn.tensor(np.array([0.5]), requires_grad=True)
    optimizer = optim.LBFGS([p], lr=100.0, max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = ((p - 2) ** 2).sum()
        if abs(p.item()) > 3:
            loss = loss * wall
        loss.backward()
        return loss

    optimizer.step(closure)
    assert p.item() == pytest.approx(2.0, abs=1e-6)


def test_the_loss_may_be_a_number() -> None:
    p = fnn.tensor([3.0], requires_grad=True)
    optimizer = optim.LBFGS([p], max_iter=5)

    def closure() -> float:
        p.grad = 2 * p.detach()
        return float(p.item() ** 2)

    assert optimizer.step(closure) == 9.0
    assert abs(p.item()) < 1.0


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"lr": -1.0}, ValueError, "LBFGS: expected lr of at least 0; got -1"),
    ({"max_iter": 0}, ValueError, "LBFGS: expected max_iter of at least 1; got 0"),
    ({"max_iter": 2.5}, TypeError, "LBFGS: expected max_iter to be an int; got 2.5"),
    ({"max_eval": 0}, ValueError, "LBFGS: expected max_eval of at least 1; got 0"),
    ({"tolerance_grad": -1e-3}, ValueError, "LBFGS: expected tolerance_grad of at least 0; got -0.001"),
    ({"tolerance_change": math.nan}, ValueError, "LBFGS: expected tolerance_change of at least 0; got nan"),
    ({"history_size": 0}, ValueError, "LBFGS: expected history_size of at least 1; got 0"),
    (
        {"line_search_fn": "armijo"},
        ValueError,
        "LBFGS: expected line_search_fn to be None or 'strong_wolfe'; got 'armijo'",
    ),
]


@pytest.mark.parametrize(("settings", "kind", "message"), BAD)
def test_bad_settings(settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        optim.LBFGS([fnn.zeros(2, requires_grad=True)], **settings)
    assert str(error.value) == message


def test_one_group_only() -> None:
    a, b = fnn.zeros(2, requires_grad=True), fnn.zeros(2, requires_grad=True)
    message = r"^LBFGS doesn't support per-parameter options \(parameter groups\)$"
    with pytest.raises(ValueError, match=message):
        optim.LBFGS([{"params": [a]}, {"params": [b]}])
    with pytest.raises(ValueError, match=message):
        optim.LBFGS([a]).add_param_group({"params": [b]})


def test_no_closure_no_arrays() -> None:
    p = fnn.zeros(2, requires_grad=True)
    message = r"^LBFGS\.step: expected a closure that computes the loss and its gradients; got None$"
    with pytest.raises(TypeError, match=message):
        optim.LBFGS([p]).step()
    with pytest.raises(TypeError, match=r"^LBFGS\.step: expected no grads, as the closure computes them$"):
        optim.LBFGS([p]).step(lambda: 0.0, grads=[np.zeros(2)])
    with pytest.raises(TypeError, match=r"^LBFGS: expected tensors, whose gradients the closure makes; got arrays$"):
        optim.LBFGS([np.zeros(2)])
