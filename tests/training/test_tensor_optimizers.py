"""TrainStep and Trainer with the optimizers that cannot be planned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 5)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(np.int64)


def net() -> nn.Sequential:
    fnn.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 2))


def matrices(model: nn.Module) -> list[fnn.Tensor]:
    return [p for p in model.parameters() if p.ndim == 2]


CASES: list[tuple[Callable[[nn.Module], optim.Optimizer], str]] = [
    (
        lambda m: optim.LBFGS(m.parameters(), max_iter=5, line_search_fn="strong_wolfe"),
        "LBFGS evaluates the loss several times a step",
    ),
    (lambda m: optim.LBFGS(m.parameters(), lr=0.2, max_iter=3), "LBFGS evaluates the loss several times a step"),
    (lambda m: optim.SAM(optim.Adam(m.parameters(), lr=0.02)), "SAM evaluates the gradient twice a step"),
    (lambda m: optim.Muon(matrices(m), lr=0.05), "Muon updates whole matrices, in Python"),
    (lambda m: optim.Adafactor(m.parameters(), lr=0.1), "Adafactor updates whole matrices, in Python"),
]
IDS = ["LBFGS-strong_wolfe", "LBFGS", "SAM", "Muon", "Adafactor"]


@pytest.mark.parametrize(("make", "reason"), CASES, ids=IDS)
def test_fit_learns_and_says_why_it_is_not_planned(make: Callable[[nn.Module], Any], reason: str) -> None:
    model = net()
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), make(model), metrics=["accuracy"])
    history = trainer.fit(X, Y, epochs=80, batch_size=90, verbose=False)
    assert trainer.step.reason == reason
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert history["accuracy"][-1] > 0.85


@pytest.mark.parametrize(("make", "reason"), CASES, ids=IDS)
def test_a_step_is_that_of_ones_own_loop(make: Callable[[nn.Module], Any], reason: str) -> None:
    ours, own = net(), net()
    loss_function = nn.CrossEntropyLoss()
    step, optimizer = fnn.TrainStep(ours, loss_function, make(ours)), make(own)
    for start in (0, 30, 60):
        x, y = X[start : start + 30], Y[start : start + 30]

        def closure(x: np.ndarray = x, y: np.ndarray = y) -> fnn.Tensor:
            loss = loss_function(own(fnn.tensor(x)), fnn.tensor(y))
            optimizer.zero_grad()
            loss.backward()
            return loss

        before = loss_function(own(fnn.tensor(x)), fnn.tensor(y)).item()
        assert step(x, y) == before
        assert all(p.grad is None for group in step.optimizer.param_groups for p in group["params"])
        optimizer.step(closure)
    for a, b in zip(ours.parameters(), own.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize(("make", "reason"), CASES, ids=IDS)
def test_a_loss_that_is_not_finite_changes_nothing(make: Callable[[nn.Module], Any], reason: str) -> None:
    model = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.Linear(12, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = X.copy()
    x[7, 3] = np.nan
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), make(model))
    message = r"^Trainer\.fit: the loss is nan in epoch 0, batch 0: row 7 of x holds a value that is not finite$"
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, Y, epochs=1, batch_size=90, shuffle=False, verbose=False)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())
    assert trainer.optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("index", [0, 2], ids=["LBFGS", "SAM"])
def test_an_error_in_the_second_evaluation_changes_nothing(index: int) -> None:
    model = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.Linear(12, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = 0

    def loss(output: fnn.Tensor, target: fnn.Tensor) -> fnn.Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(output, target)

    step = fnn.TrainStep(model, loss, CASES[index][0](model))
    with pytest.raises(KeyboardInterrupt):
        step(X, Y)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())
