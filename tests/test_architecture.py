"""Walls: modules of the core use only what stands above them in the table of `lib.rs`, and its lists are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "rust" / "core" / "src"
# Names that `lib.rs` and macros put at the root of the crate, and the modules that they belong to.
OWNERS = {
    "DType": "element", "Element": "element", "Float": "element", "with_float": "element", "with_element": "element",
    "Error": "error", "Result": "error", "Tensor": "tensor", "activations": "kernels",
}  # fmt: skip

pytestmark = pytest.mark.skipif(not CORE.exists(), reason="reads the sources of the core")


def levels() -> list[list[str]]:
    """Return the modules of each line of the table, from the ground up."""
    text = (CORE / "lib.rs").read_text("utf-8")
    rows = re.findall(r"^//! \| (\[`[^|]*) \|", text, flags=re.MULTILINE)
    return [re.findall(r"\[`(?:mod@)?(\w+)`\]", row) for row in rows]


def without_tests(text: str) -> str:
    """Return source code without its comments and its tests."""
    text = re.split(r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:pub(?:\(\w+\))? )?mod ", text)[0]
    return re.sub(r"//.*", "", text)


def used(text: str) -> set[str]:
    """Return the modules that source code names by their path from the root of the crate."""
    names = set(re.findall(r"\bcrate::(\w+)", text))
    for group in re.findall(r"\bcrate::\{([^;]*)\}", text):
        depth, start = 0, 0
        for at, char in enumerate(f"{group},"):
            depth += (char == "{") - (char == "}")
            if char == "," and depth == 0:
                names |= set(re.findall(r"^\s*(\w+)", group[start:at]))
                start = at + 1
    return {OWNERS.get(name, name) for name in names}


def arrows() -> dict[tuple[str, str], str]:
    """Return which module uses which, with a file that shows it."""
    found = {}
    for path in sorted(CORE.rglob("*.rs")):
        inner = path.relative_to(CORE)
        room = inner.parts[0].removesuffix(".rs")
        if room == "lib" or inner.name in {"tests.rs", "testing.rs"} or "tests" in inner.parts:
            continue
        for other in used(without_tests(path.read_text("utf-8"))) - {room}:
            found[room, other] = str(inner)
    return found


def test_the_table_lists_every_module_once() -> None:
    listed = [name for level in levels() for name in level]
    declared = re.findall(r"^pub mod (\w+);", (CORE / "lib.rs").read_text("utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(declared)
    assert len(declared) >= 14


def test_no_arrow_points_upwards() -> None:
    level = {name: number for number, names in enumerate(levels()) for name in names}
    found = arrows()
    assert len(found) > 40
    assert [
        f"{room} uses {other} in {path}" for (room, other), path in found.items() if level[other] > level[room]
    ] == []


def test_imports_are_read_as_rust_reads_them() -> None:
    assert used("use crate::kernels::math; use crate::{DType, ops::{self, add}, plan};") == {
        "kernels",
        "element",
        "ops",
        "plan",
    }
    assert used(without_tests("use crate::simd;\n#[cfg(test)]\nmod tests { use crate::plan; } // crate::ops")) == {
        "simd"
    }


def test_architecture_names_files_that_exist() -> None:
    """Paths that docs/architecture.md names in backticks."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    roots = [ROOT, CORE, ROOT / "rust" / "python" / "src", ROOT / "python" / "fastnn", CORE / "tensor", CORE / "plan", CORE / "threads", CORE / "simd", CORE / "data" / "augment"]  # fmt: skip
    paths = set(re.findall(r"`([\w./]+/[\w./]*|[\w/]+\.(?:rs|py|pyi|md))`", text))
    # Patterns, and names of PyTorch's.
    missing = [p for p in paths if "…" not in p and not any((root / p).exists() for root in roots)]
    assert len(paths) > 40
    assert missing == []
