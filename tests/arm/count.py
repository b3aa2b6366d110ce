"""Instructions of the innermost loops of a 64-bit ARM library, against those that multiply and add: count.py LIBRARY.

Emulated time says nothing of a processor's. A loop without branches inside, in which at least 16 instructions are fused
multiply-adds of whole registers, is a kernel of products; it cannot take fewer than these. Needs capstone.
"""

import re
import struct
import sys
from pathlib import Path

from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs

LEAST = 16


def text(path: Path) -> tuple[int, bytes]:
    """Address and bytes of the code of an ELF file."""
    data = path.read_bytes()
    (sections,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    table = [struct.unpack_from("<IIQQQQIIQQ", data, sections + i * size) for i in range(count)]
    start = table[names][4]
    header = next(h for h in table if data[start + h[0] :].startswith(b".text\0"))
    return header[3], data[header[4] : header[4] + header[5]]


def loops(path: Path) -> dict[tuple[int, int], int]:
    """Return the number of loops with so many multiply-adds and so many instructions."""
    address, code = text(path)
    disassembler = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
    disassembler.skipdata = True
    lines = [(mnemonic, operands) for _, _, mnemonic, operands in disassembler.disasm_lite(code, address)]
    found: dict[tuple[int, int], int] = {}
    last_branch = -1
    for at, (mnemonic, operands) in enumerate(lines):
        if not re.match(r"b\.|cbn?z|tbn?z|b$|br|ret", mnemonic):
            continue
        target = operands.rpartition("#")[2]
        if mnemonic.startswith(("b.", "cb")) and target.startswith("0x"):
            first = (int(target, 16) - address) // 4
            if last_branch < first < at:
                body = lines[first : at + 1]
                adds = sum(name == "fmla" for name, _ in body)
                if adds >= LEAST:
                    found[adds, len(body)] = found.get((adds, len(body)), 0) + 1
        last_branch = at
    return found


if __name__ == "__main__":
    for (adds, instructions), count in sorted(loops(Path(sys.argv[1])).items()):
        ratio = instructions / adds
        sys.stdout.write(f"{adds:4} multiply-adds in {instructions:4} instructions, {ratio:.2f} ×: {count} loops\n")
