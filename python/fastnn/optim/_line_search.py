"""Line search: a step that satisfies the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fastnn._core import Tensor

# Armijo's and Wolfe's constants, Nocedal & Wright's for quasi-Newton methods.
_C1, _C2 = 1e-4, 0.9


@dataclass
class Point:
    """A point on the ray that is searched.

    Args:
        t: How far along the direction.
        loss: The loss there.
        grad: Its gradient there, flat.
        slope: The derivative along the direction.
    """

    t: float
    loss: float
    grad: Tensor
    slope: float


def cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Return the minimum, within bounds, of the cubic with the losses and slopes of two points.

    The middle of the bounds, where the cubic has no minimum or the losses are not finite.
    """
    left, right = (a, b) if a.t <= b.t else (b, a)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t) if a.t != b.t else math.nan
    square = d1**2 - a.slope * b.slope if math.isfinite(d1) else math.nan
    if square >= 0:
        d2 = math.sqrt(square)
        below = right.slope - left.slope + 2 * d2
        if below != 0:
            t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / below)
            return min(max(t, low), high)
    return (low + high) / 2


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    *,
    most_trials: int,
    least_width: float,
) -> tuple[Point, int]:
    """Find a step t > 0 that lowers the loss enough and flattens the slope enough::

        loss(t) <= loss(0) + 1e-4 * t * slope(0)   and   |slope(t)| <= 0.9 * |slope(0)|

    The step grows until such a point lies before it, then the bracket shrinks, each time to the minimum of a cubic.

    Args:
        evaluate: The point at a distance t.
        start: The point at 0; its slope is negative.
        t: The first distance to try.
        most_trials: How often, beyond the first, the loss is evaluated.
        least_width: Width of the bracket, in distance, at which the search ends.

    Returns:
        The best point found, and how often the loss was evaluated.

    Source:
        Nocedal & Wright 2006, Algorithms 3.5 and 3.6, with the interpolation of Schmidt's minFunc, as in PyTorch.
        A loss that is NaN counts as infinite here, so that the bracket is halved.
    """

    def is_too_high(point: Point) -> bool:
        return point.loss > start.loss + _C1 * point.t * start.slope

    def is_flat(point: Point) -> bool:
        return abs(point.slope) <= -_C2 * start.slope

    before, now, trials = start, evaluate(t), 0
    while True:
        if trials == most_trials:
            bracket = [start, now]
            break
        if is_too_high(now) or (trials > 1 and now.loss >= before.loss):
            bracket = [before, now]
            break
        if is_flat(now):
            return now, trials + 1
        if now.slope >= 0:
            bracket = [before, now]
            break
        t = cubic_minimum(before, now, now.t + 0.01 * (now.t - before.t), 10 * now.t)
        before, now, trials = now, evaluate(t), trials + 1

    low = _lower(bracket)
    stuck = False
    while trials < most_trials and abs(bracket[1].t - bracket[0].t) >= least_width:
        t, stuck = _trial(bracket, stuck)
        now, trials = evaluate(t), trials + 1
        if is_too_high(now) or now.loss >= bracket[low].loss:
            bracket[1 - low] = now
            low = _lower(bracket)
            continue
        if is_flat(now):
            return now, trials + 1
        if now.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = now
    return bracket[low], trials + 1


def _lower(bracket: list[Point]) -> int:
    return 0 if bracket[0].loss <= bracket[1].loss else 1


def _trial(bracket: list[Point], stuck: bool) -> tuple[float, bool]:
    """Return the next distance in a bracket, and whether it lies near an end, where the search may get stuck.

    The second time in a row, or at an end itself, it moves away from that end by a tenth of the bracket.
    """
    first, last = sorted(point.t for point in bracket)
    t = cubic_minimum(bracket[0], bracket[1], first, last)
    margin = 0.1 * (last - first)
    if min(last - t, t - first) >= margin:
        return t, False
    if stuck or t >= last or t <= first:
        return (last - margin if abs(t - last) < abs(t - first) else first + margin), False
    return t, True
