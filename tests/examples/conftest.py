"""The examples import one another by name, as scripts of one folder do."""

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def _on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


def pytest_collection_modifyitems(items):
    """Mark the experiments of the gallery: `make test-long` runs them."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name != "test_digits.py":
            item.add_marker(pytest.mark.long)
