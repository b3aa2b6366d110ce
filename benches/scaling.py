"""`python -m benches.scaling`: a training step, and single products, with 1, 2, 4, … and all cores of the machine.

Ours and PyTorch's are interleaved; the number of threads is the only thing that differs within a row.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable

import numpy as np

from benches import nets
from benches.compare import interleaved, table

# Rows, columns, depth: square; few rows; few columns.
PRODUCTS = ((1024, 1024, 1024), (8, 4096, 1024), (4096, 8, 1024), (3, 100_000, 64))


def counts(most: int) -> list[int]:
    """1, 2, 4, … and ``most``."""
    return sorted({most, *(2**i for i in range(most.bit_length()) if 2**i <= most)})


def _with_threads(library: str, n: int, run: Callable[[], object]) -> Callable[[], object]:
    if library == "torch":
        import torch

        set_threads: Callable[[int], None] = torch.set_num_threads
    else:
        import fastnn

        set_threads = fastnn.set_num_threads

    def call() -> object:
        set_threads(n)
        return run()

    return call


def _products(m: int, n: int, k: int) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
    import fastnn as fnn

    x, y = fnn.from_numpy(a), fnn.from_numpy(b)
    runs: dict[str, Callable[[], object]] = {"fastnn": lambda: x @ y}
    if importlib.util.find_spec("torch") is not None:
        import torch

        t, u = torch.from_numpy(a), torch.from_numpy(b)
        runs["torch"] = lambda: t @ u
        np.testing.assert_allclose((x @ y).numpy(), (t @ u).numpy(), rtol=1e-3, atol=1e-3)
    return runs


def row(name: str, runs: dict[str, Callable[[], object]], threads: list[int], seconds: float) -> list[list[str]]:
    """Time with each number of threads, and how much faster that is than one."""
    candidates = {f"{key} {n}": _with_threads(key.split()[0], n, run) for key, run in runs.items() for n in threads}
    times = interleaved(candidates, seconds=seconds)
    rows = []
    for key in runs:
        mine = [times[f"{key} {n}"] for n in threads]
        rows.append([f"{name}, {key}", *(f"{t * 1e6:,.0f} ({mine[0] / t:.2f})" for t in mine)])
    return rows


def main() -> None:
    """Print the table."""
    import fastnn as fnn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="*", default=["rl", "mnist", "paper"], choices=[n.name for n in nets.NETS])
    parser.add_argument("--threads", nargs="+", type=int, help="numbers of threads; by default up to all cores")
    parser.add_argument("--seconds", type=float, default=4.0, help="of every row")
    args = parser.parse_args()
    threads = args.threads or counts(fnn.thread_report(0).cores)
    rows = []
    for net in args.nets:
        problem = nets.Problem.make(next(n for n in nets.NETS if n.name == net))
        runs: dict[str, Callable[[], object]] = {
            "fastnn plan": nets.fastnn_planned(problem),
            "fastnn eager": nets.fastnn_eager(problem),
        }
        if importlib.util.find_spec("torch") is not None:
            runs["torch"] = nets.torch_default(problem)
        rows += row(f"{net} step", runs, threads, args.seconds)
    for m, n, k in PRODUCTS:
        rows += row(f"product {m} × {k} · {k} × {n}", _products(m, n, k), threads, args.seconds)
    print(table("µs, and how many times faster than one thread", ["", *(f"{n} threads" for n in threads)], rows))
    print(fnn.thread_report())


if __name__ == "__main__":
    main()
