"""`python -m benches.augment`: 10,000 images of 28 × 28 are flipped, shifted, turned, cut out; in one run.

| row | draws | how |
|---|---|---|
| fastnn | for every image | one reading of each image |
| torch, each | for every image | `affine_grid` and `grid_sample` of all maps at once, a mask |
| torch, batch | one for the batch | what torchvision's v2 calls: `flip`, two masked `grid_sample`, a rectangle |
| torchvision | one for the batch | its v2 on the batch, where it is installed |
| albumentations | for every image | image after image, shift and turn as one `Affine`, where it is installed |

Given what fastnn drew, torch makes the same images of it; that is checked before anything is timed. At the end
stands an epoch of LeNet, with and without.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benches.compare import interleaved, table
from benches.nets import limit_threads

N, SIZE, SHIFT, DEGREES, HOLE = 10_000, 28, 2, 15.0, 8


def ours(interpolation: str) -> Any:
    from fastnn.augment import Compose, CutOut, RandomHorizontalFlip, RandomRotation, RandomShift

    moves = [RandomHorizontalFlip(), RandomShift(SHIFT), RandomRotation(DEGREES, interpolation), CutOut(HOLE)]
    return Compose(moves)


def theta(flip: Any, dx: Any, dy: Any, angle: Any) -> Any:
    """Return the positions that pixels of a square come from, for `grid_sample`: turned, shifted, flipped back."""
    import torch

    a = torch.deg2rad(angle)
    sign = 1 - 2 * flip
    x = torch.stack([sign * a.cos(), -sign * a.sin(), -2 * sign * dx / SIZE], 1)
    y = torch.stack([a.sin(), a.cos(), -2 * dy / SIZE], 1)
    return torch.stack([x, y], 1)


def cut(x: Any, cy: Any, cx: Any) -> Any:
    import torch

    at = torch.arange(SIZE)
    rows = (at >= cy[:, None] - HOLE // 2) & (at < cy[:, None] + HOLE // 2)
    columns = (at >= cx[:, None] - HOLE // 2) & (at < cx[:, None] + HOLE // 2)
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def torch_each(x: Any, mode: str) -> Any:
    import torch
    from torch.nn import functional as F

    n = len(x)
    drawn = [
        (torch.rand(n) < 0.5).float(),
        torch.randint(-SHIFT, SHIFT + 1, (n,)).float(),
        torch.randint(-SHIFT, SHIFT + 1, (n,)).float(),
        (2 * torch.rand(n) - 1) * DEGREES,
        torch.randint(0, SIZE, (n,)),
        torch.randint(0, SIZE, (n,)),
    ]
    grid = F.affine_grid(theta(*drawn[:4]), list(x.shape), align_corners=False)
    return cut(F.grid_sample(x, grid, mode=mode, align_corners=False), *drawn[4:])


def torch_batch(x: Any, mode: str) -> Any:
    import torch
    from torch.nn import functional as F

    x = x.flip(-1)
    for dx, angle in ((1.0, 0.0), (0.0, 9.0)):
        map_ = theta(torch.zeros(1), torch.full((1,), dx), torch.full((1,), -dx), torch.full((1,), angle))
        grid = F.affine_grid(map_, [1, 1, SIZE, SIZE], align_corners=False).expand(len(x), -1, -1, -1)
        # A further channel tells what lies outside, for `fill`.
        both = F.grid_sample(torch.cat([x, torch.ones_like(x)], 1), grid, mode=mode, align_corners=False)
        x, inside = both[:, :1], both[:, 1:]
        x = torch.where(inside < 0.5, torch.zeros(()), x) if mode == "nearest" else x * inside
    x = x.clone()
    x[:, :, 5 : 5 + HOLE, 9 : 9 + HOLE] = 0
    return x


def torchvision(mode: str) -> Callable[[Any], Any]:
    from torchvision.transforms import InterpolationMode, v2

    share, area = SHIFT / SIZE, HOLE * HOLE / SIZE / SIZE
    moves = [
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(0, translate=(share, share)),
        v2.RandomRotation(DEGREES, InterpolationMode(mode)),
        v2.RandomErasing(1, scale=(area, area), ratio=(1, 1)),
    ]
    return v2.Compose(moves)


def albumentations(mode: str) -> Callable[[np.ndarray], Any]:
    import albumentations as A
    import cv2

    interpolation = cv2.INTER_NEAREST if mode == "nearest" else cv2.INTER_LINEAR
    moves = [
        A.HorizontalFlip(p=0.5),
        A.Affine(translate_px=(-SHIFT, SHIFT), rotate=(-DEGREES, DEGREES), interpolation=interpolation, p=1),
        A.CoarseDropout((1, 1), (HOLE, HOLE), (HOLE, HOLE), p=1),
    ]
    change = A.Compose(moves)
    return lambda images: np.stack([change(image=image)["image"] for image in images])


def agree(x: np.ndarray, mode: str) -> None:
    """Torch makes the same images of what fastnn draws."""
    import torch

    transform = ours(mode)
    rows = []
    for one in transform.params(x.shape):
        v = dict(one)
        shift, turn, hole = v["RandomShift"], v["RandomRotation"], v["CutOut"]
        rows.append(("RandomHorizontalFlip" in v, shift["dx"], shift["dy"], turn["angle"], hole["y"], hole["x"]))
    flip, dx, dy, angle, cy, cx = torch.tensor(np.array(rows, np.float32)).T
    maps = theta(flip, dx, dy, angle)
    grid = torch.nn.functional.affine_grid(maps, list(x.shape), align_corners=False)
    want = torch.nn.functional.grid_sample(torch.from_numpy(x), grid, mode=mode, align_corners=False)
    want = cut(want, cy, cx).numpy()
    got = transform(x)
    off = np.abs(got - want)
    if (off > 1e-4).mean() > (0.002 if mode == "nearest" else 1e-5):
        raise AssertionError(f"fastnn and torch differ by {off.max()}, in {(off > 1e-4).mean():.2%}")


def candidates(x: np.ndarray, mode: str) -> dict[str, Callable[[], Any]]:
    transform = ours(mode)
    calls: dict[str, Callable[[], Any]] = {"fastnn": lambda: transform(x)}
    if importlib.util.find_spec("torch"):
        import torch

        agree(x[:500], mode)
        batch = torch.from_numpy(x)
        calls["torch, each"] = lambda: torch_each(batch, mode)
        calls["torch, batch"] = lambda: torch_batch(batch, mode)
        if importlib.util.find_spec("torchvision"):
            theirs = torchvision(mode)
            calls["torchvision"] = lambda: theirs(batch)
    if importlib.util.find_spec("albumentations"):
        change, rows = albumentations(mode), x.transpose(0, 2, 3, 1)
        calls["albumentations"] = lambda: change(rows)
    return calls


def epochs(rounds: int) -> dict[str, float]:
    """Median seconds of an epoch of a small convolutional net, without and with."""
    import fastnn as fnn
    from fastnn import nn, optim

    x = np.random.default_rng(0).random((N, 1, SIZE, SIZE), dtype=np.float32)
    y = np.random.default_rng(1).integers(0, 10, N)
    fits = {}
    for name, augment in {"plain": None, "augmented": ours("bilinear")}.items():
        pool = [nn.MaxPool2d(2)] if hasattr(nn, "MaxPool2d") else []
        side = 4 if pool else 20
        layers = [nn.Conv2d(1, 6, 5), nn.ReLU(), *pool, nn.Conv2d(6, 16, 5), nn.ReLU(), *pool, nn.Flatten()]
        head = [nn.Linear(16 * side * side, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
        model = nn.Sequential(*layers, *head)
        trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.01))
        settings = {"batch_size": 64, "augment": augment, "train_metrics": False, "verbose": False}
        fits[name] = lambda trainer=trainer, settings=settings: trainer.fit(x, y, epochs=1, **settings)
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    for _ in range(rounds):
        for name, fit in fits.items():
            begin = time.perf_counter()
            fit()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.augment", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds a row")
    parser.add_argument("--rounds", type=int, default=6, help="epochs of each fit")
    args = parser.parse_args()
    limit_threads(args.threads)
    import fastnn as fnn

    x = np.random.default_rng(0).random((N, 1, SIZE, SIZE), dtype=np.float32)
    print(f"{fnn._core.isa()}, {args.threads} threads; medians of interleaved rounds\n")
    rows = []
    for mode in ("nearest", "bilinear"):
        times = interleaved(candidates(x, mode), seconds=args.seconds)
        for name, seconds in times.items():
            rows.append([mode, name, f"{seconds * 1e3:.2f}", f"**{seconds / times['fastnn']:.1f}**"])
    print(table("10,000 images of 28 × 28", ["places", "by", "ms", "its time / ours"], rows))
    if hasattr(fnn.nn, "Conv2d"):
        taken = epochs(args.rounds)
        more = taken["augmented"] / taken["plain"] - 1
        print(f"An epoch of LeNet: {taken['plain']:.3f} s, augmented {taken['augmented']:.3f} s: {more:+.1%}")


if __name__ == "__main__":
    main()
