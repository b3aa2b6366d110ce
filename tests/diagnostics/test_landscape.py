"""Sharpness and the loss along a direction, against Hessians and losses known in closed form."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn

ROWS, WIDTH = 41, 5
RNG = np.random.default_rng(3)
X = (RNG.normal(size=(ROWS, WIDTH)) * [3, 1, 0.5, 0.2, 1.5]).astype(np.float32)
Y = RNG.normal(size=(ROWS, 1)).astype(np.float32)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_sharpness_of_least_squares_is_that_of_the_gram_matrix(reduction: str) -> None:
    model = nn.Sequential(nn.Linear(WIDTH, 1), nn.Dropout(0.5))
    design = np.column_stack([X, np.ones(ROWS)]).astype(np.float64)
    hessian = 2 * design.T @ design / (ROWS if reduction == "mean" else 1)
    measured = fnn.sharpness(model, nn.MSELoss(reduction=reduction), X, Y, tol=1e-6)
    assert measured == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-6)


def test_frozen_parameters_do_not_count() -> None:
    model = nn.Linear(WIDTH, 1)
    model.weight.requires_grad_(False)
    assert fnn.sharpness(model, nn.MSELoss(), X, Y) == pytest.approx(2.0, rel=1e-9)
    model.bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"^sharpness: expected a parameter that requires grad; got none$"):
        fnn.sharpness(model, nn.MSELoss(), X, Y)


def test_sharpness_is_the_greatest_eigenvalue_not_the_most_negative() -> None:
    class Saddle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(fnn.zeros(2))

        def forward(self, x: Any) -> Any:
            return (self.place * self.place * fnn.tensor([1.5, -4.0], dtype=self.place.dtype)).sum()

    assert fnn.sharpness(Saddle(), lambda output, _: output, X, Y, tol=1e-8) == pytest.approx(3.0, rel=1e-6)


def test_loss_along_against_numpy() -> None:
    fnn.manual_seed(3)
    model = nn.Sequential(nn.Linear(WIDTH, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 1))
    fnn.manual_seed(77)
    found = fnn.loss_along(model, nn.MSELoss(), X, Y, radius=0.7, points=5, seed=12)
    state = fnn.get_rng_state()
    fnn.manual_seed(77)
    assert fnn.get_rng_state() == state
    fnn.manual_seed(12)
    weights = []
    for layer in (model[0], model[3]):
        weight = np.array(layer.weight.detach(), np.float64)
        d = np.array(fnn.randn(*weight.shape, dtype=fnn.float64))
        weights.append(
            (weight, d / np.linalg.norm(d, axis=1, keepdims=True) * np.linalg.norm(weight, axis=1, keepdims=True))
        )
    np.testing.assert_allclose(found.alphas, [-0.7, -0.35, 0, 0.35, 0.7])
    for alpha, loss in zip(found.alphas, found.losses, strict=True):
        (first, d_first), (second, d_second) = weights
        hidden = np.tanh(X @ (first + alpha * d_first).T + np.array(model[0].bias.detach()))
        output = hidden @ (second + alpha * d_second).T + np.array(model[3].bias.detach())
        assert loss == pytest.approx(np.square(output - Y).mean(), rel=1e-5)
    assert repr(found) == "LossAlong(5 points from -0.7 to 0.7)"
    other = fnn.loss_along(model, nn.MSELoss(), X, Y, radius=0.7, points=5, seed=13)
    assert (other.losses[2], other.losses[0] != found.losses[0]) == (found.losses[2], True)


def test_plot(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fnn.loss_along(nn.Linear(WIDTH, 1), nn.MSELoss(), X, Y, points=7)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"^LossAlong\.plot needs matplotlib: pip install fastnn-cpu\[plot\]$"):
            found.plot()
    pytest.importorskip("matplotlib")
    figure = found.plot(tmp_path / "along.png")
    assert (tmp_path / "along.png").stat().st_size > 1000
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), found.losses)


@pytest.mark.parametrize(
    ("function", "settings", "error", "message"),
    [
        ("sharpness", {"iterations": 0}, ValueError, "sharpness: expected iterations of at least 1; got 0"),
        ("sharpness", {"tol": -1.0}, ValueError, "sharpness: expected tol of at least 0; got -1.0"),
        ("loss_along", {"radius": 0}, ValueError, "loss_along: expected radius above 0; got 0"),
        ("loss_along", {"radius": "far"}, TypeError, "loss_along: expected radius to be a number; got 'far'"),
        ("loss_along", {"radius": float("nan")}, ValueError, "loss_along: expected radius above 0; got nan"),
        ("loss_along", {"points": 1}, ValueError, "loss_along: expected points of at least 2; got 1"),
    ],
)
def test_bad_settings(function: str, settings: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        getattr(fnn, function)(nn.Linear(WIDTH, 1), nn.MSELoss(), X, Y, **settings)
    assert str(raised.value) == message
