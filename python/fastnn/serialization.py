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

from fastnn import _core, _files
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
# Types of the format that nothing here computes with.
_UNREAD = (
    "C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4",
)  # fmt: skip
_NAMES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}
# The limit of the reference implementation.
_MAX_HEADER = 100_000_000
# Most elements whose strides 64 bits can count, for the widest type.
_MAX_ELEMENTS = 2**63 // 8 - 1


def _array(key: object, value: Any) -> NDArray[Any]:
    _check_text("keys", key)
    if key == "__metadata__":
        raise ValueError("save: expected no key '__metadata__', which is the place of metadata")
    if isinstance(value, Tensor):
        array = value.detach().numpy()
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"save: expected {key!r} to be a tensor or an array of numbers: {error}") from None
    if array.dtype.name not in _NAMES:
        raise TypeError(f"save: expected {key!r} to be a tensor or an array of numbers; got dtype {array.dtype}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"save: expected {what} to be str; got {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"save: expected {what} that UTF-8 can hold; got {text!r}") from None


def _check_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, Mapping):
        raise TypeError(f"save: expected metadata to be a mapping of text; got {type(metadata).__name__}")
    for key, value in metadata.items():
        _check_text("keys of metadata", key)
        _check_text("values of metadata", value)
    return dict(metadata)


def save(
    state_dict: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a safetensors file. It takes the place of an older one at once, or not at all.

    It has the permissions of the older one, and is on the disk when the call returns. A symbolic link is followed.

    Args:
        state_dict: Tensors or arrays by name.
        path: Where to.
        metadata: Text to go with them.

    Raises:
        TypeError: Something in ``state_dict`` is not a tensor or an array of numbers; or a name, or ``metadata``, is
            no text.
        ValueError: A name cannot be written, or all of them take more than 100 MB.
        OSError: The file cannot be written; an older one is as it was.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"save: expected a state_dict, names and tensors; got {type(state_dict).__name__}")
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"save: expected path to be a str or a path; got {type(path).__name__}")
    arrays = {key: _array(key, value) for key, value in state_dict.items()}
    # Wide types first, so that everything is aligned. The header keeps the order of the state_dict.
    places: dict[str, list[int]] = {}
    end = 0
    for key in sorted(arrays, key=lambda key: -arrays[key].itemsize):
        places[key] = [end, end + arrays[key].nbytes]
        end += arrays[key].nbytes
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": _check_metadata(metadata)}
    for key, array in arrays.items():
        header[key] = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": places[key]}
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > _MAX_HEADER:
        raise ValueError(f"save: expected names and shapes of at most {_MAX_HEADER} bytes; got {len(encoded)}")

    def write(file: Any) -> None:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for key in places:
            if arrays[key].nbytes:
                file.write(arrays[key].reshape(-1).view(np.uint8).data)

    _files.write_whole(path, write)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _read(file: Any, count: int) -> bytes:
    """Return so many bytes of an unbuffered file, or those that there are."""
    parts = bytearray()
    while len(parts) < count and (part := file.read(count - len(parts))):
        parts += part
    return bytes(parts)


def _read_header(file: Any, size: int) -> tuple[dict[str, Any], int]:
    """Return the header, and where the tensors begin. Nothing else is read."""
    begin = _read(file, 8)
    if begin.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")):
        raise ValueError("it is a file of torch.save, which can run code: write it with safetensors.torch.save_file")
    if len(begin) < 8:
        raise ValueError(f"it has {len(begin)} bytes, fewer than 8")
    length = int.from_bytes(begin, "little")
    if length > min(_MAX_HEADER, size - 8):
        raise ValueError(f"its header would have {length} bytes, and the file has {size}")
    encoded = _read(file, length)
    if len(encoded) < length:
        raise ValueError(f"its header would have {length} bytes, and {len(encoded)} are there")
    try:
        header = json.loads(encoded.decode(), object_pairs_hook=_unique)
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
    if math.prod(max(n, 1) for n in shape) > _MAX_ELEMENTS:
        raise ValueError(f"{key!r} has the shape {shape!r}")
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


def _entries(header: dict[str, Any], available: int) -> dict[str, tuple[str, tuple[int, ...], int, int]]:
    """Check all of a header; return type, shape, begin and end of every tensor."""
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its __metadata__ is not text by name")
    entries = {key: _check_entry(key, entry) for key, entry in header.items()}
    end = 0
    for first, last in sorted((entry[2], entry[3]) for entry in entries.values()):
        if first != end:
            raise ValueError(f"byte {min(first, end)} belongs to {'no tensor' if first > end else 'two tensors'}")
        end = last
    if end != available:
        raise ValueError(f"its tensors take {end} bytes, and {available} are there")
    return entries


def _read_values(file: Any, start: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    values: NDArray[Any] = np.empty(shape, _NUMPY_TYPES[dtype])
    if values.size:
        rest = memoryview(values.reshape(-1).view(np.uint8).data)
        file.seek(start)
        while rest:
            count = file.readinto(rest)
            if not count:
                raise ValueError(f"it ended while it was read, {len(rest)} bytes early")
            rest = rest[count:]
    return values


def _checked(key: str, dtype: str, values: NDArray[Any]) -> Tensor:
    if dtype == "U64" and values.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError(f"{key!r} has the number {values.max()}, which int64 does not hold")
    if dtype == "BOOL" and values.view(np.uint8).max(initial=0) > 1:
        raise ValueError(f"{key!r} has a byte that is neither true nor false")
    return _to_tensor(values, dtype)


def load(path: str | os.PathLike[str], *, mmap: bool = False) -> OrderedDict[str, Tensor]:
    """Read a safetensors file.

    Sizes and header are checked before anything else is read.

    Args:
        path: Where from; a regular file.
        mmap: Whether tensors of float32, float64, int64 and bool are mapped from the file instead of read: what is
            never used is never read, and memory is shared with other processes until it is written to. Writing changes
            the tensor alone. Meanwhile the file may be replaced, as :func:`save` does, but must not be changed or
            shortened in place, which would change the tensors or end the process.

    Returns:
        The tensors by name, in the order of the header. float16 and bfloat16 become float32; integers, int64. A
        model of float32 or float64 loads any of them.

    Raises:
        ValueError: The file is not a safetensors file, or is damaged, or holds complex numbers, floats of 8 bits or
            fewer, or integers from 2**63 on; or it is a pipe, a socket or a device.
        TypeError: ``path`` is no path, or ``mmap`` no bool.
        OSError: The file cannot be read.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"load: expected path to be a str or a path; got {type(path).__name__}")
    if not isinstance(mmap, bool):
        raise TypeError(f"load: expected mmap to be a bool; got {mmap!r}")
    try:
        with _files.open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            header, start = _read_header(file, size)
            entries = _entries(header, size - start)
            content = _mapped(file, size) if mmap else None
            tensors: OrderedDict[str, Tensor] = OrderedDict()
            for key, (dtype, shape, first, _) in entries.items():
                if content is None or not math.prod(shape):
                    values = _read_values(file, start + first, dtype, shape)
                else:
                    values = np.frombuffer(content, _NUMPY_TYPES[dtype], math.prod(shape), start + first)
                    values = values.reshape(shape)
                tensors[key] = _checked(key, dtype, values)
            return tensors
    except ValueError as error:
        raise ValueError(f"load: expected a safetensors file at {os.fspath(path)!r}, but {error}") from None


def _mapped(file: Any, size: int) -> Any:
    from mmap import ACCESS_COPY, mmap  # noqa: PLC0415  (rarely used)

    return mmap(file.fileno(), size, access=ACCESS_COPY)
