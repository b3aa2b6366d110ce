"""Is it a layer? Symmetry, dead and saturated units, signals and gradients that vanish or explode."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fastnn.diagnostics.layers import LayerStatistics
from fastnn.diagnostics.report import Check, graded
from fastnn.nn.module import Module

_DEAD = (0.25, 0.5)
_SATURATED = (0.25, 0.5)
# By what share of the input's, or of the last layer's, a signal or gradient may have shrunk or grown.
_SHRUNK = (1e3, 1e5)
_GROWN = (1e2, 1e3)
_GRADIENT_GROWN = (1e3, 1e5)


def layer_checks(
    model: Module, layers: Sequence[LayerStatistics], gradients: Mapping[str, float | None], signal: float
) -> list[Check]:
    """Judge a model by one run forward and backward.

    Args:
        model: The model.
        layers: What :func:`~fastnn.diagnostics.layers.examine` returned.
        gradients: Likewise.
        signal: The input's own.
    """
    return [
        _symmetry(model),
        _units("dead units", layers, _DEAD),
        _units("saturated units", layers, _SATURATED),
        _activations(layers, signal),
        _gradients(layers, gradients),
    ]


def _symmetry(model: Module) -> Check:
    """Units with the same weights get the same gradients, and stay the same for ever."""
    twins = []
    hidden = [(name, p) for name, p in model.named_parameters() if p.ndim == 2 and p.requires_grad]
    for name, parameter in hidden:
        weight = parameter.detach().numpy()
        # The units of the last layer differ in their targets, so it may well begin at 0.
        if name != hidden[-1][0] and len(weight) > 1 and (weight == weight[:1]).all():
            twins.append(name)
    return Check(
        "symmetry",
        "problem" if twins else "ok",
        f"all units have the same weights in {', '.join(twins)}" if twins else "units differ",
        "units that differ",
        "begin with random weights: nn.init.kaiming_normal_ for ReLU, nn.init.xavier_uniform_ for tanh and sigmoid"
        if twins
        else "",
        float(len(twins)),
    )


def _units(name: str, layers: Sequence[LayerStatistics], limits: tuple[float, float]) -> Check:
    dead = name == "dead units"
    # A classifier's last sigmoid may be as sure as it likes.
    shares = [(layer.dead if dead else layer.saturated, layer) for layer in (layers if dead else layers[:-1])]
    known = [(share, layer) for share, layer in shares if share is not None]
    expected = f"at most {limits[0]:.0%} in any layer"
    if not known:
        return Check(name, "ok", "no layer that has such units", expected, value=0.0)
    worst, layer = max(known, key=lambda pair: pair[0])
    verdict = graded(worst, *limits)
    if verdict == "ok":
        advice = ""
    elif dead:
        advice = (
            "a lower learning rate, biases that are not very negative, He initialization (nn.init.kaiming_normal_), "
            "batch norm before the ReLU, or LeakyReLU"
        )
    else:
        advice = (
            "standardized inputs, smaller initial weights (nn.init.xavier_uniform_), batch norm before the activation, "
            "or ReLU"
        )
    return Check(name, verdict, f"{worst:.0%} in layer {layer.name!r}, {layer.kind}", expected, advice, worst)


def _activations(layers: Sequence[LayerStatistics], signal: float) -> Check:
    name = "activations"
    expected = "a signal that neither vanishes nor explodes"
    hidden = layers[:-1] or layers
    if not hidden:
        return Check(name, "ok", "no layers", expected)
    bad = next((layer for layer in layers if not math.isfinite(layer.rms)), None)
    if bad is not None:
        return Check(name, "problem", f"not finite from layer {bad.name!r}, {bad.kind}", expected, _INITIALIZE)
    reference = signal or 1.0
    least = min(hidden, key=lambda layer: layer.signal)
    greatest = max(hidden, key=lambda layer: layer.rms)
    shrunk = reference / max(least.signal, 1e-300)
    verdicts = {"vanish": graded(shrunk, *_SHRUNK), "explode": graded(greatest.rms / max(reference, 1.0), *_GROWN)}
    which = "explode" if verdicts["explode"] != "ok" else "vanish"
    if verdicts[which] == "ok":
        text = f"signal {least.signal:.2g} to {max(layer.signal for layer in hidden):.2g}"
        return Check(name, "ok", text, expected, value=least.signal)
    limit = reference / _SHRUNK[0]
    if which == "vanish":
        first = next((layer for layer in hidden if layer.signal < limit), least)
        text = f"signal down to {least.signal:.2g}, small from layer {first.name!r}, {first.kind}"
        return Check(name, verdicts[which], text, expected, _INITIALIZE, least.signal)
    first = next(layer for layer in hidden if layer.rms > _GROWN[0] * max(reference, 1.0))
    text = f"rms up to {greatest.rms:.2g}, large from layer {first.name!r}, {first.kind}"
    return Check(name, verdicts[which], text, expected, _INITIALIZE, greatest.rms)


_INITIALIZE = (
    "He initialization for ReLU (nn.init.kaiming_normal_), Xavier for tanh (nn.init.xavier_uniform_), ReLU instead of "
    "sigmoid, or batch norm between the layers"
)


def _gradients(layers: Sequence[LayerStatistics], gradients: Mapping[str, float | None]) -> Check:
    name = "gradients"
    expected = f"of one size in all layers, within {_SHRUNK[0]:g}-fold"
    lost = [parameter for parameter, value in gradients.items() if value is None]
    if lost:
        return Check(
            name,
            "warning" if len(lost) < len(gradients) else "problem",
            f"the loss does not depend on {_some(lost)}",
            expected,
            "use these parameters in forward, or take them away; look for .detach(), .numpy() and no_grad",
            0.0,
        )
    values = [value for value in gradients.values() if value is not None]
    wrong = [parameter for parameter, value in gradients.items() if value is not None and not math.isfinite(value)]
    if wrong or not values:
        text = f"not finite in {_some(wrong)}" if wrong else "no parameter learns"
        return Check(name, "problem", text, expected, _INITIALIZE if wrong else "let parameters require a gradient")
    sizes = [(layer.gradient, layer) for layer in layers if layer.gradient is not None]
    zero = [parameter for parameter, value in gradients.items() if value == 0 and parameter.endswith("weight")]
    if not max(values):
        return Check(name, "problem", "all are 0", expected, _STUCK, 0.0)
    if zero:
        # If the last layer begins at 0, the others get a gradient from the second step on.
        weights = [value for parameter, value in gradients.items() if parameter.endswith("weight")]
        return Check(name, "warning" if weights[-1] else "problem", f"0 in {_some(zero)}", expected, _STUCK, 0.0)
    if not sizes:
        return Check(name, "ok", f"norm {np.linalg.norm(values):.2g}", expected)
    last = next((size for size, _ in reversed(sizes) if size), 1.0)
    least, at_least = min(sizes, key=lambda pair: pair[0])
    greatest, at_greatest = max(sizes, key=lambda pair: pair[0])
    shrunk, grown = last / max(least, 1e-300), greatest / last
    verdicts = graded(shrunk, *_SHRUNK), graded(grown, *_GRADIENT_GROWN)
    if verdicts[1] != "ok":
        text = f"explode: {greatest:.2g} in layer {at_greatest.name!r}, {grown:.2g} times the last layer's"
        advice = f"{_INITIALIZE}; or clip gradients (nn.utils.clip_grad_norm_)"
        return Check(name, verdicts[1], text, expected, advice, grown)
    text = f"{least:.2g} in layer {at_least.name!r}, {1 / max(shrunk, 1e-300):.2g} of the last layer's"
    if verdicts[0] != "ok":
        return Check(name, verdicts[0], f"vanish: {text}", expected, f"{_INITIALIZE}; or skip connections", shrunk)
    return Check(name, "ok", text, expected, value=shrunk)


_STUCK = (
    "random initial weights instead of zeros, biases that leave units alive, smaller weights; and check that nothing "
    "in forward is flat"
)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
