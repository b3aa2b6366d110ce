"""Sums over long axes in float32: within 1e-6 of the sum of magnitudes, and the same bits however they are computed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F, penalties

BOUND = 1e-6
# Around a block of 512, a chunk of 4096, and long: a chain of n additions of 0.1 is off by up to 1.6e-8 · n.
LENGTHS = (1, 31, 511, 513, 4095, 4097, 70_001, 1_000_007)

# Σ over axis 1 of (outer, n, inner), of what `of` makes of x, then `then`.
REDUCTIONS: dict[str, tuple[Callable[[fnn.Tensor], fnn.Tensor], Callable[[np.ndarray], np.ndarray]]] = {
    "sum": (lambda x: x.sum(1), lambda x: x.sum(1)),
    "mean": (lambda x: x.mean(1), lambda x: x.mean(1)),
    "var": (lambda x: x.var(1, unbiased=False), lambda x: x.var(1)),
    "std": (lambda x: x.std(1, unbiased=False), lambda x: x.std(1)),
    "norm 1": (lambda x: x.norm(1, 1), lambda x: np.abs(x).sum(1)),
    "norm 2": (lambda x: x.norm(2, 1), lambda x: np.sqrt((x * x).sum(1))),
    "logsumexp": (lambda x: x.logsumexp(1), lambda x: np.log(np.exp(x).sum(1))),
    "softmax": (lambda x: x.softmax(1).amax(1), lambda x: np.exp(x.max(1)) / np.exp(x).sum(1)),
    "log_softmax": (lambda x: x.log_softmax(1).amax(1), lambda x: x.max(1) - np.log(np.exp(x).sum(1))),
}
KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    # Every addition of one number rounds the same way.
    "constant": lambda rng, shape: np.full(shape, rng.uniform(0.05, 0.2)),
    "positive": lambda rng, shape: rng.uniform(0, 1, shape),
    "normal": lambda rng, shape: rng.normal(size=shape) + 0.5,
}


def values(kind: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return KINDS[kind](np.random.default_rng(seed), shape).astype(np.float32)


def close(found: object, exact: np.ndarray, magnitude: np.ndarray | float) -> None:
    error = np.abs(np.asarray(found, np.float64) - exact)
    # A result that is no sum is rounded, too.
    assert (error <= BOUND * np.maximum(magnitude, np.abs(exact))).all(), (error / magnitude).max()


@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(sorted(REDUCTIONS)),
    kind=st.sampled_from(sorted(KINDS)),
    n=st.sampled_from(LENGTHS) | st.integers(1, 20_000),
    outer=st.integers(1, 4),
    inner=st.integers(1, 5),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
def test_reductions(name: str, kind: str, n: int, outer: int, inner: int, turned: bool, seed: int) -> None:
    if n > 100_000:
        outer = inner = 1 if outer + inner > 5 else min(outer, 2)
    run, reference = REDUCTIONS[name]
    x = values(kind, (outer, n, inner), seed)
    given = fnn.tensor(np.ascontiguousarray(x.transpose(2, 1, 0))).transpose(0, 2) if turned else fnn.tensor(x)
    wide = x.astype(np.float64)
    magnitude: np.ndarray | float = np.abs(reference(wide))
    if name in ("sum", "mean"):
        magnitude = np.abs(wide).sum(1) / (n if name == "mean" else 1)
    elif name in ("var", "std"):
        # The mean is within 1e-6 of the mean magnitude, and so is each deviation.
        mean = np.abs(wide).mean(1)
        magnitude = magnitude + (mean if name == "std" else BOUND * mean**2)
    elif name in ("logsumexp", "log_softmax"):
        magnitude = 1 + np.abs(wide).max(1) + np.log(n)
    elif name == "softmax":
        magnitude = 3 * magnitude  # e^x is rounded as well, and the quotient
    close(run(given), reference(wide), magnitude)


def gradients(run: Callable[..., fnn.Tensor], *arrays: np.ndarray) -> list[np.ndarray]:
    leaves = [fnn.tensor(a, requires_grad=True) for a in arrays]
    run(*leaves).backward()
    return [leaf.grad.numpy() for leaf in leaves if leaf.grad is not None]


N = 1_000_003


def test_bias_and_broadcast_gradients() -> None:
    x, g = values("normal", (N, 2)), values("positive", (N, 3), 1)
    weight = np.zeros((3, 2), np.float32)
    exact, size = g.astype(np.float64).sum(0), np.abs(g.astype(np.float64)).sum(0)
    constant = fnn.tensor(g)
    close(
        gradients(lambda b: (F.linear(fnn.tensor(x), fnn.tensor(weight), b) * constant).sum(), np.zeros(3, np.float32))[
            0
        ],
        exact,
        size,
    )
    close(gradients(lambda b: ((fnn.zeros(N, 3) + b) * constant).sum(), np.zeros(3, np.float32))[0], exact, size)
    close(gradients(lambda b: (b.expand(N, 3) * constant).sum(), np.zeros((1, 3), np.float32))[0][0], exact, size)


@pytest.mark.parametrize("shape", [(2, 3, 600_001), (30_001, 3, 31), (3, 3, 701, 803)])
def test_bias_gradients_of_convolutions(shape: tuple[int, ...]) -> None:
    g = values("constant", shape)
    conv = F.conv1d if len(shape) == 3 else F.conv2d
    x, weight = values("normal", (shape[0], 1, *shape[2:]), 1), np.ones((3, 1, *[1] * (len(shape) - 2)), np.float32)
    (grad,) = gradients(
        lambda b: (conv(fnn.tensor(x), fnn.tensor(weight), b) * fnn.tensor(g)).sum(), np.zeros(3, np.float32)
    )
    axes = (0, *range(2, len(shape)))
    close(grad, g.astype(np.float64).sum(axes), np.abs(g.astype(np.float64)).sum(axes))


LOSSES: dict[str, tuple[Callable[..., fnn.Tensor], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "mse": (F.mse_loss, lambda x, t: (x - t) ** 2),
    "l1": (F.l1_loss, lambda x, t: np.abs(x - t)),
    "bce": (F.binary_cross_entropy_with_logits, lambda x, t: np.logaddexp(0, x) - x * t),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_of_many_values(name: str, reduction: str) -> None:
    x, t = values("positive", (N,)), np.full(N, 0.1, np.float32)
    run, reference = LOSSES[name]
    each = reference(x.astype(np.float64), t.astype(np.float64))
    exact = each.mean() if reduction == "mean" else each.sum()
    close(run(fnn.tensor(x), fnn.tensor(t), reduction=reduction).item(), exact, abs(exact))


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_many_samples_and_of_many_classes(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    for n, classes in ((N // 3, 3), (3, N // 3)):
        x, labels = values("normal", (n, classes)), rng.integers(0, classes, n)
        weight = rng.uniform(0.1, 2, classes).astype(np.float32) if weighted else np.ones(classes, np.float32)
        wide, w = x.astype(np.float64), weight.astype(np.float64)[labels]
        p = wide[np.arange(n), labels] - np.log(np.exp(wide).sum(1))
        exact = (-p * w).sum() / w.sum()
        for smoothing in (0.0, 0.3):
            logits = wide - np.log(np.exp(wide).sum(1))[:, None]
            smooth = (-(logits * weight).sum(1) / classes).sum() / w.sum()
            expected = (1 - smoothing) * exact + smoothing * smooth
            found = F.cross_entropy(fnn.tensor(x), fnn.tensor(labels), fnn.tensor(weight), label_smoothing=smoothing)
            close(found.item(), expected, 2 * abs(expected))


@pytest.mark.parametrize("shape", [(N, 2), (2, 2, 500_009), (3001, 2, 21, 16), (70_001, 2, 1, 1), (3, 2, 507, 611)])
def test_moments_of_batch_norm(shape: tuple[int, ...]) -> None:
    layer = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](2, momentum=1.0)
    x, g = values("positive", shape), values("positive", shape, 1)
    y = layer(fnn.tensor(x))
    (y * fnn.tensor(g)).sum().backward()
    axes = (0, *range(2, len(shape)))
    wide = x.astype(np.float64)
    close(layer.running_mean, wide.mean(axes), wide.mean(axes))
    close(layer.running_var, wide.var(axes, ddof=1), wide.var(axes) + wide.mean(axes) ** 2)
    exact = g.astype(np.float64).sum(axes)
    close(layer.bias.grad, exact, exact)
    normal = (wide - wide.mean(axes, keepdims=True)) / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    close(layer.weight.grad, (g * normal).sum(axes), 2 * np.abs(g * normal).sum(axes))


@pytest.mark.parametrize("groups", [1, 2])
def test_moments_of_long_rows_and_weight_gradients_of_many_rows(groups: int) -> None:
    x = values("constant", (2, 4, 250_001)) + np.linspace(0, 0.01, 250_001, dtype=np.float32)
    wide = x.astype(np.float64).reshape(2, groups, -1)
    exact = (wide - wide.mean(2, keepdims=True)) / np.sqrt(wide.var(2, keepdims=True) + 1e-5)
    found = F.group_norm(fnn.tensor(x), groups).numpy().reshape(wide.shape)
    # The mean is within 1e-6 of the mean magnitude.
    assert np.abs(found - exact).max() <= 2 * BOUND * np.abs(wide).mean() / np.sqrt(wide.var() + 1e-5) + 1e-5
    layer = nn.LayerNorm(3)
    rows, g = values("normal", (N // 3, 3)), values("constant", (N // 3, 3), 1)
    (layer(fnn.tensor(rows)) * fnn.tensor(g)).sum().backward()
    close(layer.bias.grad, g.astype(np.float64).sum(0), np.abs(g.astype(np.float64)).sum(0))


@pytest.mark.parametrize("shape", [(3, N), (1, 1, N), (1, 1009, 997), (2, 30_011, 3), (1, 3, 30_011)])
def test_averages_of_large_windows(shape: tuple[int, ...]) -> None:
    x = values("constant", shape)
    exact = x.astype(np.float64)
    flat = len(shape) == 2 or shape[1] == 1
    image = fnn.tensor(x).reshape(1, shape[0], -1) if flat else fnn.tensor(x[None])
    axes = tuple(range(1, len(shape)))
    expected = exact.mean(axes)
    found = F.adaptive_avg_pool1d(image, 1) if flat else F.adaptive_avg_pool2d(image, 1)
    close(found.reshape(-1), expected, expected)
    found = F.avg_pool1d(image, image.shape[-1]) if flat else F.avg_pool2d(image, image.shape[-2:])
    close(found.reshape(-1), expected, expected)
    if flat:
        for window, stride in ((4001, 1), (4001, 2), (999, 1000)):
            found = F.avg_pool1d(image[..., :5000], window, stride)
            close(found, np.full(found.shape, exact.flat[0]), exact.flat[0])


def test_slopes_of_prelu_penalties_and_norms_of_gradients() -> None:
    x = -values("constant", (N,))
    (grad,) = gradients(lambda w: F.prelu(fnn.tensor(x), w).sum(), np.array([0.25], np.float32))
    close(grad, x.astype(np.float64).sum(), np.abs(x.astype(np.float64)).sum())
    wide = np.abs(x.astype(np.float64))
    parameter = nn.Parameter(fnn.tensor(x))
    for penalty, exact in (
        (penalties.L1(0.5, include_bias=True), 0.5 * wide.sum()),
        (penalties.L2(0.5, include_bias=True), 0.5 * (wide**2).sum()),
        (penalties.Lp(0.5, 3.0, include_bias=True), 0.5 * (wide**3).sum()),
    ):
        close(penalty(parameter).item(), exact, exact)
    parameter.grad = fnn.tensor(x)
    exact = np.sqrt((wide**2).sum())
    close(nn.utils.clip_grad_norm_([parameter], 1e9).item(), exact, exact)


def test_weight_gradients_of_a_long_batch_are_as_exact_as_chunks_make_them() -> None:
    x, g = values("constant", (N, 2)), values("constant", (N, 3), 1)
    (grad,) = gradients(lambda w: (F.linear(fnn.tensor(x), w) * fnn.tensor(g)).sum(), np.zeros((3, 2), np.float32))
    exact = g.astype(np.float64).T @ x.astype(np.float64)
    # The worst case, equal terms: chunks of about 400, and 2500 of them.
    np.testing.assert_allclose(grad, exact, rtol=5e-5)


def results(n: int) -> Iterator[bytes]:
    """Return all sums over `n` elements, as bytes."""
    for layout in ((1, n, 1), (3, n, 1), (1, n, 5), (2, n, 3)):
        x = values("normal", layout)
        for run, _ in REDUCTIONS.values():
            leaf = fnn.tensor(x, requires_grad=True)
            y = run(leaf)
            y.sum().backward()
            yield y.detach().numpy().tobytes() + leaf.grad.numpy().tobytes()
    image = values("normal", (2, 3, n))
    for layer in (
        nn.BatchNorm1d(3),
        nn.GroupNorm(1, 3),
        nn.InstanceNorm1d(3, affine=True),
        nn.Conv1d(3, 2, 3),
        nn.PReLU(3),
    ):
        if isinstance(layer, nn.Conv1d):
            nn.init.constant_(layer.weight, 0.1)
            nn.init.constant_(layer.bias, 0.2)
        leaf = fnn.tensor(image, requires_grad=True)
        y = layer(leaf)
        (y * y).sum().backward()
        yield b"".join(t.numpy().tobytes() for t in (y.detach(), leaf.grad, *(p.grad for p in layer.parameters())))
    rows = values("normal", (n, 3))
    for layer in (nn.BatchNorm1d(3), nn.LayerNorm(3), nn.Linear(3, 2)):
        if isinstance(layer, nn.Linear):
            nn.init.constant_(layer.weight, 0.1)
            nn.init.constant_(layer.bias, 0.2)
        y = layer(fnn.tensor(rows))
        (y * y).mean().backward()
        yield b"".join(p.grad.numpy().tobytes() for p in layer.parameters())
    yield F.avg_pool1d(fnn.tensor(image)[..., :1500], min(n, 999), 2).numpy().tobytes()
    yield F.adaptive_avg_pool2d(fnn.tensor(image).reshape(2, 3, n, 1), 1).numpy().tobytes()
    yield F.cross_entropy(fnn.tensor(rows), fnn.tensor(np.arange(n) % 3)).numpy().tobytes()


def digest(n: int) -> str:
    return hashlib.sha256(b"".join(results(n))).hexdigest()


@pytest.mark.parametrize("n", [512, 513, 5003, 70_001])
def test_threads_do_not_change_a_bit(n: int) -> None:
    before = fnn.get_num_threads()
    seen = set()
    try:
        for threads in (1, 2, 3, 7):
            fnn.set_num_threads(threads)
            seen.add(digest(n))
    finally:
        fnn.set_num_threads(before)
    assert len(seen) == 1


def test_instruction_sets_do_not_change_a_bit() -> None:
    script = "import fastnn._core as c; from tests.ops.test_long_sums import digest; print(c.isa(), digest(5003))"
    levels = {}
    for isa in ("portable", "avx2", "avx512"):
        env = {**os.environ, "FASTNN_ISA": isa}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            level, levels[isa] = done.stdout.split()
            assert level
    assert levels
    assert len(set(levels.values())) == 1


def test_planned_steps_over_long_batches_have_the_bits_of_eager_ones() -> None:
    x, t = values("normal", (5003, 4)), np.arange(5003) % 3

    def trained(planned: bool) -> bytes:
        fnn.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer) if planned else None
        for _ in range(4):
            if step is None:
                optimizer.zero_grad()
                nn.CrossEntropyLoss()(model(fnn.tensor(x)), fnn.tensor(t)).backward()
                optimizer.step()
            else:
                step(x, t)
        return b"".join(p.detach().numpy().tobytes() for p in model.parameters())

    assert trained(planned=True) == trained(planned=False)
