import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.augment import MixUp, _beta_draw, mixup

RNG = np.random.default_rng(0)
X = RNG.normal(size=(33, 4)).astype(np.float32)
Y = np.arange(33) % 3


@pytest.mark.parametrize("alpha", [0.05, 0.4, 1.0, 3.0])
def test_lambda_is_beta_distributed(alpha):
    fnn.manual_seed(1)
    draws = np.array([_beta_draw(alpha) for _ in range(4000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert abs(draws.mean() - 0.5) < 5 * math.sqrt(variance / draws.size)
    assert draws.var() == pytest.approx(variance, rel=0.08)
    # Uniform for alpha = 1; heaped up at the ends below, in the middle above.
    inner = np.mean(np.abs(draws - 0.5) < 0.25)
    assert {0.05: inner < 0.1, 0.4: 0.25 < inner < 0.42, 1.0: abs(inner - 0.5) < 0.04, 3.0: inner > 0.7}[alpha]


def test_small_alphas_do_not_fail():
    # A number from Gamma(1e-4, 1) is below all floats, as a rule; then 0 / 0.
    fnn.manual_seed(2)
    draws = np.array([_beta_draw(1e-4) for _ in range(200)])
    assert np.isfinite(draws).all()
    assert np.mean((draws == 0) | (draws == 1)) > 0.9
    assert 0.3 < draws.mean() < 0.7


def test_inputs_and_targets_are_mixed_alike():
    fnn.manual_seed(3)
    mixed, soft = mixup(X, Y, alpha=1.0, num_classes=3)
    assert mixed.dtype == soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    fnn.manual_seed(3)
    lam = _beta_draw(1.0)
    order = fnn.randperm(33).numpy()
    assert sorted(order) == list(range(33))
    np.testing.assert_allclose(mixed, lam * X + (1 - lam) * X[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(soft, lam * np.eye(3)[Y] + (1 - lam) * np.eye(3)[Y[order]], rtol=1e-5)
    assert 0.02 < lam < 0.98


def test_targets_of_a_regression_and_tensors():
    x, y = fnn.tensor(X), fnn.tensor(X[:, :2].astype(np.float64))
    fnn.manual_seed(3)
    mixed, targets = mixup(x, y, 1.0)
    assert isinstance(mixed, fnn.Tensor)
    assert targets.dtype == fnn.float64
    np.testing.assert_allclose(targets.numpy(), mixed.numpy()[:, :2], rtol=1e-5, atol=1e-6)
    mixed.add_(1.0)
    np.testing.assert_array_equal(x.numpy(), X)


def test_alpha_0_changes_nothing_and_draws_nothing():
    fnn.manual_seed(3)
    state = fnn.get_rng_state()
    mixed, soft = mixup(X, Y, 0, 4)
    assert mixed.tolist() == X.tolist()
    assert soft.tolist() == np.eye(4)[Y].tolist()
    assert fnn.get_rng_state() == state


def fitted(seed, augment=None, batches=None):
    fnn.manual_seed(0)
    model = nn.Linear(4, 3)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), metrics=["accuracy"])
    fnn.manual_seed(seed)
    if batches is None:
        history = trainer.fit(X, Y, epochs=3, batch_size=8, augment=augment, validation_data=(X, Y), verbose=False)
    else:
        history = trainer.fit(batches, epochs=3, augment=augment, verbose=False)
    assert trainer.step.reason is None
    return history, model.weight.tolist()


def test_fit_with_mixup_is_reproducible_and_measures_on_the_data_as_it_is():
    history, weights = fitted(5, MixUp(0.4, 3))
    assert fitted(5, MixUp(0.4, 3))[1] == weights
    assert fitted(6, MixUp(0.4, 3))[1] != weights
    assert fitted(5)[1] != weights
    assert 0 <= history["val_accuracy"][-1] <= 1
    # With alpha 0 only the targets' form changes.
    np.testing.assert_allclose(fitted(5, MixUp(0, 3))[1], fitted(5)[1], rtol=1e-5)


def test_fit_augments_batches_of_an_iterable_and_any_function_will_do():
    batches = [(X[:16], Y[:16]), (X[16:], Y[16:])]
    seen = []

    def flip(x, y):
        seen.append(len(x))
        return -x.astype(np.float64), y  # converted to the model's type

    negated = [(-x, y) for x, y in batches]
    assert fitted(5, flip, batches)[1] == fitted(5, None, negated)[1]
    assert seen == [16, 17] * 3
    assert fitted(5, lambda x, y: (-x, y))[1] != fitted(5)[1]


def fit_with(augment):
    return lambda: fitted(0, augment)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MixUp(-1), ValueError, "MixUp: expected alpha of at least 0; got -1"),
        (lambda: MixUp(math.inf), ValueError, "MixUp: expected alpha of at least 0; got inf"),
        (lambda: MixUp(0.2, 0), ValueError, "MixUp: expected num_classes of at least 1; got 0"),
        (lambda: mixup(X, Y, -0.5, 3), ValueError, "mixup: expected alpha of at least 0; got -0.5"),
        (lambda: mixup(X, Y), ValueError, "mixup: expected num_classes to go with integer targets; got None"),
        (lambda: mixup(X, Y, num_classes=2), ValueError, "mixup: expected targets in [0, 2); got 2"),
        (lambda: mixup(X, Y - 1, num_classes=3), ValueError, "mixup: expected targets in [0, 3); got -1"),
        (lambda: mixup(X, Y[:, None], num_classes=3), ValueError, "mixup: expected integer targets of shape (n,); got (33, 1)"),
        (lambda: mixup(X, Y[1:], num_classes=3), ValueError, "mixup: expected x and y of one length; got shapes (33, 4) and (32,)"),
        (lambda: mixup(X[:0], Y[:0], num_classes=3), ValueError, "mixup: expected at least one row in x; got shape (0, 4)"),
        (lambda: mixup(Y, Y, num_classes=3), TypeError, "mixup: expected x of floating point; got dtype int64"),
        (fit_with(0.2), TypeError, "Trainer.fit: expected augment to be a function; got 0.2"),
        (fit_with(lambda x, y: x), TypeError, "Trainer.fit: expected augment to return a pair (x, y); got ndarray"),
        (fit_with(lambda x, y: (x, y, y)), TypeError, "Trainer.fit: expected augment to return a pair (x, y); got 3 things"),
        (fit_with(lambda x, y: (x, y[1:])), ValueError, "Trainer.fit: expected augmented x and augmented y of one length; got 8 and 7"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_repr():
    assert repr(MixUp(0.4, 3)) == "MixUp(alpha=0.4, num_classes=3)"
