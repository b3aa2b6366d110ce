"""Random calls under valgrind: errors in the compiled module fail.

``python -m tests.fuzz.memcheck --calls 2000 --seed 7``, some 50 times slower than without. CPython itself reads memory
that it has not written, so only errors with the compiled module on the stack count.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import ROOT

# Calls of one process.
BATCH = 200
# valgrind knows no AVX-512; leak checks would find CPython's own caches.
VALGRIND = ("valgrind", "--quiet", "--error-limit=no", "--num-callers=40")
SETTINGS = {"FASTNN_ISA": "avx2", "PYTHONMALLOC": "malloc", "FUZZ_MEMORY": str(16 << 30), "FUZZ_PATIENCE": "900"}


def errors(log: str) -> list[str]:
    """Return valgrind's reports that have the compiled module on the stack."""
    reports = re.split(r"^==\d+== *$", log, flags=re.MULTILINE)
    return [report.strip() for report in reports if "_core.abi3" in report or "_core.pyd" in report]


def run(seed: int, batch: int, count: int) -> tuple[int, list[str]]:
    """Run a batch; return how many calls there were, and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        log, report = Path(folder) / "log", Path(folder) / "report"
        command = [*VALGRIND, f"--log-file={log}", sys.executable, "-m", "tests.fuzz.child"]
        command += [*map(str, (seed, batch, 0, count)), str(report)]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **SETTINGS}, capture_output=True, text=True, check=False)  # fmt: skip
        lines = report.read_text("utf-8", "replace").split("\n")[1:] if report.exists() else []
        found = errors(log.read_text("utf-8", "replace"))
    if not lines or lines[-1] != "end":
        last = lines[-1] if lines else "none"
        found.append(f"batch {batch} died with {done.returncode} in call {last}\n{done.stderr[-2000:]}")
    return len(lines), found


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.memcheck", description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("memcheck: left out, valgrind is not installed")
        return 0
    sizes = [min(BATCH, options.calls - at) for at in range(0, options.calls, BATCH)]
    calls, failures = 0, 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for ran, found in pool.map(lambda at: run(options.seed, at[0], at[1]), enumerate(sizes)):
            calls += ran
            failures += len(found)
            for one in found:
                print(one, flush=True)
    print(f"memcheck: {calls} calls, {failures} errors")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
