"""The nets that a training step is timed on, once for every library.

A candidate is a function that takes one step and returns the loss, so that candidates can be checked against each other
before they are timed. All start from the same weights and take the same batches.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Step = Callable[[], float]
LR = 1e-3


@dataclass(frozen=True)
class Net:
    """A dense net: widths, batch size, and what stands between its layers."""

    name: str
    widths: tuple[int, ...]
    batch: int
    batch_norm: bool = False
    dropout: float = 0.0

    def without_dropout(self) -> Net:
        return Net(self.name, self.widths, self.batch, self.batch_norm, 0.0)


NETS = [
    Net("iris", (4, 16, 16, 3), 16),
    Net("narrow", (10, 46, 46, 10), 128),
    Net("rl", (17, 64, 64, 6), 256),
    Net("mnist", (784, 256, 128, 10), 64),
    Net("regul", (784, 512, 256, 10), 128, batch_norm=True, dropout=0.5),
    Net("paper", (784, 1024, 1024, 1024, 10), 100, dropout=0.5),
    Net("wide", (2048, 2048, 2048, 10), 512),
]


@dataclass(frozen=True)
class Problem:
    """A net with its first weights and a few batches."""

    net: Net
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    batches: list[tuple[np.ndarray, np.ndarray]]

    @staticmethod
    def make(net: Net, seed: int = 0) -> Problem:
        rng = np.random.default_rng(seed)
        pairs = list(zip(net.widths[:-1], net.widths[1:], strict=True))
        weights = [rng.normal(0, np.sqrt(2 / i), (o, i)).astype(np.float32) for i, o in pairs]
        biases = [np.zeros(o, np.float32) for _, o in pairs]
        batches = [
            (
                rng.normal(size=(net.batch, net.widths[0])).astype(np.float32),
                rng.integers(0, net.widths[-1], net.batch),
            )
            for _ in range(4)
        ]
        return Problem(net, weights, biases, batches)

    def cycle(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield from self.batches


def _layers(nn: Any, net: Net) -> list[Any]:
    """The modules of a net, for a library with PyTorch's names."""
    layers: list[Any] = []
    last = len(net.widths) - 2
    for i, (fan_in, fan_out) in enumerate(zip(net.widths[:-1], net.widths[1:], strict=True)):
        layers.append(nn.Linear(fan_in, fan_out))
        if i < last:
            if net.batch_norm:
                layers.append(nn.BatchNorm1d(fan_out))
            layers.append(nn.ReLU())
            if net.dropout:
                layers.append(nn.Dropout(net.dropout))
    return layers


def _load(model: Any, problem: Problem, no_grad: Any, convert: Callable[[np.ndarray], Any]) -> None:
    linear = [m for m in model if type(m).__name__ == "Linear"]
    with no_grad():
        for layer, weight, bias in zip(linear, problem.weights, problem.biases, strict=True):
            layer.weight.copy_(convert(weight))
            layer.bias.copy_(convert(bias))


def fastnn_model(problem: Problem) -> tuple[Any, Any, Any]:
    import fastnn as fnn

    fnn.manual_seed(0)
    model = fnn.nn.Sequential(*_layers(fnn.nn, problem.net))
    _load(model, problem, fnn.no_grad, fnn.tensor)
    return model, fnn.nn.CrossEntropyLoss(), fnn.optim.Adam(model.parameters(), lr=LR)


def fastnn_planned(problem: Problem) -> Step:
    """Ours: one call a step."""
    import fastnn as fnn

    step = fnn.TrainStep(*fastnn_model(problem))
    batches = problem.cycle()
    return lambda: step(*next(batches))


def fastnn_eager(problem: Problem) -> Step:
    """Ours: the loop that everybody writes."""
    import fastnn as fnn

    model, loss_fn, optimizer = fastnn_model(problem)
    batches = ((fnn.from_numpy(x), fnn.from_numpy(y)) for x, y in problem.cycle())

    def step() -> float:
        x, y = next(batches)
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _torch_step(problem: Problem, *, fused: bool, compiled: bool) -> Step:
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(*_layers(torch.nn, problem.net))
    _load(model, problem, torch.no_grad, torch.from_numpy)
    loss_fn = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=fused)
    forward = torch.compile(model) if compiled else model
    batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in problem.batches]
    count = 0

    def step() -> float:
        nonlocal count
        x, y = batches[count % len(batches)]
        count += 1
        loss = loss_fn(forward(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_default(problem: Problem) -> Step:
    """PyTorch as everybody runs it."""
    return _torch_step(problem, fused=False, compiled=False)


def torch_fused(problem: Problem) -> Step:
    """PyTorch with its fused Adam."""
    return _torch_step(problem, fused=True, compiled=False)


def torch_compiled(problem: Problem) -> Step:
    """PyTorch with `torch.compile` and its fused Adam."""
    import torch

    # Each net is compiled as if it were the only one: the compiler gives up on a function after a few variants.
    torch._dynamo.reset()
    return _torch_step(problem, fused=True, compiled=True)


def jax_jitted(problem: Problem) -> Step:
    """JAX with the whole step jitted and its buffers donated, optax' Adam."""
    import jax
    import jax.numpy as jnp
    import optax

    net = problem.net
    params = [
        {"w": jnp.asarray(w.T), "b": jnp.asarray(b)} for w, b in zip(problem.weights, problem.biases, strict=True)
    ]
    if net.batch_norm:
        for p in params[:-1]:
            p["gamma"], p["beta"] = jnp.ones_like(p["b"]), jnp.zeros_like(p["b"])
    stats = [{"mean": jnp.zeros_like(p["b"]), "var": jnp.ones_like(p["b"])} for p in params[:-1]]
    tx = optax.adam(LR)

    def forward(params: Any, stats: Any, key: Any, x: Any) -> tuple[Any, Any]:
        new_stats = []
        for i, p in enumerate(params):
            x = x @ p["w"] + p["b"]
            if i == len(params) - 1:
                break
            if net.batch_norm:
                mean, var = x.mean(0), x.var(0)
                x = (x - mean) * jax.lax.rsqrt(var + 1e-5) * p["gamma"] + p["beta"]
                n = x.shape[0]
                old = stats[i]
                new_stats.append(
                    {"mean": 0.9 * old["mean"] + 0.1 * mean, "var": 0.9 * old["var"] + 0.1 * var * n / (n - 1)}
                )
            x = jax.nn.relu(x)
            if net.dropout:
                keep = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - net.dropout, x.shape)
                x = jnp.where(keep, x / (1 - net.dropout), 0)
        return x, new_stats or stats

    def loss_of(params: Any, stats: Any, key: Any, x: Any, y: Any) -> tuple[Any, Any]:
        logits, new_stats = forward(params, stats, key, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), new_stats

    def update(params: Any, stats: Any, state: Any, key: Any, x: Any, y: Any) -> tuple[Any, Any, Any, Any, Any]:
        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params, stats, key, x, y)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), stats, state, jax.random.fold_in(key, 1), loss

    jitted = jax.jit(update, donate_argnums=(0, 1, 2))
    everything = (params, stats, tx.init(params), jax.random.key(0))
    batches = problem.cycle()

    def step() -> float:
        nonlocal everything
        *rest, loss = jitted(*everything, *next(batches))
        everything = tuple(rest)
        return float(loss)

    return step


def sklearn_partial(problem: Problem) -> Step:
    """scikit-learn's MLPClassifier, one `partial_fit` a step; it has no batch norm and no dropout."""
    from sklearn.neural_network import MLPClassifier

    net = problem.net
    if net.batch_norm or net.dropout:
        raise NotImplementedError("scikit-learn has neither batch norm nor dropout")
    model = MLPClassifier(net.widths[1:-1], solver="adam", learning_rate_init=LR, batch_size=net.batch, alpha=0.0)
    classes = np.arange(net.widths[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.partial_fit(*problem.batches[0], classes=classes)
    for coef, w in zip(model.coefs_, problem.weights, strict=True):
        coef[...] = w.T
    for intercept, b in zip(model.intercepts_, problem.biases, strict=True):
        intercept[...] = b
    model._optimizer.t = 0
    for moments in (model._optimizer.ms, model._optimizer.vs):
        for m in moments:
            m[...] = 0
    batches = problem.cycle()

    def step() -> float:
        model.partial_fit(*next(batches))
        return float(model.loss_)

    return step


OURS = {"fastnn": fastnn_planned, "fastnn eager": fastnn_eager}
PEERS: dict[str, Callable[[Problem], Step]] = {
    "torch": torch_default,
    "torch fused": torch_fused,
    "torch compiled": torch_compiled,
    "jax": jax_jitted,
    "sklearn": sklearn_partial,
}


def installed_peers() -> dict[str, Callable[[Problem], Step]]:
    """The peers whose library is here."""
    import importlib.util

    needs = {"torch": "torch", "jax": "optax", "sklearn": "sklearn"}
    return {name: make for name, make in PEERS.items() if importlib.util.find_spec(needs[name.split()[0]])}


def limit_threads(threads: int) -> None:
    """Give every library this many threads."""
    import os

    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("MKL_NUM_THREADS", str(threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(threads)
    import fastnn

    fastnn.set_num_threads(threads)
