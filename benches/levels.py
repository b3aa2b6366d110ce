"""`python -m benches.levels`: a training step on each instruction set that this machine has, one thread.

One process per instruction set, forced by ``FASTNN_ISA``; they take turns, so that a machine whose speed drifts is fair
to all. The weights after the steps that are timed are the same bits everywhere, which is checked.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benches.compare import table

LEVELS = ("portable", "avx2", "avx512")
NETS = ("iris", "rl", "mnist", "lenet5")
ROUNDS = 9
SECONDS = 0.05


def _step(name: str) -> tuple[Any, Callable[[], object]]:
    """The model of a net, and what takes one step."""
    import fastnn as fnn
    from benches import convnets, nets

    if name == "lenet5":
        model = convnets._model(name)
        loss, optimizer = fnn.nn.CrossEntropyLoss(), fnn.optim.SGD(model.parameters(), **convnets.SETTINGS)
        batches = itertools.cycle(convnets._batches(name))
    else:
        problem = nets.Problem.make(next(net for net in nets.NETS if net.name == name))
        model, loss, optimizer = nets.fastnn_model(problem)
        batches = problem.cycle()
    step = fnn.TrainStep(model, loss, optimizer)
    return model, lambda: step(*next(batches))


def _serve() -> None:
    """A child: for each net named on standard input, print the seconds that a step takes, or the digest of weights."""
    steps = {}
    for line in sys.stdin:
        name, what = line.split()
        if name not in steps:
            steps[name] = _step(name)
        model, step = steps[name]
        if what == "digest":
            # 20 steps of a model of its own, so that how long others were timed does not matter.
            model, step = _step(name)
            for _ in range(20):
                step()
            digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters()))
            print(digest.hexdigest()[:16], flush=True)
            continue
        times = []
        until = time.perf_counter() + SECONDS
        while len(times) < 3 or time.perf_counter() < until:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(statistics.median(times), flush=True)


class _Level:
    """A child on one instruction set."""

    def __init__(self, level: str) -> None:
        env = {**os.environ, "FASTNN_ISA": level, "FASTNN_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "benches.levels", "--serve"]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, name: str, what: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{name} {what}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def _levels() -> list[str]:
    """The levels that this machine has."""
    script = "import fastnn._core as c; print(c.isa())"
    found = []
    for level in LEVELS:
        env = {**os.environ, "FASTNN_ISA": level}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
        if done.stdout.strip() == level:
            found.append(level)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", help=", ".join(NETS))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve()
        return
    levels = _levels()
    children = {level: _Level(level) for level in levels}
    rows = []
    for name in options.nets or NETS:
        digests = {child.ask(name, "digest") for child in children.values()}
        assert len(digests) == 1, f"{name}: the weights differ: {digests}"
        times: dict[str, list[float]] = {level: [] for level in levels}
        for _ in range(ROUNDS):
            for level, child in children.items():
                times[level].append(float(child.ask(name, "time")))
        medians = {level: statistics.median(samples) for level, samples in times.items()}
        base = medians.get("avx2", medians[levels[-1]])
        cells = [f"{1e6 * medians[level]:.0f} µs, {medians[level] / base:.2f} ×" for level in levels]
        rows.append([name, *cells, digests.pop()])
    for child in children.values():
        child.process.stdin.close()  # type: ignore[union-attr]
        child.process.wait()
    print(table("A training step, one thread; × the time of AVX2", ["net", *levels, "weights after 20 steps"], rows))


if __name__ == "__main__":
    main()
