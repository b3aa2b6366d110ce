"""Timing candidates in turn, A B C A B C …, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def settle() -> None:
    """Wait until no thread of this process runs: idle ones of OpenBLAS, OpenMP and XLA spin for up to 100 ms, and would
    run beside the next candidate."""
    for _ in range(100):
        before = time.process_time()
        time.sleep(0.01)
        if time.process_time() - before < 0.001:
            return


def interleaved(
    candidates: dict[str, Callable[[], object]], seconds: float = 4.0, rounds: int = 25
) -> dict[str, float]:
    """Median seconds a call, per candidate; every round runs each of them for about the same time."""
    slice_seconds = seconds / rounds / len(candidates)
    repeats: dict[str, int] = {}
    for name, run in candidates.items():
        settle()
        once = min(_time(run, 1) for _ in range(5))
        repeats[name] = max(1, min(2000, int(slice_seconds / max(once, 1e-7))))
        _time(run, repeats[name])
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            settle()
            run()  # its own threads wake up
            times[name].append(_time(run, repeats[name]))
    return {name: statistics.median(samples) for name, samples in times.items()}


def _time(run: Callable[[], object], repeats: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def table(title: str, header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([f"### {title}", "", line(header), rule, *map(line, rows), ""])
