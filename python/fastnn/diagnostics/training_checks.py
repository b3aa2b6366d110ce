"""Does it learn? The initial loss, a handful of rows by heart, the size of updates, and the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._grad_mode import no_grad
from fastnn.diagnostics.baseline import baseline, is_distance, smallest
from fastnn.diagnostics.layers import LayerStatistics, Loss, examine, silence
from fastnn.diagnostics.report import Check, Verdict, graded
from fastnn.nn.module import Module
from fastnn.optim import Adam, Optimizer
from fastnn.training import nonfinite
from fastnn.training.restored import restored
from fastnn.training.step import TrainStep

_INITIAL = (1.5, 3.0)
_HANDFUL = 8
_OVERFIT_STEPS = 200
_OVERFIT_RATES = (1e-2, 1e-3)
_OVERFIT = (0.05, 0.5)
# Share of a weight by which a step may move it; about 1e-3 is good.
_UPDATE_TOO_LARGE = (0.1, 0.5)
_UPDATE_TOO_SMALL = (1e-5, 1e-7)
# By what share the loss falls where the rate is far too low, or where another one is clearly better.
_FLAT, _FALLING = 0.02, 0.1
_FACTORS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e1, 1e2, 1e3, 1e4, 1e5)


def initial_loss(loss: Loss, outputs: NDArray[Any], y: NDArray[Any], value: float) -> Check:
    """Compare the loss with that of outputs that are the same for every row."""
    name = "initial loss"
    try:
        expected = baseline(loss, outputs, y)
    except (TypeError, ValueError):
        # A function of the user's that takes other outputs than logits.
        expected = math.nan
    if not math.isfinite(expected) or expected <= 0:
        verdict = "ok" if math.isfinite(value) else "problem"
        return Check(name, "ok" if verdict == "ok" else "problem", f"{value:.4g}", "a finite number", value=value)
    what = "that of the mean of y" if is_distance(loss) else "that of equal probabilities"
    verdict = graded(value / expected, *_INITIAL)
    if verdict == "ok":
        advice = ""
    elif is_distance(loss):
        advice = "center and scale the targets, or begin the last bias at their mean; smaller initial weights"
    else:
        advice = "smaller initial weights in the last layer, standardized inputs; and is softmax applied twice?"
    return Check(name, verdict, f"{value:.4g}", f"at most about {expected:.4g}, {what}", advice, value)


def overfit(
    model: Module, loss: Loss, x: NDArray[Any], y: NDArray[Any], outputs: NDArray[Any]
) -> tuple[Check, tuple[float, ...]]:
    """Learn a handful of rows by heart with Adam, without dropout. A net that cannot has an error or no capacity."""
    name = "overfit a handful"
    rows = np.unique(np.linspace(0, len(x) - 1, min(_HANDFUL, len(x))).round().astype(int))
    few, targets = np.ascontiguousarray(x[rows]), np.ascontiguousarray(y[rows])
    least = smallest(loss, outputs[rows], targets)
    params = [p for p in model.parameters() if p.requires_grad]
    if not params:
        return Check(name, "problem", "no parameter learns", "", "let parameters require a gradient"), ()
    runs = []
    for lr in _OVERFIT_RATES:
        with restored(model):
            model.train()
            with no_grad():
                silence(model, few)
            step = TrainStep(model, loss, Adam(params, lr=lr))
            step.stop_on_nonfinite = True
            order = np.tile(np.arange(len(few), dtype=np.int64), _OVERFIT_STEPS)
            losses = step.run_batches(few, targets, order, 0, _OVERFIT_STEPS, len(few))
        runs.append(losses)
        if _left(losses, least, loss, outputs[rows], targets) <= _OVERFIT[0]:
            break
    left, losses = min(
        ((_left(run, least, loss, outputs[rows], targets), run) for run in runs), key=lambda pair: pair[0]
    )
    verdict = graded(left, *_OVERFIT)
    return Check(
        name,
        verdict,
        f"{losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} steps, {left:.0%} left",
        f"at most {_OVERFIT[0]:.0%} left",
        ""
        if verdict == "ok"
        else "look for an error in the model, the loss or the pairing of x and y; see the checks of layers; or a wider "
        "net, and less of what regularizes it",
        left,
    ), tuple(losses.tolist())


def _left(losses: NDArray[np.float64], least: float, loss: Loss, outputs: NDArray[Any], y: NDArray[Any]) -> float:
    """Share of the loss that is left, of what knowing nothing costs or of what there was, whichever is more."""
    end = float(np.mean(losses[-5:]))
    if not math.isfinite(end):
        return math.inf
    try:
        known_nothing = baseline(loss, outputs, y)
    except (TypeError, ValueError):
        known_nothing = math.nan
    span = max(known_nothing if math.isfinite(known_nothing) else 0.0, 1e-12) if known_nothing > 0 else losses[0]
    return max(end - least, 0.0) / max(span - least, 1e-12)


def update_ratios(step: TrainStep, x: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
    """Take one step, and return for each weight how far it moved, as a share of its norm; to be called in ``restored``.

    Weights of norm 0, and vectors such as biases, which may well begin at 0, are left out.
    """
    weights = [(name, p) for name, p in step.model.named_parameters() if p.requires_grad and p.ndim > 1]
    before = [np.array(p.detach().numpy(), np.float64) for _, p in weights]
    step(x, y)
    ratios = {}
    for (name, parameter), old in zip(weights, before, strict=True):
        size = float(np.linalg.norm(old))
        if size > 0:
            ratios[name] = float(np.linalg.norm(np.asarray(parameter.detach().numpy(), np.float64) - old)) / size
    return ratios


def update_ratio(
    model: Module, loss: Loss, optimizer: Optimizer, x: NDArray[Any], y: NDArray[Any], batch_size: int
) -> Check:
    """Judge the median, over a few steps, of the ratio of each weight."""
    name, expected = "update ratio", "about 1e-3 of the weight"
    seen: dict[str, list[float]] = {}
    with restored(model, optimizer):
        model.train()
        step = TrainStep(model, loss, optimizer)
        for rows in _batches(len(x), batch_size, 8):
            for parameter, ratio in update_ratios(step, x[rows], y[rows]).items():
                seen.setdefault(parameter, []).append(ratio)
    ratios = {parameter: median(values) for parameter, values in seen.items()}
    if not ratios:
        return Check(name, "ok", "no weights that are not 0", expected)
    least, greatest = min(ratios, key=ratios.__getitem__), max(ratios, key=lambda p: _nan_first(ratios[p]))
    large = graded(ratios[greatest], *_UPDATE_TOO_LARGE)
    small = graded(1 / max(ratios[least], 1e-300), *(1 / limit for limit in _UPDATE_TOO_SMALL))
    text = f"{ratios[least]:.2g} in {least!r} to {ratios[greatest]:.2g} in {greatest!r}"
    if large != "ok":
        return Check(name, large, text, expected, "a lower learning rate, or clipped gradients", ratios[greatest])
    advice = (
        "a higher learning rate, or another one for this layer; see the check of gradients" if small != "ok" else ""
    )
    return Check(name, small, text, expected, advice, ratios[least])


def _nan_first(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _batches(rows: int, batch_size: int, count: int) -> list[NDArray[np.int64]]:
    order = np.concatenate([_core.permutation(rows) for _ in range(-(-count * batch_size // rows))])
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(count)]


def learning_rate(
    model: Module, loss: Loss, optimizer: Optimizer, x: NDArray[Any], y: NDArray[Any], batch_size: int, steps: int
) -> tuple[list[Check], dict[float, tuple[float, ...]]]:
    """Train for some steps at the rate that is set, and, where that does not do, at others.

    Returns:
        A check of whether the loss explodes, and one of the rate; and the losses by rate.
    """
    lr = float(optimizer.param_groups[0].get("lr", 1.0))
    losses, fall, origin = _run(model, loss, optimizer, x, y, batch_size, steps, 1.0)
    runs = {lr: losses}
    # The loss of a single batch, and that of all rows: of a trained net either alone may well be three times another.
    exploded = not math.isfinite(losses[-1]) or (_end(losses) > 3 * losses[0] and fall < -2)
    explosion = Check(
        "loss stays finite",
        "problem" if exploded else "ok",
        f"{losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} steps{f': {origin}' if origin else ''}",
        "a loss that does not explode",
        "a lower learning rate, warm-up, clipped gradients (nn.utils.clip_grad_norm_), batch norm, a look at that layer"
        if exploded
        else "",
        losses[-1],
    )
    name, expected = "learning rate", "a loss that falls steadily"
    text = f"{lr:.3g}: loss {losses[0]:.3g} to {_end(losses):.3g}"
    if exploded:
        return [explosion, Check(name, "problem", text, expected, _lower(lr), lr)], runs
    if fall >= _FLAT:
        return [explosion, Check(name, "ok", text, expected, value=lr)], runs
    falls = {1.0: fall}
    for factor in _FACTORS:
        runs[lr * factor], falls[factor], _ = _run(model, loss, optimizer, x, y, batch_size, steps, factor)
    # The nearest that does: those far off may get stuck later.
    better = [factor for factor in _FACTORS if falls[factor] >= _FALLING]
    best = min(better, key=lambda factor: (abs(round(math.log10(factor))), -falls[factor]), default=1.0)
    if best == 1.0:
        advice = "" if losses[0] < 1e-3 else "no rate within a factor of 100,000 helps: look at the other checks"
        return [explosion, Check(name, "ok" if not advice else "warning", text, expected, advice, lr)], runs
    advice = _lower(lr) if best < 1 else f"a higher rate, such as {lr * best:.3g}; see lr_range_test"
    # A rate that is only slow gets there in the end.
    verdict: Verdict = "warning" if 1 < best < 1e3 else "problem"
    text += ", too high" if best < 1 else ", too low"
    return [explosion, Check(name, verdict, text, expected, advice, lr)], runs


def _lower(lr: float) -> str:
    return f"a rate lower than {lr:.3g}, by factors of 10; see lr_range_test"


def _end(losses: Sequence[float]) -> float:
    return float(np.mean(losses[-max(1, len(losses) // 5) :]))


def _run(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    x: NDArray[Any],
    y: NDArray[Any],
    batch_size: int,
    steps: int,
    factor: float,
) -> tuple[tuple[float, ...], float, str]:
    """Train; return the losses, the share by which that of all rows fell, and where it began if they explode."""
    with restored(model, optimizer):
        model.train()
        for group in optimizer.param_groups:
            if "lr" in group:
                group["lr"] = group["lr"] * factor
        step = TrainStep(model, loss, optimizer)
        step.stop_on_nonfinite = True
        losses: list[float] = []
        batches = _batches(len(x), min(batch_size, len(x)), steps)
        state = _core.get_rng_state()
        before, _, first = examine(model, loss, x, y)
        origin = ""
        for rows in batches:
            losses.append(step(x[rows], y[rows]))
            if not math.isfinite(losses[-1]):
                origin = nonfinite.explain(model, x[rows], y[rows], rows)
                break
            if losses[-1] > 100 * losses[0] + 100:
                break
        # With the same dropout.
        _core.set_rng_state(state)
        after, _, last = examine(model, loss, x, y)
        if not origin and _end(losses) > 3 * losses[0]:
            origin = _grown(before, after)
    fall = 1 - last / first if first > 0 and math.isfinite(last) and math.isfinite(losses[-1]) else -math.inf
    return tuple(losses), fall, origin


def _grown(before: Sequence[LayerStatistics], after: Sequence[LayerStatistics]) -> str:
    """Name the first layer whose output has grown tenfold, or else the one that has grown most."""
    if not before:
        return ""
    growth = [_nan_first(new.rms) / max(old.rms, 1e-12) for old, new in zip(before, after, strict=False)]
    place = next((i for i, factor in enumerate(growth) if factor > 10), int(np.argmax(growth)))
    layer = after[place]
    return f"the outputs of layer {layer.name!r}, {layer.kind}, are the first to grow, {growth[place]:.2g}-fold"
