"""`python -m benches.same_bits`: SHA-256 of all that a model holds after training, however it was trained.

The net `regul` of :mod:`benches.nets`, by the eager loop, by the `TrainStep` loop and by `Trainer.fit`, with 1, 2, 3
and 7 threads: the digests are to be one and the same. They differ between machines whose instruction sets differ.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import fastnn as fnn
from benches import nets
from benches.compare import table

THREADS = (1, 2, 3, 7)
REGUL = next(net for net in nets.NETS if net.name == "regul")
BATCHES_PER_EPOCH = 20


class Rows(NamedTuple):
    """The data of one epoch."""

    x: np.ndarray
    y: np.ndarray

    @staticmethod
    def make(net: nets.Net) -> Rows:
        rng = np.random.default_rng(0)
        rows = net.batch * BATCHES_PER_EPOCH
        x = rng.normal(size=(rows, net.widths[0])).astype(np.float32)
        return Rows(x, rng.integers(0, net.widths[-1], rows))

    def batches(self, size: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for step in range(steps):
            start = step % BATCHES_PER_EPOCH * size
            yield self.x[start : start + size], self.y[start : start + size]


def eager_loop(model: Any, loss_fn: Any, optimizer: Any, rows: Rows, steps: int) -> None:
    """The loop that everybody knows."""
    for x, y in rows.batches(REGUL.batch, steps):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def step_loop(model: Any, loss_fn: Any, optimizer: Any, rows: Rows, steps: int) -> None:
    """One planned step after the other."""
    step = fnn.TrainStep(model, loss_fn, optimizer)
    for x, y in rows.batches(REGUL.batch, steps):
        step(x, y)
    if step.reason is not None:
        raise AssertionError(f"the steps were not planned: {step.reason}")


def fit(model: Any, loss_fn: Any, optimizer: Any, rows: Rows, steps: int) -> None:
    """Whole epochs, their batches in the order in which they lie."""
    trainer = fnn.Trainer(model, loss_fn, optimizer)
    epochs, rest = divmod(steps, BATCHES_PER_EPOCH)
    if rest:
        raise ValueError(f"fit: expected steps to be a multiple of {BATCHES_PER_EPOCH}; got {steps}")
    trainer.fit(rows.x, rows.y, epochs=epochs, batch_size=REGUL.batch, shuffle=False, verbose=False)
    if trainer.step.reason is not None:
        raise AssertionError(f"the steps were not planned: {trainer.step.reason}")


WAYS: dict[str, Callable[..., None]] = {"eager loop": eager_loop, "TrainStep loop": step_loop, "fit": fit}


def digest(train: Callable[..., None], threads: int, steps: int) -> str:
    """Train a new model, and return the SHA-256 of its parameters and buffers, in the order of its `state_dict`."""
    problem = nets.Problem.make(REGUL)
    model, loss_fn, optimizer = nets.fastnn_model(problem)  # seeds the generator, too
    before = fnn.get_num_threads()
    fnn.set_num_threads(threads)
    try:
        train(model, loss_fn, optimizer, Rows.make(REGUL), steps)
    finally:
        fnn.set_num_threads(before)
    total = hashlib.sha256()
    for value in model.state_dict().values():
        total.update(np.ascontiguousarray(value.numpy()).tobytes())
    return total.hexdigest()


def digests(steps: int) -> dict[tuple[str, int], str]:
    """One for each way and number of threads."""
    return {(way, threads): digest(train, threads, steps) for way, train in WAYS.items() for threads in THREADS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.same_bits", description=__doc__)
    parser.add_argument("--steps", type=int, default=500, help="a multiple of 20")
    steps = parser.parse_args().steps
    found = digests(steps)
    rows = [[way, str(threads), value] for (way, threads), value in found.items()]
    print(table(f"SHA-256 after {steps} steps of regul", ["way", "threads", "digest"], rows))
    different = len(set(found.values()))
    print("The same bits everywhere." if different == 1 else f"{different} different digests.")
    sys.exit(different != 1)


if __name__ == "__main__":
    main()
