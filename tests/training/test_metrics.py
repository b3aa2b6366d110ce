import numpy as np
import pytest

from fastnn import nn
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
        ("mse", SCORES, CLASSES, "mse: expected predictions and targets of one shape; got (4, 3) and (4,)"),
    ],
)  # fmt: skip
def test_errors(name, y_pred, y_true, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        metrics.resolve(name, None)[name](y_pred, y_true)
    assert str(caught.value) == message
