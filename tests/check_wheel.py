"""Check that a wheel is for every CPython from 3.10, small, and holds the package and nothing else.

`python tests/check_wheel.py dist/*.whl`
"""

import re
import sys
import zipfile
from pathlib import Path

MOST_MB = 5
NEEDED = {"fastnn/__init__.py", "fastnn/_core.pyi", "fastnn/py.typed"}
# Nobody's machine but a developer's needs these.
TOOLS = re.compile(r"^Requires-Dist: (pytest|hypothesis|mypy|ruff|torch|jax|maturin)\b", re.MULTILINE)


def problems(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next((archive.read(n).decode() for n in names if n.endswith(".dist-info/METADATA")), "")
    found = []
    if "-cp310-abi3-" not in wheel.name:
        found.append("expected a wheel of the stable ABI from CPython 3.10 (cp310-abi3)")
    if (size := wheel.stat().st_size / 1e6) > MOST_MB:
        found.append(f"expected at most {MOST_MB} MB; got {size:.1f}")
    module = "fastnn/_core.pyd" if "-win" in wheel.name else "fastnn/_core.abi3.so"
    if missing := {*NEEDED, module} - names:
        found.append(f"expected {', '.join(sorted(missing))}")
    if strange := [n for n in sorted(names) if not re.match(r"fastnn(_cpu-[^/]+\.dist-info)?/", n)]:
        found.append(f"expected nothing beside the package; got {', '.join(strange)}")
    if not re.search(r"/sboms/[^/]+\.json$", "\n".join(names), re.MULTILINE):
        found.append("expected a list of the crates in it (SBOM)")
    if tools := TOOLS.findall(metadata):
        found.append(f"expected no tool of developers among the requirements; got {', '.join(tools)}")
    return found


def main() -> None:
    for wheel in map(Path, sys.argv[1:]):
        found = problems(wheel)
        sys.stdout.write(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB\n")
        if found:
            sys.exit("\n".join(f"{wheel.name}: {problem}" for problem in found))


if __name__ == "__main__":
    main()
