"""Pooling, padding and upsampling: against PyTorch with all options, at their edges, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

RNG = np.random.default_rng(0)
# Few values, so that many are equal; odd sizes; an empty batch; no batch.
SHAPES_2D = [(2, 3, 7, 9), (0, 2, 7, 8), (3, 8, 7), (1, 1, 33, 40)]
SHAPES_1D = [(2, 3, 9), (0, 2, 8), (3, 37)]


def torch_():
    return pytest.importorskip("torch", reason="compares with PyTorch")


def functional(lib):
    return lib.nn.functional


def outcomes(lib, call, x, dtype):
    """Values and gradient; of several results, the first has the gradient."""
    t = lib.tensor(x.astype(dtype), requires_grad=True)
    result = call(functional(lib), t)
    first, *others = result if isinstance(result, tuple) else (result,)
    weights = np.linspace(0.5, 1.5, max(1, int(np.prod(first.shape))), dtype=dtype)[: int(np.prod(first.shape))]
    (first * lib.tensor(weights.reshape(tuple(first.shape)))).sum().backward()
    return [np.asarray(r.detach()) for r in (first, t.grad, *others)]


def same(call, x):
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-5)):
        for found, expected in zip(outcomes(fnn, call, x, dtype), outcomes(torch_(), call, x, dtype), strict=True):
            assert found.shape == expected.shape
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def images(shape):
    return RNG.integers(-3, 4, shape) * 0.5


POOLS = [
    (2, None, 0, 1), (3, 2, 1, 1), ((2, 3), (1, 2), (1, 0), 1), (3, 1, 1, 2), (2, 3, 0, (3, 1)), (1, 2, 0, 1), (5, 5, 2, 1), ((7, 4), 4, (3, 2), 1),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES_2D)
@pytest.mark.parametrize(("pool", "ceil"), list(itertools.product(POOLS, (False, True))))
def test_max_pool2d_is_pytorchs(shape, pool, ceil):
    x = images(shape)
    same(lambda f, t: f.max_pool2d(t, *pool, ceil_mode=ceil), x)
    same(lambda f, t: f.max_pool2d(t, *pool, ceil_mode=ceil, return_indices=True), x)


@pytest.mark.parametrize("shape", SHAPES_2D)
@pytest.mark.parametrize(
    ("pool", "ceil", "include", "divisor"),
    list(itertools.product([p[:3] for p in POOLS], (False, True), (False, True), (None, 3))),
)
def test_avg_pool2d_is_pytorchs(shape, pool, ceil, include, divisor):
    same(lambda f, t: f.avg_pool2d(t, *pool, ceil, include, divisor), RNG.normal(size=shape))


@pytest.mark.parametrize("shape", SHAPES_1D)
@pytest.mark.parametrize("ceil", [False, True])
def test_one_dimension_is_pytorchs(shape, ceil):
    x = images(shape)
    for pool in [(2, None, 0), (3, 2, 1), ((4,), (3,), (2,)), (5, 1, 2)]:
        same(lambda f, t, pool=pool: f.max_pool1d(t, *pool, ceil_mode=ceil), x)
        same(lambda f, t, pool=pool: f.max_pool1d(t, *pool, dilation=2, ceil_mode=ceil, return_indices=True), x)
        same(lambda f, t, pool=pool: f.avg_pool1d(t, *pool, ceil, count_include_pad=not ceil), x)
    same(lambda f, t: f.lp_pool1d(t * t, 2.5, 3, 2, ceil), x)
    same(lambda f, t: f.lp_pool1d(t, float("inf"), 3, 2, ceil), x)
    for size in (1, 3, 8):
        same(lambda f, t, size=size: f.adaptive_avg_pool1d(t, size), x)
        same(lambda f, t, size=size: f.adaptive_max_pool1d(t, size, return_indices=True), x)


@pytest.mark.parametrize("shape", SHAPES_2D)
def test_other_pools_are_pytorchs(shape):
    x = images(shape)
    for size in (1, 3, (5, 2), (None, 4), (9, 12)):
        same(lambda f, t, size=size: f.adaptive_avg_pool2d(t, size), x)
        same(lambda f, t, size=size: f.adaptive_max_pool2d(t, size, return_indices=True), x)
    for p, kernel, stride, ceil in [
        (2, 2, None, False),
        (2, (2, 3), 2, True),
        (4.0, 3, (1, 2), False),
        (1, 2, 1, False),
    ]:
        same(lambda f, t, p=p, k=kernel, s=stride, c=ceil: f.lp_pool2d(t, p, k, s, c), x)
    same(lambda f, t: f.lp_pool2d(t, float("-inf"), 2, 3, True), x)


def test_fractional_max_pool_is_pytorchs():
    for shape, kernel, size in [((2, 3, 9, 12), 2, (4, 7)), ((4, 11, 8), (3, 2), 5), ((1, 2, 40, 33), 2, (28, 1))]:
        planes = shape[0] if len(shape) == 4 else 1
        samples = RNG.random((planes, shape[-3], 2))
        x = images(shape)

        def call(f, t, kernel=kernel, size=size, samples=samples):
            lib = fnn if isinstance(t, fnn.Tensor) else torch_()
            u = lib.tensor(samples.astype(np.asarray(t.detach()).dtype))
            return f.fractional_max_pool2d(t, kernel, output_size=size, return_indices=True, _random_samples=u)

        same(call, x)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "area"])
def test_interpolate_is_pytorchs(mode):
    x = RNG.normal(size=(2, 3, 7, 10))
    series = RNG.normal(size=(2, 3, 11))
    one = "linear" if mode == "bilinear" else mode
    for align in (None,) if mode != "bilinear" else (None, False, True):
        for size in (1, 7, (14, 20), (3, 23), (7, 10)):
            same(lambda f, t, size=size, a=align: f.interpolate(t, size, mode=mode, align_corners=a), x)
        for scale in (2, 0.6, (1.7, 3.1), (0.35, 1.0)):
            for again in (None, True, False):
                same(
                    lambda f, t, s=scale, a=align, r=again: f.interpolate(
                        t, scale_factor=s, mode=mode, align_corners=a, recompute_scale_factor=r
                    ),
                    x,
                )
        same(lambda f, t, a=align: f.interpolate(t, 25, mode=one, align_corners=a), series)
        same(lambda f, t, a=align: f.interpolate(t, scale_factor=1.3, mode=one, align_corners=a), series)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_is_pytorchs(mode):
    for shape in [(2, 3, 5, 6), (3, 5, 6)]:
        for pad in [(1, 2), (2, 1, 3, 4), (0, 0, 4, 0), (-1, 2, 1, -3), (-2, -1, 0, 0)]:
            if len(pad) == 2 and len(shape) == 4 and mode in {"reflect", "replicate", "circular"}:
                continue
            if mode == "circular" and min(pad) < 0:
                continue  # PyTorch's own result depends on the order in which it pads
            same(lambda f, t, pad=pad: f.pad(t, pad, mode), images(shape))
    if mode == "constant":
        same(lambda f, t: f.pad(t, (1, -1, 0, 2, -2, 3, 1, 1), "constant", 2.5), images((2, 3, 5, 6)))
        counts = np.arange(6).reshape(2, 3)
        np.testing.assert_array_equal(F.pad(counts, (1, 0, -1, 2), value=7), [[7, 3, 4, 5], [7] * 4, [7] * 4])


def test_pixels_are_shuffled_as_in_pytorch():
    same(lambda f, t: f.pixel_shuffle(t, 3), RNG.normal(size=(2, 2, 18, 3, 5)))
    same(lambda f, t: f.pixel_unshuffle(t, 3), RNG.normal(size=(4, 6, 9)))
    assert F.pixel_shuffle(fnn.zeros(0, 4, 3, 5), 2).shape == (0, 1, 6, 10)


@pytest.mark.parametrize("kernel", [2, 3, 17])
def test_nan_is_greater_than_any_number(kernel):
    x = RNG.normal(size=(2, 2, 20, 21))
    x[0, 0, 3, 4:6] = np.nan
    x[1, 1, 7, 7] = np.inf
    x[1, 0] = -np.inf
    same(lambda f, t: f.max_pool2d(t, kernel, 2, kernel // 2, return_indices=True), x)
    same(lambda f, t: f.max_pool2d(t, kernel, 2, kernel // 2), x)
    same(lambda f, t: f.adaptive_max_pool2d(t, (3, 4), return_indices=True), x)


def layers(lib):
    n = lib.nn
    return [
        n.MaxPool1d(3, 2, 1), n.AvgPool1d(3, 2, 1, True, False), n.LPPool1d(2, 3), n.AdaptiveAvgPool1d(3), n.AdaptiveMaxPool1d(4),
        n.ZeroPad1d(2), n.ConstantPad1d((1, 3), 0.5), n.ReflectionPad1d(2), n.ReplicationPad1d((0, 4)), n.CircularPad1d(3),
        n.Upsample(scale_factor=3, mode="linear"), n.Unflatten(-1, (2, -1)),
    ], [
        n.MaxPool2d((2, 3), ceil_mode=True), n.AvgPool2d(2, 3, 1, divisor_override=5), n.LPPool2d(2, (2, 1), 1), n.AdaptiveAvgPool2d((1, None)),
        n.AdaptiveMaxPool2d(3), n.ZeroPad2d(1), n.ConstantPad2d((1, 2, 0, 3), -1.5), n.ReflectionPad2d((1, 2, 3, 0)), n.ReplicationPad2d(5),
        n.CircularPad2d((1, 2, 3, 4)), n.Upsample((5, 4), mode="bilinear"), n.UpsamplingNearest2d(scale_factor=(2, 3)),
        n.UpsamplingBilinear2d(9), n.PixelShuffle(2), n.PixelUnshuffle(2), n.Unflatten(1, (2, 2)),
    ]  # fmt: skip


@pytest.mark.parametrize(("dims", "shape"), [(0, (3, 4, 8)), (1, (3, 4, 8, 6))])
def test_layers_are_pytorchs(dims, shape):
    x = RNG.random(shape)
    for ours, theirs in zip(layers(fnn)[dims], layers(torch_())[dims], strict=True):
        same(lambda f, t, ours=ours, theirs=theirs: ours(t) if f is F else theirs(t), x)


def test_a_net_of_all_of_them_is_planned_with_the_bits_of_eager_steps():
    def make():
        fnn.manual_seed(3)
        return nn.Sequential(
            nn.Unflatten(1, (1, 12, 10)), nn.ReflectionPad2d(1), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(2), nn.Upsample(scale_factor=2),
            nn.FractionalMaxPool2d(2, output_ratio=0.7), nn.Upsample(scale_factor=1.5, mode="bilinear"), nn.ZeroPad2d((1, 0, 0, 1)),
            nn.LPPool2d(2, 2), nn.CircularPad2d(1), nn.AdaptiveMaxPool2d((4, 3)), nn.ReplicationPad2d(1), nn.AdaptiveAvgPool2d(4),
            nn.PixelUnshuffle(2), nn.PixelShuffle(2), nn.Flatten(), nn.Linear(16, 3),
        )  # fmt: skip

    x, y = RNG.normal(size=(6, 120)).astype(np.float32), np.arange(6) % 3
    first = nn.Linear(120, 120)
    start = {k: v.numpy().copy() for k, v in first.state_dict().items()}
    runs = []
    for planned in (False, True):
        model = nn.Sequential(nn.Linear(120, 120), make())
        model[0].load_state_dict(start)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        fnn.manual_seed(4)
        losses = []
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
        for _ in range(4):
            if planned:
                losses.append(step(x, y))
                assert step.reason is None
            else:
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        runs.append((losses, [p.detach().numpy().tobytes() for p in model.parameters()]))
    assert runs[0] == runs[1]


def test_fractional_windows_are_drawn_while_training_and_fixed_after():
    x = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
    layer = nn.FractionalMaxPool2d(2, output_ratio=1 / np.sqrt(2))
    fnn.manual_seed(1)
    a, b = layer(x).numpy(), layer(x).numpy()
    assert a.shape == (2, 3, 11, 11)
    assert not np.array_equal(a, b)
    fnn.manual_seed(1)
    np.testing.assert_array_equal(layer(x).numpy(), a)
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), layer(x).numpy())
    places = np.array([[0.5, 0.5], [0.25487767, 0.06984029], [0.00975533, 0.63968058]], np.float32)
    fixed = F.fractional_max_pool2d(x, 2, 11, _random_samples=np.stack([places, places]))
    np.testing.assert_array_equal(layer(x).numpy(), fixed.numpy())
    np.testing.assert_array_equal(layer(x[1]).numpy(), fixed.numpy()[1])
    np.testing.assert_array_equal(layer(x.astype(np.float64)).numpy(), fixed.numpy())


def test_fractional_pooling_averages_as_many_draws_as_asked_for():
    x = RNG.normal(size=(2, 3, 9, 9)).astype(np.float32)
    layer = nn.FractionalMaxPool2d(2, output_size=5, samples=3).eval()
    fnn.manual_seed(5)
    found = layer(x).numpy()
    fnn.manual_seed(5)
    draws = [F.fractional_max_pool2d(x, 2, 5).numpy() for _ in range(3)]
    np.testing.assert_allclose(found, np.mean(draws, axis=0), rtol=1e-6)
    fnn.manual_seed(5)
    np.testing.assert_array_equal(layer.train()(x).numpy(), draws[0])
    given = nn.FractionalMaxPool2d(2, 5, return_indices=True, _random_samples=np.full((2, 3, 2), 0.25, np.float32))
    assert list(given.state_dict()) == ["_random_samples"]
    values, places = given(x)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 3, 81), places.numpy().reshape(2, 3, 25), 2), values.numpy().reshape(2, 3, 25)
    )


def test_an_lp_norm_of_nothing_has_no_gradient():
    x = fnn.zeros(1, 1, 4, 4, requires_grad=True)
    F.lp_pool2d(x, 2, 2).sum().backward()
    assert x.grad.tolist() == fnn.zeros(1, 1, 4, 4).tolist()


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


ERRORS = [
    (lambda: nn.MaxPool2d(0), ValueError, "MaxPool2d: expected kernel_size of at least 1; got 0"),
    (lambda: nn.MaxPool2d((2, 2, 2)), ValueError, "MaxPool2d: expected kernel_size to be an int or 2 of them; got (2, 2, 2)"),
    (lambda: nn.MaxPool2d(2.0), TypeError, "MaxPool2d: expected kernel_size to be an int; got 2.0"),
    (lambda: nn.MaxPool1d(2, 0), ValueError, "MaxPool1d: expected stride of at least 1; got 0"),
    (lambda: nn.AvgPool2d(2, padding=-1), ValueError, "AvgPool2d: expected padding of at least 0; got -1"),
    (lambda: nn.MaxPool2d(2, dilation=0), ValueError, "MaxPool2d: expected dilation of at least 1; got 0"),
    (lambda: nn.AvgPool2d(2, divisor_override=0), ValueError, "AvgPool2d: expected divisor_override other than 0; got 0"),
    (lambda: nn.AdaptiveAvgPool2d(0), ValueError, "AdaptiveAvgPool2d: expected output_size of at least 1; got 0"),
    (lambda: nn.AdaptiveMaxPool1d(None), TypeError, "AdaptiveMaxPool1d: expected output_size to be an int; got None"),
    (lambda: nn.LPPool2d(0, 2), ValueError, "LPPool2d: expected norm_type other than 0; got 0"),
    (lambda: nn.FractionalMaxPool2d(2), ValueError, "FractionalMaxPool2d: expected output_size or output_ratio; got None and None"),
    (lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5), ValueError, "FractionalMaxPool2d: expected output_ratio in (0, 1); got 1.5"),
    (lambda: nn.FractionalMaxPool2d(2, 3, samples=0), ValueError, "FractionalMaxPool2d: expected samples of at least 1; got 0"),
    (lambda: nn.FractionalMaxPool2d(2, 3, None, True, samples=2), ValueError,
     "FractionalMaxPool2d: expected samples without return_indices and _random_samples; got 2"),
    (lambda: nn.ZeroPad2d((1, 2)), ValueError, "ZeroPad2d: expected padding to be an int or 4 of them; got (1, 2)"),
    (lambda: nn.ReflectionPad1d(1.5), TypeError, "ReflectionPad1d: expected padding to be an int; got 1.5"),
    (lambda: nn.PixelShuffle(0), ValueError, "PixelShuffle: expected upscale_factor of at least 1; got 0"),
    (lambda: nn.Unflatten(1, 3), TypeError, "Unflatten: expected unflattened_size to be a tuple of ints; got 3"),
    (lambda: nn.MaxPool2d(3)(zeros(2, 5)), ValueError, "MaxPool2d(3): expected input of shape (n, c, h, w) or (c, h, w); got (2, 5)"),
    (lambda: nn.MaxPool2d(5, padding=1)(zeros(1, 2, 9, 2)), ValueError,
     "MaxPool2d(5): max_pool2d: expected input of at least (5, 5) with padding (1, 1) in its last 2 dimensions; got (1, 2, 9, 2)"),
    (lambda: nn.MaxPool2d(3, padding=2)(zeros(1, 2, 9, 9)), ValueError,
     "MaxPool2d(3): max_pool2d: expected padding of at most half of kernel_size (3, 3); got (2, 2)"),
    (lambda: nn.MaxPool1d(2, 1, 2, 2)(zeros(2, 9)), ValueError,
     "MaxPool1d(2): max_pool1d: expected padding of at most half of kernel_size (2,) with dilation (2,); got (2,)"),
    (lambda: nn.MaxPool2d(2)(zeros(1, 2, 9, 9, dtype=np.uint8)), TypeError,
     "MaxPool2d(2): expected floating-point numbers; got an array of uint8"),
    (lambda: nn.AdaptiveAvgPool2d(1)(zeros(2, 3, 4, 4, dtype=np.int64)), TypeError,
     "AdaptiveAvgPool2d(1): expected floating-point numbers; got an array of int64"),
    (lambda: nn.AvgPool1d(2)(zeros(2)), ValueError, "AvgPool1d(2): expected input of shape (n, c, l) or (c, l); got (2,)"),
    (lambda: nn.MaxPool2d(3, 1, 1, 2)(zeros(1, 1, 1, 9)), ValueError,
     "MaxPool2d(3): max_pool2d: expected input of at least (5, 5) with padding (1, 1) in its last 2 dimensions; got (1, 1, 1, 9)"),
    (lambda: nn.MaxPool2d(3, 3, 1, 2, ceil_mode=True)(zeros(1, 1, 1, 9)), ValueError,
     "MaxPool2d(3): max_pool2d: expected input that every window has an element of; got (1, 1, 1, 9)"),
    (lambda: nn.FractionalMaxPool2d(2, 8)(zeros(1, 1, 8, 9)), ValueError,
     "FractionalMaxPool2d([2, 2]): fractional_max_pool2d: expected input of at least kernel_size (2, 2) + output_size (8, 8) - 1 in its last 2 dimensions; got (1, 1, 8, 9)"),
    (lambda: F.fractional_max_pool2d(zeros(1, 1, 8, 8), 2, 4, _random_samples=zeros(1, 2, 2)), ValueError,
     "fractional_max_pool2d: expected _random_samples of shape (1, 1, 2); got (1, 2, 2)"),
    (lambda: F.fractional_max_pool2d(zeros(1, 1, 8, 8), 2, 4, _random_samples=np.zeros((1, 1, 2))), TypeError,
     "fractional_max_pool2d: expected _random_samples of dtype float32; got float64"),
    (lambda: F.fractional_max_pool2d(zeros(1, 1, 8, 8, dtype=np.int64), 2, 4), TypeError,
     "fractional_max_pool2d: expected a floating-point tensor; got int64"),
    (lambda: nn.ReflectionPad2d(3)(zeros(1, 3, 5)), ValueError,
     "ReflectionPad2d((3, 3, 3, 3)): pad: expected padding of less than the input, which is (1, 3, 5); got 3"),
    (lambda: nn.CircularPad1d((6, 0))(zeros(1, 5)), ValueError,
     "CircularPad1d((6, 0)): pad: expected padding of at most the input, which is (1, 5); got 6"),
    (lambda: nn.ReplicationPad1d(-2)(zeros(1, 4)), ValueError,
     "ReplicationPad1d((-2, -2)): pad: expected padding that leaves something of (1, 4); got (-2, -2)"),
    (lambda: F.pad(zeros(3), (1, 1), "wrap"), ValueError,
     "pad: expected mode to be one of 'constant', 'reflect', 'replicate', 'circular'; got 'wrap'"),
    (lambda: F.pad(zeros(3), (1,)), ValueError, "pad: expected pairs of integers; got (1,)"),
    (lambda: F.pad(zeros(2, 3), (1, 1), "reflect", 2.0), ValueError, "pad: expected no value for mode 'reflect'; got 2.0"),
    (lambda: F.pad(zeros(1, 1, 1, 2, 3), (1, 1) * 3, "reflect"), ValueError,
     "pad: expected 2 or 4 numbers for mode 'reflect'; got 6 for (1, 1, 1, 2, 3)"),
    (lambda: F.pad(zeros(3), (-2, -2)), ValueError, "pad: expected padding that leaves at least 0 of (3,); got (-2, -2)"),
    (lambda: F.pad(zeros(3, dtype=np.int64), (1, 1), value=0.5), TypeError, "pad: expected a value that int64 can hold; got Float(0.5)"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4), 2, mode="linear"), ValueError,
     "interpolate: expected input of shape (n, c, l) for mode 'linear'; got (1, 1, 4, 4)"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4), 2, 2.0), ValueError, "interpolate: expected size or scale_factor; got 2 and 2.0"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4), 2, align_corners=True), ValueError,
     "interpolate: expected no align_corners for mode 'nearest'; got True"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4), scale_factor=0.1), ValueError,
     "interpolate: expected an output size of at least 1; got (0, 0)"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4), scale_factor=-1), ValueError, "interpolate: expected scale_factor above 0; got -1"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4), 2, mode="bicubic"), ValueError,
     "interpolate: expected mode to be one of 'nearest', 'nearest-exact', 'linear', 'bilinear', 'area'; got 'bicubic'"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4), 2, antialias=True), ValueError,
     "interpolate: expected antialias=False, the only one that fastnn has; got True"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4, dtype=np.uint8), 2), TypeError,
     "interpolate: expected a floating-point tensor; got int64"),
    (lambda: nn.Upsample(size=(1, 2, 3))(zeros(1, 1, 4, 4)), ValueError,
     "Upsample: interpolate: expected size to be an int or 2 of them; got (1, 2, 3)"),
    (lambda: F.pixel_unshuffle(zeros(1, 3, 4), 2), ValueError, "pixel_unshuffle: expected height and width that 2 divides; got (1, 3, 4)"),
    (lambda: F.pixel_shuffle(zeros(3, 4), 2), ValueError, "pixel_shuffle: expected input of shape (*, c, h, w); got (3, 4)"),
    (lambda: nn.Unflatten(1, (2, 2))(zeros(3, 5)), ValueError, "Unflatten: expected (2, 2) to make up dimension 1 of the input; got (3, 5)"),
    (lambda: nn.Unflatten(2, (1, 5))(zeros(3, 5)), ValueError, "Unflatten: expected dim to be one of 2 dimensions; got 2"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_what_makes_no_sense_is_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
