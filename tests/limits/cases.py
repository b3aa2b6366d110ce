"""Calls of public functions and layers whose integer arguments are varied, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastnn as fnn
from fastnn import _core, augment, data, models, nn, unsupervised
from fastnn.nn import functional as F

HUGE = (0, -1, 1, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63))


@dataclass(frozen=True)
class Call:
    """A call, and which of its arguments are integers or sequences of them.

    Args:
        name: What the test is called; up to a space, the name of the function.
        run: The call, with all arguments by name; of a call that takes tensors, these go before.
        arguments: Those that are varied.
        shapes: Of the tensors.
    """

    name: str
    run: Callable[..., Any]
    arguments: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...] = ()

    def __call__(self, *shapes: tuple[int, ...], **arguments: Any) -> Any:
        """Run it forwards and backwards, on tensors of these shapes instead."""
        inputs = (fnn.ones(*shape, requires_grad=True) for shape in shapes or self.shapes)
        return _back(self.run(*inputs, **{**self.arguments, **arguments}))

    def variations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give every integer, and every element of a sequence, every value; and all of a sequence at once."""
        for argument, usual in self.arguments.items():
            for value in HUGE:
                for varied in _varied(usual, value):
                    yield f"{self.name} {argument}={varied}", {argument: varied}

    def emptied(self) -> Iterator[tuple[str, tuple[tuple[int, ...], ...]]]:
        """Give every dimension of every tensor the size 0; and all dimensions of one size."""
        found = set()
        for i, shape in enumerate(self.shapes):
            for d, size in enumerate(shape):
                one = tuple((*s[:d], 0, *s[d + 1 :]) if j == i else s for j, s in enumerate(self.shapes))
                same = tuple(tuple(0 if n == size else n for n in s) for s in self.shapes)
                found |= {one, same}
        for shapes in sorted(found):
            yield f"{self.name} of {shapes}", shapes


def _varied(usual: Any, value: int) -> Iterator[Any]:
    if not isinstance(usual, (tuple, list)):
        yield value
        return
    kind = type(usual)
    for i in range(len(usual)):
        yield kind([value if j == i else other for j, other in enumerate(usual)])
    if len(usual) > 1:
        yield kind([value] * len(usual))


def _function(name: str, *shapes: tuple[int, ...], **arguments: Any) -> Call:
    return Call(name, getattr(F, name.split(maxsplit=1)[0]), arguments, shapes)


def _layer(name: str, *shapes: tuple[int, ...], **arguments: Any) -> Call:
    def run(*inputs: fnn.Tensor, **varied: Any) -> Any:
        layer = getattr(nn, name.split(maxsplit=1)[0])(**varied)
        repr(layer)
        y = layer(*inputs)
        layer.eval()(*inputs)
        return y

    return Call(name, run, arguments, shapes)


def _method(name: str, *shapes: tuple[int, ...], **arguments: Any) -> Call:
    return Call(name, getattr(fnn.Tensor, name.split(maxsplit=1)[0]), arguments, shapes)


def _creator(name: str, call: Callable[..., Any], **arguments: Any) -> Call:
    return Call(name, lambda **varied: call(*varied.values()), arguments)


def _back(y: Any) -> Any:
    first = y[0] if isinstance(y, (tuple, list)) else y
    if isinstance(first, fnn.Tensor) and first.requires_grad:
        first.sum().backward()
    return y


IMAGE, SERIES, ROWS = (2, 4, 7, 9), (2, 4, 9), (5, 3)
WINDOW = {"kernel_size": 3, "stride": 2, "padding": 1}
WINDOWS = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}
CONV = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
CONVS = {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1), "groups": 2}
SPREAD = {"stride": 3, "padding": 1, "output_padding": 2, "groups": 2, "dilation": 2}
SPREADS = {"stride": (3, 2), "padding": (1, 0), "output_padding": (2, 1), "groups": 2, "dilation": (2, 1)}
CHANNELS = {"in_channels": 4, "out_channels": 6}

FUNCTIONS = [
    _function("conv1d", SERIES, (6, 2, 3), **CONV),
    _function("conv1d dense", SERIES, (6, 4, 3), **{**CONV, "groups": 1}),
    _function("conv2d", IMAGE, (6, 2, 3, 2), **CONVS),
    _function("conv2d by one number", IMAGE, (6, 2, 3, 2), **CONV),
    _function("conv2d wide", (2, 16, 16, 16), (16, 16, 3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1),
    _function("conv_transpose1d", SERIES, (4, 3, 3), **SPREAD),
    _function("conv_transpose2d", IMAGE, (4, 3, 3, 2), **SPREADS),
    _function("conv_transpose2d of a pixel", (1, 4, 1, 1), (4, 3, 3, 2), **SPREADS),
    *(
        _function(f"{name}{suffix}", shape, **windows, ceil_mode=ceil, **more)
        for name, more in (("max_pool", {"dilation": 1, "return_indices": False}), ("avg_pool", {}))
        for suffix, shape, windows in (("1d", SERIES, WINDOW), ("2d", IMAGE, WINDOWS))
        for ceil in (False, True)
    ),
    _function("max_pool2d with indices", IMAGE, **WINDOWS, dilation=(1, 2), return_indices=True),
    _function("avg_pool2d by a number", IMAGE, **WINDOWS, divisor_override=3),
    _function("lp_pool1d", SERIES, norm_type=2.0, kernel_size=3, stride=2),
    _function("lp_pool2d", IMAGE, norm_type=2.0, kernel_size=(3, 2), stride=(2, 1)),
    *(_function(f"adaptive_{kind}_pool1d", SERIES, output_size=3) for kind in ("avg", "max")),
    *(_function(f"adaptive_{kind}_pool2d", IMAGE, output_size=(3, 4)) for kind in ("avg", "max")),
    _function("fractional_max_pool2d", IMAGE, kernel_size=(2, 3), output_size=(3, 4)),
    *(_function(f"interpolate {mode}", SERIES, size=5, mode=mode) for mode in ("nearest", "nearest-exact", "linear", "area")),
    *(_function(f"interpolate {mode} 2d", IMAGE, size=(5, 20), mode=mode) for mode in ("nearest", "bilinear", "area")),
    _function("interpolate by a factor", SERIES, scale_factor=2, mode="linear"),
    _function("interpolate by factors", IMAGE, scale_factor=(2, 3), mode="nearest"),
    *(_function(f"pad {mode}", SERIES, pad=[1, 2], mode=mode) for mode in ("constant", "reflect", "replicate", "circular")),
    *(_function(f"pad {mode} 2d", IMAGE, pad=[1, 2, 2, 1], mode=mode) for mode in ("constant", "reflect", "replicate", "circular")),
    _function("pixel_shuffle", (2, 8, 3, 2), upscale_factor=2),
    _function("pixel_unshuffle", (2, 3, 4, 6), downscale_factor=2),
    _function("local_response_norm", IMAGE, size=3),
    _function("group_norm", IMAGE, num_groups=2),
    _function("layer_norm", ROWS, normalized_shape=[3]),
    _function("rms_norm", ROWS, normalized_shape=[3]),
    *(_function(name, (4, 6), dim=1) for name in ("glu", "softmax", "log_softmax", "normalize")),
    Call("cross_entropy", lambda x, ignore_index: F.cross_entropy(x, fnn.tensor([0, 1, 2, 1, 0]), ignore_index=ignore_index), {"ignore_index": 1}, ((5, 3),)),
    Call("nll_loss", lambda x, ignore_index: F.nll_loss(x, fnn.tensor([0, 1, 2, 1, 0]), ignore_index=ignore_index), {"ignore_index": 1}, ((5, 3),)),
    Call("one_hot", lambda num_classes: _core.one_hot(fnn.tensor([0, 2]), num_classes), {"num_classes": 3}),
    Call("one_hot of a label", lambda label: _core.one_hot(fnn.tensor([0, label])), {"label": 3}),
]  # fmt: skip

LAYERS = [
    _layer("Linear", ROWS, in_features=3, out_features=4),
    _layer("DropConnect", ROWS, in_features=3, out_features=4),
    _layer("Bilinear", ROWS, ROWS, in1_features=3, in2_features=3, out_features=2),
    _layer("LowRankBilinear", ROWS, ROWS, in1_features=3, in2_features=3, out_features=2, rank=2),
    _layer("FactorizationMachine", ROWS, n_features=3, k=2),
    _layer("GatedLinear", ROWS, in_features=3, out_features=4),
    _layer("Highway", ROWS, features=3),
    _layer("Conv1d", SERIES, **CHANNELS, kernel_size=3, **CONV),
    _layer("Conv2d", IMAGE, **CHANNELS, kernel_size=(3, 2), **CONVS),
    _layer("Conv2d reflecting", IMAGE, **CHANNELS, kernel_size=3, padding=1, padding_mode="reflect"),
    _layer("Conv2d same", IMAGE, **CHANNELS, kernel_size=(3, 2), dilation=(2, 1), padding="same"),
    _layer("ConvTranspose1d", SERIES, **CHANNELS, kernel_size=3, **SPREAD),
    _layer("ConvTranspose2d", IMAGE, **CHANNELS, kernel_size=(3, 2), **SPREADS),
    _layer("MaxPool1d", SERIES, **WINDOW, dilation=1),
    _layer("MaxPool2d", IMAGE, **WINDOWS, dilation=(1, 2)),
    _layer("AvgPool1d", SERIES, **WINDOW),
    _layer("AvgPool2d", IMAGE, **WINDOWS, divisor_override=3),
    _layer("LPPool1d", SERIES, norm_type=2.0, kernel_size=3, stride=2),
    _layer("LPPool2d", IMAGE, norm_type=2.0, kernel_size=(3, 2), stride=(2, 1)),
    *(_layer(f"Adaptive{kind}Pool1d", SERIES, output_size=3) for kind in ("Avg", "Max")),
    *(_layer(f"Adaptive{kind}Pool2d", IMAGE, output_size=(3, 4)) for kind in ("Avg", "Max")),
    _layer("FractionalMaxPool2d", IMAGE, kernel_size=(2, 3), output_size=(3, 4)),
    *(_layer(f"{kind}Pad1d", SERIES, padding=[1, 2]) for kind in ("Circular", "Reflection", "Replication", "Zero")),
    *(_layer(f"{kind}Pad2d", IMAGE, padding=[1, 2, 2, 1]) for kind in ("Circular", "Reflection", "Replication", "Zero")),
    _layer("ConstantPad1d", SERIES, padding=[1, 2], value=1.5),
    _layer("ConstantPad2d", IMAGE, padding=[1, 2, 2, 1], value=1.5),
    _layer("Upsample", IMAGE, size=(5, 20)),
    _layer("Upsample by a factor", IMAGE, scale_factor=2),
    _layer("UpsamplingNearest2d", IMAGE, size=(5, 20)),
    _layer("UpsamplingBilinear2d", IMAGE, size=(5, 20)),
    _layer("PixelShuffle", (2, 8, 3, 2), upscale_factor=2),
    _layer("PixelUnshuffle", (2, 3, 4, 6), downscale_factor=2),
    _layer("BatchNorm1d", ROWS, num_features=3),
    *(_layer(f"{kind}Norm2d", IMAGE, num_features=4) for kind in ("Batch", "Instance")),
    *(_layer(f"{kind}Norm3d", (2, 4, 3, 2, 2), num_features=4) for kind in ("Batch", "Instance")),
    _layer("InstanceNorm1d", SERIES, num_features=4),
    _layer("GroupNorm", IMAGE, num_groups=2, num_channels=4),
    _layer("LayerNorm", ROWS, normalized_shape=3),
    _layer("LayerNorm of a list", ROWS, normalized_shape=[5, 3]),
    _layer("RMSNorm", ROWS, normalized_shape=3),
    _layer("LocalResponseNorm", IMAGE, size=3),
    _layer("PReLU", ROWS, num_parameters=3),
    *(_layer(name, (4, 6), dim=1) for name in ("GLU", "Softmax", "LogSoftmax")),
    _layer("Flatten", IMAGE, start_dim=1, end_dim=2),
    _layer("Unflatten", (2, 6), dim=1, unflattened_size=(3, 2)),
    _layer("StandardScaler", ROWS, num_features=3),
    _layer("MinMaxScaler", ROWS, num_features=3),
    Call("CrossEntropyLoss", lambda x, **k: nn.CrossEntropyLoss(**k)(x, fnn.tensor([0, 1])), {"ignore_index": 1}, ((2, 3),)),
    Call("NLLLoss", lambda x, **k: nn.NLLLoss(**k)(x, fnn.tensor([0, 1])), {"ignore_index": 1}, ((2, 3),)),
    Call("linear_survival", nn.linear_survival, {"blocks": 3}),
]  # fmt: skip

METHODS = [
    *(_method(f"{name} one dim", (4, 6), dim=1) for name in (
        "sum", "mean", "prod", "amax", "amin", "all", "any", "argmax", "argmin", "max", "min", "norm", "std", "var",
        "logsumexp", "softmax", "log_softmax", "squeeze", "unsqueeze", "unbind",
    )),
    _method("var with a correction", (4, 6), dim=1, correction=1),
    _method("sum of dims", (4, 6), dim=[0, 1]),
    _method("narrow", (4, 6), dim=1, start=1, length=2),
    _method("select", (4, 6), dim=1, index=1),
    _method("chunk", (4, 6), chunks=2, dim=1),
    _method("split", (4, 6), split_size=2, dim=1),
    _method("split of sizes", (4, 6), split_size=[2, 4], dim=1),
    Call("transpose", lambda x, a, b: x.transpose(a, b), {"a": 0, "b": 1}, ((4, 6),)),
    Call("flatten", lambda x, a, b: x.flatten(a, b), {"a": 0, "b": 1}, ((2, 3, 4),)),
    Call("permute", lambda x, dims: x.permute(dims), {"dims": (1, 0)}, ((4, 6),)),
    Call("reshape", lambda x, shape: x.reshape(shape), {"shape": (3, 8)}, ((4, 6),)),
    Call("view", lambda x, shape: x.view(shape), {"shape": (3, 8)}, ((4, 6),)),
    Call("reshape of nothing", lambda shape: fnn.zeros(0).reshape(shape), {"shape": (0, 3)}),
    Call("expand", lambda x, shape: x.expand(shape).detach(), {"shape": (4, 6)}, ((1, 6),)),
    Call("expand and sum", lambda x, shape: x.expand(shape), {"shape": (4, 6)}, ((1, 1),)),
    Call("index", lambda x, i, j: x[i, j], {"i": 1, "j": 2}, ((4, 6),)),
    Call("slice", lambda x, a, b, c: x[a:b:c], {"a": 0, "b": 3, "c": 2}, ((4, 6),)),
    Call("index tensor", lambda x, i: x[fnn.tensor([0, i])], {"i": 1}, ((4, 6),)),
    Call("gather", lambda x, dim, i: x.gather(dim, fnn.tensor([[0, i]])), {"dim": 1, "i": 1}, ((4, 6),)),
    Call("index_select", lambda x, dim, i: x.index_select(dim, fnn.tensor([0, i])), {"dim": 1, "i": 1}, ((4, 6),)),
    Call("size", lambda x, dim: x.size(dim), {"dim": 1}, ((4, 6),)),
    Call("stride", lambda x, dim: x.stride(dim), {"dim": 1}, ((4, 6),)),
    Call("cat", lambda a, b, dim: fnn.cat([a, b], dim), {"dim": 1}, ((4, 6), (4, 6))),
    Call("stack", lambda a, b, dim: fnn.stack([a, b], dim), {"dim": 1}, ((4, 6), (4, 6))),
]  # fmt: skip

CREATORS = [
    *(_creator(name, getattr(fnn, name), a=2, b=3) for name in ("zeros", "ones", "empty", "rand", "randn")),
    _creator("zeros of a list", fnn.zeros, shape=[2, 3]),
    _creator("zeros of nothing", fnn.zeros, shape=[2, 0, 3]),
    _creator("full", lambda shape: fnn.full(shape, 1.5), shape=(2, 3)),
    _creator("eye", fnn.eye, n=3, m=4),
    _creator("eye of one number", fnn.eye, n=3),
    _creator("arange", fnn.arange, start=0, end=7, step=2),
    _creator("arange of one number", fnn.arange, end=7),
    _creator("linspace", lambda steps: fnn.linspace(0.0, 1.0, steps), steps=5),
    _creator("randint", fnn.randint, low=0, high=5, shape=(2, 3)),
    _creator("randperm", fnn.randperm, n=5),
    _creator("manual_seed", fnn.manual_seed, seed=3),
    _creator("set_num_threads", fnn.set_num_threads, n=2),
]


def _augmented(transform: augment.Transform) -> Any:
    return transform(np.ones((3, 2, 6, 5), np.float32))


def _mixed(transform: augment.Transform) -> Any:
    return transform(np.ones((3, 2, 6, 5), np.float32), np.array([0, 1, 2]))


def _batches(**settings: Any) -> Any:
    source = data.TensorDataset(fnn.ones(6, 2), fnn.arange(6))
    if settings.get("num_workers"):
        settings.setdefault("prefetch_factor", 2)
    return list(data.DataLoader(source, **settings))


OTHERS = [
    Call("RandomShift", lambda **k: _augmented(augment.RandomShift(**k)), {"pixels": (1, 2)}),
    Call("RandomCrop", lambda **k: _augmented(augment.RandomCrop(**k)), {"size": (3, 4), "padding": [1, 2, 0, 1]}),
    Call("RandomCrop enlarging", lambda **k: _augmented(augment.RandomCrop(**k, pad_if_needed=True)), {"size": (7, 4)}),
    Call("RandomCrop reflecting", lambda **k: _augmented(augment.RandomCrop(**k, padding_mode="reflect")), {"size": (3, 4), "padding": 1}),
    Call("RandomResizedCrop", lambda **k: _augmented(augment.RandomResizedCrop(**k)), {"size": (3, 4)}),
    Call("CutOut", lambda **k: _augmented(augment.CutOut(**k)), {"size": (3, 4)}),
    Call("ElasticTransform", lambda **k: _augmented(augment.ElasticTransform(**k)), {"alpha": (3, 4), "sigma": (1, 2)}),
    Call("RandomAffine", lambda **k: _augmented(augment.RandomAffine(**k)), {"degrees": (3, 4), "scale": (1, 2), "shear": (1, 2), "center": (1, 2)}),
    Call("GaussianNoise", lambda **k: _augmented(augment.GaussianNoise(**k)), {"mean": 0, "sigma": 1}),
    Call("MixUp", lambda **k: _mixed(augment.MixUp(**k)), {"num_classes": 3, "alpha": 1}),
    Call("CutMix", lambda **k: _mixed(augment.CutMix(**k)), {"num_classes": 3, "alpha": 1}),
    Call("DataLoader", _batches, {"batch_size": 4, "num_workers": 0}),
    Call("DataLoader with workers", _batches, {"batch_size": 4, "num_workers": 2, "prefetch_factor": 2, "timeout": 5}),
    Call("BatchSampler", lambda **k: list(data.BatchSampler(range(6), **k, drop_last=False)), {"batch_size": 4}),
    Call("RandomSampler", lambda **k: list(data.RandomSampler(range(6), **k)), {"num_samples": 4}),
    Call("RandomSampler with replacement", lambda **k: list(data.RandomSampler(range(6), True, **k)), {"num_samples": 4}),
    Call("WeightedRandomSampler", lambda **k: list(data.WeightedRandomSampler([1.0, 2.0], **k)), {"num_samples": 4}),
    Call("Subset", lambda **k: list(data.Subset(fnn.ones(6, 2), **k)), {"indices": [1, 2]}),
    Call("random_split", lambda **k: data.random_split(range(6), **k), {"lengths": [2, 4]}),
    Call("LeNet5", lambda **k: models.LeNet5(**k)(fnn.ones(1, 1, 28, 28)), {"num_classes": 3, "in_channels": 1, "image_size": 28}),
    Call("mlp", lambda **k: models.mlp(**k)(fnn.ones(2, 5)), {"in_features": 5, "hidden": [4, 3], "num_classes": 2}),
    Call("VGG", lambda **k: models.VGG(**k)(fnn.ones(1, 3, 8, 8)), {"widths": [4, 4], "num_classes": 2, "in_channels": 3, "image_size": 8}),
    Call("RBM", lambda **k: unsupervised.RBM(**k).fit(np.ones((6, 5), np.float32), epochs=1, verbose=0), {"n_visible": 5, "n_hidden": 3, "n_chains": 2}),
    Call("DBN", unsupervised.DBN, {"widths": [5, 3]}),
]  # fmt: skip

CALLS = FUNCTIONS + LAYERS + METHODS + CREATORS + OTHERS
