"""`python -m benches.same_bits`: SHA-256 of all that a model holds after training, however it was trained.

The net `regul` of :mod:`benches.nets`, and a small convolutional net whose images are augmented, by the eager loop, by
the `TrainStep` loop and by `Trainer.fit`, with 1, 2, 3 and 7 threads: the digests of a net are to be one and the same.
They differ between machines whose instruction sets differ.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastnn as fnn
from benches import nets
from benches.compare import table
from fastnn import augment as A, nn, optim

THREADS = (1, 2, 3, 7)
BATCHES_PER_EPOCH = 20


@dataclass(frozen=True)
class Task:
    """A net, what it learns from, and what changes its batches.

    Args:
        name: What the table calls it.
        make: Returns model, loss and optimizer; it seeds the generator, too.
        x, y: The data of one epoch.
        batch: Rows a batch.
        augment: Called with every batch before its step.
    """

    name: str
    make: Callable[[], tuple[Any, Any, Any]]
    x: np.ndarray
    y: np.ndarray
    batch: int
    augment: A.Transform | None = None

    def batches(self, steps: int) -> Iterator[tuple[Any, Any]]:
        for step in range(steps):
            start = step % BATCHES_PER_EPOCH * self.batch
            x, y = self.x[start : start + self.batch], self.y[start : start + self.batch]
            yield (x, y) if self.augment is None else self.augment(x, y)


def _regul() -> Task:
    net = next(net for net in nets.NETS if net.name == "regul")
    rng = np.random.default_rng(0)
    rows = net.batch * BATCHES_PER_EPOCH
    x = rng.normal(size=(rows, net.widths[0])).astype(np.float32)
    y = rng.integers(0, net.widths[-1], rows)
    return Task("regul", lambda: nets.fastnn_model(nets.Problem.make(net)), x, y, net.batch)


def _images() -> Task:
    rng = np.random.default_rng(1)
    batch = 33
    x = rng.random((batch * BATCHES_PER_EPOCH, 1, 14, 14)).astype(np.float32)
    y = rng.integers(0, 10, len(x))

    def make() -> tuple[Any, Any, Any]:
        fnn.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 9, 3, padding=1, bias=False), nn.BatchNorm2d(9), nn.ReLU(),
            nn.Conv2d(9, 16, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout2d(0.2),
            nn.Conv2d(16, 12, 3, 2, padding=1),
            nn.Conv2d(12, 12, 5, 2, padding=2, groups=3), nn.BatchNorm2d(12), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 10),
        )  # fmt: skip
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
        return model, nn.CrossEntropyLoss(label_smoothing=0.1), optimizer

    steps = [
        A.RandomHorizontalFlip(), A.RandomShift(2), A.RandomRotation(15, "bilinear"), A.CutOut(4),
        A.OneOf([A.GaussianNoise(), A.ElasticTransform(8, 2)], p=0.5), A.MixUp(0.4, 10),
    ]  # fmt: skip
    return Task("images", make, x, y, batch, A.Compose(steps))


TASKS = (_regul(), _images())


def eager_loop(task: Task, model: Any, loss_fn: Any, optimizer: Any, steps: int) -> None:
    """The loop that everybody knows."""
    for x, y in task.batches(steps):
        loss = loss_fn(model(fnn.as_tensor(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def step_loop(task: Task, model: Any, loss_fn: Any, optimizer: Any, steps: int) -> None:
    """One planned step after the other."""
    step = fnn.TrainStep(model, loss_fn, optimizer)
    for x, y in task.batches(steps):
        step(x, y)
    if step.reason is not None:
        raise AssertionError(f"the steps were not planned: {step.reason}")


def fit(task: Task, model: Any, loss_fn: Any, optimizer: Any, steps: int) -> None:
    """Whole epochs, their batches in the order in which they lie."""
    trainer = fnn.Trainer(model, loss_fn, optimizer)
    epochs, rest = divmod(steps, BATCHES_PER_EPOCH)
    if rest:
        raise ValueError(f"fit: expected steps to be a multiple of {BATCHES_PER_EPOCH}; got {steps}")
    trainer.fit(
        task.x, task.y, epochs=epochs, batch_size=task.batch, shuffle=False, augment=task.augment, train_metrics=False,
        verbose=False,
    )  # fmt: skip
    if trainer.step.reason is not None:
        raise AssertionError(f"the steps were not planned: {trainer.step.reason}")


WAYS: dict[str, Callable[..., None]] = {"eager loop": eager_loop, "TrainStep loop": step_loop, "fit": fit}


def digest(task: Task, train: Callable[..., None], threads: int, steps: int) -> str:
    """Train a new model, and return the SHA-256 of its parameters and buffers, in the order of its `state_dict`."""
    model, loss_fn, optimizer = task.make()
    before = fnn.get_num_threads()
    fnn.set_num_threads(threads)
    try:
        train(task, model, loss_fn, optimizer, steps)
    finally:
        fnn.set_num_threads(before)
    total = hashlib.sha256()
    for value in model.state_dict().values():
        total.update(np.ascontiguousarray(value.numpy()).tobytes())
    return total.hexdigest()


def digests(task: Task, steps: int) -> dict[tuple[str, int], str]:
    """One for each way and number of threads."""
    return {(way, threads): digest(task, train, threads, steps) for way, train in WAYS.items() for threads in THREADS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.same_bits", description=__doc__)
    parser.add_argument("--steps", type=int, default=500, help="a multiple of 20")
    steps = parser.parse_args().steps
    same = True
    for task in TASKS:
        found = digests(task, steps)
        rows = [[way, str(threads), value] for (way, threads), value in found.items()]
        print(table(f"SHA-256 after {steps} steps of {task.name}", ["way", "threads", "digest"], rows))
        different = len(set(found.values()))
        print("The same bits everywhere." if different == 1 else f"{different} different digests.")
        same = same and different == 1
    sys.exit(not same)


if __name__ == "__main__":
    main()
