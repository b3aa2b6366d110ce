"""``sample_weight`` in every loss: against the formula, repeated rows, rows left out, and in planned steps."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.nn import functional as F

N, C = 7, 3
_RNG = np.random.default_rng(0)
_LABELS = np.array([0, 2, 1, 1, 0, 2, 2])
_CLASS_WEIGHT = np.array([0.5, 2.0, 3.0])
_UNIT = _RNG.uniform(0.05, 0.95, (N, C))
_LOG = np.log(_UNIT / _UNIT.sum(1, keepdims=True))
_PROBABILITIES = np.exp(np.roll(_LOG, 1, axis=0))
_REAL = _RNG.normal(size=(N, C))

# Module, function with the same settings, input, target, and what an element counts for in the mean.
CASES = {
    "cross_entropy": (
        nn.CrossEntropyLoss(_CLASS_WEIGHT, ignore_index=1, label_smoothing=0.2),
        lambda x, y, **k: F.cross_entropy(x, y, fnn.tensor(_CLASS_WEIGHT), ignore_index=1, label_smoothing=0.2, **k),
        _REAL,
        _LABELS,
        _CLASS_WEIGHT[_LABELS] * (_LABELS != 1),
    ),
    "cross_entropy without class weights": (
        nn.CrossEntropyLoss(ignore_index=0),
        lambda x, y, **k: F.cross_entropy(x, y, ignore_index=0, **k),
        _REAL,
        _LABELS,
        (_LABELS != 0) * 1.0,
    ),
    "cross_entropy of probabilities": (
        nn.CrossEntropyLoss(_CLASS_WEIGHT),
        lambda x, y, **k: F.cross_entropy(x, y, fnn.tensor(_CLASS_WEIGHT), **k),
        _REAL,
        _PROBABILITIES,
        np.ones(N),
    ),
    "nll_loss": (
        nn.NLLLoss(_CLASS_WEIGHT, ignore_index=2),
        lambda x, y, **k: F.nll_loss(x, y, fnn.tensor(_CLASS_WEIGHT), ignore_index=2, **k),
        _LOG,
        _LABELS,
        _CLASS_WEIGHT[_LABELS] * (_LABELS != 2),
    ),
    "mse_loss": (nn.MSELoss(), F.mse_loss, _REAL, _UNIT, np.ones((N, C))),
    "l1_loss": (nn.L1Loss(), F.l1_loss, _REAL, _UNIT, np.ones((N, C))),
    "smooth_l1_loss": (
        nn.SmoothL1Loss(beta=0.4),
        lambda x, y, **k: F.smooth_l1_loss(x, y, beta=0.4, **k),
        _REAL,
        _UNIT,
        np.ones((N, C)),
    ),
    "huber_loss": (
        nn.HuberLoss(delta=0.4),
        lambda x, y, **k: F.huber_loss(x, y, delta=0.4, **k),
        _REAL,
        _UNIT,
        np.ones((N, C)),
    ),
    "binary_cross_entropy": (
        nn.BCELoss(_CLASS_WEIGHT),
        lambda x, y, **k: F.binary_cross_entropy(x, y, fnn.tensor(_CLASS_WEIGHT), **k),
        _UNIT,
        _PROBABILITIES,
        np.ones((N, C)),
    ),
    "binary_cross_entropy_with_logits": (
        nn.BCEWithLogitsLoss(pos_weight=_CLASS_WEIGHT),
        lambda x, y, **k: F.binary_cross_entropy_with_logits(x, y, pos_weight=fnn.tensor(_CLASS_WEIGHT), **k),
        _REAL,
        _PROBABILITIES,
        np.ones((N, C)),
    ),
    "kl_div": (nn.KLDivLoss(), F.kl_div, _LOG, _PROBABILITIES, np.ones((N, C))),
}
each_loss = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def _none(case):
    _, function, x, y, _ = case
    return function(fnn.tensor(x), fnn.tensor(y), reduction="none").numpy()


def _with_reduction(module, reduction):
    module.reduction = reduction
    return module


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_formula(case, reduction):
    module, function, x, y, counts = case
    weight = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.5])
    losses = _none(case)
    each = weight.reshape(-1, *[1] * (losses.ndim - 1))
    expected = losses * each
    if reduction == "sum":
        expected = expected.sum()
    elif reduction == "mean":
        expected = expected.sum() / (each * counts).sum()
    found = function(fnn.tensor(x), fnn.tensor(y), reduction=reduction, sample_weight=fnn.tensor(weight))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    try:
        again = _with_reduction(module, reduction)(fnn.tensor(x), fnn.tensor(y), weight.astype(np.float32))
    finally:
        module.reduction = "mean"
    np.testing.assert_allclose(again.numpy(), expected, rtol=1e-6)


@each_loss
def test_equal_weights_change_nothing(case):
    _, function, x, y, _ = case
    x, y = fnn.tensor(x), fnn.tensor(y)
    for value in (1.0, 0.3):
        found = function(x, y, sample_weight=fnn.full((N,), value, dtype=fnn.float64))
        np.testing.assert_allclose(found.item(), function(x, y).item(), rtol=1e-12)


@each_loss
def test_integer_weights_are_repeated_rows_and_zeros_drop_them(case):
    _, function, x, y, _ = case
    weight = np.array([1, 3, 0, 2, 1, 0, 1])
    rows = np.repeat(np.arange(N), weight)
    repeated = function(fnn.tensor(x[rows]), fnn.tensor(y[rows]))
    found = function(fnn.tensor(x), fnn.tensor(y), sample_weight=fnn.tensor(weight.astype(float)))
    np.testing.assert_allclose(found.item(), repeated.item(), rtol=1e-12)


def test_batchmean_divides_by_the_weights():
    weight = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.5])
    losses = F.kl_div(fnn.tensor(_LOG), fnn.tensor(_PROBABILITIES), reduction="none").numpy()
    found = nn.KLDivLoss("batchmean")(fnn.tensor(_LOG), fnn.tensor(_PROBABILITIES), fnn.tensor(weight))
    np.testing.assert_allclose(found.item(), (losses * weight[:, None]).sum() / weight.sum(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(N, 4), (N, 4, 2)])
def test_further_dimensions_share_the_weight_of_their_sample(shape):
    rng = np.random.default_rng(3)
    x, y, weight = rng.normal(size=(N, C, *shape[1:])), rng.integers(0, C, shape), rng.uniform(size=N)
    losses = F.cross_entropy(fnn.tensor(x), fnn.tensor(y), reduction="none").numpy()
    each = np.broadcast_to(weight.reshape(-1, *[1] * (len(shape) - 1)), shape)
    found = F.cross_entropy(fnn.tensor(x), fnn.tensor(y), sample_weight=fnn.tensor(weight))
    np.testing.assert_allclose(found.item(), (losses * each).sum() / each.sum(), rtol=1e-12)


def test_gradient():
    weight = fnn.tensor(np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.5]))
    x = fnn.tensor(_REAL, requires_grad=True)
    y = fnn.tensor(_LABELS)
    assert fnn.autograd.gradcheck(lambda x: F.cross_entropy(x, y, label_smoothing=0.1, sample_weight=weight), (x,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nn.MSELoss()(fnn.ones(4, 2), fnn.ones(4, 2), fnn.ones(3)),
            "MSELoss: expected sample_weight of shape (4,); got (3,)",
        ),
        (
            lambda: F.mse_loss(fnn.ones(4, 2), fnn.ones(4, 2), sample_weight=fnn.ones(4, 1)),
            "mse_loss: expected sample_weight of shape (4,); got (4, 1)",
        ),
        (
            lambda: F.cross_entropy(fnn.ones(3), fnn.tensor(1), sample_weight=fnn.ones(1)),
            "cross_entropy: expected sample_weight of shape (n,), with inputs of n rows; got (1,)",
        ),
        (
            lambda: F.l1_loss(fnn.ones(4), fnn.ones(4), reduction="average", sample_weight=fnn.ones(4)),
            "l1_loss: expected reduction 'mean', 'sum' or 'none'; got 'average'",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
