"""Statistics of every layer: forward and backward, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core, nn
from fastnn._core import Tensor, Undo
from fastnn._grad_mode import enable_grad
from fastnn.autograd import grad
from fastnn.nn._hooks import attach
from fastnn.nn.module import Module

Loss = Callable[[Any, Any], Tensor]

# Below and above these values an activation hardly has a slope any more: 4 % of the greatest one.
_SATURATED_SIGMOID = 0.01
_SATURATED_TANH = 0.98


@dataclass(frozen=True)
class LayerStatistics:
    """A layer's output, and the gradient of the loss with respect to it.

    Attributes:
        name: Its path in the model.
        kind: Its class.
        mean: Mean of the output over rows and units.
        rms: Root mean square of the output.
        signal: How far the output tells rows apart: root mean square, over units, of the deviation over rows.
        gradient: Root mean square of n times the gradient of the mean loss over n rows: per row, whatever n is.
            ``None`` if no gradient is taken; 0 if the loss does not depend on it.
        dead: Share of units that are 0 for every row; ``None`` if the layer has no such units.
        saturated: Share of the outputs at the flat ends of a sigmoid or tanh; ``None`` if it is neither.
        units: Number of units.
    """

    name: str
    kind: str
    mean: float
    rms: float
    signal: float
    gradient: float | None
    dead: float | None
    saturated: float | None
    units: int


def leaves(model: Module) -> list[tuple[str, Module]]:
    """Return the parts of a model that have none themselves, with their paths."""
    return [(name, module) for name, module in model.named_modules() if not any(True for _ in module.children())]


def watched(model: Module, see: Callable[[str, Module, Tensor], None]) -> Undo:
    """Call ``see`` with each layer's path, the layer and its output, in their order, within a ``with`` block."""

    def hook(name: str) -> Callable[..., None]:
        def seen(module: Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                see(name, module, output)

        return seen

    def begin(undo: Undo) -> None:
        for name, module in leaves(model):
            attach(undo, module, hook(name))

    return Undo(begin)


def examine(
    model: Module, loss: Loss, x: NDArray[Any], y: NDArray[Any]
) -> tuple[tuple[LayerStatistics, ...], dict[str, float | None], float]:
    """Run the model and its backward once, and leave every ``grad`` as it is.

    Returns:
        The layers in the order in which they run; the norm of each parameter's gradient, ``None`` for one that the loss
        does not depend on; and the loss.
    """
    seen: list[tuple[str, Module, Tensor]] = []
    with enable_grad():
        with watched(model, lambda name, module, output: seen.append((name, module, output))):
            value = loss(model(_core.as_tensor(x)), _core.as_tensor(y))
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        wanted = [output for _, _, output in seen if output.requires_grad]
        if value.requires_grad:
            found = grad(value, [*wanted, *(p for _, p in named)], allow_unused=True)
        else:
            found = (None,) * (len(wanted) + len(named))
    of_output = {id(output): g for output, g in zip(wanted, found, strict=False)}
    # The mean over rows divides each row's gradient by their number.
    scale = 1 if getattr(loss, "reduction", "mean") == "sum" else len(x)
    layers = tuple(_statistics(name, module, output, of_output.get(id(output)), scale) for name, module, output in seen)
    norms = [None if g is None else norm([g]) for g in found[len(wanted) :]]
    return layers, {name: g for (name, _), g in zip(named, norms, strict=True)}, float(value.item())


def norm(tensors: Iterable[Tensor]) -> float:
    """Return the norm over all elements of several tensors."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(sum(np.square(t.detach().numpy(), dtype=np.float64).sum() for t in tensors) ** 0.5)


def _statistics(name: str, module: Module, output: Tensor, gradient: Tensor | None, scale: int) -> LayerStatistics:
    values = np.asarray(output.detach().numpy(), np.float64)
    values = values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)
    dead = saturated = slope = None
    if isinstance(module, nn.ReLU | nn.ReLU6):
        dead = float((values == 0).all(axis=0).mean())
    if isinstance(module, nn.Sigmoid):
        saturated = float(((values < _SATURATED_SIGMOID) | (values > 1 - _SATURATED_SIGMOID)).mean())
    if isinstance(module, nn.Tanh):
        saturated = float((np.abs(values) > _SATURATED_TANH).mean())
    with np.errstate(over="ignore", invalid="ignore"):
        if gradient is not None:
            slope = scale * _rms(np.asarray(gradient.detach().numpy(), np.float64))
        elif output.requires_grad:
            slope = 0.0
        return LayerStatistics(
            name=name,
            kind=type(module).__name__,
            mean=float(values.mean()),
            rms=_rms(values),
            signal=_rms(values.std(axis=0)),
            gradient=slope,
            dead=dead,
            saturated=saturated,
            units=values.shape[1],
        )


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(values).mean())) if values.size else 0.0


def silence(model: Module, x: NDArray[Any]) -> None:
    """Put the layers that draw random numbers, such as dropout, into evaluation mode."""
    drawing: list[Module] = []
    state = [_core.get_rng_state()]

    def see(_name: str, module: Module, _output: Tensor) -> None:
        if _core.get_rng_state() != state[0]:
            drawing.append(module)
            state[0] = _core.get_rng_state()

    with watched(model, see):
        model(_core.as_tensor(x))
    for module in drawing:
        module.eval()
