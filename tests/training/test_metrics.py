from functools import partial

import numpy as np
import pytest

from fastnn import nn
from fastnn.nn import functional as F
from fastnn.training import metrics

SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.5, 0.1]])
CLASSES = np.array([1, 2, 2, 0])
PREDICTED = np.array([[1.0], [2.0], [4.0]])
TARGET = np.array([1.0, 3.0, 8.0])


@pytest.mark.parametrize(
    ("name", "y_pred", "y_true", "value"),
    [
        ("accuracy", SCORES, CLASSES, 0.5),
        ("accuracy", SCORES, np.eye(3)[CLASSES], 0.5),
        ("top_1", SCORES, CLASSES, 0.5),
        ("top_2", SCORES, CLASSES, 0.75),
        ("top_k", SCORES, CLASSES, 1.0),
        ("binary_accuracy", np.array([0.2, 0.6, 0.7]), np.array([0, 1, 0]), 2 / 3),
        ("mse", PREDICTED, TARGET, 17 / 3),
        ("rmse", PREDICTED, TARGET, (17 / 3) ** 0.5),
        ("mae", PREDICTED, TARGET, 5 / 3),
        ("r2", PREDICTED, TARGET, 1 - 17 / 26),
        ("r2", np.ones(3), np.ones(3), 1.0),
        ("r2", np.zeros(3), np.ones(3), 0.0),
    ],
)
def test_values(name, y_pred, y_true, value):
    assert metrics.resolve(name, None)[name](y_pred, y_true) == pytest.approx(value)


def test_r2_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    rng = np.random.default_rng(0)
    y_pred, y_true = rng.normal(size=(9, 3)), rng.normal(size=(9, 3))
    assert metrics.r2(y_pred, y_true) == pytest.approx(sklearn.r2_score(y_true, y_pred))


def test_the_loss_decides_what_accuracy_is():
    logits, labels = np.array([[-0.3], [0.2], [0.7]]), np.array([[0], [1], [1]])
    assert metrics.resolve(["accuracy"], nn.BCEWithLogitsLoss())["accuracy"](logits, labels) == 1
    assert metrics.resolve(["accuracy"], nn.BCELoss())["accuracy"](logits, labels) == pytest.approx(2 / 3)


def test_functions_and_mappings():
    def bias(y_pred, y_true):
        return float((y_pred - y_true).mean())

    resolved = metrics.resolve({"first": "mae", "second": bias}, None)
    assert list(resolved) == ["first", "second"]
    assert list(metrics.resolve([bias, "r2"], None)) == ["bias", "r2"]
    with pytest.raises(TypeError, match=r"^Trainer: expected metrics to be names or functions; got 3$"):
        metrics.resolve([3], None)


@pytest.mark.parametrize(
    ("name", "y_pred", "y_true", "message"),
    [
        ("accuracy", SCORES, CLASSES[:3], "accuracy: expected predictions of shape (n, classes) and targets of shape (n,); got (4, 3) and (3,)"),
        ("top_k", SCORES[:, 0], CLASSES, "top_k: expected predictions of shape (n, classes) and targets of shape (n,); got (4,) and (4,)"),
        ("accuracy", SCORES[..., None], CLASSES, "accuracy: expected predictions of shape (4, 3, 1) and targets of shape (4, 1); got (4, 3, 1) and (4,)"),
        ("accuracy", SCORES[:, :0], CLASSES, "accuracy: expected at least 1 class; got predictions of shape (4, 0)"),
        ("mse", SCORES, CLASSES, "mse: expected predictions and targets of one shape; got (4, 3) and (4,)"),
    ],
)  # fmt: skip
def test_errors(name, y_pred, y_true, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        metrics.resolve(name, None)[name](y_pred, y_true)
    assert str(caught.value) == message


# Definitions of the corners

RNG = np.random.default_rng(3)
NAN = float("nan")
BY_CLASS = {
    "accuracy": metrics.accuracy,
    "top_1": partial(metrics.top_k, k=1),
    "top_2": partial(metrics.top_k, k=2),
    "top_5": metrics.top_k,
}
ERRORS = {"mse": metrics.mse, "rmse": metrics.rmse, "mae": metrics.mae, "r2": metrics.r2}


def by_hand(scores, labels, k, ignored=-100):
    """Of every label, whether fewer than k scores are greater: label by label, over (n, c, *)."""
    right = []
    for place in np.ndindex(labels.shape):
        if labels[place] != ignored:
            row = scores[(place[0], slice(None), *place[1:])]
            right.append(not np.isnan(row).any() and (row > row[labels[place]]).sum() < k)
    return float(np.mean(right)) if right else NAN


@pytest.mark.parametrize("inner", [(), (3,), (2, 3)])
@pytest.mark.parametrize("special", ["", "nan", "ignored", "both"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 7])
def test_shares_of_labels_are_those_counted_by_hand(inner, special, k):
    scores, labels = RNG.normal(size=(23, 4, *inner)), RNG.integers(0, 4, (23, *inner))
    if special in {"nan", "both"}:
        scores[RNG.random(scores.shape) < 0.2] = NAN
    if special in {"ignored", "both"}:
        labels[RNG.random(labels.shape) < 0.4] = -100
    expected = by_hand(scores, labels, k)
    assert metrics.top_k(scores, labels, k) == pytest.approx(expected)
    if k == 1:
        assert metrics.accuracy(scores, labels) == pytest.approx(expected)
    if special not in {"ignored", "both"}:
        hot = np.moveaxis(np.eye(4)[labels], -1, 1)
        assert metrics.top_k(scores, hot, k) == pytest.approx(expected)


@pytest.mark.parametrize("name", BY_CLASS)
def test_nan_scores_are_never_right(name):
    assert BY_CLASS[name](np.full((4, 3), NAN), np.array([0, 1, 2, 0])) == 0
    half = np.where(np.arange(4)[:, None] < 2, NAN, 10 * np.eye(3)[CLASSES])
    assert BY_CLASS[name](half, CLASSES) == 0.5
    assert BY_CLASS[name](np.array([[NAN, 0.1, 0.9]]), np.array([2])) == 0


def test_ties_count_as_among_the_greatest_and_the_first_is_the_greatest():
    same = np.zeros((3, 3))
    assert metrics.accuracy(same, np.arange(3)) == pytest.approx(1 / 3)
    assert metrics.top_k(same, np.arange(3), 1) == 1


def test_binary_accuracy_of_nan_and_of_the_threshold():
    assert metrics.binary_accuracy(np.full(4, NAN), np.array([0, 1, 0, 1])) == 0
    assert metrics.binary_accuracy(np.array([0.5, 0.5]), np.array([0, 1])) == 0.5
    assert metrics.binary_accuracy(np.array([0.9, 0.1]), np.array([NAN, NAN])) == 0


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_nan_are_nan(name):
    for y_pred, y_true in [([NAN, 1.0], [0.0, 1.0]), ([0.0, 1.0], [NAN, 1.0]), ([NAN, NAN], [2.0, 2.0])]:
        assert np.isnan(ERRORS[name](np.array(y_pred), np.array(y_true)))


@pytest.mark.filterwarnings("error")
def test_nothing_has_no_measure():
    for name, function in BY_CLASS.items():
        assert np.isnan(function(np.zeros((0, 3)), np.zeros(0, np.int64))), name
        assert np.isnan(function(np.zeros((2, 3)), np.full(2, -100))), name
    for name, function in (ERRORS | {"binary_accuracy": metrics.binary_accuracy}).items():
        assert np.isnan(function(np.zeros((0, 2)), np.zeros((0, 2)))), name


def test_r2_of_a_constant_that_its_mean_misses():
    y = np.full(3, 0.1)
    assert metrics.r2(y, y) == 1
    assert metrics.r2(y + 1, y) == 0


@pytest.mark.parametrize("name", ["accuracy", "top_k"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3, 0], "expected labels in [0, 3) or ignore_index -100; got 3 at position 2"),
        ([0, -1, 2, 0], "expected labels in [0, 3) or ignore_index -100; got -1 at position 1"),
        ([0.0, 1.5, 2.0, 0.0], "expected labels in [0, 3) or ignore_index -100; got 1.5 at position 1"),
    ],
)
def test_labels_that_are_no_class_are_named(name, labels, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        getattr(metrics, name)(SCORES, np.array(labels))
    assert str(caught.value) == f"{name}: {message}"


def test_the_loss_says_which_labels_are_ignored():
    labels = np.array([1, 2, 2, 9])
    for loss in (nn.CrossEntropyLoss(ignore_index=9), nn.NLLLoss(ignore_index=9), partial(F.nll_loss, ignore_index=9)):
        found = metrics.resolve(["accuracy", "top_k", "top_2"], loss)
        assert found["accuracy"](SCORES, labels) == pytest.approx(2 / 3)
        assert found["top_k"](SCORES, labels) == 1
        assert found["top_2"](SCORES, labels) == pytest.approx(2 / 3)


def test_a_threshold_that_is_no_number_is_named():
    with pytest.raises(TypeError, match=r"^binary_accuracy: expected threshold to be a number; got "):
        metrics.binary_accuracy(np.array([0.5]), np.array([1]), np.array([None, 1]))
