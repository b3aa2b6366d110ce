"""Runs batches of calls in child processes, two at a time, and reports what is wrong as programs to run again."""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.programs import OF_NAME, program

ROOT = Path(__file__).resolve().parents[2]
# Calls of one process.
BATCH = 2000


@dataclass
class Failure:
    """A call that went wrong."""

    seed: int
    batch: int
    index: int
    wrong: str
    detail: str
    kind: str = ""

    def __str__(self) -> str:
        lines = program(self.seed, self.batch, self.index, self.kind)
        snippet = "\n".join(["from tests.fuzz.values import *", *lines])
        return f"--- {self.wrong} (seed {self.seed}, batch {self.batch}, call {self.index})\n{self.detail.rstrip()}\n{snippet}\n"


@dataclass
class Report:
    """Outcomes of all calls."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[Failure] = field(default_factory=list)
    slow: list[tuple[float, str]] = field(default_factory=list)

    def summary(self) -> str:
        """Return counts by outcome, and failures by kind and place."""
        total = sum(self.outcomes.values())
        lines = [f"{total} calls, {len(self.failures)} failures"]
        lines += [f"{n:8} {100 * n / max(total, 1):5.1f} %  {name}" for name, n in self.outcomes.most_common()]
        places = collections.Counter((f.wrong, f.detail.split("\n", 1)[0]) for f in self.failures)
        lines += [f"{n:8}  {wrong}  {place}" for (wrong, place), n in places.most_common()]
        lines += [f"{seconds:8.2f} s  {text}" for seconds, text in sorted(self.slow, reverse=True)[:5]]
        return "\n".join(lines)


def _child(seed: int, batch: int, first: int, count: int, kind: str) -> tuple[list[str], str]:
    """Run calls in a process; return the lines of its report, and how it ended if it did not finish."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report"
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.child", *map(str, (seed, batch, first, count)), str(path), kind]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)  # fmt: skip
        lines = path.read_text("utf-8", "replace").split("\n")[1:] if path.exists() else []
    if lines and lines[-1] == "end":
        return lines[:-1], ""
    errors = done.stderr[-3000:]
    if "Timeout (" in errors:
        return lines, f"hang\n{errors}"
    return lines, f"died with {done.returncode}\n{errors}"


def _culprit(seed: int, batch: int, first: int, last: int, kind: str) -> tuple[int, int]:
    """Return the shortest run of calls, ending with the last one, of which a process dies again."""
    length = 1
    while length < last - first + 1:
        if _child(seed, batch, last - length + 1, length, kind)[1]:
            return last - length + 1, last
        length *= 4
    return first, last


def run_batch(seed: int, batch: int, count: int, kind: str = "") -> Report:
    """Run the calls of a batch; a process that dies is followed by another one for the rest."""
    report, first = Report(), 0
    while first < count:
        lines, ended = _child(seed, batch, first, count - first, kind)
        for line in lines:
            index, _, text = line.partition(" ")
            if not text:
                continue
            what, outcome, wrong, place, took = json.loads(text)
            report.outcomes[f"wrong: {outcome}" if wrong else outcome] += 1
            if wrong:
                report.failures.append(Failure(seed, batch, int(index), wrong, place, kind))
            if took > 1:
                report.slow.append((took, what))
        if not ended:
            break
        last = int(lines[-1].split(" ", 1)[0]) if lines else first
        how, _, detail = ended.partition("\n")
        since, _ = _culprit(seed, batch, first, last, kind)
        note = "" if since == last else f"only after calls {since} to {last - 1} of the batch\n"
        report.outcomes[f"wrong: {how.split(' ')[0]}"] += 1
        report.failures.append(Failure(seed, batch, last, how, f"{note}{detail}", kind))
        if not lines:
            break
        first = last + 1
    return report


def run(calls: int, seed: int, processes: int = 2, kind: str = "", show: int = 0) -> Report:
    """Run calls, and print up to ``show`` failures of each kind as they come."""
    sizes = [min(BATCH, calls - at) for at in range(0, calls, BATCH)]
    report, shown = Report(), collections.Counter[tuple[str, str]]()
    with ThreadPoolExecutor(processes) as pool:
        done: Iterable[Report] = pool.map(lambda at: run_batch(seed, at[0], at[1], kind), enumerate(sizes))
        for part in done:
            report.outcomes.update(part.outcomes)
            report.failures += part.failures
            report.slow += part.slow
            for failure in part.failures:
                key = (failure.wrong, failure.detail.split("\n", 1)[0])
                shown[key] += 1
                if shown[key] <= show:
                    print(failure, flush=True)
    return report


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--kind", choices=["", *OF_NAME], default="", help="one kind of program only")
    parser.add_argument("--show", type=int, default=1, help="failures to print of each kind and place")
    parser.add_argument("--program", nargs=2, type=int, metavar=("BATCH", "INDEX"), help="print one program and stop")
    options = parser.parse_args()
    if options.program:
        print("\n".join(["from tests.fuzz.values import *", *program(options.seed, *options.program, options.kind)]))
        return 0
    began = time.perf_counter()
    report = run(options.calls, options.seed, options.processes, options.kind, options.show)
    print(report.summary())
    print(f"{time.perf_counter() - began:.1f} s")
    return 1 if report.failures else 0
