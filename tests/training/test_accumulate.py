"""Micro-batches add up to the batch."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

RNG = np.random.default_rng(0)
X = RNG.normal(size=(77, 9))
Y = np.arange(77) * 5 % 4


def net() -> nn.Sequential:
    fnn.manual_seed(1)
    return nn.Sequential(nn.Linear(9, 13), nn.Tanh(), nn.Linear(13, 4)).double()


def fitted(accumulate: int, reduction: str = "mean", batch_size: int = 32) -> tuple[list[float], list[np.ndarray]]:
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1 if reduction == "mean" else 0.005, momentum=0.9)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(reduction=reduction), optimizer, accumulate=accumulate)
    # 77 = 32 + 32 + 13: a last batch that is smaller, and micro-batches of unequal size.
    history = trainer.fit(X, Y, epochs=3, batch_size=batch_size, verbose=False)
    assert trainer.step.reason is None
    return history["loss"], [p.detach().numpy() for p in model.parameters()]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("accumulate", [2, 3, 5, 32, 100])
def test_micro_batches_train_like_the_batch(accumulate: int, reduction: str) -> None:
    losses, weights = fitted(1, reduction)
    got_losses, got = fitted(accumulate, reduction)
    np.testing.assert_allclose(got_losses, losses, rtol=1e-12)
    for mine, expected in zip(got, weights, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-10, atol=1e-13)


def test_it_is_what_adding_up_gradients_by_hand_does() -> None:
    batch = X[:30], Y[:30]
    planned, by_hand = net(), net()
    step = fnn.TrainStep(planned, nn.CrossEntropyLoss(), optim.Adam(planned.parameters(), lr=0.1), accumulate=3)
    optimizer = optim.Adam(by_hand.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        for start in (0, 10, 20):
            rows = slice(start, start + 10)
            (nn.functional.cross_entropy(by_hand(batch[0][rows]), batch[1][rows]) * (10 / 30)).backward()
        optimizer.step()
        step(*batch)
    assert step.reason is None
    for mine, expected in zip(planned.parameters(), by_hand.parameters(), strict=True):
        assert mine.detach().numpy().tobytes() == expected.detach().numpy().tobytes()


def test_planned_is_eager_with_dropout_and_batch_norm() -> None:
    def run(hooked: bool) -> tuple[list[float], list[bytes]]:
        fnn.manual_seed(3)
        model = nn.Sequential(nn.Linear(9, 14), nn.BatchNorm1d(14), nn.ReLU(), nn.Dropout(0.4), nn.Linear(14, 4))
        if hooked:
            model.register_forward_hook(lambda *_: None)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer, accumulate=4)
        losses = [step(X[:30].astype(np.float32), Y[:30]) for _ in range(5)]
        assert (step.reason is None) != hooked
        assert model[1].num_batches_tracked.item() == 20
        return losses, [value.numpy().tobytes() for value in model.state_dict().values()]

    assert run(hooked=False) == run(hooked=True)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    model = net()
    before = [p.tolist() for p in model.parameters()]
    x = X[:30].copy()
    x[25] = np.nan  # in the last of the micro-batches
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), accumulate=3)
    with pytest.raises(ValueError, match=r"row 25 of x holds a value that is not finite$"):
        trainer.fit(x, Y[:30], batch_size=30, shuffle=False, verbose=False)
    assert [p.tolist() for p in model.parameters()] == before


@pytest.mark.parametrize("where", ["Trainer", "TrainStep"])
def test_errors(where: str) -> None:
    model = net()
    with pytest.raises(ValueError, match=rf"^{where}: expected accumulate of at least 1; got 0$"):
        getattr(fnn, where)(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), accumulate=0)
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), accumulate=2)
    with pytest.raises(ValueError, match=r"^TrainStep: expected at least one row in x; got none$"):
        step(X[:0], Y[:0])
