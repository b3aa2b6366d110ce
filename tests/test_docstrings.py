"""Examples in docstrings run, and print what stands there."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import fastnn

MODULES = sorted(
    {"fastnn", *(m.name for m in pkgutil.walk_packages(fastnn.__path__, "fastnn.") if not m.name.endswith("_core"))}
)


def examples(name: str) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(importlib.import_module(name)) if test.examples]


TESTS = [test for name in MODULES for test in examples(name)]


def test_there_are_examples() -> None:
    assert len(TESTS) >= 15


@pytest.mark.parametrize("test", TESTS, ids=[test.name for test in TESTS])
def test_an_example_prints_what_it_says(test: doctest.DocTest) -> None:
    fnn_state = fastnn.get_rng_state()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    failures: list[str] = []
    runner.run(test, out=failures.append)
    fastnn.set_rng_state(fnn_state)
    assert not failures, "".join(failures)
