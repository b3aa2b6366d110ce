"""Reading a module's state and writing it back, all or nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import shape_of

if TYPE_CHECKING:
    from fastnn.nn.module import Module
    from fastnn.nn.parameter import Parameter

# PyTorch's norms before 0.4.1 did not count batches, and a state without PyTorch's version numbers is taken for such.
_MAY_BE_MISSING = {"num_batches_tracked"}


class IncompatibleKeys(NamedTuple):
    """Keys that ``load_state_dict(strict=False)`` left alone."""

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


def names_of(module: Module) -> list[tuple[list[str], Parameter]]:
    """Return each parameter once, with all of its names: a shared one has several."""
    found: dict[int, tuple[list[str], Parameter]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), ([], parameter))[0].append(name)
    return list(found.values())


def chosen_by_patterns(
    where: str, what: str, module: Module, patterns: Sequence[str], takes: Callable[[int, Parameter], bool]
) -> list[tuple[Parameter, int]]:
    """Return each parameter that a pattern is for, with the number of the first pattern that matches one of its names.

    Args:
        where: Who asks, for errors.
        what: Name of the setting with the patterns.
        module: Whose parameters.
        patterns: Patterns of names, as in :mod:`fnmatch`.
        takes: Whether a parameter is of a kind that the pattern of this number is for.

    Raises:
        ValueError: A pattern matches no parameter's name; or has no effect where others have, for those that it matches
            are of another kind, or belong to patterns before it.
    """
    chosen: list[tuple[Parameter, int]] = []
    matched: set[int] = set()
    for names, parameter in names_of(module):
        matching = [i for i, pattern in enumerate(patterns) if any(fnmatchcase(name, pattern) for name in names)]
        matched.update(matching)
        if matching and takes(matching[0], parameter):
            chosen.append((parameter, matching[0]))
    for i, pattern in enumerate(patterns):
        if i not in matched:
            raise ValueError(
                f"{where}: expected every pattern{what} to match a parameter's name; {pattern!r} matches none"
            )
    used = {i for _, i in chosen}
    for i, pattern in enumerate(patterns):
        if used and i not in used:
            raise ValueError(
                f"{where}: expected every pattern{what} to be the first that matches some weight; "
                f"{pattern!r} is for none"
            )
    return chosen


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
