"""The compiled module uses no function of the system's mathematical library: their bits differ from system to system."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import pytest

import fastnn._core

# Functions of C's <math.h>, in single, double and long double precision: first those whose bits differ between systems, then
# those that are exact but slow.
FUNCTIONS = re.compile(
    "(a?(cos|sin|tan)h?|atan2|cbrt|erfc?|exp|exp10|exp2|expm1|hypot|[lt]gamma|log|log10|log1p|log2|pow|sincos"
    "|ceil|fdim|floor|fma|fmax|fmin|fmod|nearbyint|remainder|rint|round|roundeven|sqrt|trunc)[fl]?"
)


def undefined_symbols(path: Path) -> set[str]:
    """The names that an ELF file, 64 bits and little-endian, leaves to other libraries."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    (sections,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    # (name, type, flags, address, offset, size, link, info, alignment, size of an entry)
    table = [struct.unpack_from("<IIQQQQIIQQ", data, sections + i * size) for i in range(count)]
    names = set()
    for header in table:
        if header[1] == 11:  # SHT_DYNSYM
            strings = table[header[6]][4]
            for at in range(header[4], header[4] + header[5], 24):
                name, _, _, section = struct.unpack_from("<IBBH", data, at)
                if section == 0 and name:
                    start = strings + name
                    names.add(data[start : data.index(b"\0", start)].decode())
    return names


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads ELF files")
def test_no_function_of_libm_is_imported() -> None:
    names = undefined_symbols(Path(fastnn._core.__file__))
    assert any(name.startswith("Py") for name in names)
    assert [name for name in names if FUNCTIONS.fullmatch(name)] == []
