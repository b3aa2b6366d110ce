"""Saving tensors to safetensors files, and loading them. No file can run code.

A file is the length of a header, 8 bytes little-endian; the header, JSON, which gives every tensor's type, shape and
place; and the tensors' bytes. See https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor

_NUMPY_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
# What else the format knows, and nothing here computes with.
_UNREAD = (
    "C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4",
)  # fmt: skip
_NAMES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}
# The limit of the reference implementation.
_MAX_HEADER = 100_000_000


def _array(key: str, value: Any) -> NDArray[Any]:
    if not isinstance(key, str):
        raise TypeError(f"save: expected keys to be str; got {key!r}")
    array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.name not in _NAMES:
        raise TypeError(f"save: expected {key!r} to be a tensor or an array of numbers; got dtype {array.dtype}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def save(
    state_dict: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a safetensors file. It takes the place of an older one at once, or not at all.

    Args:
        state_dict: Tensors or arrays by name.
        path: Where to.
        metadata: Text to go with them.

    Raises:
        TypeError: Something in ``state_dict`` is not a tensor or an array of numbers.
        OSError: The file can not be written; an older one is as it was.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"save: expected a state_dict, names and tensors; got {type(state_dict).__name__}")
    arrays = {key: _array(key, value) for key, value in state_dict.items()}
    # Wide types first, so that everything is aligned. The header keeps the order of the state_dict.
    places: dict[str, list[int]] = {}
    end = 0
    for key in sorted(arrays, key=lambda key: -arrays[key].itemsize):
        places[key] = [end, end + arrays[key].nbytes]
        end += arrays[key].nbytes
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    for key, array in arrays.items():
        header[key] = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": places[key]}
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)

    from pathlib import Path  # noqa: PLC0415  (importing fastnn is to stay quick)

    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(len(encoded).to_bytes(8, "little"))
            file.write(encoded)
            for key in places:
                file.write(arrays[key].tobytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _parse_header(content: bytearray) -> tuple[dict[str, Any], int]:
    if content.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")):
        raise ValueError("it is a file of torch.save, which can run code: write it with safetensors.torch.save_file")
    if len(content) < 8:
        raise ValueError(f"it has {len(content)} bytes, fewer than 8")
    length = int.from_bytes(content[:8], "little")
    if length > min(_MAX_HEADER, len(content) - 8):
        raise ValueError(f"its header would have {length} bytes, and the file has {len(content)}")
    try:
        header = json.loads(content[8 : 8 + length].decode(), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("its header is nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("its header is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    return header, 8 + length


def _check_entry(key: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{key!r} does not have just dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if isinstance(dtype, str) and dtype in _UNREAD:
        raise ValueError(f"{key!r} has dtype {dtype}, which fastnn does not have: convert it to float32 before saving")
    if not isinstance(dtype, str) or dtype not in _NUMPY_TYPES:
        raise ValueError(f"{key!r} has the unknown dtype {dtype!r}")
    for name, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"{key!r} has the {name} {numbers!r}")
    if len(shape) > 32:
        raise ValueError(f"{key!r} has {len(shape)} dimensions")
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * np.dtype(_NUMPY_TYPES[dtype]).itemsize:
        raise ValueError(f"{key!r} has the data_offsets {offsets!r}, which do not fit {dtype} of shape {tuple(shape)}")
    return dtype, tuple(shape), offsets[0], offsets[1]


def _to_tensor(values: NDArray[Any], dtype: str) -> Tensor:
    if dtype == "BF16":
        # The upper half of a float32.
        values = (values.astype(np.uint32) << 16).view(np.float32)
    elif dtype == "F16":
        values = values.astype(np.float32)
    elif dtype not in {"F64", "F32", "I64", "BOOL"}:
        values = values.astype(np.int64)
    elif not values.flags.aligned or not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    return _core.as_tensor(values)


def _parse(content: bytearray) -> OrderedDict[str, Tensor]:
    header, start = _parse_header(content)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its __metadata__ is not text by name")
    entries = {key: _check_entry(key, entry) for key, entry in header.items()}
    end = 0
    for first, last in sorted((entry[2], entry[3]) for entry in entries.values()):
        if first != end:
            raise ValueError(f"byte {min(first, end)} belongs to {'no tensor' if first > end else 'two tensors'}")
        end = last
    if end != len(content) - start:
        raise ValueError(f"its tensors take {end} bytes, and {len(content) - start} are there")
    tensors: OrderedDict[str, Tensor] = OrderedDict()
    for key, (dtype, shape, first, _) in entries.items():
        count = math.prod(shape)
        values: NDArray[Any] = np.zeros(shape, _NUMPY_TYPES[dtype])
        if count:
            values = np.frombuffer(content, _NUMPY_TYPES[dtype], count, start + first).reshape(shape)
        if dtype == "U64" and values.max(initial=0) > np.iinfo(np.int64).max:
            raise ValueError(f"{key!r} has the number {values.max()}, which int64 does not hold")
        if dtype == "BOOL" and values.view(np.uint8).max(initial=0) > 1:
            raise ValueError(f"{key!r} has a byte that is neither true nor false")
        tensors[key] = _to_tensor(values, dtype)
    return tensors


def load(path: str | os.PathLike[str]) -> OrderedDict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: Where from.

    Returns:
        The tensors by name, in the order of the header. float16 and bfloat16 become float32; integers, int64. A
        model of float32 or float64 loads any of them.

    Raises:
        ValueError: The file is not a safetensors file, or is damaged, or holds complex numbers, floats of 8 bits or
            fewer, or integers from 2**63 on.
        OSError: The file can not be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123  (importing pathlib takes milliseconds)
        content = bytearray(file.read())
    try:
        return _parse(content)
    except ValueError as error:
        raise ValueError(f"load: expected a safetensors file at {os.fspath(path)!r}, but {error}") from None
