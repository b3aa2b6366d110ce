"""While a model is only evaluated: batch norms folded into the convolutions before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastnn import _core
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
    """Whether the second module does nothing but normalise the first one's output by statistics that stay."""
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


@contextmanager
def folded(model: Module) -> Iterator[None]:
    """Let every :class:`Sequential` of a model in evaluation mode run a convolution and its batch norm as one.

    The model's own parameters are left as they are. A batch norm that is not directly behind its convolution in a
    ``Sequential`` runs by itself.
    """
    sequences = [module for module in model.modules() if type(module) is Sequential]
    calls = [(sequence, found) for sequence in sequences if (found := _calls(sequence)) is not None]
    for sequence, found in calls:
        sequence.__dict__["_calls"] = found
    try:
        yield
    finally:
        for sequence, _ in calls:
            sequence.__dict__.pop("_calls", None)
