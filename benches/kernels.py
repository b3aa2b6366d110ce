"""Single kernels, ours and PyTorch's (and NumPy's where it is the peer), on the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Run = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One kernel: each library's run, made when asked, and how their results are checked against each other."""

    name: str
    ours: Callable[[], Run]
    peers: dict[str, Callable[[], Run]]
    check: Callable[[], None]


def _adam(n: int) -> Row:
    rng = np.random.default_rng(0)
    start, grad = rng.normal(size=n).astype(np.float32), rng.normal(size=n).astype(np.float32)

    def ours() -> Run:
        import fastnn as fnn

        w = start.copy()
        optimizer = fnn.optim.Adam([w], lr=1e-3)
        return lambda: (optimizer.step(grads=[grad]), w)[1]

    def torch_with(**mode: bool) -> Callable[[], Run]:
        def make() -> Run:
            import torch

            w = torch.from_numpy(start.copy()).requires_grad_()
            w.grad = torch.from_numpy(grad.copy())
            optimizer = torch.optim.Adam([w], lr=1e-3, **mode)
            return lambda: (optimizer.step(), w.detach().numpy())[1]

        return make

    peers = {"torch fused": torch_with(fused=True), "torch foreach": torch_with(foreach=True)}

    def check() -> None:
        a, b = ours(), peers["torch fused"]()
        for _ in range(3):
            np.testing.assert_allclose(np.asarray(a()), np.asarray(b()), rtol=1e-4, atol=1e-6)

    return Row(f"Adam step, {n:,} parameters", ours, peers, check)


def _dropout() -> Row:
    x = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)

    def ours() -> Run:
        import fastnn as fnn

        t = fnn.from_numpy(x)
        return lambda: fnn.nn.functional.dropout(t, 0.5)

    def torch_() -> Run:
        import torch

        t = torch.from_numpy(x)
        return lambda: torch.nn.functional.dropout(t, 0.5)

    def check() -> None:
        for run in (ours(), torch_()):
            y = np.asarray(run())
            kept = y != 0
            assert abs(kept.mean() - 0.5) < 0.005
            np.testing.assert_allclose(y[kept], 2 * x[kept], rtol=1e-6)

    return Row("dropout, 1e6 elements", ours, {"torch": torch_}, check)


def _norm(kind: str, n: int = 256, c: int = 1024) -> Row:
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(n, c)).astype(np.float32), rng.normal(size=(n, c)).astype(np.float32)

    def ours() -> Run:
        import fastnn as fnn

        layer, t, seed = getattr(fnn.nn, kind)(c), fnn.tensor(x, requires_grad=True), fnn.from_numpy(g)

        def run() -> object:
            t.grad = None
            layer(t).backward(seed)
            return t.grad

        return run

    def torch_() -> Run:
        import torch

        layer = getattr(torch.nn, kind)(c)
        t, seed = torch.from_numpy(x.copy()).requires_grad_(), torch.from_numpy(g)

        def run() -> object:
            t.grad = None
            layer(t).backward(seed)
            return t.grad

        return run

    def check() -> None:
        np.testing.assert_allclose(np.asarray(ours()()), np.asarray(torch_()()), rtol=1e-3, atol=1e-5)

    return Row(f"{kind} {n}×{c}, forward + backward", ours, {"torch": torch_}, check)


def _add() -> Row:
    a, b = (np.random.default_rng(i).normal(size=16).astype(np.float32) for i in (0, 1))

    def ours() -> Run:
        import fastnn as fnn

        s, t = fnn.from_numpy(a), fnn.from_numpy(b)
        return lambda: s + t

    def torch_() -> Run:
        import torch

        s, t = torch.from_numpy(a), torch.from_numpy(b)
        return lambda: s + t

    def numpy_() -> Run:
        return lambda: a + b

    def check() -> None:
        np.testing.assert_array_equal(np.asarray(ours()()), np.asarray(torch_()()))

    return Row("add of two 16-element tensors", ours, {"torch": torch_, "numpy": numpy_}, check)


def rows() -> list[Row]:
    """All kernels."""
    return [_adam(1000), _adam(16_000_000), _dropout(), _norm("BatchNorm1d"), _norm("LayerNorm"), _add()]
