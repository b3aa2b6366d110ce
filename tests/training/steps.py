"""A small net, its batches, and runs of it, for the tests of steps."""

from __future__ import annotations

import numpy as np

import fastnn as fnn
from fastnn import nn, optim

# Widths that are no multiple of the vectors, and 7 rows that are left over.
ROWS, WIDTH, CLASSES, BATCH = 135, 13, 5, 32
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
Y = RNG.integers(0, CLASSES, ROWS)
STEPS = 20


def net(p: float = 0.3) -> nn.Sequential:
    fnn.manual_seed(11)
    return nn.Sequential(
        nn.Linear(WIDTH, 37),
        nn.BatchNorm1d(37),
        nn.ReLU(),
        nn.Dropout(p),
        nn.Linear(37, 21),
        nn.Tanh(),
        nn.Linear(21, CLASSES),
    )


def adam(model: nn.Module) -> optim.Optimizer:
    return optim.Adam(model.parameters(), lr=0.01, weight_decay=0.01)


def planned(model: nn.Module | None = None, loss: object = None) -> fnn.TrainStep:
    model = net() if model is None else model
    return fnn.TrainStep(model, loss or nn.CrossEntropyLoss(), adam(model))


def batches(n: int) -> list[slice]:
    return [slice(i % 4 * BATCH, i % 4 * BATCH + BATCH) for i in range(n)]


def eager_step(model: nn.Module, optimizer: optim.Optimizer, x: object, y: object, loss: object = None) -> float:
    value = (loss or nn.functional.cross_entropy)(model(x), y)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.item()


def state(model: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def changed(before: dict[str, bytes], model: nn.Module) -> set[str]:
    return {name for name, bits in state(model).items() if bits != before[name]}


def run(steps: int = STEPS, how: str = "planned") -> tuple[dict[str, bytes], list[float]]:
    model = net()
    optimizer = adam(model)
    fnn.manual_seed(5)
    if how == "eager":
        losses = [eager_step(model, optimizer, X[rows], Y[rows]) for rows in batches(steps)]
    elif how == "planned":
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
        losses = [step(X[rows], Y[rows]) for rows in batches(steps)]
        assert step.reason is None
    else:
        trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer)
        x, y = X[: 4 * BATCH], Y[: 4 * BATCH]
        trainer.fit(x, y, epochs=steps // 4, batch_size=BATCH, shuffle=False, verbose=False, train_metrics=False)
        assert trainer.step.reason is None
        losses = []
    return state(model), losses


class Wrapped(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        fnn.manual_seed(1)
        self.linear = nn.Linear(WIDTH, CLASSES)
        self.function = function

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return self.function(self.linear(x))
