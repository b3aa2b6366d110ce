"""Layers over images, forward and backward, ours and PyTorch's in both of its memory formats, on the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benches.kernels import Row, Run

RESNET, LENET = (32, 64, 32, 32), (64, 6, 28, 28)
"""Of a residual net's first blocks, and of LeNet."""

Make = Callable[[Any], Any]

LAYERS: list[tuple[str, Make, tuple[int, ...]]] = [
    ("Conv2d(32, 64, 3)", lambda nn: nn.Conv2d(32, 64, 3, padding=1), (32, 32, 28, 28)),
    ("Conv2d(16, 16, 3)", lambda nn: nn.Conv2d(16, 16, 3, padding=1), (64, 16, 32, 32)),
    ("Conv2d(16, 32, 3, 2)", lambda nn: nn.Conv2d(16, 32, 3, 2, 1), (64, 16, 32, 32)),
    ("Conv2d(64, 64, 3)", lambda nn: nn.Conv2d(64, 64, 3, padding=1), (64, 64, 8, 8)),
    ("Conv2d(6, 16, 5)", lambda nn: nn.Conv2d(6, 16, 5), (64, 6, 14, 14)),
    ("Conv2d(64, 128, 1)", lambda nn: nn.Conv2d(64, 128, 1), (32, 64, 16, 16)),
    ("ConvTranspose2d(32, 16, 4, 2)", lambda nn: nn.ConvTranspose2d(32, 16, 4, 2, 1), (32, 32, 16, 16)),
    ("BatchNorm2d", lambda nn: nn.BatchNorm2d(64), RESNET),
    ("BatchNorm2d + ReLU", lambda nn: nn.Sequential(nn.BatchNorm2d(64), nn.ReLU()), RESNET),
    ("BatchNorm2d", lambda nn: nn.BatchNorm2d(16), (64, 16, 8, 8)),
    ("InstanceNorm2d", lambda nn: nn.InstanceNorm2d(64), RESNET),
    ("GroupNorm(8)", lambda nn: nn.GroupNorm(8, 64), RESNET),
    ("LayerNorm", lambda nn: nn.LayerNorm((64, 32, 32)), RESNET),
    *(
        (name, make, shape)
        for name, make in {
            "MaxPool2d(2)": lambda nn: nn.MaxPool2d(2),
            "MaxPool2d(3, 2, 1)": lambda nn: nn.MaxPool2d(3, 2, 1),
            "AvgPool2d(2)": lambda nn: nn.AvgPool2d(2),
            "AvgPool2d(3, 2, 1)": lambda nn: nn.AvgPool2d(3, 2, 1),
            "AdaptiveAvgPool2d(1)": lambda nn: nn.AdaptiveAvgPool2d(1),
            "Upsample(scale_factor=2)": lambda nn: nn.Upsample(scale_factor=2),
        }.items()
        for shape in (RESNET, LENET)
    ),
]


def forward_and_backward(name: str, make: Make, shape: tuple[int, ...]) -> Row:
    """A layer and the gradients of its input and its parameters."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)

    def weights() -> dict[str, Any]:
        import fastnn as fnn

        fnn.manual_seed(0)
        return {key: np.asarray(value) for key, value in make(fnn.nn).state_dict().items()}

    def ours() -> Run:
        import fastnn as fnn

        layer, t = make(fnn.nn), fnn.tensor(x, requires_grad=True)
        layer.load_state_dict({key: fnn.tensor(value) for key, value in weights().items()})
        return _run(layer, t, fnn.from_numpy(_seed(layer(t).shape)))

    def torch_with(memory_format: str) -> Callable[[], Run]:
        def run() -> Run:
            import torch

            form = getattr(torch, memory_format)
            layer = make(torch.nn)
            layer.load_state_dict({key: torch.tensor(value) for key, value in weights().items()})
            layer = layer.to(memory_format=form)
            t = torch.from_numpy(x.copy()).contiguous(memory_format=form).requires_grad_()
            seed = torch.from_numpy(_seed(tuple(layer(t).shape))).contiguous(memory_format=form)
            return _run(layer, t, seed)

        return run

    peers = {f"torch {name}": torch_with(name) for name in ("contiguous_format", "channels_last")}

    def check() -> None:
        found = [np.asarray(value) for value in ours()()]
        for peer in peers.values():
            for mine, theirs in zip(found, peer()(), strict=True):
                scale = max(1.0, float(np.abs(mine).max()))
                np.testing.assert_allclose(mine / scale, np.asarray(theirs) / scale, rtol=0, atol=1e-5)

    return Row(f"{name} on {'×'.join(map(str, shape))}", ours, peers, check)


def _run(layer: Any, t: Any, seed: Any) -> Run:
    """The gradients, on either library."""

    def run() -> Any:
        t.grad = None
        layer.zero_grad()
        layer(t).backward(seed)
        return [t.grad, *(p.grad for p in layer.parameters())]

    return run


def _seed(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def rows() -> list[Row]:
    """All layers."""
    return [forward_and_backward(*layer) for layer in LAYERS]
