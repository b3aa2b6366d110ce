"""`python -m benches.convgrid`: convolutions over a grid of sizes, ours against the better of PyTorch's memory formats.

Every layer is timed forward, and forward with backward, interleaved in one run; results are compared first. The ten
layers are printed for which ours takes longest in comparison. `--table` takes the layers of nets instead of the grid.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from benches.compare import table


class Layer(NamedTuple):
    """A convolution and what it is applied to."""

    batch: int
    channels: int
    out: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    transposed: bool = False

    def __str__(self) -> str:
        name = "ConvTranspose2d" if self.transposed else "Conv2d"
        more = f", groups {self.groups}" if self.groups > 1 else ""
        sizes = f"{self.channels}, {self.out}, {self.kernel}, stride {self.stride}, padding {self.padding}{more}"
        return f"{name}({sizes}) on {self.batch}×{self.size}×{self.size}"


NETS = [
    Layer(64, 512, 512, 1, 3, 1, 1),
    Layer(64, 256, 512, 2, 3, 2, 1),
    Layer(64, 256, 512, 8, 3, 2, 1),
    Layer(64, 256, 512, 2, 1, 2),
    Layer(64, 128, 256, 4, 3, 2, 1),
    Layer(64, 512, 1, 4, 4),
    Layer(64, 100, 512, 1, 4, transposed=True),
    Layer(64, 512, 256, 4, 4, 2, 1, transposed=True),
    Layer(64, 256, 512, 8, 4, 2, 1),
    Layer(8, 512, 512, 7, 3, 1, 1),
]


def grid(args: argparse.Namespace) -> Iterator[Layer]:
    """All layers of the grid whose kernel fits the padded map."""
    sizes = itertools.product(args.channels, args.maps, args.kernels, args.strides, args.groups, args.batches)
    for channels, size, kernel, stride, depthwise, batch in sizes:
        padding = kernel // 2
        if size + 2 * padding >= kernel and (channels > 1 or not depthwise):
            groups = channels if depthwise else 1
            yield Layer(batch, channels, channels, size, kernel, stride, padding, groups)


def _timed(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median seconds of each, in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 3:
        for name, run in runs.items():
            # The first of a turn wakes threads and caches.
            run()
            begun = time.perf_counter()
            run()
            run()
            times[name].append((time.perf_counter() - begun) / 2)
    return {name: statistics.median(t) for name, t in times.items()}


def measure(layer: Layer, seconds: float) -> tuple[float, float, list[float]]:
    """Our time over PyTorch's, forward and with backward; and the milliseconds."""
    import torch
    import torch.nn.functional as TF

    import fastnn as fnn
    import fastnn.nn.functional as F

    rng = np.random.default_rng(0)
    b, c, o, s, k, stride, padding, groups, transposed = layer
    x = rng.normal(size=(b, c, s, s)).astype(np.float32)
    shape = (c, o // groups, k, k) if transposed else (o, c // groups, k, k)
    w, bias = (rng.normal(size=shape) / np.sqrt(c * k)).astype(np.float32), rng.normal(size=o).astype(np.float32)
    ours, theirs = [fnn.tensor(a) for a in (x, w, bias)], [torch.from_numpy(a) for a in (x, w, bias)]
    last = [t.clone(memory_format=torch.channels_last) if t.dim() == 4 else t.clone() for t in theirs]
    if transposed:
        calls = [lambda t: F.conv_transpose2d(*t, stride, padding), lambda t: TF.conv_transpose2d(*t, stride, padding)]
    else:
        calls = [
            lambda t: F.conv2d(*t, stride, padding, 1, groups),
            lambda t: TF.conv2d(*t, stride, padding, 1, groups),
        ]
    for tensors in (ours, theirs, last):
        for t in tensors:
            t.requires_grad_(True)
    sets = {"fastnn": (calls[0], ours), "contiguous": (calls[1], theirs), "channels_last": (calls[1], last)}
    grads = {}
    for name, (call, tensors) in sets.items():
        y = call(tensors)
        y.sum().backward()
        grads[name] = [y.detach().numpy(), *(t.grad.numpy() for t in tensors)]
    for got, expected in zip(grads["fastnn"], grads["contiguous"], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * max(1.0, np.abs(expected).max()))
    ones = dict.fromkeys(sets, grads["fastnn"][0] * 0 + 1)
    seeds = {n: (fnn.tensor if n == "fastnn" else torch.from_numpy)(a) for n, a in ones.items()}

    def forward(name: str) -> Callable[[], object]:
        call, tensors = sets[name]
        plain = [t.detach() for t in tensors]
        return lambda: call(plain)

    def both(name: str) -> Callable[[], object]:
        call, tensors = sets[name]

        def run() -> None:
            for t in tensors:
                t.grad = None
            call(tensors).backward(seeds[name])

        return run

    found = []
    for make in (forward, both):
        times = _timed({name: make(name) for name in sets}, seconds)
        found += [times["fastnn"] * 1e3, min(times["contiguous"], times["channels_last"]) * 1e3]
    return found[0] / found[1], found[2] / found[3], found


def main() -> None:
    """Print the ten worst."""
    import torch

    import fastnn as fnn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="the layers of nets instead of the grid")
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 16, 64, 256, 512])
    parser.add_argument("--maps", type=int, nargs="+", default=[1, 2, 4, 7, 14])
    parser.add_argument("--kernels", type=int, nargs="+", default=[1, 3, 4, 5])
    parser.add_argument("--strides", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--groups", type=int, nargs="+", default=[0, 1], help="1: as many as channels")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.05, help="of every layer and direction, at least 3 rounds")
    parser.add_argument("--worst", type=int, default=10)
    args = parser.parse_args()
    rows = []
    for threads in args.threads:
        torch.set_num_threads(threads)
        fnn.set_num_threads(threads)
        for layer in NETS if args.table else grid(args):
            forward, both, ms = measure(layer, args.seconds)
            cells = [f"{layer}, {threads} threads", f"{forward:.2f}", f"{both:.2f}", *(f"{m:.3f}" for m in ms)]
            rows.append((max(forward, both), cells))
            print(" | ".join(cells), file=sys.stderr, flush=True)
    worst = rows if args.table else sorted(rows, key=lambda r: -r[0])[: args.worst]
    slower = sum(ratio > 1 for ratio, _ in rows)
    header = ["layer", "forward", "with backward", "ours, ms", "PyTorch, ms", "ours, both", "PyTorch, both"]
    print(table("Our time over that of PyTorch's better format", header, [cells for _, cells in worst]))
    print(f"{len(rows)} layers, {slower} of them slower than PyTorch in one direction at least")


if __name__ == "__main__":
    main()
