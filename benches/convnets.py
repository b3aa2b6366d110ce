"""One training step of a LeNet and of a residual net with 8 layers, for every library, in its best mode.

All start from the same weights, take the same batches, and are checked against each other before they are timed: SGD
with Nesterov's momentum and weight decay, batch 64.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[], float]
SETTINGS: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
BATCH = 64
SHAPES = {"lenet5": (BATCH, 1, 28, 28), "resnet8": (BATCH, 3, 32, 32)}


def _batches(net: str) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=SHAPES[net]).astype(np.float32), rng.integers(0, 10, BATCH)) for _ in range(4)]


def _model(net: str) -> Any:
    import fastnn as fnn

    fnn.manual_seed(0)
    return fnn.models.lenet5() if net == "lenet5" else fnn.models.resnet8(shortcut="B")


def _weights(net: str) -> dict[str, np.ndarray[Any, Any]]:
    return {key: np.array(value) for key, value in _model(net).state_dict().items()}


def fastnn_planned(net: str) -> Step:
    """Ours: one call a step."""
    import fastnn as fnn

    model = _model(net)
    step = fnn.TrainStep(model, fnn.nn.CrossEntropyLoss(), fnn.optim.SGD(model.parameters(), **SETTINGS))
    batches = itertools.cycle(_batches(net))
    return lambda: step(*next(batches))


def fastnn_eager(net: str) -> Step:
    """Ours: the loop that everybody writes."""
    import fastnn as fnn

    model = _model(net)
    batches = itertools.cycle([(fnn.from_numpy(x), fnn.from_numpy(y)) for x, y in _batches(net)])
    optimizer = fnn.optim.SGD(model.parameters(), **SETTINGS)
    return _loop(model, fnn.nn.CrossEntropyLoss(), optimizer, batches)


def _loop(model: Any, loss_fn: Any, optimizer: Any, batches: Any) -> Step:
    def step() -> float:
        x, y = next(batches)
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _torch_model(net: str) -> Any:
    """The same architecture, whose `state_dict` has our keys."""
    import torch
    from torch import nn

    if net == "lenet5":
        return _torch_lenet(nn)

    def conv(fan_in: int, fan_out: int, kernel: int, stride: int) -> Any:
        return nn.Conv2d(fan_in, fan_out, kernel, stride, kernel // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, fan_in: int, fan_out: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv(fan_in, fan_out, 3, stride), nn.BatchNorm2d(fan_out)
            self.conv2, self.bn2 = conv(fan_out, fan_out, 3, 1), nn.BatchNorm2d(fan_out)
            wider = nn.Sequential(conv(fan_in, fan_out, 1, stride), nn.BatchNorm2d(fan_out))
            self.downsample = wider if stride > 1 else None

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = conv(3, 16, 3, 1), nn.BatchNorm2d(16)
            for i, (fan_in, fan_out, stride) in enumerate([(16, 16, 1), (16, 32, 2), (32, 64, 2)]):
                setattr(self, f"layer{i + 1}", nn.Sequential(Block(fan_in, fan_out, stride)))
            self.fc = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            x = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x))))))
            return self.fc(x.mean((2, 3)))

    return Net()


def _torch_lenet(nn: Any) -> Any:
    import torch

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
            self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

        def forward(self, x: Any) -> Any:
            pool = torch.nn.functional.max_pool2d
            x = pool(torch.relu(self.conv1(x)), 2)
            x = pool(torch.relu(self.conv2(x)), 2).flatten(1)
            return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))

    return Net()


def torch_with(memory_format: str, *, compiled: bool) -> Callable[[str], Step]:
    """PyTorch in a memory format, as it is or compiled; its optimizer in one fused pass."""

    def make(net: str) -> Step:
        import torch

        torch._dynamo.reset()
        form = getattr(torch, memory_format)
        model = _torch_model(net)
        model.load_state_dict({key: torch.tensor(value) for key, value in _weights(net).items()})
        model = model.to(memory_format=form)
        batches = itertools.cycle(
            [(torch.from_numpy(x).contiguous(memory_format=form), torch.from_numpy(y)) for x, y in _batches(net)]
        )
        optimizer = torch.optim.SGD(model.parameters(), **SETTINGS, fused=True)
        return _loop(torch.compile(model) if compiled else model, torch.nn.CrossEntropyLoss(), optimizer, batches)

    return make


def jax_jitted(net: str) -> Step:
    """JAX with the whole step jitted and its buffers donated, images with their channels last, optax' SGD."""
    import jax
    import jax.numpy as jnp
    import optax

    weights = _weights(net)
    # Kernels as (h, w, in, out); running statistics are not kept: a little less work than the others'.
    params = {
        key: jnp.asarray(np.transpose(value, (2, 3, 1, 0)) if value.ndim == 4 else value)
        for key, value in weights.items()
        if "running" not in key and "tracked" not in key
    }

    def conv(p: Any, name: str, x: Any, stride: int = 1, padding: int = 0) -> Any:
        pads = ((padding, padding), (padding, padding))
        return jax.lax.conv_general_dilated(
            x, p[f"{name}.weight"], (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def norm(p: Any, name: str, x: Any) -> Any:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def linear(p: Any, name: str, x: Any) -> Any:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def pool(x: Any) -> Any:
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def lenet(p: Any, x: Any) -> Any:
        x = pool(jax.nn.relu(conv(p, "conv1", x, 1, 2) + p["conv1.bias"]))
        x = pool(jax.nn.relu(conv(p, "conv2", x) + p["conv2.bias"]))
        # Features in PyTorch's order, as the weights expect them.
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        return linear(p, "fc3", jax.nn.relu(linear(p, "fc2", jax.nn.relu(linear(p, "fc1", x)))))

    def resnet(p: Any, x: Any) -> Any:
        x = jax.nn.relu(norm(p, "bn1", conv(p, "conv1", x, 1, 1)))
        for i in (1, 2, 3):
            stride, name = 1 if i == 1 else 2, f"layer{i}.0"
            y = jax.nn.relu(norm(p, f"{name}.bn1", conv(p, f"{name}.conv1", x, stride, 1)))
            y = norm(p, f"{name}.bn2", conv(p, f"{name}.conv2", y, 1, 1))
            if i > 1:
                x = norm(p, f"{name}.downsample.1", conv(p, f"{name}.downsample.0", x, stride))
            x = jax.nn.relu(x + y)
        return linear(p, "fc", x.mean((1, 2)))

    forward = lenet if net == "lenet5" else resnet
    sgd = optax.sgd(SETTINGS["lr"], SETTINGS["momentum"], nesterov=True)
    tx = optax.chain(optax.add_decayed_weights(SETTINGS["weight_decay"]), sgd)

    def loss_of(p: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(forward(p, x), y).mean()

    def update(p: Any, state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(p, x, y)
        updates, state = tx.update(grads, state, p)
        return optax.apply_updates(p, updates), state, loss

    jitted = jax.jit(update, donate_argnums=(0, 1))
    everything = (params, tx.init(params))
    batches = itertools.cycle([(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), y) for x, y in _batches(net)])

    def step() -> float:
        nonlocal everything
        *rest, loss = jitted(*everything, *next(batches))
        everything = tuple(rest)
        return float(loss)

    return step


OURS: dict[str, Callable[[str], Step]] = {"fastnn": fastnn_planned, "fastnn eager": fastnn_eager}
PEERS: dict[str, Callable[[str], Step]] = {
    "torch": torch_with("contiguous_format", compiled=False),
    "torch channels_last": torch_with("channels_last", compiled=False),
    "torch compiled": torch_with("contiguous_format", compiled=True),
    "torch compiled channels_last": torch_with("channels_last", compiled=True),
    "jax": jax_jitted,
}


def table_of_steps(seconds: float, *, check: bool = True) -> str:
    """One training step of each net."""
    import importlib.util
    import sys

    from benches.compare import interleaved, table

    needs = {"torch": "torch", "jax": "optax"}
    here = {k: v for k, v in PEERS.items() if importlib.util.find_spec(needs[k.split()[0]])}
    rows = []
    for net in SHAPES:
        candidates = {name: make(net) for name, make in {**OURS, **here}.items()}
        losses = {name: [step() for _ in range(3)] for name, step in candidates.items()}
        for name, got in losses.items() if check else ():
            np.testing.assert_allclose(got, losses["fastnn"], rtol=2e-3, err_msg=f"{name} computes something else")
        times = interleaved(candidates, seconds=seconds)
        best = min(here, key=lambda k: times[k]) if here else "–"
        ratio = f"**{times[best] / times['fastnn']:.2f}**" if here else "–"
        milli = [f"{times[k] * 1e3:,.2f}" if k in times else "–" for k in (*OURS, *PEERS)]
        rows.append([f"{net}, batch {BATCH}", *milli, best, ratio])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    header = ["net", *(f"{k}, ms" for k in (*OURS, *PEERS)), "best peer", "its time / ours"]
    return table("One training step of a convolutional net", header, rows)
