"""`python -m benches.pauses`: a training step after a pause, as in a loop that steps an environment between updates.

Workers that sleep have to be woken, and caches cool down. A pause is other work of Python's, or sleep. Each library has
a process of its own; the two take turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time

from benches import nets
from benches.compare import table
from benches.contention import STEPS

# Milliseconds.
PAUSES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


def _pause(seconds: float, *, asleep: bool) -> None:
    if asleep:
        time.sleep(seconds)
        return
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def child(kind: str, net: str) -> None:
    """Take steps after the pauses that each line of standard input names, and print their times."""
    step = STEPS[kind](nets.Problem.make(next(n for n in nets.NETS if n.name == net)))
    for _ in range(200):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, asleep, count = json.loads(line)
        times = []
        for _ in range(count):
            _pause(seconds, asleep=asleep)
            begun = time.perf_counter()
            step()
            times.append(time.perf_counter() - begun)
        print(json.dumps(times), flush=True)


def measure(net: str, kinds: list[str], *, asleep: bool, rounds: int, count: int) -> dict[str, list[float]]:
    """Median µs of a step after each pause, per candidate."""
    processes = {}
    for kind in kinds:
        command = [sys.executable, "-m", "benches.pauses", "--child", kind, "--nets", net]
        processes[kind] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    times: dict[str, list[list[float]]] = {kind: [[] for _ in PAUSES] for kind in kinds}
    try:
        for process in processes.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for _ in range(rounds):
            for i, pause in enumerate(PAUSES):
                for kind, process in processes.items():
                    assert process.stdin is not None
                    assert process.stdout is not None
                    process.stdin.write(json.dumps([pause / 1e3, asleep, count]) + "\n")
                    process.stdin.flush()
                    times[kind][i] += json.loads(process.stdout.readline())
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return {kind: [statistics.median(t) * 1e6 for t in lists] for kind, lists in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["rl"], choices=[n.name for n in nets.NETS])
    parser.add_argument("--kinds", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20, help="steps in a row of one length of pause")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.nets[0])
        return
    kinds = [k for k in args.kinds if k != "torch" or importlib.util.find_spec("torch") is not None]
    rows = []
    for net in args.nets:
        for asleep in (False, True):
            found = measure(net, kinds, asleep=asleep, rounds=args.rounds, count=args.count)
            for kind, medians in found.items():
                name = f"{net}, {kind}, {'sleep' if asleep else 'other work'}"
                most = max(medians) - medians[0]
                rows.append([name, *(f"{m:,.0f}" for m in medians), f"{most:,.0f}"])
    header = ["step, pause", *(f"{p:g} ms" for p in PAUSES), "most that a pause costs"]
    print(table("µs of a step after a pause", header, rows))


if __name__ == "__main__":
    main()
