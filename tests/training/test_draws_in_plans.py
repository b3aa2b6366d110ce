"""Every function that draws, in `forward` and in the loss: a plan draws anew at every step, with the eager bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F, init

# Widths and rows that are no multiple of the vectors.
ROWS, WIDTH, STEPS = 13, 6, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
Y = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)

Change = Callable[[fnn.Tensor], fnn.Tensor]


def _images(layer: nn.Module) -> Change:
    ramp = fnn.linspace(-1.0, 2.0, 25).reshape(1, 1, 5, 5)
    return lambda h: layer(h.reshape(ROWS, WIDTH, 1, 1) * ramp).reshape(ROWS, WIDTH, -1).mean(2)


def _filled(fill: Callable[[fnn.Tensor], Any]) -> Change:
    def change(h: fnn.Tensor) -> fnn.Tensor:
        mask = fnn.empty(ROWS, WIDTH)
        with fnn.no_grad():
            fill(mask)
        return h * mask

    return change


def _only_some(h: fnn.Tensor) -> fnn.Tensor:
    return h + h[fnn.randperm(ROWS)[:7]].mean(0)


# Planned: each is an op that a plan repeats with the next draw.
DRAWS: dict[str, Change] = {
    "rand": lambda h: h * fnn.rand(ROWS, WIDTH),
    "randn": lambda h: h + fnn.randn(ROWS, WIDTH),
    "rand_like": lambda h: h * fnn.rand_like(h),
    "randn_like": lambda h: h + fnn.randn_like(h),
    "randint": lambda h: h * (fnn.randint(-3, 100, (ROWS, WIDTH)) / 64),
    "randint as an index": lambda h: h[fnn.randint(0, ROWS, (ROWS,))],
    "randint of another type": lambda h: h * fnn.randint(0, 5, (WIDTH,), dtype=fnn.float32),
    "randperm of rows": lambda h: h[fnn.randperm(ROWS)],
    "randperm of columns": lambda h: h.index_select(1, fnn.randperm(WIDTH)),
    "randperm as numbers": lambda h: h * fnn.randperm(WIDTH, dtype=fnn.float32),
    "part of a randperm": _only_some,
    "bernoulli": lambda h: h * fnn.bernoulli(fnn.full((ROWS, WIDTH), 0.4)),
    "bernoulli of values": lambda h: h * fnn.bernoulli(fnn.sigmoid(h.detach())),
    "uniform_": _filled(lambda t: t.uniform_(0.5, 2.0)),
    "normal_": _filled(lambda t: t.normal_(1.0, 0.3)),
    "bernoulli_": _filled(lambda t: t.bernoulli_(0.6)),
    "normal_ and more": _filled(lambda t: t.normal_().mul_(0.5).add_(1.0)),
    "init.uniform_": _filled(lambda t: init.uniform_(t, 0.1, 0.9)),
    "init.normal_": _filled(lambda t: init.normal_(t, 1.0, 0.5)),
    "init.xavier_uniform_": _filled(init.xavier_uniform_),
    "init.xavier_normal_": _filled(init.xavier_normal_),
    "init.kaiming_uniform_": _filled(init.kaiming_uniform_),
    "init.kaiming_normal_": _filled(init.kaiming_normal_),
    "dropout": lambda h: F.dropout(h, 0.3, True),
    "two dropouts": lambda h: F.dropout(F.dropout(h, 0.3, True) * fnn.rand(WIDTH), 0.2, True),
    "dropout without gradients": lambda h: h + F.dropout(h.detach(), 0.5, True),
    "Dropout": nn.Dropout(0.4),
    "Dropout1d": lambda h: nn.Dropout1d(0.4)(h.reshape(ROWS, WIDTH, 1)).reshape(ROWS, WIDTH),
    "Dropout2d": _images(nn.Dropout2d(0.4)),
    "Dropout3d": lambda h: nn.Dropout3d(0.4)(h.reshape(ROWS, WIDTH, 1, 1, 1)).reshape(ROWS, WIDTH),
    "AlphaDropout": nn.AlphaDropout(0.3),
    "FeatureAlphaDropout": nn.FeatureAlphaDropout(0.3),
    "GaussianNoise": nn.GaussianNoise(0.5),
    "MaskingNoise": nn.MaskingNoise(0.3),
    "WeightNoise": nn.WeightNoise(nn.Linear(WIDTH, WIDTH), 0.3),
    "DropConnect": nn.DropConnect(WIDTH, WIDTH, 0.3),
    "FractionalMaxPool2d": _images(nn.FractionalMaxPool2d(2, output_size=3)),
    "stochastic depth": nn.Residual(nn.Linear(WIDTH, WIDTH), survival=0.5, mode="row"),
    "a draw that nobody reads": lambda h: (fnn.rand(3), F.dropout(h, 0.5, True))[1],
}

# Not planned, and said so: Python takes the numbers, or the draws are not those of the step's generator.
REFUSED: dict[str, tuple[Change, str]] = {
    "values": (lambda h: h * fnn.rand(1).item(), "values were read by item()"),
    "init.orthogonal_": (_filled(init.orthogonal_), "values were read by"),
    "init.sparse_": (_filled(lambda t: init.sparse_(t, 0.3)), "values were read by"),
    "init.trunc_normal_": (_filled(init.trunc_normal_), ""),
    "manual_seed": (lambda h: (fnn.manual_seed(3), F.dropout(h, 0.5, True))[1], "sets the state of a generator"),
    "rng state": (
        lambda h: (fnn.set_rng_state(fnn.get_rng_state()), F.dropout(h, 0.5, True))[1],
        "sets the state of a generator",
    ),
    "random_split": (
        lambda h: h * (1 + fnn.data.random_split(range(ROWS), [6, 7])[0].indices[0]) / 9,
        "a permutation was drawn as an array",
    ),
    "augmentation": (
        lambda h: h + fnn.tensor(fnn.augment.RandomErasing(1.0)(X.reshape(ROWS, 1, 2, 3))[:, 0, 0, :1]),
        "",
    ),
}


class Net(nn.Module):
    def __init__(self, change: Change) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, WIDTH)
        self.change = change

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return self.last(self.change(self.first(x)))


def trained(change: Change, how: str, where: str) -> tuple[list[float], dict[str, bytes], tuple[int, int], str | None]:
    """Train without moving (the losses then differ by the draws alone), then with."""
    fnn.manual_seed(7)
    if isinstance(change, nn.Module):
        for module in change.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    model = Net(change if where == "forward" else nn.Identity())
    loss = F.mse_loss if where == "forward" else (lambda output, y: F.mse_loss(change(output), y))
    optimizer = optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    step = fnn.TrainStep(model, loss, optimizer)
    losses: list[float] = []
    for lr in (0.0, 0.05):
        optimizer.param_groups[0]["lr"] = lr
        if how == "planned":
            losses += [step(X, Y) for _ in range(STEPS)]
        elif how == "batches":
            losses += step.run_batches(X, Y, np.tile(np.arange(ROWS), STEPS), 0, STEPS, ROWS).tolist()
        else:
            for _ in range(STEPS):
                value = loss(model(X), fnn.tensor(Y))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                losses.append(value.item())
    state = {name: value.numpy().tobytes() for name, value in model.state_dict().items()}
    return losses, state, fnn.get_rng_state(), step.reason


@pytest.mark.parametrize("where", ["forward", "loss"])
@pytest.mark.parametrize("change", DRAWS.values(), ids=DRAWS)
def test_a_plan_draws_as_the_eager_loop_does(change: Change, where: str) -> None:
    expected = trained(change, "eager", where)
    assert len(set(expected[0][:STEPS])) == STEPS
    for how in ("planned", "batches"):
        assert trained(change, how, where) == expected


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_repeated_runs_eagerly(change: Change, reason: str) -> None:
    expected = trained(change, "eager", "forward")
    for how in ("planned", "batches"):
        *got, why = trained(change, how, "forward")
        assert got == list(expected[:3])
        assert why is not None
        assert reason in why


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_(1.0),
        lambda t: t.mul_(2.0).add_(1.0),
        lambda t: t[0].add_(1.0),
        lambda t: t.detach().sub_(3.0),
        lambda t: t[:3].normal_(),
        lambda t: t.fill_(0.5).add_(t),
    ],
)
def test_a_tensor_made_anew_and_changed_in_place_begins_anew(change: Callable[[fnn.Tensor], Any]) -> None:
    def changed(h: fnn.Tensor) -> fnn.Tensor:
        new = fnn.ones(ROWS, WIDTH)
        with fnn.no_grad():
            change(new)
        return h * new

    expected = trained(changed, "eager", "forward")[:3]
    for how in ("planned", "batches"):
        assert trained(changed, how, "forward")[:3] == expected
