"""A deep belief net, pre-trained on unlabeled digits, against the same net from scratch, with few labels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import common
import numpy as np

import fastnn as fnn
from fastnn import nn, optim

WIDTHS = (784, 128, 128)
LABELS = (50, 100, 200, 500)
KINDS = ("from scratch", "pre-trained")


def from_scratch() -> nn.Sequential:
    """Return the net that pre-training makes, drawn at random."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(WIDTHS):
        layers += [nn.Linear(fan_in, fan_out), nn.Sigmoid()]
        nn.init.xavier_uniform_(layers[-2].weight, gain=4.0)  # 4: a sigmoid's slope is a quarter
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], 10))


def run(
    seeds: range = range(5), epochs: int = 10, unlabeled: int = 4000, labels: tuple[int, ...] = LABELS
) -> dict[str, Any]:
    """Return the test accuracies by kind, a row a seed, by the number of labels; and the first seed's features."""
    accuracies = {kind: np.zeros((len(seeds), len(labels))) for kind in KINDS}
    features = None
    x, y, x_test, y_test = common.digits(unlabeled, test=1000)
    for i, seed in enumerate(seeds):
        fnn.manual_seed(seed)
        dbn = fnn.unsupervised.DBN(WIDTHS, lr=0.05, momentum=0.5, weight_decay=2e-4)
        dbn.pretrain(x, epochs=epochs, batch_size=50, verbose=False)
        if features is None:
            features = dbn.rbms[0].weight.detach().numpy().copy()
        order = np.random.default_rng(seed).permutation(len(x))
        for j, count in enumerate(labels):
            for kind in KINDS:
                model = dbn.to_sequential(10) if kind == "pre-trained" else from_scratch()
                adam = optim.Adam(model.parameters(), lr=1e-3)
                trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), adam, metrics=["accuracy"])
                trainer.fit(x[order[:count]], y[order[:count]], epochs=40, batch_size=25, verbose=False)
                accuracies[kind][i, j] = trainer.evaluate(x_test, y_test)["accuracy"]
    return {"labels": labels, "accuracies": accuracies, "features": features}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = [[kind, *map(float, values.mean(axis=0))] for kind, values in result["accuracies"].items()]
    common.print_table(["test accuracy with labels", *result["labels"]], rows)


def draw(result: dict[str, Any]) -> Any:
    """Return the picture."""
    import matplotlib as mpl

    drawn, axes = common.figure(2)
    images = result["features"][:36].reshape(6, 6, 28, 28)
    shades = mpl.colormaps["RdBu_r"].resampled(9)  # a picture of few colors is small
    limit = float(np.quantile(np.abs(images), 0.995))
    axes[0].imshow(
        images.transpose(0, 2, 1, 3).reshape(168, 168), interpolation="nearest", cmap=shades, vmin=-limit, vmax=limit
    )
    axes[0].set(title="what 36 hidden units look for", xticks=[], yticks=[])
    for kind, values in result["accuracies"].items():
        axes[1].errorbar(result["labels"], values.mean(axis=0), values.std(axis=0), marker=".", capsize=2, label=kind)
    axes[1].set(xscale="log", xlabel="labeled images", ylabel="test accuracy")
    axes[1].set_xticks(result["labels"], map(str, result["labels"]))
    axes[1].minorticks_off()
    axes[1].legend(frameon=False)
    return drawn


if __name__ == "__main__":
    common.main("pretraining", run, show, draw)
