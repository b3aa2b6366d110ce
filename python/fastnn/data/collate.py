"""Samples to batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_items, check_length, check_number, shape_of, shown

_KINDS = "biuf"


def default_collate(batch: Sequence[Any]) -> Any:
    """Make one batch of a list of samples: a new first axis where they hold numbers.

    Tensors and arrays are stacked; floats become a float64 tensor, ints an int64 one; strings and bytes stay a list;
    a mapping becomes the mapping of batches, and a tuple or a list the list of them, a named tuple one of its type.

    Args:
        batch: Samples that are alike, at least one.

    Returns:
        The batch. Integers of any width become int64, and float16 becomes float32, the types that tensors have; in
        PyTorch they keep theirs.

    Raises:
        ValueError: Samples differ in shape or length, or there is none.
        TypeError: A sample is of a type that cannot be stacked.

    Source:
        ``torch.utils.data.default_collate``.
    """
    if not check_length("default_collate", "batch", batch):
        raise ValueError("default_collate: expected at least one sample; got none")
    if not isinstance(batch, Sequence):
        batch = check_items("default_collate", "batch", batch)
    first = batch[0]
    if isinstance(first, Tensor):
        _check_shapes(batch)
        return _core.stack(list(batch))
    if isinstance(first, np.ndarray):
        _check_kind(first.dtype)
        _check_shapes(batch)
        return _tensor(np.stack(batch))
    if isinstance(first, np.generic) and first.dtype.kind in _KINDS:
        return _tensor(np.asarray(batch))
    if isinstance(first, float):
        try:
            values = np.asarray(batch, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            values = np.array([check_number("default_collate", "samples", value) for value in batch])
        return _core.as_tensor(values)
    if isinstance(first, (bool, int)):
        return _core.as_tensor(np.asarray(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        for sample in batch:
            if not isinstance(sample, Mapping) or not sample.keys() >= first.keys():
                raise TypeError(f"default_collate: expected samples with the keys {list(first)}; got {shown(sample)}")
        return _as_mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, Sequence):
        lengths = sorted({check_length("default_collate", "samples", sample) for sample in batch})
        if len(lengths) > 1:
            raise ValueError(f"default_collate: expected samples of one length; got lengths {lengths}")
        return _as_sequence(first, [default_collate(values) for values in zip(*batch, strict=True)])
    raise TypeError(
        f"default_collate: expected samples of tensors, arrays, numbers, strings, mappings or sequences; "
        f"got {type(first).__name__}"
    )


def default_convert(data: Any) -> Any:
    """Make tensors of all arrays in a sample, and leave everything else as it is.

    Args:
        data: A sample: an array, or mappings and sequences of such.

    Returns:
        The same with tensors; a tuple becomes a list, as in PyTorch.

    Source:
        ``torch.utils.data.default_convert``.
    """
    if isinstance(data, (np.ndarray, np.generic)) and data.dtype.kind in _KINDS:
        return _tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return _as_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _as_sequence(data, [default_convert(value) for value in data])
    return data


def _tensor(array: NDArray[Any]) -> Tensor:
    return _core.as_tensor(array.astype(np.float32) if array.dtype == np.float16 else array)


def _check_kind(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in _KINDS:
        raise TypeError(f"default_collate: expected arrays of real numbers; got dtype {dtype}")


def _check_shapes(batch: Sequence[Any]) -> None:
    first = shape_of(batch[0])
    for sample in batch:
        shape = tuple(np.shape(sample))
        if shape != first:
            raise ValueError(f"default_collate: expected samples of one shape; got {first} and {shape}")


def _as_mapping(like: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Return the values in a mapping of this type, if it can be made."""
    return values if type(like) is dict else _made(type(like), values)


def _as_sequence(like: Sequence[Any], values: list[Any]) -> Any:
    if isinstance(like, tuple):
        return type(like)(*values) if hasattr(like, "_fields") else values
    return values if type(like) in {list, range} else _made(type(like), values)


def _made(kind: Callable[[Any], Any], values: Any) -> Any:
    try:
        return kind(values)
    except TypeError:
        return values
