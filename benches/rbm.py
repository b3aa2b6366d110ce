"""`python -m benches.rbm`: an epoch of RBM learning over the digits, ours and scikit-learn's, interleaved in one run.

784-256 on `data/mnist10k.npz`, x / 255 in float32, scikit-learn's learning rate; batches of 10 (its default) to 100.
scikit-learn's `BernoulliRBM` is persistent contrastive divergence; ours runs as that too, and as CD-1. Before anything
is timed, all learn for some epochs, and the exact pseudo-likelihood of the same held-out digits, measured by the same
function, is to be as good with ours.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benches.compare import settle, table
from benches.nets import limit_threads

HIDDEN, LR, HELD_OUT = 256, 0.1, 500
BATCHES = (10, 32, 100)
# Nats, of about 100, that ours may be below theirs: learning is random.
SLACK = 3.0
DATA = Path(__file__).resolve().parents[1] / "data" / "mnist10k.npz"


def ours(x: np.ndarray, batch: int, *, persistent: bool) -> tuple[Any, Callable[[], object]]:
    from fastnn.unsupervised import RBM

    rbm = RBM(x.shape[1], HIDDEN, lr=LR, persistent=persistent, n_chains=batch)
    return rbm, lambda: rbm.fit(x, epochs=1, batch_size=batch, shuffle=False, verbose=False)


def theirs(x: np.ndarray, batch: int) -> tuple[Any, Callable[[], object]]:
    """scikit-learn, an epoch a call, on slices made beforehand."""
    from sklearn.neural_network import BernoulliRBM

    rbm = BernoulliRBM(n_components=HIDDEN, learning_rate=LR, batch_size=batch, n_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rbm.fit(x[:batch])
    slices = [x[i : i + batch] for i in range(0, len(x) - batch + 1, batch)]
    generator = np.random.RandomState(0)

    def epoch() -> None:
        for rows in slices:
            rbm._fit(rows, generator)

    return rbm, epoch


def as_ours(rbm: Any) -> Any:
    """Their parameters in our machine, to be measured by the same function."""
    from fastnn.unsupervised import RBM

    if isinstance(rbm, RBM):
        return rbm
    twin = RBM(rbm.components_.shape[1], HIDDEN)
    state = {**twin.state_dict(), "weight": rbm.components_, "num_batches_tracked": np.array(1)}
    state |= {"visible_bias": rbm.intercept_visible_, "hidden_bias": rbm.intercept_hidden_}
    twin.load_state_dict({name: np.asarray(value) for name, value in state.items()})
    return twin


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.rbm", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=5, help="epochs before the pseudo-likelihood is measured")
    parser.add_argument("--digits", type=int, default=9500, help="digits to learn from, at most 9500")
    args = parser.parse_args()
    limit_threads(args.threads)
    import fastnn as fnn

    fnn.manual_seed(0)
    digits = np.load(DATA)["x"].reshape(10_000, -1)
    x = (digits / 255).astype(np.float32)
    train, held_out = x[HELD_OUT : HELD_OUT + args.digits], (x[:HELD_OUT] > 0.5).astype(np.float32)
    print(f"{fnn._core.isa()}, {args.threads} threads; medians of {args.rounds} interleaved epochs\n")
    rows = []
    for batch in BATCHES:
        makers = {
            "CD-1": lambda b=batch: ours(train, b, persistent=False),
            "PCD-1": lambda b=batch: ours(train, b, persistent=True),
            "sklearn": lambda b=batch: theirs(train, b),
        }
        made = {name: make() for name, make in makers.items()}
        quality = {}
        for name, (rbm, epoch) in made.items():
            for _ in range(args.epochs):
                epoch()
            quality[name] = float(as_ours(rbm).pseudo_likelihood(held_out).mean())
        for name in ("CD-1", "PCD-1"):
            if quality[name] < quality["sklearn"] - SLACK:
                raise AssertionError(f"{name} learns less than scikit-learn: {quality}")
        candidates = {name: epoch for name, (_, epoch) in made.items()}
        samples: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(args.rounds):
            for name, epoch in candidates.items():
                settle()
                begin = time.perf_counter()
                epoch()
                samples[name].append(time.perf_counter() - begin)
        times = {name: statistics.median(seconds) for name, seconds in samples.items()}
        row = [f"784-{HIDDEN}, batch {batch}"]
        row += [f"{times[name] * 1e3:,.0f}" for name in candidates]
        row += [f"**{times['sklearn'] / times[name]:.2f}**" for name in ("CD-1", "PCD-1")]
        row += [f"{quality[name]:.1f}" for name in candidates]
        rows.append(row)
        print(" | ".join(row), file=sys.stderr, flush=True)
    header = ["machine", "CD-1, ms", "PCD-1, ms", "sklearn (PCD-1), ms", "sklearn / CD-1", "sklearn / PCD-1"]
    header += ["log PL, CD-1", "log PL, PCD-1", "log PL, sklearn"]
    print(table(f"One epoch of an RBM over {len(train)} digits", header, rows))


if __name__ == "__main__":
    main()
