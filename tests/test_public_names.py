"""Public names: what a package exports is what it imports, documents, and has in `dir`."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

PACKAGES = ["fastnn", *(m.name for m in pkgutil.walk_packages(fastnn.__path__, "fastnn.") if m.ispkg)]
DOCS = sorted([*Path(__file__).parents[1].glob("docs/*.md"), Path(__file__).parents[1] / "README.md"])


def imported(name: str) -> set[str]:
    """Return the names that an `__init__` imports as themselves."""
    module = importlib.import_module(name)
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    aliases = [a for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names]
    return {a.asname for a in aliases if a.asname is not None and a.asname == a.name}


@pytest.mark.parametrize("name", [p for p in PACKAGES if p != "fastnn.visualize"])
def test_a_package_exports_what_it_imports_as_itself(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    # Dtypes have PyTorch's other names, too.
    assert set(module.__all__) - imported(name) <= {"double", "float", "long", *getattr(module, "_LAZY", ())}
    assert imported(name) <= set(module.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
            assert inspect.getdoc(value), f"{name}.{public}"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_star_takes_the_public_names_and_no_others(name: str) -> None:
    code = f"from {name} import *; print(sorted(n for n in dir() if n[0] != '_' or n == '__version__'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    public = set(importlib.import_module(name).__all__)
    # `__version__` of the script is none.
    assert set(ast.literal_eval(done.stdout)) == public


def test_names_that_pages_use_are_public() -> None:
    found = 0
    for page in DOCS:
        for path in re.findall(r"\bfnn((?:\.\w+)+)", page.read_text("utf-8")):
            value: object = fastnn
            for part in path.strip(".").split("."):
                assert hasattr(value, part), f"{page.name}: fnn{path}"
                value = getattr(value, part)
            found += 1
    assert found > 20
