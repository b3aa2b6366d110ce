"""A state made for another model: other names, another head."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

from fastnn._types import shape_of
from fastnn.nn.module import Module


class MatchedKeys(NamedTuple):
    """Result of :func:`load_matching`: the keys it has loaded, and those it left alone.

    Args:
        loaded_keys: Those that the model now has from the state.
        missing_keys: The model's, which the state lacks.
        unexpected_keys: The state's, which the model lacks.
        mismatched_keys: Those of another shape, with the model's shape and the state's.
    """

    loaded_keys: list[str]
    missing_keys: list[str]
    unexpected_keys: list[str]
    mismatched_keys: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]


def consume_prefix_in_state_dict_if_present(state_dict: MutableMapping[str, Any], prefix: str) -> None:
    """Take a prefix off the names that have it, in place; ``"module."`` is that of PyTorch's ``DataParallel``.

    Args:
        state_dict: Tensors or arrays by name. The names that had the prefix go to the end.
        prefix: What they begin with.

    Raises:
        TypeError: An argument, or a name, is of another type. Nothing is renamed then.

    Source:
        ``torch.nn.modules.utils``.
    """
    where = "consume_prefix_in_state_dict_if_present"
    if not isinstance(state_dict, MutableMapping):
        raise TypeError(f"{where}: expected state_dict to be a mutable mapping; got {type(state_dict).__name__}")
    if not isinstance(prefix, str):
        raise TypeError(f"{where}: expected prefix to be a str; got {prefix!r}")
    for key in state_dict:
        if not isinstance(key, str):
            raise TypeError(f"{where}: expected names to be str; got {key!r}")
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[key[len(prefix) :]] = state_dict.pop(key)


def load_matching(model: Module, state_dict: Mapping[str, Any], prefix: str = "module.") -> MatchedKeys:
    """Load what fits from the state of a similar model, such as one with another head.

    A tensor is loaded if the model has one of its name and shape; all others stay as they are, and are named in the
    result. Values are converted to the model's type.

    Args:
        model: Changed in place.
        state_dict: What ``state_dict()`` or :func:`fastnn.load` returned, here or in PyTorch.
        prefix: Taken off the names in ``state_dict`` that begin with it, unless names of the model do.

    Returns:
        The names: loaded, missing, unexpected, mismatched.

    Raises:
        ValueError: Nothing fits; or a tensor cannot be read, and then nothing is loaded.
        TypeError: ``model`` is no module, or ``state_dict`` no mapping.

    Source:
        Keras' ``load_weights(skip_mismatch=True)``. PyTorch's ``load_state_dict(strict=False)`` raises where shapes
        differ.
    """
    if not isinstance(model, Module):
        raise TypeError(f"load_matching: expected model to be an nn.Module; got {type(model).__name__}")
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"load_matching: expected state_dict to be a mapping; got {type(state_dict).__name__}")
    if not isinstance(prefix, str):
        raise TypeError(f"load_matching: expected prefix to be a str; got {prefix!r}")
    own = model.state_dict()
    state = dict(state_dict)
    for key in state:
        if not isinstance(key, str):
            raise TypeError(f"load_matching: expected names to be str; got {key!r}")
    if not any(key.startswith(prefix) for key in own):
        consume_prefix_in_state_dict_if_present(state, prefix)
    shapes = {key: (shape_of(own[key]), shape_of(value)) for key, value in state.items() if key in own}
    mismatched = {
        # A scalar may have become a vector of one on its way through a file.
        key: (here, there)
        for key, (here, there) in shapes.items()
        if here != there and (here, there) != ((), (1,))
    }
    fitting = {key: state[key] for key in own if key in state and key not in mismatched}
    if not fitting:
        name = type(model).__name__
        raise ValueError(
            f"load_matching: expected names and shapes of {name}, such as {_some(own)}; got {_some(state)}"
        )
    model.load_state_dict(fitting, strict=False)
    missing = [key for key in own if key not in state]
    return MatchedKeys(list(fitting), missing, [key for key in state if key not in own], mismatched)


def _some(state: Mapping[str, Any]) -> str:
    named = [f"{key} {shape_of(value)}" for key, value in list(state.items())[:2]]
    return ", ".join(named) or "none"
