"""Reading a module's state and writing it back, all or nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import shape_of

if TYPE_CHECKING:
    from fastnn.nn.module import Module

# PyTorch's norms before 0.4.1 did not count batches, and a state without PyTorch's version numbers is taken for such.
_MAY_BE_MISSING = {"num_batches_tracked"}


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` left alone."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def collect(module: Module, destination: OrderedDict[str, Tensor], prefix: str, keep_vars: bool) -> None:
    """Put the parameters and persistent buffers of ``module`` and its descendants into ``destination``."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            destination[prefix + name] = parameter if keep_vars else parameter.detach()
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            destination[prefix + name] = buffer if keep_vars else buffer.detach()
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=destination, prefix=prefix + name + ".", keep_vars=keep_vars)


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if not hasattr(value, "__array__"):
        raise TypeError(f"expected a tensor or a NumPy array; got {type(value).__name__}")
    array = np.asarray(value)
    return _core.as_tensor(array if array.flags.writeable else array.copy())


def load(module: Module, state_dict: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """Check every key and every shape first, and only then copy."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    for key in state_dict:
        if not isinstance(key, str):
            raise TypeError(f"{type(module).__name__}.load_state_dict: expected names to be str; got {key!r}")
    own: OrderedDict[str, Tensor] = module.state_dict(keep_vars=True)
    missing = [key for key in own if key not in state_dict and key.rpartition(".")[2] not in _MAY_BE_MISSING]
    unexpected = [key for key in state_dict if key not in own]
    errors: list[str] = []
    if strict and missing:
        errors.append("Missing key(s) in state_dict: {}. ".format(", ".join(f'"{key}"' for key in missing)))
    if strict and unexpected:
        errors.append("Unexpected key(s) in state_dict: {}. ".format(", ".join(f'"{key}"' for key in unexpected)))
    copies: list[tuple[str, Tensor, Tensor]] = []
    for key, target in own.items():
        if key not in state_dict:
            continue
        try:
            source = _as_tensor(state_dict[key])
        except (TypeError, ValueError, RuntimeError) as error:
            errors.append(f'While copying the parameter named "{key}", an exception occurred : {error}.')
            continue
        here, there = shape_of(target), shape_of(source)
        if here == () and there == (1,):
            # NumPy, and old checkpoints, turn a scalar into a vector of one.
            source, there = source[0], here
        if here != there:
            errors.append(
                f"size mismatch for {key}: copying a param with shape {there} from checkpoint, "
                f"the shape in current model is {here}."
            )
            continue
        copies.append((key, target, source))
    if errors:
        raise ValueError(
            "Error(s) in loading state_dict for {}:\n\t{}".format(type(module).__name__, "\n\t".join(errors))
        )
    targets, sources = [target for _, target, _ in copies], [source for _, _, source in copies]
    _core.assign(f"{type(module).__name__}.load_state_dict", [key for key, _, _ in copies], targets, sources)
    return IncompatibleKeys(missing, unexpected)
