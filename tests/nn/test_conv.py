"""Convolutions: against PyTorch with all options, against the reference over random settings, and at their edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from tests.reference import conv as reference

import fastnn as fnn
from fastnn import nn
from fastnn.nn import functional as F

# Arguments of the layer, and images: odd sizes, an empty batch, no batch, several blocks of a batch.
CONV2D: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "plain": ((3, 5, 3), {}),
    "rectangle": ((3, 5, (2, 4)), {"stride": (3, 1), "padding": (1, 2), "dilation": (2, 1)}),
    "one tap": ((3, 10, 1), {"bias": False}),
    "one tap, strides": ((3, 10, 1), {"stride": 2}),
    "stride 2": ((3, 9, 3), {"stride": 2, "padding": 1}),
    "stride 3, large": ((3, 6, 5), {"stride": 3, "padding": 2}),
    "stride over kernel": ((3, 4, 2), {"stride": 4}),
    "same": ((3, 4, 3), {"padding": "same"}),
    "same, even": ((3, 4, (4, 2)), {"padding": "same", "dilation": (1, 2), "bias": False}),
    "valid": ((3, 4, 3), {"padding": "valid", "dilation": 2}),
    "wide": ((3, 4, 3), {"padding": (5, 3), "padding_mode": "zeros"}),
    "groups": ((3, 6, 3), {"groups": 3, "padding": 1}),
    "depthwise": ((3, 3, 5), {"groups": 3, "padding": 2, "stride": 2}),
    "reflect": ((3, 4, 3), {"padding": (1, 2), "padding_mode": "reflect"}),
    "replicate": ((3, 4, 3), {"padding": 3, "padding_mode": "replicate", "stride": 2}),
    "circular": ((3, 4, 3), {"padding": 2, "padding_mode": "circular", "dilation": 2}),
    "same, reflected": ((3, 4, (2, 3)), {"padding": "same", "padding_mode": "reflect"}),
    "list": ((3, 4, [3, 2]), {"stride": [1], "padding": [1]}),
}
SHAPES = [(2, 3, 9, 11), (3, 11, 7), (0, 3, 9, 8), (33, 3, 7, 5), (1, 3, 21, 30)]

# 8 channels and more of 3 × 3 taps: by Winograd's algorithm, but for the last ones, and where there are not 16 tiles.
WINOGRAD: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "least": ((8, 8, 3), {"padding": 1}),
    "odd": ((11, 19, 3), {"bias": False}),
    "blocks of channels": ((33, 70, 3), {"padding": (0, 2)}),
    "reflect": ((9, 9, 3), {"padding": 1, "padding_mode": "reflect"}),
    "same": ((16, 8, 3), {"padding": "same"}),
    "too few": ((8, 7, 3), {"padding": 1}),
    "wide": ((8, 8, 3), {"padding": 3}),
    "groups": ((16, 16, 3), {"padding": 1, "groups": 2}),
    "stride": ((16, 17, 3), {"padding": 1, "stride": 2}),
    "dilation": ((16, 17, 3), {"padding": 2, "dilation": 2}),
}
SIZES = [(2, 9, 11), (5, 8, 8), (1, 3, 3), (7, 33, 30), (0, 5, 5), (67, 6, 5)]

TRANSPOSED: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "plain": ((3, 5, 3), {}),
    "strides": ((3, 4, (2, 3)), {"stride": (2, 1), "padding": (1, 0), "bias": False}),
    "output padding": ((3, 5, 3), {"stride": 3, "padding": 2, "output_padding": (1, 2)}),
    "dilation": ((3, 4, 3), {"dilation": (2, 3), "padding": 1, "output_padding": 1}),
    "groups": ((3, 6, 2), {"groups": 3, "stride": 2}),
    "stride over kernel": ((3, 4, 2), {"stride": 4, "output_padding": 3}),
    # The image has more windows than the input has elements.
    "output padding over stride": ((3, 5, 2), {"dilation": 4, "padding": (1, 3), "output_padding": (3, 2)}),
    "output padding over stride, no bias": (
        (3, 6, 1),
        {"dilation": 5, "output_padding": 3, "groups": 3, "bias": False},
    ),
}


def torch_() -> Any:
    return pytest.importorskip("torch", reason="compares with PyTorch")


def close(found: Any, expected: Any, dtype: Any) -> None:
    """Within 1e-10, or 1e-5, of the largest element."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    largest = max(np.abs(expected).max(initial=0), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest)


def same(name: str, made: tuple[tuple[Any, ...], dict[str, Any]], x: np.ndarray, *more: Any) -> None:
    """The layer of both, with the same state: result, and gradients of input, weight and bias."""
    torch = torch_()
    for dtype in (np.float64, np.float32):
        arguments, options = made
        theirs = getattr(torch.nn, name)(*arguments, **options).to(torch.float64 if dtype == np.float64 else None)
        ours = getattr(nn, name)(*arguments, **options, dtype=fnn.float64 if dtype == np.float64 else fnn.float32)
        ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
        outcomes = []
        for lib, layer in ((torch, theirs), (fnn, ours)):
            t = lib.tensor(x.astype(dtype), requires_grad=True)
            y = layer(t, *more)
            weights = np.random.default_rng(1).normal(size=tuple(y.shape)).astype(dtype)
            y.backward(lib.tensor(weights))
            outcomes.append([y.detach(), t.grad, *(p.grad for p in layer.parameters())])
        for expected, found in zip(*outcomes, strict=True):
            close(found, expected, dtype)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CONV2D)
def test_conv2d_is_pytorchs(name: str, shape: tuple[int, ...]) -> None:
    same("Conv2d", CONV2D[name], images(*shape))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WINOGRAD)
def test_conv2d_of_many_channels_is_pytorchs(name: str, size: tuple[int, int, int]) -> None:
    made = WINOGRAD[name]
    n, *hw = size
    if name == "dilation" and min(hw) < 5:
        hw = [5, 6]
    same("Conv2d", made, images(n, made[0][0], *hw))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("shape", [(2, 4, 9), (4, 17), (0, 4, 9), (35, 4, 8)])
@pytest.mark.parametrize(
    "made",
    [
        ((4, 6, 3), {}),
        ((4, 9, 4), {"stride": 3, "padding": 2, "dilation": 2, "groups": 1}),
        ((4, 6, 4), {"padding": "same", "groups": 2, "bias": False}),
        ((4, 4, 3), {"groups": 4, "padding": (1,)}),
        ((4, 5, 3), {"padding": 2, "padding_mode": "reflect"}),
        ((4, 5, 2), {"padding": "same", "padding_mode": "replicate"}),
        ((4, 5, 3), {"padding": 4, "padding_mode": "circular", "stride": 2}),
    ],
)
def test_conv1d_is_pytorchs(made: tuple[tuple[Any, ...], dict[str, Any]], shape: tuple[int, ...]) -> None:
    same("Conv1d", made, images(*shape))


@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (3, 7, 4), (0, 3, 4, 4), (33, 3, 3, 5)])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose2d_is_pytorchs(name: str, shape: tuple[int, ...]) -> None:
    same("ConvTranspose2d", TRANSPOSED[name], images(*shape))


@pytest.mark.parametrize("shape", [(2, 4, 5), (4, 7), (0, 4, 5)])
def test_conv_transpose1d_is_pytorchs(shape: tuple[int, ...]) -> None:
    same("ConvTranspose1d", ((4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}), images(*shape))
    same("ConvTranspose1d", ((4, 5, 4), {"dilation": 3, "bias": False}), images(*shape))


@pytest.mark.parametrize("made", [((8, 9, 3), {"padding": 1}), ((17, 8, 3), {"padding": 2})])
def test_conv_transpose2d_of_many_channels_is_pytorchs(made: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    same("ConvTranspose2d", made, images(5, made[0][0], 7, 12))


def test_output_size_takes_the_place_of_output_padding() -> None:
    x = images(2, 3, 5, 4)
    for size in ((9, 7), (11, 8), [10, 6], (2, 4, 10, 7)):
        same("ConvTranspose2d", ((3, 4, 3), {"stride": 3, "padding": 3}), x, list(size))
    same("ConvTranspose1d", ((3, 4, 3), {"stride": 3}), images(2, 3, 5), [17])


@pytest.mark.parametrize("channels", [3, 9])
def test_second_gradients_are_pytorchs(channels: int) -> None:
    """Of few channels, and of as many as Winograd's algorithm takes."""
    torch = torch_()
    x, w, b = images(4, channels, 5, 6), images(10, channels, 3, 3), images(10)
    outcomes = []
    for lib, f in ((torch, torch.nn.functional), (fnn, F)):
        tensors = [lib.tensor(value, requires_grad=True) for value in (x, w, b)]
        y = f.conv2d(*tensors, padding=1)
        first = lib.autograd.grad((y * y * y).sum(), tensors, create_graph=True)
        second = lib.autograd.grad(sum((g * g).sum() for g in first), tensors)
        outcomes.append([g.detach() for g in (*first, *second)])
    for expected, found in zip(*outcomes, strict=True):
        close(found, expected, np.float64)


def test_an_image_without_a_batch_has_the_bits_of_a_batch_of_one() -> None:
    for layer in (nn.Conv2d(8, 9, 3, padding=1), nn.Conv2d(8, 3, 2, 2), nn.ConvTranspose2d(8, 3, 3, 2)):
        x = images(8, 7, 9).astype(np.float32)
        np.testing.assert_array_equal(layer(x).detach().numpy(), layer(x[None]).detach().numpy()[0])


@pytest.mark.parametrize("wanted", ["input", "weight", "bias"])
def test_each_gradient_is_the_same_without_the_others(wanted: str) -> None:
    values = {"input": images(5, 8, 6, 5), "weight": images(8, 8, 3, 3), "bias": images(8)}

    def gradient(names: set[str]) -> np.ndarray:
        tensors = {name: fnn.tensor(value, requires_grad=name in names) for name, value in values.items()}
        F.conv2d(tensors["input"], tensors["weight"], tensors["bias"], padding=1).square().sum().backward()
        assert all((tensors[name].grad is not None) == (name in names) for name in values)
        return tensors[wanted].grad.numpy()

    np.testing.assert_array_equal(gradient({wanted}), gradient(set(values)))


def test_an_image_of_any_layout() -> None:
    x = fnn.tensor(images(4, 9, 7, 8))  # (n, h, w, c), seen as (n, c, h, w)
    turned = x.permute(0, 3, 1, 2)
    weight = fnn.tensor(images(3, 3, 8, 8)).permute(2, 3, 0, 1)
    expected = reference.conv(turned.numpy(), weight.numpy(), padding=((1, 1), (1, 1)))
    close(F.conv2d(turned, weight, padding=1), expected, np.float64)
    expected = reference.conv(turned.numpy()[:, :, ::2], weight.numpy(), None, (2, 2))
    close(F.conv2d(turned[:, :, ::2], weight, stride=2), expected, np.float64)


def test_no_pixels_and_much_padding() -> None:
    y = nn.Conv2d(2, 3, 3, padding=2)(np.ones((2, 2, 0, 4), np.float32))
    assert tuple(y.shape) == (2, 3, 2, 6)


def test_the_start_is_uniform_and_follows_the_seed() -> None:
    fnn.manual_seed(3)
    layer = nn.Conv2d(6, 64, (3, 5), groups=2)
    bound = 1 / math.sqrt(3 * 3 * 5)
    for value in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert np.abs(value).max() <= bound
        assert np.abs(value).max() > 0.9 * bound
        assert abs(value.mean()) < 0.2 * bound
    fnn.manual_seed(3)
    np.testing.assert_array_equal(nn.Conv2d(6, 64, (3, 5), groups=2).weight.tolist(), layer.weight.tolist())


SIDE = st.integers(1, 12)
TAPS = st.integers(1, 4)


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(0, 3), groups=st.integers(1, 3), channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(SIDE, SIDE), kernel=st.tuples(TAPS, TAPS), stride=st.tuples(TAPS, TAPS),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)), dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    plain=st.booleans(),
)  # fmt: skip
def test_conv2d_is_the_reference_and_its_gradients_are_its_adjoints(
    n: int,
    groups: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    plain: bool,
) -> None:
    if plain:  # often what Winograd's algorithm takes
        groups, kernel, stride, dilation = 1, (3, 3), (1, 1), (1, 1)
        channels = (channels[0] + 7, channels[1] + 7)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(a + 2 * p >= span for a, p, span in zip(size, padding, spans, strict=True)))
    rng = np.random.default_rng(7)
    shape, filters = (n, groups * channels[0], *size), (groups * channels[1], channels[0], *kernel)
    x, w, b = rng.normal(size=shape), rng.normal(size=filters), rng.normal(size=filters[0])
    pairs = tuple((p, p) for p in padding)

    def exact(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return reference.conv(x, w, None, stride, pairs, dilation, groups)

    tensors = [fnn.tensor(value, requires_grad=True) for value in (x, w, b)]
    y = F.conv2d(*tensors, stride, padding, dilation, groups)
    expected = exact(x, w) + b.reshape(-1, 1, 1)
    close(y.detach(), expected, np.float64)
    g = rng.normal(size=expected.shape)
    y.backward(fnn.tensor(g))
    # Linear in each: ⟨g, A v⟩ = ⟨Aᵀ g, v⟩ for any v.
    v, u = rng.normal(size=shape), rng.normal(size=filters)
    for tensor, other, through in ((tensors[0], v, exact(v, w)), (tensors[1], u, exact(x, u))):
        scale = 1e-10 * (1 + np.abs(g * through).sum())
        assert abs((tensor.grad.numpy() * other).sum() - (g * through).sum()) < scale
    close(tensors[2].grad, g.sum((0, 2, 3)), np.float64)


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(0, 3), groups=st.integers(1, 3), channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(SIDE, SIDE), kernel=st.tuples(TAPS, TAPS), stride=st.tuples(TAPS, TAPS),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)), dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    more=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)  # fmt: skip
def test_conv_transpose2d_is_the_reference(
    n: int,
    groups: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    more: tuple[int, int],
) -> None:
    assume(all(m < max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)))
    numbers = zip(size, stride, padding, dilation, kernel, more, strict=True)
    assume(all((a - 1) * s - 2 * p + d * (k - 1) + m + 1 > 0 for a, s, p, d, k, m in numbers))
    rng = np.random.default_rng(8)
    x, w = (
        rng.normal(size=(n, groups * channels[0], *size)),
        rng.normal(size=(groups * channels[0], channels[1], *kernel)),
    )
    b = rng.normal(size=groups * channels[1])
    y = F.conv_transpose2d(x, w, b, stride, padding, more, groups, dilation)
    close(y, reference.conv_transpose(x, w, b, stride, padding, more, groups, dilation), np.float64)
