"""The line search alone, on curves with many minima, against the reference and PyTorch's."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn.optim._line_search import Point, strong_wolfe
from tests.reference import closure_optim as reference

# Curves that fall at 0: waves on a parabola, steep walls, a long plain.
CURVES = [
    lambda t, k=k, a=a: ((t - a) ** 2 / 9 + math.sin(k * t) / k, 2 * (t - a) / 9 + math.cos(k * t))
    for k, a in ((1.3, 9.0), (3.1, 12.0), (7.7, 6.0), (0.4, 40.0))
] + [
    lambda t: (math.exp(min(3 * t - 20, 300)) - t, 3 * math.exp(min(3 * t - 20, 300)) - 1),
    lambda t: (-math.log1p(t) + 1e-3 * t * t, -1 / (1 + t) + 2e-3 * t),
    lambda t: (abs(t - 2.0) ** 1.5, 1.5 * math.copysign(abs(t - 2.0) ** 0.5, t - 2.0)),
]
FIRST = [0.01, 0.3, 1.0, 4.0, 17.0, 90.0]
LIMITS = [(25, 1e-9), (0, 1e-9), (3, 1e-9), (25, 0.3), (7, 1e-3)]


@pytest.mark.parametrize(("trials", "width"), LIMITS)
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("curve", range(len(CURVES)))
def test_step_is_the_references_and_torchs(curve: int, first: float, trials: int, width: float) -> None:
    function = CURVES[curve]
    loss, slope = function(0.0)
    assert slope < 0

    def point(t: float) -> Point:
        return Point(
            t, *(value if i == 0 else fnn.tensor([value]) for i, value in enumerate(function(t))), function(t)[1]
        )

    found, used = strong_wolfe(
        point, Point(0.0, loss, fnn.tensor([slope]), slope), first, most_trials=trials, least_width=width
    )
    t, wanted, _, evaluations = reference.wolfe(
        lambda t: (function(t)[0], np.array([function(t)[1]])),
        np.ones(1),
        loss,
        np.array([slope]),
        first,
        trials,
        width,
    )
    assert (found.t, found.loss, used) == (pytest.approx(t, rel=1e-6), pytest.approx(wanted, rel=1e-6), evaluations)
    try:
        from torch import float64, ones, tensor
        from torch.optim.lbfgs import _strong_wolfe
    except ImportError:
        return
    theirs = _strong_wolfe(
        lambda _x, t, _d: (function(float(t))[0], tensor([function(float(t))[1]], dtype=float64)),
        None,
        first,
        ones(1, dtype=float64),
        loss,
        tensor([slope], dtype=float64),
        tensor(slope, dtype=float64),
        tolerance_change=width,
        max_ls=trials,
    )
    assert (found.loss, found.t, used) == (
        pytest.approx(float(theirs[0]), rel=1e-6),
        pytest.approx(float(theirs[2]), rel=1e-6),
        theirs[3],
    )


def test_a_straight_line_has_no_cubic_and_is_left_all_the_same() -> None:
    # PyTorch's interpolation divides 0 by 0 there.
    def point(t: float) -> Point:
        slope = -1.0 if t < 8 else 0.5
        return Point(t, max(8.0 - t, 0.5 * (t - 8)), fnn.tensor([slope]), slope)

    found, _ = strong_wolfe(point, point(0.0), 1.0, most_trials=25, least_width=1e-9)
    assert found.t >= 8
    assert found.loss < 4
