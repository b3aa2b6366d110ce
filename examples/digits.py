"""Train 784-256-BatchNorm-ReLU-Dropout-128-ReLU-10 on 10,000 handwritten digits, four times over.

By fastnn; by NumPy, by hand; and by PyTorch and scikit-learn, if they are installed. Prints a table, and writes
pictures to examples/out/. Run it with ``make demo``, or ``python examples/digits.py``.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from digits_numpy import Network
from numpy.typing import NDArray

import fastnn as fnn
from fastnn import nn, optim

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data" / "mnist10k.npz"
TRAIN_ROWS = 8000
BATCH_SIZE = 64
DROPOUT = 0.5
LEARNING_RATE = 4e-3
SEED = 0


class Digits(NamedTuple):
    """Pixels in [0, 1], one row an image; and what they show."""

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


class Result(NamedTuple):
    """A line of the table."""

    who: str
    epochs: int
    seconds: float
    accuracy: float


def load() -> Digits:
    """Read the digits."""
    with np.load(DATA) as file:
        x = file["x"].reshape(len(file["x"]), -1).astype(np.float32) / 255
        y = file["y"].astype(np.int64)
    return Digits(x[:TRAIN_ROWS], y[:TRAIN_ROWS], x[TRAIN_ROWS:], y[TRAIN_ROWS:])


def cosine(epochs: int) -> Callable[..., float]:
    """Return the learning rate of each epoch: half a cosine, from LEARNING_RATE toward 0."""
    return lambda epoch, *_: LEARNING_RATE * (1 + math.cos(math.pi * epoch / epochs)) / 2


def with_fastnn(digits: Digits, epochs: int) -> tuple[Result, fnn.Trainer]:
    """Train with fastnn; its time includes the validation after every epoch."""
    fnn.manual_seed(SEED)
    model = nn.Sequential(
        nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(DROPOUT),
        nn.Linear(256, 128), nn.ReLU(),
        nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=LEARNING_RATE)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    begin = time.perf_counter()
    trainer.fit(
        digits.x_train,
        digits.y_train,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation_data=(digits.x_test, digits.y_test),
        callbacks=[fnn.callbacks.LearningRateScheduler(cosine(epochs))],
    )
    seconds = time.perf_counter() - begin
    accuracy = trainer.evaluate(digits.x_test, digits.y_test)["accuracy"]
    return Result("fastnn", len(trainer.history.epochs), seconds, accuracy), trainer


def with_numpy(digits: Digits, epochs: int) -> Result:
    """Train the network that is written by hand."""
    network = Network((784, 256, 128, 10), DROPOUT, np.random.default_rng(SEED))
    begin = time.perf_counter()
    network.fit(digits.x_train, digits.y_train, epochs, BATCH_SIZE, cosine(epochs))
    seconds = time.perf_counter() - begin
    accuracy = float(np.mean(network.predict(digits.x_test).argmax(axis=1) == digits.y_test))
    return Result("NumPy, by hand", epochs, seconds, accuracy)


def with_torch(digits: Digits, epochs: int) -> Result:
    """Train with PyTorch, eagerly, and its fused Adam."""
    import torch

    torch.manual_seed(SEED)
    layers = torch.nn
    model = layers.Sequential(
        layers.Linear(784, 256), layers.BatchNorm1d(256), layers.ReLU(), layers.Dropout(DROPOUT),
        layers.Linear(256, 128), layers.ReLU(),
        layers.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    x_train, y_train, x_test, y_test = map(torch.from_numpy, digits)
    loss_function = layers.CrossEntropyLoss()
    rate = cosine(epochs)
    begin = time.perf_counter()
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = rate(epoch)
        for rows in torch.randperm(len(x_train)).split(BATCH_SIZE):
            loss = loss_function(model(x_train[rows]), y_train[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = time.perf_counter() - begin
    model.eval()
    with torch.no_grad():
        accuracy = float((model(x_test).argmax(dim=1) == y_test).float().mean())
    return Result(f"PyTorch {torch.__version__}", epochs, seconds, accuracy)


def with_sklearn(digits: Digits, epochs: int) -> Result:
    """Train scikit-learn's classifier, which has neither batch norm nor dropout."""
    import warnings

    import sklearn
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    classifier = MLPClassifier(
        (256, 128), batch_size=BATCH_SIZE, max_iter=epochs, n_iter_no_change=epochs, random_state=SEED
    )
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(digits.x_train, digits.y_train)
    seconds = time.perf_counter() - begin
    accuracy = float(classifier.score(digits.x_test, digits.y_test))
    return Result(f"scikit-learn {sklearn.__version__}, 784-256-128-10 only", epochs, seconds, accuracy)


def print_table(results: list[Result]) -> None:
    """Print a line for each."""
    width = max(len(result.who) for result in results)
    print(f"\n{'':{width}}  epochs  seconds  test accuracy")
    for who, epochs, seconds, accuracy in results:
        print(f"{who:{width}}  {epochs:6}  {seconds:7.2f}  {accuracy:12.2%}")


def draw_confusion(confusion: NDArray[np.int64]) -> Any:
    """Draw how often each digit was taken for each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes: Any = figure.subplots()
    # The root of the share of the row, so that the few mistakes can be seen.
    axes.imshow(np.sqrt(confusion / confusion.sum(axis=1, keepdims=True)), cmap="Blues")
    for row, column in zip(*confusion.nonzero(), strict=True):
        color = "white" if row == column else "black"
        axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=color, fontsize=9)
    title = f"{confusion.trace():,} of {confusion.sum():,} test images are right"
    axes.set(xlabel="taken for", ylabel="digit", xticks=range(10), yticks=range(10), title=title)
    axes.set_xticks(np.arange(9) + 0.5, minor=True)
    axes.set_yticks(np.arange(9) + 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    return figure


def draw_weights(weights: NDArray[np.float32]) -> Any:
    """Draw what 50 neurons look for, ``weights`` being one image for each neuron."""
    from matplotlib.figure import Figure

    # The greatest weights first.
    strongest = np.argsort(-np.square(weights).sum(axis=(1, 2)))[:50]
    limit = float(np.quantile(np.abs(weights[strongest]), 0.995))
    figure = Figure(figsize=(8, 4), layout="constrained")
    figure.suptitle("What the first layer looks for: ink on red excites a neuron, ink on blue inhibits it", fontsize=10)
    grid = figure.subplots(5, 10)
    for axes, neuron in zip(grid.flat, strongest, strict=True):
        image = axes.imshow(weights[neuron], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.axis("off")
    figure.colorbar(image, ax=grid, label="weight", shrink=0.7, aspect=30)
    return figure


def draw(trainer: fnn.Trainer, digits: Digits, out: Path) -> list[Path]:
    """Draw the curves, the confusion matrix, and the first layer's weights."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "curves.png", out / "confusion.png", out / "weights.png"]
    trainer.history.plot(paths[0])

    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (digits.y_test, trainer.predict(digits.x_test).argmax(axis=1)), 1)
    draw_confusion(confusion).savefig(paths[1], dpi=110)
    draw_weights(trainer.model[0].weight.detach().numpy().reshape(-1, 28, 28)).savefig(paths[2], dpi=110)
    return paths


def main(arguments: list[str] | None = None) -> list[Result]:
    """Train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=HERE / "out", help="where the pictures go")
    parser.add_argument("--alone", action="store_true", help="leave PyTorch and scikit-learn out")
    options = parser.parse_args(arguments)

    digits = load()
    result, trainer = with_fastnn(digits, options.epochs)
    results = [result, with_numpy(digits, options.epochs)]
    for name, train in () if options.alone else (("PyTorch", with_torch), ("scikit-learn", with_sklearn)):
        try:
            results.append(train(digits, options.epochs))
        except ImportError:
            print(f"{name} is not installed, and left out.")
    print_table(results)
    for path in draw(trainer, digits, options.out):
        print(f"wrote {path}")
    return results


if __name__ == "__main__":
    main()
