"""Runs cases in a process of its own, with little memory, and says how each ended."""

from __future__ import annotations

import faulthandler
import importlib
import json
import resource
import sys
import time

from tests.limits.process import Verdict, memory_used

MEBIBYTE = 1 << 20


def say(*values: object) -> None:
    """Write a line for the parent to read, at once."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run cases ``start::step`` of ``module:function``, which returns pairs of name and function."""
    name, start, step, mebibytes = sys.argv[1], *map(int, sys.argv[2:5])
    # By hand: only cases of whose names this is a part, or behind an exclamation mark, is none.
    pattern = sys.argv[5] if len(sys.argv) > 5 else ""
    faulthandler.enable()
    module, function = name.split(":")
    cases = getattr(importlib.import_module(module), function)()
    if mebibytes:
        limit = memory_used() + mebibytes * MEBIBYTE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for case, run in cases[start::step]:
        if pattern and (pattern[1:] in case if pattern[0] == "!" else pattern not in case):
            continue
        # Before it runs: a crash is that of the last one named.
        say(case)
        begun = time.perf_counter()
        try:
            outcome = run()
            how = str(outcome) if isinstance(outcome, Verdict) else "returned"
            del outcome
        except BaseException as error:  # noqa: BLE001
            how = f"{type(error).__name__}: {error}"
        say(case, how, time.perf_counter() - begun)


if __name__ == "__main__":
    main()
