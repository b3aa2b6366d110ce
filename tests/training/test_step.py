"""The planned step has the bits of the eager step: for any threads, seeds, batches and optimizers."""

from __future__ import annotations

import numpy as np
import pytest
from tests.training.steps import BATCH, ROWS, WIDTH, X, Y, adam, batches, eager_step, net, planned, run, state

import fastnn as fnn
from fastnn import nn, optim


def test_planned_and_fit_have_the_bits_of_the_eager_loop() -> None:
    weights, losses = run(how="eager")
    assert run(how="planned") == (weights, losses)
    assert run(how="fit")[0] == weights
    assert losses[-1] < losses[0]


def test_threads_change_no_bit() -> None:
    before = fnn.get_num_threads()
    try:
        seen = []
        for threads in (1, 2, 3, 7):
            fnn.set_num_threads(threads)
            seen += [run(how="planned"), (run(how="fit")[0], seen[0][1] if seen else run()[1])]
    finally:
        fnn.set_num_threads(before)
    assert all(result == seen[0] for result in seen)


def test_a_step_wide_enough_for_a_team_has_the_same_bits() -> None:
    x = np.random.default_rng(1).normal(size=(96, 200)).astype(np.float32)
    y = np.arange(96) % 10

    def weights(*, eager: bool) -> dict[str, bytes]:
        fnn.manual_seed(2)
        model = nn.Sequential(nn.Linear(200, 301), nn.BatchNorm1d(301), nn.GELU(), nn.Dropout(0.5), nn.Linear(301, 10))
        step = planned(model)
        for _ in range(4):
            if eager:
                eager_step(model, step.optimizer, x, y)
            else:
                step(x, y)
        assert step.reason is None
        return state(model)

    before = fnn.get_num_threads()
    try:
        fnn.set_num_threads(1)
        expected = weights(eager=True)
        for threads in (1, 2, 3, 7):
            fnn.set_num_threads(threads)
            assert weights(eager=False) == expected
            assert weights(eager=True) == expected
    finally:
        fnn.set_num_threads(before)


def test_the_seed_decides() -> None:
    def weights(seed: int) -> dict[str, bytes]:
        model = net()
        step = planned(model)
        fnn.manual_seed(seed)
        for rows in batches(6):
            step(X[rows], Y[rows])
        return state(model)

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


def test_a_second_seed_in_the_life_of_a_step() -> None:
    """A plan holds the seed; seeding again must be noticed, and give the first numbers again."""
    model = net()
    step = planned(model)
    step.optimizer.param_groups[0].update(lr=0.0, weight_decay=0.0)
    model[1].momentum = 1e-9
    runs = []
    for seed in (1, 1, 2, 1):
        fnn.manual_seed(seed)
        runs.append([step(X[rows], Y[rows]) for rows in batches(4)])
    assert runs[0] == runs[1] == runs[3] != runs[2]


def test_a_last_smaller_batch() -> None:
    order = np.arange(ROWS)
    eager, model, whole = net(), net(), net()
    optimizer, step, other = adam(eager), planned(model), planned(whole)
    for loop in ("eager", "planned", "run_batches"):
        fnn.manual_seed(5)
        for _ in range(3):
            if loop == "run_batches":
                losses = other.run_batches(X, Y, order, 0, 5, BATCH)
                assert len(losses) == 5
                continue
            for start in range(0, ROWS, BATCH):
                rows = slice(start, start + BATCH)
                if loop == "eager":
                    eager_step(eager, optimizer, X[rows], Y[rows])
                else:
                    step(X[rows], Y[rows])
    assert step.reason is None
    assert state(model) == state(eager) == state(whole)


def test_rows_in_any_order() -> None:
    order = np.random.default_rng(3).permutation(ROWS)
    model, by_hand = net(), net()
    step, optimizer = planned(model), adam(by_hand)
    fnn.manual_seed(5)
    losses = step.run_batches(X, Y, order, 1, 3, BATCH)
    fnn.manual_seed(5)
    expected = [
        eager_step(by_hand, optimizer, X[order[b * BATCH : (b + 1) * BATCH]], Y[order[b * BATCH : (b + 1) * BATCH]])
        for b in (1, 2, 3)
    ]
    assert losses.tolist() == expected
    assert state(model) == state(by_hand)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
        optim.Adagrad,
        optim.Adadelta,
        lambda p: optim.RMSprop(p, centered=True, momentum=0.5),
        lambda p: optim.Adam(p, amsgrad=True),
        lambda p: optim.Adam(p, weight_decay=0.1, decoupled_weight_decay=True),
        optim.AdamW,
        optim.Adamax,
        lambda p: optim.NAdam(p, weight_decay=0.1, decoupled_weight_decay=True),
        lambda p: optim.RAdam(p, betas=(0.8, 0.93)),
        optim.Rprop,
        lambda p: optim.ASGD(p, lr=0.1, lambd=0.1, t0=2),
        lambda p: optim.Lion(p, weight_decay=0.1),
    ],
)
def test_every_optimizer_in_a_plan(make: object) -> None:
    results = []
    for eager in (True, False):
        model = net()
        optimizer = make(model.parameters())
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
        fnn.manual_seed(5)
        for rows in batches(5):
            if eager:
                eager_step(model, optimizer, X[rows], Y[rows])
            else:
                step(X[rows], Y[rows])
        assert step.reason is None
        saved = optimizer.state_dict()["state"]
        results.append((state(model), {k: {n: t.numpy().tobytes() for n, t in v.items()} for k, v in saved.items()}))
    assert results[0] == results[1]


@pytest.mark.parametrize("make", [optim.NAdam, lambda p: optim.ASGD(p, lr=0.1, lambd=0.1, t0=2)])
def test_scalars_go_on_within_a_stretch_of_batches(make: object) -> None:
    order = np.random.default_rng(2).permutation(ROWS)
    results = []
    for at_once in (1, 4):
        model = net(p=0.0)
        optimizer = make(model.parameters())
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
        for first in range(0, 4, at_once):
            step.run_batches(X, Y, order, first, at_once, BATCH)
        saved = optimizer.state_dict()["state"]
        results.append((state(model), {k: {n: t.numpy().tobytes() for n, t in v.items()} for k, v in saved.items()}))
    assert step.reason is None
    assert results[0] == results[1]


def test_float64_and_a_regression() -> None:
    x, y = X.astype(np.float64)[:BATCH], X[:BATCH, :2].astype(np.float64)
    results = []
    for eager in (True, False):
        fnn.manual_seed(1)
        model = nn.Sequential(nn.Linear(WIDTH, 9), nn.SiLU(), nn.Linear(9, 2)).double()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        step = fnn.TrainStep(model, nn.MSELoss(), optimizer)
        results.append(
            [eager_step(model, optimizer, x, y, nn.MSELoss()) if eager else step(x, y) for _ in range(5)]
            + [state(model)]
        )
        assert step.reason is None
    assert results[0] == results[1]
