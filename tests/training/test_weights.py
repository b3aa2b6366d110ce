"""``sample_weight`` and ``class_weight`` in ``fit`` and in planned steps."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

N, C = 37, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5))
Y = RNG.integers(0, C, N)
WEIGHT = RNG.uniform(0.1, 3.0, N)


def make(seed=0):
    fnn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, C)).to(fnn.float64)
    return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.5)


def weights_of(model):
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def fit(x=X, y=Y, loss=None, batch_size=8, epochs=3, **settings):
    model, optimizer = make()
    trainer = fnn.Trainer(model, loss or nn.CrossEntropyLoss(), optimizer)
    trainer.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=False, **settings)
    assert trainer.step.reason is None
    return weights_of(model)


def test_fit_is_the_eager_loop():
    model, optimizer = make()
    for _ in range(3):
        rows = fnn.randperm(N).numpy()
        for start in range(0, N, 8):
            chosen = rows[start : start + 8]
            x, y, weight = (fnn.tensor(a[chosen]) for a in (X, Y, WEIGHT))
            loss = F.cross_entropy(model(x), y, sample_weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    np.testing.assert_array_equal(fit(sample_weight=WEIGHT), weights_of(model))


def test_equal_weights_change_nothing():
    np.testing.assert_allclose(fit(sample_weight=np.full(N, 0.7)), fit(), rtol=1e-10)


def test_integer_weights_are_repeated_rows():
    times = RNG.integers(0, 4, N)
    rows = np.repeat(np.arange(N), times)
    settings = {"shuffle": False, "batch_size": 1000}
    np.testing.assert_allclose(fit(sample_weight=times, **settings), fit(X[rows], Y[rows], **settings), rtol=1e-10)


def test_rows_of_weight_zero_are_left_out_even_where_they_fill_a_batch():
    weight = WEIGHT * (np.arange(N) >= 16)
    settings = {"shuffle": False, "batch_size": 8}
    np.testing.assert_array_equal(
        fit(sample_weight=weight, **settings), fit(X[16:], Y[16:], sample_weight=WEIGHT[16:], **settings)
    )


@pytest.mark.parametrize("class_weight", [{0: 0.5, 2: 3.0}, [0.5, 1.0, 3.0]], ids=["mapping", "array"])
def test_class_weight_is_the_losss_own(class_weight):
    expected = fit(loss=nn.CrossEntropyLoss(weight=np.array([0.5, 1.0, 3.0])))
    np.testing.assert_allclose(fit(class_weight=class_weight), expected, rtol=1e-10)


def test_class_weight_multiplies_sample_weight():
    table = np.array([0.5, 1.0, 3.0])
    both = fit(sample_weight=WEIGHT, class_weight=table)
    np.testing.assert_allclose(both, fit(sample_weight=WEIGHT * table[Y]), rtol=1e-10)


def test_validation_split_takes_its_weights_along():
    kept = fit(sample_weight=WEIGHT, validation_split=0.2, shuffle=False)
    expected = fit(X[:29], Y[:29], sample_weight=WEIGHT[:29], shuffle=False)
    np.testing.assert_array_equal(kept, expected)


def test_a_step_with_weights_and_one_without_have_plans_of_their_own():
    model, optimizer = make()
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
    heavy = np.where(Y == 0, 100.0, 1e-9)
    for _ in range(3):
        plain = F.cross_entropy(model(fnn.tensor(X)), fnn.tensor(Y)).item()
        assert step(X, Y) == pytest.approx(plain, rel=1e-12)
        weighted = F.cross_entropy(model(fnn.tensor(X)), fnn.tensor(Y), sample_weight=fnn.tensor(heavy)).item()
        assert step(X, Y, heavy) == pytest.approx(weighted, rel=1e-12)
    assert step.reason is None


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sample_weight": WEIGHT[:-1]}, ValueError, "Trainer.fit: expected sample_weight of shape (37,); got (36,)"),
        ({"sample_weight": -np.ones(N)}, ValueError, "Trainer.fit: expected sample_weight of at least 0; got -1.0 at 0"),
        ({"sample_weight": np.full(N, np.nan)}, ValueError, "Trainer.fit: expected sample_weight of at least 0; got nan at 0"),
        ({"sample_weight": np.zeros(N)}, ValueError, "Trainer.fit: expected a sample that counts; got weights that are all 0"),
        ({"sample_weight": (np.arange(N) > 30) * 1.0, "validation_split": 0.2}, ValueError, "Trainer.fit: expected a sample that counts; got weights that are all 0"),
        ({"class_weight": {0: -2.0}}, ValueError, "Trainer.fit: expected class_weight of at least 0; got -2.0 at 0"),
        ({"class_weight": [1.0, 1.0]}, ValueError, "Trainer.fit: expected class_weight of shape (C,) with C above 2; got (2,)"),
        ({"y": X, "class_weight": [1.0]}, TypeError, "Trainer.fit: expected class indices of shape (n,) with class_weight; got float64 of (37, 5)"),
        ({"loss": lambda x, y: F.cross_entropy(x, y) * 1.0, "sample_weight": WEIGHT}, TypeError, "Trainer.fit: expected a loss that takes sample_weight; got <lambda>"),
    ],
)  # fmt: skip
def test_errors(settings, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        fit(**settings)


def test_only_with_arrays():
    model, optimizer = make()
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    with pytest.raises(ValueError, match=r"^Trainer\.fit: expected arrays with sample_weight; got list$"):
        trainer.fit([(X, Y)], sample_weight=WEIGHT, verbose=False)
