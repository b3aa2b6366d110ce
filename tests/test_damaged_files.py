"""Damaged safetensors files: whatever is in one, ``load`` returns tensors or raises ValueError.

``FASTNN_DAMAGED_FILES=50000`` tries more of them.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn

FILES = int(os.environ.get("FASTNN_DAMAGED_FILES", "3000"))
NUMBERS = [0, 1, 2, 3, 4, 7, 8, 12, 16, 24, 32, -1, -8, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, 2**70,
           10**30, 1.0, 0.5, 1e308, float("nan"), float("inf"), True, None, "1", [], {}]  # fmt: skip
DTYPES = ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL", "C64", "F8_E4M3",
          "f32", "", None, 3, [], {}]  # fmt: skip
KEYS = ["a", "b", "c", "", "__metadata__", "\ud800", "é", "a" * 300, "\0"]


def encoded(header: Any, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode("utf-8", "surrogatepass")
    return ((len(text) if length is None else length) % 2**64).to_bytes(8, "little") + text + data


def good(draw: random.Random) -> tuple[dict[str, Any], bytes]:
    header: dict[str, Any] = {}
    data = b""
    for key in draw.sample(KEYS[:3], draw.randint(0, 3)):
        dtype, size = draw.choice([("F32", 4), ("F64", 8), ("I64", 8), ("BOOL", 1), ("F16", 2), ("U8", 1), ("U64", 8)])
        shape = [draw.randint(0, 4) for _ in range(draw.randint(0, 3))]
        count = int(np.prod(shape, dtype=int)) * size
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + count]}
        data += bytes(draw.choices([0, 1, 255], [5, 5, 1], k=count))
    if draw.random() < 0.3:
        header["__metadata__"] = {"note": "text"}
    return header, data


def flipped(draw: random.Random) -> bytes:
    content = bytearray(encoded(*good(draw)))
    for _ in range(draw.randint(1, 5)):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(content)


def cut(draw: random.Random) -> bytes:
    content = encoded(*good(draw))
    return content[: draw.randrange(len(content) + 1)] + bytes(draw.choice([0, 0, 1, 9]))


def lying(draw: random.Random) -> bytes:
    """Numbers, types and names in the header that are not those of the data."""
    header, data = good(draw)
    header = header or {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    for _ in range(draw.randint(1, 3)):
        key = draw.choice(list(header))
        entry = header[key]
        what = draw.randrange(6)
        if what == 0 or not isinstance(entry, dict):
            header[draw.choice(KEYS)] = copy.deepcopy(draw.choice([entry, *NUMBERS]))
        elif what == 1:
            entry["dtype"] = copy.deepcopy(draw.choice(DTYPES))
        elif what == 2:
            entry["shape"] = [copy.deepcopy(draw.choice(NUMBERS)) for _ in range(draw.choice([0, 1, 2, 3, 40]))]
        elif what == 3:
            entry["data_offsets"] = [
                copy.deepcopy(draw.choice(NUMBERS)) for _ in range(draw.choice([0, 1, 2, 2, 2, 2, 3]))
            ]
        elif what == 4:
            entry[draw.choice(["dtype", "shape", "data_offsets", "more"])] = copy.deepcopy(draw.choice(NUMBERS))
        else:
            entry.pop(draw.choice(["dtype", "shape", "data_offsets"]), None)
    return encoded(header, data)


def empty_but_large(draw: random.Random) -> bytes:
    shape = [0, *(draw.choice([n for n in NUMBERS if type(n) is int]) for _ in range(draw.randint(0, 3)))]
    draw.shuffle(shape)
    dtype = draw.choice(["F32", "F64", "BOOL", "U8", "F16"])
    return encoded({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}}, b"")


def odd_json(draw: random.Random) -> bytes:
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    text = draw.choice([
        f'{{"a":{entry},"a":{entry}}}',
        '{"a":{"dtype":"F32","dtype":"F64","shape":[1],"data_offsets":[0,4]}}',
        "[" * draw.randint(1, 5000),
        '{"a":' * draw.randint(1, 5000),
        "1" * draw.randint(1, 6000),
        f'{{"a":{{"dtype":"F32","shape":[{"9" * 5000}],"data_offsets":[0,4]}}}}',
        "NaN",
        f'{{"a":{entry.replace("1]", "NaN]")}}}',
        f'{{"a":{entry.replace("4]", "-Infinity]")}}}',
        f'\ufeff{{"a":{entry}}}',
        f'{{"a":{entry}}} x',
        f'{{"\\ud800":{entry}}}',
        "",
        " ",
        "null",
        '"text"',
        f"{{'a':{entry}}}",
    ])  # fmt: skip
    length = draw.choice([None, None, None, 0, 1, 2**31, 2**63, 2**64 - 1, len(text) + 1])
    return encoded(text.encode(), draw.choice([b"", b"1234", b"12345678"]), length)


def noise(draw: random.Random) -> bytes:
    return draw.randbytes(draw.choice([0, 1, 7, 8, 9, 64, 300]))


KINDS: list[Callable[[random.Random], bytes]] = [flipped, cut, lying, empty_but_large, odd_json, noise]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damaged_files(tmp_path: Path, kind: Callable[[random.Random], bytes]) -> None:
    path = tmp_path / "x"
    outcomes = {True: 0, False: 0}
    for seed in range(FILES // len(KINDS)):
        content = kind(random.Random(seed))
        path.write_bytes(content)
        found: dict[bool, Any] = {}
        for mapped in (False, True):
            try:
                found[mapped] = fnn.load(path, mmap=mapped)
            except ValueError as error:
                found[mapped] = str(error)
            except Exception as error:
                raise AssertionError(f"{kind.__name__} {seed}: {type(error).__name__}: {error}") from error
        loaded = isinstance(found[False], dict)
        outcomes[loaded] += 1
        if not loaded:
            assert found[True] == found[False]
            assert found[True].startswith(f"load: expected a safetensors file at {str(path)!r}, but ")
            continue
        # A loaded state is the whole file, and no more of it.
        assert sum(tensor.numel() for tensor in found[False].values()) <= len(content)
        for name, tensor in found[False].items():
            np.testing.assert_array_equal(tensor.numpy(), found[True][name].numpy())
    assert outcomes[False]
