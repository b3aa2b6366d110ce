"""For all tests."""

import os
import signal
from typing import Any

import pytest

from fastnn import _core

# A shell has its background jobs ignore Ctrl-C, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Results must not depend on the number of threads, so teams are whole, however few cores are free.
_core.set_whole_teams(True)

# An emulated processor (`tests/arm/run.sh`) takes 50 times as long: one test of so many, the first of each file among them.
EVERY = 25


# Tests that were skipped, by their ids or their module's, for `--skipped-before`.
SKIPPED = "fastnn/skipped"
skipped: set[str] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--skipped-before",
        action="store_true",
        help="run only tests that the last complete run skipped, such as comparisons with a peer that is there by now",
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        skipped.add(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        skipped.add(report.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # A module that is skipped as a whole is no report of the process that collects the others'.
    skipped.update(getattr(node, "workeroutput", {}).get("skipped", ()))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["skipped"] = sorted(skipped)
        return
    complete = config.args == config.getini("testpaths") and not config.option.keyword and exitstatus == 0
    if complete and not config.option.skipped_before and config.cache is not None:
        # A run of other marks skips other tests.
        found: dict[str, Any] = config.cache.get(SKIPPED, {})
        config.cache.set(SKIPPED, {**found, config.option.markexpr: sorted(skipped)})


def pick_skipped(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect all but the tests that the last complete runs skipped."""
    assert config.cache is not None
    before = {one for part in config.cache.get(SKIPPED, {}).values() for one in part}
    if not before:
        raise pytest.UsageError("--skipped-before: expected a complete run before; there is none")
    kept = [item for item in items if item.nodeid in before or item.nodeid.split("::", 1)[0] in before]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.skipped_before:
        pick_skipped(config, items)
    if "FASTNN_EMULATED" in os.environ:
        kept = [item for i, item in enumerate(items) if i % EVERY == 0 or item.path != items[i - 1].path]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
