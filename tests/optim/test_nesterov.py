"""Nesterov: the formulas of 1983 and of Sutskever et al. 2013, the look-ahead point, and SGD's form of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

# A bowl of several curvatures, with its lowest point off the origin.
CURVATURE = np.array([1.0, 3.0, 10.0, 0.2, 7.0])
LOWEST = np.array([0.5, -1.0, 2.0, 3.0, 0.0])
START = np.array([2.0, -3.0, 0.7, -0.4, 1.1])
STEPS = 100


def gradient(point: np.ndarray) -> np.ndarray:
    return CURVATURE * (point - LOWEST)


def loss_of(param: fnn.Tensor) -> fnn.Tensor:
    return (fnn.tensor(CURVATURE) * (param - fnn.tensor(LOWEST)) ** 2).sum() / 2


def walk(settings: list[tuple[float, float]], weight_decay: float = 0.0) -> list[np.ndarray]:
    """The parameter after each step, with this rate and momentum at each."""
    param = fnn.tensor(START, requires_grad=True)
    optimizer = optim.Nesterov([param], lr=1.0, momentum=0.1, weight_decay=weight_decay)
    path = []

    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = loss_of(param)
        loss.backward()
        return loss

    for lr, momentum in settings:
        optimizer.param_groups[0].update(lr=lr, momentum=momentum)
        optimizer.step(closure)
        path.append(param.detach().numpy().copy())
    return path


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_is_sutskever_et_al(weight_decay: float) -> None:
    """v' = mu v - e grad(x + mu v); x' = x + v'."""
    lr, momentum = 0.07, 0.8
    x, v = START.copy(), np.zeros(5)
    for found in walk([(lr, momentum)] * STEPS, weight_decay):
        ahead = x + momentum * v
        v = momentum * v - lr * (gradient(ahead) + weight_decay * ahead)
        x = x + v
        np.testing.assert_allclose(found, x, rtol=1e-12, atol=1e-12)


def test_is_nesterov_1983() -> None:
    """Its points are those of the first method, whose momentum grows from 0: x' = y - grad(y) / L; y = x + mu (x - x')."""
    a = [1.0]
    for _ in range(STEPS):
        a.append((1 + np.sqrt(4 * a[-1] ** 2 + 1)) / 2)
    momenta = [0.0, *((now - 1) / after for now, after in pairwise(a))]
    rate = 1 / CURVATURE.max()
    x, y = START, START
    for i, found in enumerate(walk([(rate, momentum) for momentum in momenta[:STEPS]])):
        previous, x = x, y - rate * gradient(y)
        y = x + momenta[i + 1] * (x - previous)
        np.testing.assert_allclose(found, x, rtol=1e-12, atol=1e-12)
    value = (CURVATURE * (x - LOWEST) ** 2).sum() / 2
    assert value <= 2 * CURVATURE.max() * ((START - LOWEST) ** 2).sum() / (STEPS + 1) ** 2  # the theorem's bound


def test_look_ahead_points_are_sgds_parameters() -> None:
    lr, momentum = 0.07, 0.8
    ours, theirs = fnn.tensor(START, requires_grad=True), fnn.tensor(START, requires_grad=True)
    true, reformulated = optim.Nesterov([ours], lr, momentum), optim.SGD([theirs], lr, momentum, nesterov=True)
    for _ in range(STEPS):
        with true.look_ahead():
            np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
            true.zero_grad()
            loss_of(ours).backward()
        true.step()
        reformulated.zero_grad()
        loss_of(theirs).backward()
        reformulated.step()
    assert np.abs(ours.detach().numpy() - theirs.detach().numpy()).max() > 1e-6


def test_parameters_come_back_bit_for_bit_also_after_an_error() -> None:
    param, array = fnn.tensor(START, requires_grad=True), START[::2].copy()
    optimizer = optim.Nesterov([param], lr=0.3), optim.Nesterov([array], lr=0.3)
    for one in optimizer:
        with one.look_ahead():
            pass
    optimizer[0].step(grads=[gradient(START)])
    optimizer[1].step(grads=[gradient(START)[::2]])
    before = param.detach().numpy().copy(), array.copy()

    def fail() -> None:
        assert (param.detach().numpy() != before[0]).any()
        raise KeyError("as a closure may")

    with pytest.raises(KeyError):
        optimizer[0].step(fail)
    with optimizer[1].look_ahead():
        assert (array != before[1]).any()
    np.testing.assert_array_equal(param.detach().numpy(), before[0])
    np.testing.assert_array_equal(array, before[1])
    neither = r"^Nesterov\.step: expected a closure, or gradients taken within look_ahead\(\); got neither$"
    with pytest.raises(RuntimeError, match=neither):
        optimizer[0].step()


def test_arrays_walk_as_tensors_do() -> None:
    array = START.copy()
    optimizer = optim.Nesterov([array], lr=0.05, momentum=0.7, weight_decay=0.1)
    for expected in walk([(0.05, 0.7)] * 20, weight_decay=0.1):
        with optimizer.look_ahead():
            grad = gradient(array)
        optimizer.step(grads=[grad])
        np.testing.assert_allclose(array, expected, rtol=1e-12)


def test_maximizing_climbs_what_minimizing_descends() -> None:
    down, up = START.copy(), START.copy()
    optimizers = optim.Nesterov([down], lr=0.05), optim.Nesterov([up], lr=0.05, maximize=True)
    for _ in range(10):
        for array, optimizer, sign in zip((down, up), optimizers, (1, -1), strict=True):
            with optimizer.look_ahead():
                grad = sign * gradient(array)
            optimizer.step(grads=[grad])
    np.testing.assert_array_equal(down, up)


def test_wrong_order_is_named() -> None:
    optimizer = optim.Nesterov([START.copy()])
    within = r"^Nesterov\.step: expected to be called after look_ahead\(\); it was called within$"
    again = r"^Nesterov\.look_ahead: expected to be left before it is entered again$"
    with optimizer.look_ahead():
        with pytest.raises(RuntimeError, match=within):
            optimizer.step(grads=[START])
        with pytest.raises(RuntimeError, match=again), optimizer.look_ahead():
            pass


def test_resuming_gives_the_same_bits() -> None:
    whole, part = START.copy(), START.copy()
    first, second = optim.Nesterov([whole], lr=0.05), optim.Nesterov([part], lr=0.05)
    for step in range(12):
        if step == 5:
            part = part.copy()
            saved, second = second.state_dict(), optim.Nesterov([part], lr=3.0)
            second.load_state_dict(saved)
        for array, optimizer in ((whole, first), (part, second)):
            with optimizer.look_ahead():
                grad = gradient(array)
            optimizer.step(grads=[grad])
    np.testing.assert_array_equal(whole, part)


def test_train_step_looks_ahead() -> None:
    """Eagerly, as the reason says, and at the look-ahead point."""
    x, y = np.random.default_rng(0).normal(size=(2, 16, 3)).astype(np.float32)
    results = []
    for by_hand in (True, False):
        fnn.manual_seed(1)
        model = nn.Linear(3, 3)
        optimizer = optim.Nesterov(model.parameters(), lr=0.1, momentum=0.8)
        step = fnn.TrainStep(model, nn.MSELoss(), optimizer)
        for _ in range(5):
            if by_hand:
                with optimizer.look_ahead():
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(fnn.tensor(x)), fnn.tensor(y)).backward()
                optimizer.step()
            else:
                step(x, y)
        results.append(model.weight.detach().numpy().copy())
    np.testing.assert_array_equal(*results)
    assert step.reason == "Nesterov takes the gradient at another point than the parameters'"
