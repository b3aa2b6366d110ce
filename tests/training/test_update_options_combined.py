"""Penalties, clipping, noise, max-norm and averages together with micro-batches and with optimizers that take a closure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.reference import update_options as reference
from tests.training.test_update_options import (
    BATCH,
    OUT,
    SETTINGS,
    STEPS,
    WIDTH,
    X,
    Y,
    eagerly,
    expected,
    rows,
    small_net,
    values,
)

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import penalties

WITHOUT_NOISE = {
    name: {key: value for key, value in settings.items() if key != "grad_noise"}
    for name, settings in SETTINGS.items()
    if name not in {"none", "noise"}
}
EACH = pytest.mark.parametrize("settings", WITHOUT_NOISE.values(), ids=WITHOUT_NOISE)


# Micro-batches: gradients add up before anything is done to them, and the penalty counts once.


@EACH
@pytest.mark.parametrize("planned", [True, False], ids=["planned", "eager"])
def test_accumulated_trajectory_is_the_reference(settings: dict[str, Any], planned: bool) -> None:
    model = small_net()
    # 32 = 7 + 7 + 7 + 7 + 4.
    step = fnn.TrainStep(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), accumulate=5, **settings)
    take = step if planned else eagerly(step)
    losses = [take(X[rows(t)], Y[rows(t)]) for t in range(STEPS)]
    assert step.reason is None
    expected_losses, params, averages = expected(settings)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-10)
    for found, wanted in zip(values(model.parameters()), params, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    if "ema" in settings:
        for found, wanted in zip(values(step.averages().values()), averages, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_accumulated_noise_is_drawn_once_an_update() -> None:
    found = []
    for accumulate, planned in [(1, True), (5, True), (5, False)]:
        model = small_net()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        step = fnn.TrainStep(model, nn.MSELoss(), optimizer, accumulate=accumulate, **SETTINGS["all"])
        take = step if planned else eagerly(step)
        fnn.manual_seed(11)
        for t in range(STEPS):
            take(X[rows(t)], Y[rows(t)])
        found.append(values(model.parameters()) + values(step.averages().values()))
    whole, planned_parts, eager_parts = found
    for one, part, eager in zip(whole, planned_parts, eager_parts, strict=True):
        np.testing.assert_allclose(part, one, rtol=1e-9, atol=1e-12)
        assert part.tobytes() == eager.tobytes()


# Closures: every gradient that the optimizer asks for is that of the penalized loss, clipped.


def treated_gradients(params: list[np.ndarray], t: int, settings: dict[str, Any]) -> tuple[float, list[np.ndarray]]:
    """The loss and what is left of its gradients."""
    loss, grads = reference.net_gradients(params, X[rows(t)], Y[rows(t)])
    penalty = settings.get("penalty")
    if penalty is not None:
        for i in (0, 2):
            loss += reference.penalty(params[i], strength=penalty.strength, p=penalty.p)
            grads[i] = grads[i] + reference.penalty_grad(params[i], strength=penalty.strength, p=penalty.p)
    if "clip_grad_value" in settings:
        grads = reference.clip_value(grads, settings["clip_grad_value"])
    if "clip_grad_norm" in settings:
        grads = reference.clip_norm(grads, settings["clip_grad_norm"])
    return loss, grads


def own_loop(
    make: Callable[[Any], Any], settings: dict[str, Any], steps: int
) -> tuple[list[float], list[np.ndarray], list[np.ndarray]]:
    """Losses, parameters and averages of a loop whose closure leaves the reference's gradients."""
    leaves = [fnn.tensor(p, requires_grad=True) for p in values(small_net().parameters())]
    optimizer = make(leaves)
    averages = [np.zeros_like(p) for p in values(leaves)]
    losses: list[float] = []
    for t in range(steps):
        seen = []

        def closure(t: int = t, seen: list[float] = seen) -> fnn.Tensor:
            loss, grads = treated_gradients(values(leaves), t, settings)
            for leaf, grad in zip(leaves, grads, strict=True):
                leaf.grad = fnn.tensor(grad)
            seen.append(loss)
            return fnn.tensor(loss, dtype=fnn.float64)

        optimizer.step(closure)
        losses.append(seen[0])
        if "max_norm" in settings:
            with fnn.no_grad():
                for i in (0, 2):
                    leaves[i].copy_(fnn.tensor(reference.max_norm(values(leaves)[i], settings["max_norm"])))
        decay = settings.get("ema", 0.0) if t else 0.0
        averages = [decay * a + (1 - decay) * p for a, p in zip(averages, values(leaves), strict=True)]
    return losses, values(leaves), averages


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "LBFGS": lambda p: optim.LBFGS(p, lr=0.3, max_iter=3),
    "LBFGS, strong Wolfe": lambda p: optim.LBFGS(p, max_iter=4, line_search_fn="strong_wolfe"),
    "SAM": lambda p: optim.SAM(optim.SGD(p, lr=0.1, momentum=0.5), rho=0.2),
    "Nesterov": lambda p: optim.Nesterov(p, lr=0.1, momentum=0.7),
}
# L-BFGS multiplies rounding from step to step.
FEW = 3
COMBINED: dict[str, dict[str, Any]] = {
    "penalty": {"penalty": penalties.Lp(0.02, 1.3)},
    "value": {"clip_grad_value": 0.004},
    "norm": {"clip_grad_norm": 0.1},
    "max-norm": {"max_norm": 0.4},
    "ema": {"ema": 0.8},
    "all": {
        "penalty": penalties.Lp(0.02, 1.3),
        "clip_grad_value": 0.01,
        "clip_grad_norm": 0.1,
        "max_norm": 0.4,
        "ema": 0.8,
    },
}


@pytest.mark.parametrize("accumulate", [1, 5])
@pytest.mark.parametrize("settings", COMBINED.values(), ids=COMBINED)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_closures_see_the_treated_gradients(name: str, settings: dict[str, Any], accumulate: int) -> None:
    model = small_net()
    optimizer = OPTIMIZERS[name](model.parameters())
    step = fnn.TrainStep(model, nn.MSELoss(), optimizer, accumulate, **settings)
    losses = [step(X[rows(t)], Y[rows(t)]) for t in range(FEW)]
    assert step.reason == optimizer._not_planned
    expected_losses, params, averages = own_loop(OPTIMIZERS[name], settings, FEW)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-7)
    for found, wanted in zip(values(model.parameters()), params, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)
    if "ema" in settings:
        for found, wanted in zip(values(step.averages().values()), averages, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)


def test_what_is_combined_acts() -> None:
    # A loop that leaves out what the step leaves out would not notice.
    for name, make in OPTIMIZERS.items():
        plain = own_loop(make, {}, FEW)
        for kind, settings in COMBINED.items():
            _, params, averages = own_loop(make, settings, FEW)
            changed = averages if kind == "ema" else params
            assert not np.allclose(changed[0], plain[1][0], rtol=1e-4), (name, kind)


def test_noise_in_a_closure_is_that_of_a_plain_step() -> None:
    # Without momentum Nesterov's look-ahead point is where one is, and the step is gradient descent's.
    found = []
    for make in (lambda p: optim.SGD(p, lr=0.1), lambda p: optim.Nesterov(p, lr=0.1, momentum=0.0)):
        model = small_net()
        step = fnn.TrainStep(model, nn.MSELoss(), make(model.parameters()), grad_noise=(0.3, 0.7))
        fnn.manual_seed(11)
        for t in range(STEPS):
            step(X[rows(t)], Y[rows(t)])
        found.append(values(model.parameters()))
    for plain, closure in zip(*found, strict=True):
        np.testing.assert_allclose(closure, plain, rtol=1e-10, atol=1e-13)


def test_noise_is_new_at_every_evaluation() -> None:
    # The gradient of (w · 0).sum() is 0, so that SAM sees nothing but noise: twice a step.
    model = nn.Linear(WIDTH, OUT, bias=False).double()
    seen: list[np.ndarray] = []

    class Watched(optim.SAM):
        def step(self, closure: Any = None) -> Any:
            def watched() -> fnn.Tensor:
                loss = closure()
                seen.append(model.weight.grad.numpy().copy())
                return loss

            return super().step(watched)

    optimizer = Watched(optim.SGD(model.parameters(), lr=0.1))
    step = fnn.TrainStep(model, lambda out, y: (out * 0.0).sum() + y.sum() * 0.0, optimizer, grad_noise=(0.25, 0.0))
    fnn.manual_seed(5)
    step(X[:BATCH], Y[:BATCH])
    assert len(seen) == 2
    assert not np.array_equal(*seen)
    both = np.concatenate([grad.ravel() for grad in seen])
    assert both.std() == pytest.approx(0.5, rel=5 / np.sqrt(2 * both.size))


# Refused arguments


def test_accumulate_takes_no_sample_weight() -> None:
    model = small_net()
    before = values(model.parameters())
    message = r"^TrainStep: expected accumulate of 1 with sample_weight; got 2$"
    for make in (optim.SGD, OPTIMIZERS["SAM"], OPTIMIZERS["LBFGS"]):
        step = fnn.TrainStep(model, nn.MSELoss(), make(model.parameters()), 2, **COMBINED["all"])
        with pytest.raises(ValueError, match=message):
            step(X, Y, np.ones(len(X)))
    trainer = fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters()), accumulate=2, ema=0.5)
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, Y, sample_weight=np.ones(len(X)), epochs=1, verbose=False)
    for now, old in zip(values(model.parameters()), before, strict=True):
        assert now.tobytes() == old.tobytes()


@pytest.mark.parametrize("settings", [{}, {"accumulate": 3}, COMBINED["all"]], ids=["plain", "accumulate", "all"])
def test_newton_steps_by_itself(settings: dict[str, Any]) -> None:
    model = small_net()
    optimizer: Any = optim.Newton(model.parameters())
    message = r"^TrainStep: expected an optimizer that steps by gradients; got Newton: call its step instead$"
    for make in (fnn.TrainStep, fnn.Trainer):
        with pytest.raises(TypeError, match=message):
            make(model, nn.MSELoss(), optimizer, **settings)
