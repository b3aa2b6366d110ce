"""Kernels of images, ours and PyTorch's, on the same numbers: forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benches.kernels import Row, Run

SHAPES = ((32, 64, 32, 32), (64, 6, 28, 28))
"""Of a ResNet's first blocks, and of LeNet."""

Call = Callable[[Any, Any], Any]

POOLS: dict[str, Call] = {
    "MaxPool2d(2)": lambda f, x: f.max_pool2d(x, 2),
    "MaxPool2d(3, 2, 1)": lambda f, x: f.max_pool2d(x, 3, 2, 1),
    "AvgPool2d(2)": lambda f, x: f.avg_pool2d(x, 2),
    "AvgPool2d(3, 2, 1)": lambda f, x: f.avg_pool2d(x, 3, 2, 1),
    "AdaptiveAvgPool2d(1)": lambda f, x: f.adaptive_avg_pool2d(x, 1),
    "Upsample(scale_factor=2)": lambda f, x: f.interpolate(x, scale_factor=2.0),
}


def forward_and_backward(name: str, call: Call, shape: tuple[int, ...]) -> Row:
    """A function of an image and its gradient, PyTorch's with both of its memory formats."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)

    def ours() -> Run:
        import fastnn as fnn

        t = fnn.tensor(x, requires_grad=True)
        seed = fnn.from_numpy(_seed(call(fnn.nn.functional, t).shape))

        def run() -> object:
            t.grad = None
            call(fnn.nn.functional, t).backward(seed)
            return t.grad

        return run

    def torch_with(memory_format: str) -> Callable[[], Run]:
        def make() -> Run:
            import torch

            layout = getattr(torch, memory_format)
            t = torch.from_numpy(x.copy()).contiguous(memory_format=layout).requires_grad_()
            y = call(torch.nn.functional, t)
            seed = torch.from_numpy(_seed(tuple(y.shape))).contiguous(memory_format=layout)

            def run() -> object:
                t.grad = None
                call(torch.nn.functional, t).backward(seed)
                return t.grad

            return run

        return make

    peers = {f"torch {name}": torch_with(name) for name in ("contiguous_format", "channels_last")}

    def check() -> None:
        found = np.asarray(ours()())
        for peer in peers.values():
            np.testing.assert_allclose(found, np.asarray(peer()()), rtol=1e-5, atol=1e-6)

    size = "×".join(map(str, shape))
    return Row(f"{name} {size}, forward + backward", ours, peers, check)


def _seed(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def rows() -> list[Row]:
    """All kernels of images."""
    return [forward_and_backward(name, call, shape) for name, call in POOLS.items() for shape in SHAPES]
