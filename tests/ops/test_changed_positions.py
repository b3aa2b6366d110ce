"""Positions and labels in arrays that change: between forward and backward, and in another thread at any time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import fastnn as fnn
from fastnn import Tensor
from fastnn.nn import functional as F

N, C = 6, 5

# Ops that read positions again in their backward: a function of values and of the tensor of positions, and the error.
Op = Callable[[Tensor, Tensor], Tensor]
OPS: dict[str, tuple[Op, type[Exception], str]] = {
    "cross_entropy": (F.cross_entropy, ValueError, "cross_entropy: expected labels"),
    "cross_entropy weighted": (
        lambda x, i: F.cross_entropy(x, i, weight=fnn.ones(C), label_smoothing=0.25),
        ValueError,
        "cross_entropy: expected labels",
    ),
    "nll_loss": (F.nll_loss, ValueError, "nll_loss: expected labels"),
    "gather": (lambda x, i: fnn.gather(x, 1, i[:, None]), IndexError, "scatter_add: expected index"),
    "scatter_add": (
        lambda x, i: fnn.scatter_add(fnn.zeros(N, C), 1, i[:, None], x),
        IndexError,
        "gather: expected index",
    ),
    "index_select": (lambda x, i: x.index_select(1, i), IndexError, "index_add: expected index"),
}


def both(op: Op, array: np.ndarray) -> tuple[Tensor, Tensor]:
    x = fnn.randn(N, C, requires_grad=True)
    return x, op(x, fnn.from_numpy(array)).sum()


@pytest.mark.parametrize("wrong", [C + 3, -1, 2**62, -(2**63)])
@pytest.mark.parametrize("name", OPS)
def test_positions_that_change_before_backward(name: str, wrong: int) -> None:
    op, error, message = OPS[name]
    array = np.array([0, 1, 2, 3, 4, 1])
    x, y = both(op, array)
    array[3] = wrong
    with pytest.raises(error, match=f"^{message}.*; got {wrong}"):
        y.backward()
    assert x.grad is None
    array[3] = 2
    x, y = both(op, array)
    array[3] = 0
    y.backward()


@pytest.mark.parametrize("wrong", [36, -1, 2**62])
@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.adaptive_max_pool2d(x, (2, 3), return_indices=True),
        lambda x: F.max_pool2d(x, 2, return_indices=True),
        lambda x: F.fractional_max_pool2d(x, 2, output_size=(3, 3), return_indices=True),
    ],
    ids=["adaptive", "regular", "fractional"],
)
def test_winners_that_the_user_changes(pool: Callable[[Tensor], tuple[Tensor, Tensor]], wrong: int) -> None:
    x = fnn.randn(1, 2, 6, 6, requires_grad=True)
    y, indices = pool(x)
    indices.numpy()[0, 1, 0, 1] = wrong
    # Each of these works on the indices that it returns.
    with pytest.raises(IndexError, match=rf"expected indices in \[0, 36\); got {wrong}$"):
        y.sum().backward()
    assert x.grad is None


# Every op in one child process: one thread runs it, another writes positions that lie anywhere.
STRESS = """
import sys, threading
import numpy as np
import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

N, C = 2000, 30
index = np.zeros(N, np.int64)
wild = np.array([2**40, -(2**40), C, -1, 2**62], np.int64)
stop = threading.Event()
sys.setswitchinterval(1e-4)

def write():
    places, k = np.random.default_rng(0).integers(N, size=1000), 0
    while not stop.is_set():
        # Wrong for a moment, so that most checks find nothing.
        k += 1
        index[places[k % 1000]] = wild[k % 5]
        index[places[k % 1000]] = k % C

x = fnn.randn(N, C)
t = fnn.from_numpy(index)

def train(layers, planned, order):
    model = nn.Sequential(*layers)
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1e-3))
    rows = np.random.default_rng(1).normal(size=(N, C)).astype(np.float32)
    labels = np.zeros(N, np.int64)
    for _ in range(2):
        step(rows[:500], labels[:500])
    def run():
        if planned == "step":
            return step(rows[:500], index[:500])
        if planned == "labels":
            return step.run_batches(rows, index, np.arange(N), 0, 4, 500)
        return step.run_batches(rows, labels, index, 0, 4, 500)
    return run

class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(fnn.randn(C, 16))

    def forward(self, i):
        return self.weight.index_select(0, i)

def table():
    model = nn.Sequential(Table(), nn.Linear(16, 4))
    step = fnn.TrainStep(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=1e-3))
    y = np.zeros((N, 4), np.float32)
    for _ in range(2):
        step(np.zeros(N, np.int64), y)
    return lambda: step(index, y)

def put():
    y = fnn.zeros(C, 3)
    y[t] = 1.0
    return y[t]

def differentiated(op):
    def run():
        leaf = fnn.randn(N, C, requires_grad=True)
        op(leaf).sum().backward()
    return run

dense = [nn.Linear(C, 64), nn.ReLU(), nn.Linear(64, C)]
ops = {
    "cross_entropy": differentiated(lambda x: F.cross_entropy(x, t)),
    "nll_loss": differentiated(lambda x: F.nll_loss(x, t, weight=fnn.ones(C))),
    "gather": differentiated(lambda x: fnn.gather(x, 1, t[:, None])),
    "scatter_add": differentiated(lambda x: fnn.scatter_add(fnn.zeros(N, C), 1, t[:, None], x)),
    "index_select": differentiated(lambda x: x[:, :C].index_select(1, t)),
    "index": put,
    "one_hot": lambda: fnn._core.one_hot(t, C),
    "batch": train(dense, "step", None),
    "labels of rows": train([nn.Linear(C, 64), nn.ReLU(), nn.Linear(64, C)], "labels", None),
    "order of rows": train([nn.Linear(C, 64), nn.Linear(64, C)], "order", None),
    "table": table(),
}
thread = threading.Thread(target=write)
thread.start()
try:
    for name, run in ops.items():
        refused = 0
        for _ in range(15):
            try:
                run()
            except (IndexError, ValueError):
                refused += 1
        print(name, refused, flush=True)
finally:
    stop.set()
    thread.join()
print("done")
"""


def test_positions_that_another_thread_changes() -> None:
    child = subprocess.run([sys.executable, "-c", STRESS], capture_output=True, text=True, timeout=300, check=False)
    assert child.returncode == 0, child.stdout + child.stderr
    assert child.stdout.endswith("done\n")
    assert "panic" not in child.stderr
