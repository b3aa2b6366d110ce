"""`python -m benches.contention`: training steps on a machine that others use too, ours and PyTorch's.

Every candidate is a process of its own that lives as long as its load, and the candidates take turns. A row holds the
median time of a step and its 99th percentile, and compares the median with that of one thread under the same load, and
with that of the team that had the machine to itself.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benches import nets
from benches.compare import settle, table

BUSY = "import os, sys\nif len(sys.argv) > 1: os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
# CPU seconds that a period of the quota allows, and its length: Linux' own period.
PERIOD = 0.1


@dataclass(frozen=True)
class Load:
    """A way in which a machine is not one's own."""

    name: str
    # Busy processes, each on a core of its own or (None) on any.
    busy: tuple[int | None, ...] = ()
    # Number of threads asked for.
    threads: int | None = None
    # Cores of the process, set before or after the library was imported.
    cores: tuple[int, ...] = ()
    late: bool = False
    # True if the process gets the time of one core, as under a quota.
    quota: bool = False
    # Library whose product runs, untimed, before every step.
    before: str = ""
    fits: int = 1
    processes: int = 1


LOADS = [
    Load("nothing else"),
    Load("one busy process", busy=(None,)),
    Load("a busy process on every core", busy=tuple(CORES)),
    Load("8 threads asked for", threads=8),
    Load("on one core (taskset)", cores=tuple(CORES[:1])),
    Load("on one core, set after import", cores=tuple(CORES[:1]), late=True),
    Load("a quota of one core", quota=True),
    Load("a PyTorch product before each step", before="torch"),
    Load("an OpenBLAS product before each step", before="numpy"),
    Load("a JAX product before each step", before="jax"),
    Load("two fits in two threads", fits=2),
    Load("two processes", processes=2),
]

STEPS: dict[str, Callable[[nets.Problem], nets.Step]] = {
    "eager": nets.fastnn_eager,
    "plan": nets.fastnn_planned,
    "torch": nets.torch_default,
}


def _product(library: str) -> Callable[[], object]:
    """A product that the library's threads share."""
    a = np.ones((512, 512), np.float32)
    if library == "torch":
        import torch

        t = torch.from_numpy(a)
        return lambda: t @ t
    if library == "jax":
        import jax.numpy as jnp

        j = jnp.asarray(a)
        return lambda: (j @ j).block_until_ready()  # noqa: PLW0108  (a product each time)
    return lambda: a @ a


def _threads(kind: str, n: int) -> None:
    if kind == "torch":
        import torch

        torch.set_num_threads(n)
    else:
        import fastnn

        fastnn.set_num_threads(n)


def _for(seconds: float, step: nets.Step, before: Callable[[], object] | None, times: list[float]) -> None:
    end = time.perf_counter() + seconds
    while True:
        if before is not None:
            before()
        begun = time.perf_counter()
        step()
        now = time.perf_counter()
        times.append(now - begun)
        if now > end:
            return


def child(kind: str, net: str, load: Load, threads: int | None) -> None:
    """Take steps for as many seconds as each line of standard input says, and print their times."""
    if load.cores and not load.late:
        os.sched_setaffinity(0, load.cores)
    problem = nets.Problem.make(next(n for n in nets.NETS if n.name == net))
    make = STEPS[kind]
    if threads is not None:
        _threads(kind, threads)
    steps = [make(problem) for _ in range(load.fits)]
    if load.late:
        os.sched_setaffinity(0, load.cores)
    before = _product(load.before) if load.before else None
    for step in steps:
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        lists: list[list[float]] = [[] for _ in steps]
        rest = [
            threading.Thread(target=_for, args=(float(line), step, before, times))
            for step, times in zip(steps[1:], lists[1:], strict=True)
        ]
        for thread in rest:
            thread.start()
        _for(float(line), steps[0], before, lists[0])
        for thread in rest:
            thread.join()
        settle()
        print(json.dumps([t for times in lists for t in times]), flush=True)


@dataclass
class Candidate:
    """Processes that take the same steps at the same time, and the times of all of them."""

    processes: list[subprocess.Popen[str]]
    times: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        for process in self.processes:
            assert process.stdout is not None
            self.times += json.loads(process.stdout.readline())

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def _start(kind: str, net: str, load: Load, threads: int | None) -> Candidate:
    arguments = ["--child", kind, "--nets", net, "--loads", load.name]
    if threads is not None:
        arguments += ["--threads", str(threads)]
    command = [sys.executable, "-m", "benches.contention", *arguments]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(load.processes)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", f"{kind} on {net} did not start"
    return Candidate(processes)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _quota(pids: list[int]) -> Iterator[None]:
    """Stop the processes for the rest of a period in which they have had the time of one core, as the kernel does."""
    done = threading.Event()

    def supervise() -> None:
        while not done.is_set():
            begun, stopped = time.perf_counter(), []
            used = {pid: _cpu_seconds(pid) for pid in pids}
            while (left := begun + PERIOD - time.perf_counter()) > 0:
                for pid in pids:
                    if pid not in stopped and _cpu_seconds(pid) - used[pid] >= PERIOD:
                        os.kill(pid, signal.SIGSTOP)
                        stopped.append(pid)
                time.sleep(min(0.002, left))
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def _neighbors(load: Load) -> Iterator[None]:
    busy = [
        subprocess.Popen([sys.executable, "-c", BUSY, *([] if core is None else [str(core)])]) for core in load.busy
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _candidates(net: str, load: Load, kinds: list[str]) -> dict[str, Candidate]:
    started = {}
    for kind in kinds:
        if kind == "torch" and importlib.util.find_spec("torch") is None:
            continue
        started[kind] = _start(kind, net, load, load.threads)
        if kind != "torch":
            started[f"{kind}, one thread"] = _start(kind, net, load, 1)
    return started


def measure(net: str, load: Load, kinds: list[str], seconds: float, rounds: int) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile, in µs, of every candidate."""
    candidates = _candidates(net, load, kinds)
    pids = [process.pid for candidate in candidates.values() for process in candidate.processes]
    try:
        with _neighbors(load), _quota(pids) if load.quota else contextlib.nullcontext():
            for candidate in candidates.values():
                candidate.run(seconds / rounds)
                candidate.times.clear()
            for _ in range(rounds):
                for candidate in candidates.values():
                    candidate.run(seconds / rounds)
    finally:
        for candidate in candidates.values():
            candidate.end()
    return {
        name: (statistics.median(c.times) * 1e6, float(np.percentile(c.times, 99)) * 1e6)
        for name, c in candidates.items()
    }


def rows(net: str, loads: list[Load], kinds: list[str], seconds: float, rounds: int) -> list[list[str]]:
    """A row a load and kind of step."""
    ours = [kind for kind in kinds if kind != "torch"]
    idle: dict[str, float] = {}
    found = []
    for load in loads:
        needs = {"torch": "torch", "jax": "jax"}.get(load.before)
        if needs is not None and importlib.util.find_spec(needs) is None:
            continue
        got = measure(net, load, kinds, seconds, rounds)
        for kind in ours:
            (median, late), (alone, alone_late) = got[kind], got[f"{kind}, one thread"]
            undisturbed = idle.setdefault(kind, median)
            theirs = [f"{t:,.0f}" for t in got["torch"]] if "torch" in got else ["–", "–"]
            row = [f"{net}, {kind}", load.name, f"{median:,.0f}", f"{late:,.0f}", f"{alone:,.0f}", f"{alone_late:,.0f}"]
            row += [f"{median / alone:.2f}", f"{median / undisturbed:.2f}", f"{late / median:.1f}", *theirs]
            found.append(row)
            print(" | ".join(row), file=sys.stderr, flush=True)
    return found


HEADER = [
    "step",
    "load",
    "median, µs",
    "99 %, µs",
    "one thread, µs",
    "its 99 %",
    "median / one thread",
    "median / undisturbed",
    "99 % / median",
    "PyTorch median, µs",
    "PyTorch 99 %, µs",
]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["rl", "mnist"], choices=[n.name for n in nets.NETS])
    names = [load.name for load in LOADS]
    parser.add_argument("--loads", nargs="+", default=names, help="their names, or parts of them")
    parser.add_argument("--kinds", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of every candidate under every load")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    args: Any = parser.parse_args()
    loads = [load for load in LOADS if any(part in load.name for part in args.loads)]
    if args.child:
        child(args.child, args.nets[0], loads[0], args.threads)
        return
    # The undisturbed team comes first: it is the reference of all others.
    if loads[0] is not LOADS[0]:
        loads.insert(0, LOADS[0])
    found = [row for net in args.nets for row in rows(net, loads, args.kinds, args.seconds, args.rounds)]
    print(table("Training steps beside others", HEADER, found))


if __name__ == "__main__":
    main()
