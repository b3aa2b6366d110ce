"""While a model is only evaluated: batch norms folded into the convolutions before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn import _core
from fastnn._core import Undo
from fastnn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from fastnn.nn.container import Sequential
from fastnn.nn.conv import Conv1d, Conv2d
from fastnn.nn.module import Module
from fastnn.nn.utils.fusion import fuse_conv_bn_eval

_PAIRS: tuple[tuple[type[Module], type[Module]], ...] = ((Conv1d, BatchNorm1d), (Conv2d, BatchNorm2d))


class _Pair:
    """A convolution and the batch norm behind it, as one convolution as long as nobody trains."""

    def __init__(self, conv: Any, bn: Any) -> None:
        self._conv, self._bn = conv, bn
        self._fused = fuse_conv_bn_eval(conv, bn)

    def __call__(self, x: Any) -> Any:
        conv, bn = self._conv, self._bn
        if conv.training or bn.training or conv._hooked or bn._hooked or _core.is_grad_enabled():
            return bn(conv(x))
        return self._fused(x)


def _foldable(conv: Module, bn: Module) -> bool:
    """Return whether the second module does nothing but normalize the first one's output by statistics that stay."""
    if (type(conv), type(bn)) not in _PAIRS or conv.training or bn.training:
        return False
    layer: Any = conv
    norm: Any = bn
    return norm.running_mean is not None and norm.num_features == layer.out_channels


def _calls(sequence: Sequential) -> list[Callable[[Any], Any]] | None:
    """The modules of a sequence with pairs in place of two; ``None`` if there are no pairs."""
    modules, calls = list(sequence), list[Callable[[Any], Any]]()
    while modules:
        if len(modules) > 1 and _foldable(modules[0], modules[1]):
            calls.append(_Pair(modules[0], modules[1]))
            del modules[:2]
        else:
            calls.append(modules.pop(0))
    return calls if len(calls) < len(sequence) else None


def _as_it_is(x: Any) -> Any:
    return x


def _stand_ins(module: Module) -> dict[str, Any]:
    """Return the temporary attributes of a module."""
    if type(module) is Sequential:
        calls = _calls(module)
        return {} if calls is None else {"_calls": calls}
    found: dict[str, Any] = {}
    # A class that inherits them may have another forward.
    for first, second in vars(type(module)).get("_folds", ()):
        conv, bn = module._modules.get(first), module._modules.get(second)
        if conv is not None and bn is not None and _foldable(conv, bn):
            found |= {first: _Pair(conv, bn), second: _as_it_is}
    return found


def fold(undo: Undo, model: Module) -> None:
    """Let a model in evaluation mode run a convolution and the batch norm behind it as one, where that is known.

    It is known of two neighbors in a :class:`Sequential`, and where a class names them in ``_folds``, pairs of
    attributes of which the second is given the first one's output and nothing else is. The model's own parameters are
    left as they are, and ``undo`` takes the stand-ins away.
    """
    changed = [(module, found) for module in model.modules() if (found := _stand_ins(module))]
    for module, found in changed:
        for name, stand_in in found.items():
            undo.set_item(module.__dict__, name, stand_in)
