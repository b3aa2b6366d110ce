"""Steps that cannot be planned, and refusals that change nothing."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.training.steps import (
    BATCH,
    CLASSES,
    ROWS,
    WIDTH,
    Wrapped,
    X,
    Y,
    adam,
    batches,
    changed,
    eager_step,
    net,
    planned,
    state,
)

import fastnn as fnn
from fastnn import nn


class Cube(fnn.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: fnn.Tensor) -> fnn.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: object, grad: fnn.Tensor) -> fnn.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (Cube.apply, "autograd.Function Cube is defined in Python"),
        (lambda h: h * h.sum().item(), "values were read by item()"),
        (lambda h: h if h.sum() > 0 else -h, "values were read by bool()"),
        (lambda h: h * float(h.max()), "values were read by float()"),
        (lambda h: h + np.asarray(h.detach()), "values were read by __array__()"),
        (lambda h: h + h.detach().numpy(), "values were read by numpy()"),
        (lambda h: h * np.arange(CLASSES, dtype=np.float32), "a tensor was made of values in Python"),
    ],
)
def test_reasons(function: object, reason: str) -> None:
    model, by_hand = Wrapped(function), Wrapped(function)
    step, optimizer = planned(model), adam(by_hand)
    for rows in batches(3):
        assert step(X[rows], Y[rows]) == eager_step(by_hand, optimizer, X[rows], Y[rows])
        assert step.reason is not None
        assert reason in step.reason
    assert state(model) == state(by_hand)


def test_hooks_run_at_every_step() -> None:
    model, seen = net(), []
    step = planned(model)
    step(X[:BATCH], Y[:BATCH])
    handle = model[2].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    for _ in range(2):
        step(X[:BATCH], Y[:BATCH])
    assert len(seen) == 2
    assert step.reason == "2 has forward hooks"
    handle.remove()
    step(X[:BATCH], Y[:BATCH])
    assert (len(seen), step.reason) == (2, None)


def test_an_attribute_that_forward_counts() -> None:
    class Counting(nn.Linear):
        calls = 0

        def forward(self, input: fnn.Tensor) -> fnn.Tensor:
            self.calls += 1
            return super().forward(input)

    model = Counting(WIDTH, CLASSES)
    step = planned(model)
    for _ in range(4):
        step(X[:BATCH], Y[:BATCH])
    assert model.calls == 4
    assert step.reason == "forward changes attributes of a module"


def test_labels_out_of_range_change_nothing() -> None:
    for first in (False, True):
        model = net()
        step = planned(model)
        if not first:
            for rows in batches(2):
                step(X[rows], Y[rows])
        before, bad = state(model), Y[:BATCH].copy()
        bad[7] = CLASSES
        message = "cross_entropy: expected labels in [0, 5) or ignore_index -100; got 5 at position 7"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            step(X[:BATCH], bad)
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            step.run_batches(X[:BATCH], bad, np.arange(BATCH), 0, 1, BATCH)
        assert changed(before, model) <= (
            {"1.running_mean", "1.running_var", "1.num_batches_tracked"} if first else set()
        )
        step(X[:BATCH], Y[:BATCH])
        assert step.reason is None


def test_a_wrong_width_is_named_and_changes_nothing() -> None:
    model = net()
    step = planned(model)
    for rows in batches(2):
        step(X[rows], Y[rows])
    before = state(model)
    with pytest.raises(ValueError, match=r"^Linear\(13, 37\): expected input of shape \(\*, 13\); got \(32, 12\)$"):
        step(X[:BATCH, :12], Y[:BATCH])
    with pytest.raises(TypeError):
        step(X[:BATCH].astype(np.float64), Y[:BATCH])
    with pytest.raises(ValueError, match="20"):
        step(X[:BATCH], Y[:20])
    assert state(model) == before
    step(X[:BATCH], Y[:BATCH])
    assert step.reason is None


def test_batches_that_are_strided_read_only_or_big_endian() -> None:
    frozen = X[:BATCH].copy()
    frozen.flags.writeable = False
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    results = []
    for x, y in (
        (X[:BATCH], Y[:BATCH]),
        (frozen, Y[:BATCH]),
        (wide[:BATCH], Y[:BATCH]),
        (X[:BATCH].astype(">f4"), Y[:BATCH].astype(">i8")),
        (np.asfortranarray(X[:BATCH]), Y[:BATCH].astype(np.uint8)),
        (fnn.tensor(X[:BATCH]), fnn.tensor(Y[:BATCH])),
    ):
        model = net()
        step = planned(model)
        fnn.manual_seed(3)
        results.append(([step(x, y) for _ in range(3)], state(model)))
        assert step.reason is None
    assert all(result == results[0] for result in results)


def test_a_loss_that_is_not_finite_stops_without_an_update() -> None:
    x = X.copy()
    x[70, 3] = np.nan
    model = net()
    step = planned(model)
    step.stop_on_nonfinite = True
    losses = step.run_batches(x, Y, np.arange(ROWS), 0, 4, BATCH)
    assert np.isfinite(losses[:2]).all()
    assert len(losses) == 3
    assert np.isnan(losses[2])
    assert all(np.isfinite(p.detach().numpy()).all() for p in model.parameters())
    before = {name: value.detach().numpy().copy() for name, value in model.named_parameters()}
    assert np.isnan(step(x[64:96], Y[64:96]))
    for name, value in model.named_parameters():
        np.testing.assert_array_equal(value.detach().numpy(), before[name])
    step.stop_on_nonfinite = False
    step(x[64:96], Y[64:96])
    assert np.isnan(model[0].weight.detach().numpy()).any()
