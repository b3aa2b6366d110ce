"""Normalisation, forward and backward, ours and PyTorch's in both of its layouts, on the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benches.kernels import Row, Run


def _row(name: str, kind: str, settings: tuple[object, ...], shape: tuple[int, ...], relu: bool = False) -> Row:
    rng = np.random.default_rng(0)
    x, g = (rng.normal(size=shape).astype(np.float32) for _ in range(2))

    def ours() -> Run:
        import fastnn as fnn

        layer, t, seed = getattr(fnn.nn, kind)(*settings), fnn.tensor(x, requires_grad=True), fnn.from_numpy(g)

        def run() -> object:
            t.grad = None
            y = layer(t)
            (fnn.relu(y) if relu else y).backward(seed)
            return t.grad

        return run

    def torch_in(layout: str) -> Callable[[], Run]:
        def make() -> Run:
            import torch

            form = getattr(torch, layout)
            layer = getattr(torch.nn, kind)(*settings)
            t = torch.from_numpy(x.copy()).contiguous(memory_format=form).requires_grad_()
            seed = torch.from_numpy(g.copy()).contiguous(memory_format=form)

            def run() -> object:
                t.grad = None
                y = layer(t)
                (torch.relu(y) if relu else y).backward(seed)
                return t.grad

            return run

        return make

    peers = {"torch": torch_in("contiguous_format")}
    if len(shape) == 4:
        peers["torch channels_last"] = torch_in("channels_last")

    def check() -> None:
        found = np.asarray(ours()())
        for peer in peers.values():
            np.testing.assert_allclose(found, np.asarray(peer()()), rtol=1e-3, atol=1e-5)

    size = "×".join(map(str, shape))
    return Row(f"{name} {size}, forward + backward", ours, peers, check)


def rows() -> list[Row]:
    """All norms."""
    images = (32, 64, 32, 32)
    return [
        _row("BatchNorm2d", "BatchNorm2d", (64,), images),
        _row("BatchNorm2d", "BatchNorm2d", (16,), (64, 16, 8, 8)),
        _row("BatchNorm2d", "BatchNorm2d", (3,), (64, 3, 32, 32)),
        _row("BatchNorm2d + ReLU", "BatchNorm2d", (64,), images, relu=True),
        _row("InstanceNorm2d", "InstanceNorm2d", (64,), images),
        _row("GroupNorm", "GroupNorm", (8, 64), images),
        _row("LayerNorm", "LayerNorm", (1024,), (256, 1024)),
        _row("LayerNorm over images", "LayerNorm", ((64, 32, 32),), images),
    ]
