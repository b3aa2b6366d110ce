"""For all tests."""

import os
import signal

import pytest

from fastnn import _core

# A shell has its background jobs ignore Ctrl-C, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Results must not depend on the number of threads, so teams are whole, however few cores are free.
_core.set_whole_teams(True)

# An emulated processor (`tests/arm/run.sh`) takes 50 times as long: one test of so many, the first of each file among them.
EVERY = 25


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "FASTNN_EMULATED" in os.environ:
        kept = [item for i, item in enumerate(items) if i % EVERY == 0 or item.path != items[i - 1].path]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
