"""Nets of unusual shape: the plan has the bits of the eager loop, whatever is fused with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

N, WIDTH, CLASSES = 24, 10, 4
X = np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)
Y = np.arange(N) * 7 % CLASSES


class Net(nn.Module):
    """A function of the batch and of some parameters.

    Args:
        forward: Called with this module and the batch.
        shapes: Of the parameters ``p[0]``, ``p[1]``, ...
        parts: Modules, by name.
    """

    def __init__(self, forward: Callable[..., Any], *shapes: tuple[int, ...], **parts: nn.Module) -> None:
        super().__init__()
        rng = np.random.default_rng(1)
        self.p = [nn.Parameter(fnn.tensor(rng.normal(size=s, scale=0.5).astype(np.float32))) for s in shapes]
        for i, parameter in enumerate(self.p):
            self.register_parameter(f"p{i}", parameter)
        for name, part in parts.items():
            setattr(self, name, part)
        self.register_buffer("mean", fnn.zeros(6))
        self.register_buffer("var", fnn.ones(6))
        self.function = forward

    def forward(self, x: fnn.Tensor) -> Any:
        return self.function(self, x)


def _tied(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    return F.linear(F.relu(F.linear(x, m.p[0])), m.p[0].t(), m.p[1])[:, :CLASSES]


def _norm_by_made(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = F.linear(x, m.p[0])
    scale = m.p[1].exp() + m.p[2] * 2
    return F.linear(F.batch_norm(h, m.mean, m.var, scale, m.p[2] * scale, training=True), m.p[3])


def _late_bias(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = F.linear(x, m.p[0])
    bias = (m.p[1] * m.p[1]).tanh()
    return F.linear(F.relu(h + bias), m.p[2])


def _residual(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = m.a(x)
    h = h + F.dropout(F.relu(m.b(h)), 0.4)
    h = F.gelu(m.c(h)) + h
    return m.d(h)


def _twice(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    return m.d(m.n(F.relu(m.b(m.n(m.b(m.a(x)))))))


def _two_heads(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = F.tanh(m.a(x))
    return m.d(h) * fnn.sigmoid(m.e(h)) + m.f(x)


def _gate(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = F.silu(m.a(x))
    return m.d(h * F.softmax(m.b(h), dim=1))


def _standardize(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = m.a(x)
    return m.d((h - h.mean(0)) / (h.var(0) + 0.1).sqrt())


def _layer_norm(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = m.a(x)
    return m.d((h - h.mean(1, keepdim=True)) / (h.std(1, keepdim=True) + 0.1) * m.p[0])


def _slices(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = fnn.cat([m.a(x[:, :5]), m.b(x[:, 5:])], dim=1)
    return m.d(F.relu(h))[:, 1:]


def _weight_norm(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    weight = m.p[0] * (m.p[1] / m.p[0].square().sum(1, keepdim=True).sqrt())
    return F.linear(F.relu(F.linear(x, weight, m.p[2])), m.p[3])


def _mixture(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    h = F.dropout(F.relu(m.a(x)), 0.3)
    h = F.dropout(F.leaky_relu(m.b(h), 0.1), 0.2)
    return m.d(F.prelu(h, m.p[0]))


def _frozen(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    with fnn.no_grad():
        h = F.relu(m.a(x))
    return m.d(h)


def _max_pool(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    return m.d(m.a(x).reshape(N, 2, 3).max(1).values)


def _in_place(m: Net, x: fnn.Tensor) -> fnn.Tensor:
    with fnn.no_grad():
        m.mean.mul_(0.9).add_(0.5)
    return m.d(m.a(x) + m.mean)


def _penalty(out: fnn.Tensor, y: fnn.Tensor) -> fnn.Tensor:
    return F.cross_entropy(out, y) + 0.1 * (out * out).mean()


def linear(i: int, o: int) -> nn.Linear:
    return nn.Linear(i, o)


NETS: dict[str, tuple[Callable[[], Net], Callable[..., Any]]] = {
    "tied weights": (lambda: Net(_tied, (6, WIDTH), (WIDTH,)), F.cross_entropy),
    "norm by values made in the step": (lambda: Net(_norm_by_made, (6, WIDTH), (6,), (6,), (CLASSES, 6)), F.cross_entropy),
    "bias made after the product": (lambda: Net(_late_bias, (6, WIDTH), (6,), (CLASSES, 6)), F.cross_entropy),
    "residual": (lambda: Net(_residual, a=linear(WIDTH, 6), b=linear(6, 6), c=linear(6, 6), d=linear(6, CLASSES)), F.cross_entropy),
    "layers used twice": (lambda: Net(_twice, a=linear(WIDTH, 6), b=linear(6, 6), n=nn.BatchNorm1d(6), d=linear(6, CLASSES)), F.cross_entropy),
    "two heads": (lambda: Net(_two_heads, a=linear(WIDTH, 6), d=linear(6, CLASSES), e=linear(6, CLASSES), f=linear(WIDTH, CLASSES)), F.cross_entropy),
    "gate": (lambda: Net(_gate, a=linear(WIDTH, 6), b=linear(6, 6), d=linear(6, CLASSES)), F.cross_entropy),
    "standardize": (lambda: Net(_standardize, a=linear(WIDTH, 6), d=linear(6, CLASSES)), F.cross_entropy),
    "layer norm": (lambda: Net(_layer_norm, (6,), a=linear(WIDTH, 6), d=linear(6, CLASSES)), F.cross_entropy),
    "slices": (lambda: Net(_slices, a=linear(5, 3), b=linear(5, 4), d=linear(7, CLASSES + 1)), F.cross_entropy),
    "weight norm": (lambda: Net(_weight_norm, (6, WIDTH), (6, 1), (6,), (CLASSES, 6)), F.cross_entropy),
    "dropouts": (lambda: Net(_mixture, (6,), a=linear(WIDTH, 6), b=linear(6, 6), d=linear(6, CLASSES)), F.cross_entropy),
    "a frozen layer": (lambda: Net(_frozen, a=linear(WIDTH, 6), d=linear(6, CLASSES)), F.cross_entropy),
    "max": (lambda: Net(_max_pool, a=linear(WIDTH, 6), d=linear(3, CLASSES)), F.cross_entropy),
    "a buffer changed in forward": (lambda: Net(_in_place, a=linear(WIDTH, 6), d=linear(6, CLASSES)), F.cross_entropy),
    "penalty on the output": (lambda: Net(_residual, a=linear(WIDTH, 6), b=linear(6, 6), c=linear(6, 6), d=linear(6, CLASSES)), _penalty),
    "weighted, smoothed": (lambda: Net(_two_heads, a=linear(WIDTH, 6), d=linear(6, CLASSES), e=linear(6, CLASSES), f=linear(WIDTH, CLASSES)),
                           nn.CrossEntropyLoss(weight=fnn.tensor([0.5, 1.0, 2.0, 0.1]), ignore_index=2, label_smoothing=0.2)),
    "sum": (lambda: Net(_gate, a=linear(WIDTH, 6), b=linear(6, 6), d=linear(6, CLASSES)), nn.CrossEntropyLoss(reduction="sum")),
    "nll": (lambda: Net(_gate, a=linear(WIDTH, 6), b=linear(6, 6), d=linear(6, CLASSES)), lambda o, y: F.nll_loss(F.log_softmax(o, 1), y)),
    "gathered": (lambda: Net(_gate, a=linear(WIDTH, 6), b=linear(6, 6), d=linear(6, CLASSES)), lambda o, y: -F.log_softmax(o, 1).gather(1, y.unsqueeze(1)).mean()),
    "labels changed": (lambda: Net(_gate, a=linear(WIDTH, 6), b=linear(6, 6), d=linear(6, CLASSES)), lambda o, y: F.cross_entropy(o, CLASSES - 1 - y)),
    "the loss scaled": (lambda: Net(_gate, a=linear(WIDTH, 6), b=linear(6, 6), d=linear(6, CLASSES)), lambda o, y: F.cross_entropy(o, y) * 3),
    "two losses": (lambda: Net(_gate, a=linear(WIDTH, 6), b=linear(6, 6), d=linear(6, CLASSES)), lambda o, y: F.cross_entropy(o, y) + F.cross_entropy(o * 2, CLASSES - 1 - y)),
    "no network": (lambda: Net(lambda m, x: m.p[0] * 1.0, (N, CLASSES)), F.cross_entropy),
    "one number": (lambda: Net(lambda m, x: x[:, :CLASSES] * m.p[0], ()), F.cross_entropy),
}  # fmt: skip


def trained(name: str, *, eager: bool, steps: int = 5) -> tuple[dict[str, bytes], list[float], fnn.TrainStep]:
    make, loss = NETS[name]
    fnn.manual_seed(4)
    model = make()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step = fnn.TrainStep(model, loss, optimizer)
    fnn.manual_seed(5)
    losses = []
    for _ in range(steps):
        if eager:
            value = loss(model(fnn.tensor(X)), fnn.tensor(Y))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
        else:
            losses.append(step(X, Y))
    return {k: v.numpy().tobytes() for k, v in model.state_dict().items()}, losses, step


@pytest.mark.parametrize("name", NETS)
def test_the_plan_has_the_bits_of_the_eager_loop(name: str) -> None:
    state, losses, _ = trained(name, eager=True)
    before = fnn.get_num_threads()
    try:
        for threads in (1, 3):
            fnn.set_num_threads(threads)
            planned_state, planned_losses, step = trained(name, eager=False)
            assert step.reason is None
            assert planned_losses == losses
            assert planned_state == state
    finally:
        fnn.set_num_threads(before)


# A model that looks at values looks at every step: the labels may be at fault in the step alone.


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (F.cross_entropy, ValueError, "cross_entropy: expected labels in [0, 4) or ignore_index -100; got {} at position 7"),
        (lambda o, y: F.cross_entropy(o, y + 0), ValueError, "cross_entropy: expected labels in [0, 4) or ignore_index -100; got {} at position 7"),
        (lambda o, y: F.cross_entropy(o, y, reduction="none").sum(), ValueError, "cross_entropy: expected labels in [0, 4) or ignore_index -100; got {} at position 7"),
        (lambda o, y: F.cross_entropy(o[:12], y[:12]), ValueError, "cross_entropy: expected labels in [0, 4) or ignore_index -100; got {} at position 7"),
        (lambda o, y: F.nll_loss(F.log_softmax(o, 1), y), ValueError, "nll_loss: expected labels in [0, 4) or ignore_index -100; got {} at position 7"),
        (lambda o, y: o.gather(1, y.unsqueeze(1)).mean(), IndexError, "gather: expected index in [0, 3] for dimension 1; got {}"),
        (lambda o, y: o.index_select(1, y).mean(), IndexError, "index_select: expected index in [0, 3] for dimension 1; got {}"),
        (lambda o, y: o[:, y].mean(), IndexError, "index: expected index in [-4, 3] for dimension 1; got {}"),
        (lambda o, y: F.binary_cross_entropy(o * 0 + y.float().unsqueeze(1) / 8, o.detach() * 0), ValueError, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("label", [9, -(10**9), 10**15])
def test_wrong_labels_change_nothing(loss: Any, error: type[Exception], message: str | None, label: int) -> None:
    fnn.manual_seed(1)
    model = nn.Sequential(nn.Linear(WIDTH, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, CLASSES))
    step = fnn.TrainStep(model, loss, optim.Adam(model.parameters()))
    bad = Y.copy()
    bad[7] = label
    order = np.concatenate([np.arange(N), np.arange(N) + N])
    twice, later = np.concatenate([X, X]), np.concatenate([Y, bad])
    for _round in range(3):
        before = {name: value.numpy().tobytes() for name, value in model.state_dict().items()}
        for call in (lambda: step(X, bad), lambda: step.run_batches(X, bad, np.arange(N), 0, 1, N)):
            with pytest.raises(error) as caught:
                call()
            if message is not None:
                assert str(caught.value) == message.format(label)
        assert {name: value.numpy().tobytes() for name, value in model.state_dict().items()} == before
        assert np.isfinite(step(X, Y))
        assert step.reason is None
    with pytest.raises(error):
        step.run_batches(twice, later, order, 0, 2, N)
    assert np.isfinite(step(X, Y))
