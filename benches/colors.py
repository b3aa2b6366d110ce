"""`python -m benches.colors`: whole fits of resnet8 on color images, ours and PyTorch's in turn.

Flipped and shifted by up to 4 pixels, SGD 0.1 with Nesterov momentum and weight decay, one cycle, batch 64. The images
are those of `data/cifar10.npz`, or of the file that FASTNN_CIFAR10 names.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benches import convnets, nets
from benches.compare import table

SETTINGS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
BATCH, SHIFT = 64, 4
Data = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def images() -> Data:
    """x, y to train on, x, y to test on; every channel with mean 0 and variance 1."""
    path = os.environ.get("FASTNN_CIFAR10") or Path(__file__).parents[1] / "data" / "cifar10.npz"
    with np.load(path) as file:
        x, y, test = file["x"].astype(np.float32), file["y"].astype(np.int64), file["test"]
    train = x[~test]
    x = (x - train.mean((0, 2, 3), keepdims=True)) / train.std((0, 2, 3), keepdims=True)
    return x[~test], y[~test], x[test], y[test]


def ours(data: Data, seed: int, epochs: int, *, augmented: bool) -> tuple[float, float]:
    """Test accuracy, and the seconds of the fit."""
    import fastnn as fnn
    from fastnn import augment, models, nn, optim

    x, y, x_test, y_test = data
    fnn.manual_seed(seed)
    model = models.resnet8(shortcut="B")
    sgd = optim.SGD(model.parameters(), **SETTINGS)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), sgd, metrics=["accuracy"])
    steps = epochs * -(-len(x) // BATCH)
    cycle = optim.lr_scheduler.OneCycleLR(sgd, SETTINGS["lr"], total_steps=steps, cycle_momentum=False)
    rate = fnn.callbacks.LearningRateScheduler(cycle, by="batch")
    change = augment.Compose([augment.RandomHorizontalFlip(), augment.RandomShift(SHIFT)]) if augmented else None
    begin = time.perf_counter()
    options = {"epochs": epochs, "batch_size": BATCH, "train_metrics": False, "verbose": False}
    trainer.fit(x, y, augment=change, callbacks=[rate], **options)
    seconds = time.perf_counter() - begin
    return trainer.evaluate(x_test, y_test)["accuracy"], seconds


def torch_fit(data: Data, seed: int, epochs: int, *, augmented: bool) -> tuple[float, float]:
    """The same by PyTorch, channels last, its optimizer fused, whole batches flipped and shifted by indexing."""
    import torch
    from torch.nn import functional as F

    torch.manual_seed(seed)
    x, y, x_test, y_test = map(torch.from_numpy, data)
    model = convnets._torch_model("resnet8").to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(model.parameters(), **SETTINGS, fused=True)
    steps = epochs * -(-len(x) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(sgd, SETTINGS["lr"], total_steps=steps, cycle_momentum=False)
    begin = time.perf_counter()
    padded = F.pad(x, (SHIFT,) * 4).permute(0, 2, 3, 1).contiguous()
    size = torch.arange(32)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            n = len(rows)
            if augmented:
                top, left = torch.randint(2 * SHIFT + 1, (2, n, 1))
                columns = torch.where(torch.rand(n, 1) < 0.5, size, 31 - size) + left
                batch = padded[rows[:, None, None], (size + top)[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
            else:
                batch = x[rows].contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(batch), y[rows])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            cycle.step()
    seconds = time.perf_counter() - begin
    model.eval()
    with torch.no_grad():
        right = model(x_test).argmax(1) == y_test
    return float(right.float().mean()), seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.colors", description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    nets.limit_threads(args.threads)
    data, rows = images(), []
    print(f"{len(data[0])} images to train on, {len(data[2])} to test on; {args.epochs} epochs, {args.seeds} seeds\n")
    for augmented in (True, False):
        fits: dict[str, list[tuple[float, float]]] = {"fastnn": [], "torch": []}
        for seed in range(args.seeds):
            for name, fit in {"fastnn": ours, "torch": torch_fit}.items():
                found = fit(data, seed, args.epochs, augmented=augmented)
                fits[name].append(found)
                print(f"seed {seed}, {name}: {found[0]:.3f} in {found[1]:.1f} s", file=sys.stderr, flush=True)
        accuracy = {name: np.mean([fit[0] for fit in done]) for name, done in fits.items()}
        seconds = {name: np.median([fit[1] for fit in done]) for name, done in fits.items()}
        rows.append(
            [
                "flip, shift" if augmented else "none",
                *(f"{accuracy[name]:.3f}" for name in fits),
                *(f"{seconds[name]:.1f}" for name in fits),
                f"**{seconds['fastnn'] / seconds['torch']:.2f}**",
            ]
        )
    header = ["augmentation", "fastnn, accuracy", "torch, accuracy", "fastnn, s", "torch, s", "our time / its"]
    print(table("resnet8 on color images", header, rows))


if __name__ == "__main__":
    main()
