"""Cases in child processes, so that a crash or a hang of one is seen, and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 300
"""A whole batch; a case takes milliseconds. Only a hang takes as long."""


def memory_used() -> int:
    """Return the bytes of address space that this process has taken."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmSize")).split()[1]) << 10


class Verdict(str):
    """A case's own verdict, in place of "returned"."""

    __slots__ = ()


def outcomes(cases: str, start: int = 0, step: int = 1, mebibytes: int = 0) -> dict[str, str]:
    """Run cases ``start::step`` of ``module:function`` in a child, and return how each ended.

    With ``mebibytes``, the child has so much memory beside what it has after its imports.
    """
    # Blocks of 8 KiB come from the system, and go back: memory is refused where it is asked for.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "8192", "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, "-m", "tests.limits.child", cases, str(start), str(step), str(mebibytes)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        output, end = done.stdout, f"ended with {done.returncode}: {done.stderr[-2000:]}"
        crashed = done.returncode != 0
    except subprocess.TimeoutExpired as late:
        output, end, crashed = (late.stdout or b"").decode(), f"did not end within {SECONDS} s", True
    lines = [json.loads(line) for line in output.splitlines()]
    results = {line[0]: line[1] for line in lines if len(line) > 1}
    if crashed:
        results[lines[-1][0] if lines else cases] = f"the process {end}"
    return results
