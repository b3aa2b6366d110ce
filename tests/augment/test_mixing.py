import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.augment import Compose, CutMix, MixUp, OneOf, RandomHorizontalFlip, mixup
from tests.reference.augment import mixed_targets

RNG = np.random.default_rng(0)
X = RNG.normal(size=(33, 4)).astype(np.float32)
Y = np.arange(33) % 3
IMAGES = RNG.random((33, 2, 5, 8))


def mixing(transform, n=33, image=(1, 1, 4)):
    """λ, partners and rectangle of the next call."""
    return transform._pipeline().mixed(n, image)


def draws(transform, count, image=(1, 1, 4)):
    """λ of many calls."""
    found = []
    for call in range(count):
        fnn.set_rng_state((1, call))
        found.append(mixing(transform, 2, image)[0])
    return np.array(found)


@pytest.mark.parametrize("alpha", [0.05, 0.4, 1.0, 3.0])
def test_lambda_is_beta_distributed(alpha):
    found = draws(MixUp(alpha, 3), 4000)
    variance = 1 / (4 * (2 * alpha + 1))
    assert found.min() >= 0
    assert found.max() <= 1
    assert abs(found.mean() - 0.5) < 5 * math.sqrt(variance / found.size)
    assert found.var() == pytest.approx(variance, rel=0.08)
    # Uniform for alpha = 1; heaped up at the ends below, in the middle above.
    inner = np.mean(np.abs(found - 0.5) < 0.25)
    assert {0.05: inner < 0.1, 0.4: 0.25 < inner < 0.42, 1.0: abs(inner - 0.5) < 0.04, 3.0: inner > 0.7}[alpha]


def test_small_alphas_do_not_fail():
    # A number from Gamma(1e-4, 1) is below all floats, as a rule; then 0 / 0.
    found = draws(MixUp(1e-4, 3), 200)
    assert np.isfinite(found).all()
    assert np.mean((found < 1e-12) | (found == 1)) > 0.9
    assert 0.3 < found.mean() < 0.7


def test_inputs_and_targets_are_mixed_alike():
    fnn.manual_seed(3)
    lam, order, rectangle = mixing(MixUp(1.0, 3))
    mixed, soft = mixup(X, Y, alpha=1.0, num_classes=3)
    assert mixed.dtype == soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    assert sorted(order) == list(range(33))
    assert rectangle is None
    np.testing.assert_allclose(mixed, lam * X + (1 - lam) * X[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(soft, mixed_targets(3, Y, lam, order)[0], rtol=1e-5)
    assert 0.02 < lam < 0.98


def test_cutmix_takes_a_rectangle_and_its_share_of_the_target():
    image = IMAGES.shape[1:]
    transform = CutMix(1.0, 3)
    for seed in range(20):
        fnn.manual_seed(seed)
        lam, order, (top, bottom, left, right) = mixing(transform, 33, image)
        mixed, soft = transform(IMAGES, Y)
        want = IMAGES.copy()
        want[:, :, top:bottom, left:right] = IMAGES[order][:, :, top:bottom, left:right]
        np.testing.assert_array_equal(mixed, want)
        assert lam == 1 - (bottom - top) * (right - left) / 40
        np.testing.assert_allclose(soft, mixed_targets(3, Y, lam, order)[0], rtol=1e-12)
    # For alpha 1 the uncut area is even on [0, 1], 1/2 in the mean; what the border cuts off is no more than that.
    shares = 1 - draws(CutMix(1.0, 3), 2000, (1, 64, 48))
    assert 0.25 < shares.mean() < 0.4
    assert shares.max() > 0.85


def test_targets_of_a_regression_and_tensors():
    x, y = fnn.tensor(X), fnn.tensor(X[:, :2].astype(np.float64))
    fnn.manual_seed(3)
    mixed, targets = mixup(x, y, 1.0)
    assert isinstance(mixed, fnn.Tensor)
    assert targets.dtype == fnn.float64
    np.testing.assert_allclose(targets.numpy(), mixed.numpy()[:, :2], rtol=1e-5, atol=1e-6)
    mixed.add_(1.0)
    np.testing.assert_array_equal(x.numpy(), X)


def test_bytes_are_mixed_too():
    x = RNG.integers(0, 256, (7, 3, 4, 4), dtype=np.uint8)
    fnn.manual_seed(3)
    lam, order, _ = mixing(MixUp(1.0, 3), 7, (3, 4, 4))
    mixed, soft = mixup(x, Y[:7], 1.0, 3)
    assert mixed.dtype == np.uint8
    assert soft.dtype == np.float32
    assert np.abs(mixed - np.rint(lam * x + (1 - lam) * x[order].astype(float))).max() <= 1


def test_alpha_0_changes_nothing_and_draws_nothing():
    fnn.manual_seed(3)
    state = fnn.get_rng_state()
    mixed, soft = mixup(X, Y, 0, 4)
    assert mixed.tolist() == X.tolist()
    assert soft.tolist() == np.eye(4)[Y].tolist()
    assert fnn.get_rng_state() == state


def test_batches_are_mixed_with_probability_p_and_one_of_several_ways():
    transform = OneOf([MixUp(1.0, 3, p=0.5), CutMix(1.0, 3)], weights=[1, 3], p=0.8)
    kinds = {"none": 0, "up": 0, "cut": 0}
    for call in range(3000):
        fnn.set_rng_state((2, call))
        _, order, rectangle = mixing(transform, 2, (1, 6, 6))
        kinds["none" if not order else "up" if rectangle is None else "cut"] += 1
    share = {kind: count / 3000 for kind, count in kinds.items()}
    assert share["up"] == pytest.approx(0.8 * 0.25 * 0.5, abs=0.03)
    assert share["cut"] == pytest.approx(0.8 * 0.75, abs=0.04)


def test_images_are_mixed_after_what_is_done_to_each():
    transform = Compose([RandomHorizontalFlip(), MixUp(1.0, 3)])
    fnn.manual_seed(8)
    lam, order, _ = mixing(transform, 33, IMAGES.shape[1:])
    flips = transform.params(IMAGES.shape)
    flipped = np.stack([x[:, :, ::-1] if done else x for x, done in zip(IMAGES, flips, strict=True)])
    mixed, _ = transform(IMAGES, Y)
    np.testing.assert_allclose(mixed, lam * flipped + (1 - lam) * flipped[order], rtol=1e-12)
    assert 5 < sum(map(bool, flips)) < 28


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weights_and_smoothing_are_those_of_both_samples(smoothing):
    """The loss of a mixture is the mixture of the losses that its samples have with their own weights."""
    weight = (0.5 + RNG.random(33)) * np.array([1, 5, 0.25])[Y]
    transform = MixUp(1.0, 3)
    fnn.manual_seed(4)
    lam, order, _ = mixing(transform)
    x, soft, mixed_weight = transform._apply(X.astype(np.float64), Y, weight)
    want = mixed_targets(3, Y, lam, order, weight)
    np.testing.assert_allclose(soft, want[0], rtol=1e-12)
    np.testing.assert_allclose(mixed_weight, want[1], rtol=1e-12)
    logits = fnn.tensor(x[:, :3])
    loss = nn.CrossEntropyLoss(label_smoothing=smoothing)
    got = loss(logits, fnn.tensor(soft), fnn.tensor(mixed_weight)).item()
    each = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
    own, other = each(logits, fnn.tensor(Y)).numpy(), each(logits, fnn.tensor(Y[order])).numpy()
    both = (lam * weight * own + (1 - lam) * weight[order] * other).sum() / weight.sum()
    assert got == pytest.approx(both, rel=1e-12)


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
        (lambda: CutMix(math.inf), ValueError, "CutMix: expected alpha of at least 0; got inf"),
        (lambda: MixUp(0.2, 0), ValueError, "MixUp: expected num_classes of at least 1; got 0"),
        (lambda: MixUp(0.2, p=2), ValueError, "MixUp: expected p in [0, 1]; got 2"),
        (lambda: MixUp()(X), ValueError, "MixUp: expected targets y to mix; got None"),
        (lambda: CutMix(1.0, 3)(X, Y), ValueError, "CutMix: expected images of shape (n, c, h, w); got shape (33, 4)"),
        (lambda: MixUp(0.2, 3)(X, Y > 1), TypeError, "MixUp: expected targets of int64, float32 or float64; got dtype bool"),
        (lambda: mixup(X, Y, -0.5, 3), ValueError, "mixup: expected alpha of at least 0; got -0.5"),
        (lambda: mixup(X, Y), ValueError, "mixup: expected num_classes to go with integer targets; got None"),
        (lambda: mixup(X, Y, num_classes=2), ValueError, "mixup: expected targets in [0, 2); got 2"),
        (lambda: mixup(X, Y - 1, num_classes=3), ValueError, "mixup: expected targets in [0, 3); got -1"),
        (lambda: mixup(X, Y[:, None], num_classes=3), ValueError, "mixup: expected integer targets of shape (n,); got (33, 1)"),
        (lambda: mixup(X, Y[1:], num_classes=3), ValueError, "mixup: expected x and y of one length; got shapes (33, 4) and (32,)"),
        (lambda: mixup(X[:0], Y[:0], num_classes=3), ValueError, "mixup: expected at least one row in x; got shape (0, 4)"),
        (lambda: mixup(Y, Y, num_classes=3), TypeError, "mixup: expected x of float32, float64 or uint8; got dtype int64"),
        (lambda: Compose([MixUp(), RandomHorizontalFlip()]), ValueError, "Compose: expected what mixes images to be last; got RandomHorizontalFlip after MixUp"),
        (lambda: Compose([RandomHorizontalFlip(), MixUp()], p=0.5), ValueError, "Compose: expected p of 1 with MixUp; got 0.5"),
        (lambda: OneOf([RandomHorizontalFlip(), MixUp()]), ValueError, "OneOf: expected transforms of images only, or MixUp and CutMix only; got both"),
        (lambda: OneOf([MixUp(0.2, 3), CutMix()]), ValueError, "OneOf: expected one num_classes; got 3 and None"),
        (fit_with(0.2), TypeError, "Trainer.fit: expected augment to be a function; got 0.2"),
        (fit_with(MixUp()), ValueError, "MixUp: expected num_classes to go with integer targets; got None"),
        (fit_with(MixUp(0.4, 2)), ValueError, "MixUp: expected targets in [0, 2); got 2"),
        (fit_with(RandomHorizontalFlip()), ValueError, "RandomHorizontalFlip: expected images of shape (n, c, h, w); got shape (33, 4)"),
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
    assert repr(MixUp(0.4, 3)) == "MixUp(alpha=0.4, num_classes=3, p=1.0)"
