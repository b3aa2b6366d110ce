"""Settings, texts and errors of the layers; their arithmetic is tested with the ops."""

import re

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn

CASES = [
    (lambda n: n.Linear(3, 4), "Linear(in_features=3, out_features=4, bias=True)"),
    (lambda n: n.Bilinear(2, 3, 4, bias=False), "Bilinear(in1_features=2, in2_features=3, out_features=4, bias=False)"),
    (lambda n: n.Conv1d(3, 4, 5), "Conv1d(3, 4, kernel_size=(5,), stride=(1,))"),
    (lambda n: n.Conv1d(4, 6, [5], 2, padding=(3,), dilation=2, groups=2), "Conv1d(4, 6, kernel_size=(5,), stride=(2,), padding=(3,), dilation=(2,), groups=2)"),
    (lambda n: n.Conv2d(3, 4, 5), "Conv2d(3, 4, kernel_size=(5, 5), stride=(1, 1))"),
    (lambda n: n.Conv2d(4, 6, (3, 2), (1, 2), (0, 1), (2, 1), 2, False, "reflect"),
     "Conv2d(4, 6, kernel_size=(3, 2), stride=(1, 2), padding=(0, 1), dilation=(2, 1), groups=2, bias=False, padding_mode=reflect)"),
    (lambda n: n.Conv2d(3, 3, 3, padding="same", groups=3), "Conv2d(3, 3, kernel_size=(3, 3), stride=(1, 1), padding=same, groups=3)"),
    (lambda n: n.Conv2d(3, 4, 3, padding="valid"), "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=valid)"),
    (lambda n: n.ConvTranspose1d(3, 4, 5, 2, bias=False), "ConvTranspose1d(3, 4, kernel_size=(5,), stride=(2,), bias=False)"),
    (lambda n: n.ConvTranspose2d(4, 6, 3, 2, 1, (1, 0), 2, False, 3),
     "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(3, 3), output_padding=(1, 0), groups=2, bias=False)"),
    (lambda n: n.Identity(1, x=2), "Identity()"),
    (lambda n: n.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
    (lambda n: n.Dropout(0.25, inplace=True), "Dropout(p=0.25, inplace=True)"),
    (lambda n: n.AlphaDropout(0.25, inplace=True), "AlphaDropout(p=0.25, inplace=True)"),
    (lambda n: n.FeatureAlphaDropout(0.25), "FeatureAlphaDropout(p=0.25, inplace=False)"),
    (lambda n: n.GLU(1), "GLU(dim=1)"),
    (lambda n: n.BatchNorm1d(3, momentum=None), "BatchNorm1d(3, eps=1e-05, momentum=None, affine=True, bias=True, track_running_stats=True)"),
    (lambda n: n.BatchNorm2d(3, 0.5, affine=False), "BatchNorm2d(3, eps=0.5, momentum=0.1, affine=False, bias=False, track_running_stats=True)"),
    (lambda n: n.BatchNorm3d(3, track_running_stats=False), "BatchNorm3d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=False)"),
    (lambda n: n.Dropout1d(0.25), "Dropout1d(p=0.25, inplace=False)"),
    (lambda n: n.Dropout2d(0.25, inplace=True), "Dropout2d(p=0.25, inplace=True)"),
    (lambda n: n.Dropout3d(), "Dropout3d(p=0.5, inplace=False)"),
    (lambda n: n.LocalResponseNorm(5, 0.5), "LocalResponseNorm(5, alpha=0.5, beta=0.75, k=1.0)"),
    (lambda n: n.InstanceNorm2d(3, affine=True),
     "InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=False)"),
    (lambda n: n.InstanceNorm3d(3, track_running_stats=True),
     "InstanceNorm3d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=True)"),
    (lambda n: n.LayerNorm(3), "LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)"),
    (lambda n: n.LayerNorm([2, 3], 0.5, bias=False), "LayerNorm((2, 3), eps=0.5, elementwise_affine=True, bias=False)"),
    (lambda n: n.LayerNorm(3, elementwise_affine=False), "LayerNorm((3,), eps=1e-05, elementwise_affine=False, bias=False)"),
    (lambda n: n.RMSNorm((2, 3)), "RMSNorm((2, 3), eps=None, elementwise_affine=True)"),
    (lambda n: n.RMSNorm(3, 0.5, elementwise_affine=False), "RMSNorm((3,), eps=0.5, elementwise_affine=False)"),
    (lambda n: n.GroupNorm(2, 6), "GroupNorm(2, 6, eps=1e-05, affine=True, bias=True)"),
    (lambda n: n.GroupNorm(3, 6, eps=0.5, affine=False), "GroupNorm(3, 6, eps=0.5, affine=False, bias=False)"),
    (lambda n: n.InstanceNorm1d(3),
     "InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)"),
    (lambda n: n.InstanceNorm1d(3, 0.5, None, affine=True, track_running_stats=True),
     "InstanceNorm1d(3, eps=0.5, momentum=None, affine=True, bias=True, track_running_stats=True)"),
    (lambda n: n.ReLU(inplace=True), "ReLU(inplace=True)"),
    (lambda n: n.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
    (lambda n: n.PReLU(3), "PReLU(num_parameters=3)"),
    (lambda n: n.ELU(), "ELU(alpha=1.0)"),
    (lambda n: n.SELU(), "SELU()"),
    (lambda n: n.GELU("tanh"), "GELU(approximate='tanh')"),
    (lambda n: n.SiLU(), "SiLU()"),
    (lambda n: n.Hardswish(), "Hardswish()"),
    (lambda n: n.Mish(), "Mish()"),
    (lambda n: n.Mish(inplace=True), "Mish(inplace=True)"),
    (lambda n: n.Sigmoid(), "Sigmoid()"),
    (lambda n: n.Tanh(), "Tanh()"),
    (lambda n: n.Softplus(2.0), "Softplus(beta=2.0, threshold=20.0)"),
    (lambda n: n.Softmax(dim=1), "Softmax(dim=1)"),
    (lambda n: n.LogSoftmax(dim=1), "LogSoftmax(dim=1)"),
    (lambda n: n.Hardtanh(-2.0, 3.0), "Hardtanh(min_val=-2.0, max_val=3.0)"),
    (lambda n: n.ReLU6(), "ReLU6()"),
    (lambda n: n.CrossEntropyLoss(), "CrossEntropyLoss()"),
    (lambda n: n.Unflatten(1, (2, 3)), "Unflatten(dim=1, unflattened_size=(2, 3))"),
    (lambda n: n.MaxPool1d(3, padding=1), "MaxPool1d(kernel_size=3, stride=3, padding=1, dilation=1, ceil_mode=False)"),
    (lambda n: n.MaxPool2d((2, 3), 1, ceil_mode=True), "MaxPool2d(kernel_size=(2, 3), stride=1, padding=0, dilation=1, ceil_mode=True)"),
    (lambda n: n.AvgPool1d(3), "AvgPool1d(kernel_size=(3,), stride=(3,), padding=(0,))"),
    (lambda n: n.AvgPool2d(2, (3, 1), 1), "AvgPool2d(kernel_size=2, stride=(3, 1), padding=1)"),
    (lambda n: n.LPPool1d(2, 3, 1), "LPPool1d(norm_type=2, kernel_size=3, stride=1, ceil_mode=False)"),
    (lambda n: n.LPPool2d(1.5, (2, 3), ceil_mode=True), "LPPool2d(norm_type=1.5, kernel_size=(2, 3), stride=None, ceil_mode=True)"),
    (lambda n: n.AdaptiveAvgPool1d(3), "AdaptiveAvgPool1d(output_size=3)"),
    (lambda n: n.AdaptiveAvgPool2d((None, 2)), "AdaptiveAvgPool2d(output_size=(None, 2))"),
    (lambda n: n.AdaptiveMaxPool1d(3), "AdaptiveMaxPool1d(output_size=3)"),
    (lambda n: n.AdaptiveMaxPool2d(1, True), "AdaptiveMaxPool2d(output_size=1)"),
    (lambda n: n.FractionalMaxPool2d(2, output_ratio=0.7), "FractionalMaxPool2d()"),
    (lambda n: n.ZeroPad1d((1, 2)), "ZeroPad1d((1, 2))"),
    (lambda n: n.ZeroPad2d(1), "ZeroPad2d((1, 1, 1, 1))"),
    (lambda n: n.ConstantPad1d(1, 0.5), "ConstantPad1d(padding=(1, 1), value=0.5)"),
    (lambda n: n.ConstantPad2d((1, 2, 3, -1), 2), "ConstantPad2d(padding=(1, 2, 3, -1), value=2)"),
    (lambda n: n.ReflectionPad1d(2), "ReflectionPad1d((2, 2))"),
    (lambda n: n.ReflectionPad2d((1, 2, 3, 4)), "ReflectionPad2d((1, 2, 3, 4))"),
    (lambda n: n.ReplicationPad1d((1, 2)), "ReplicationPad1d((1, 2))"),
    (lambda n: n.ReplicationPad2d(2), "ReplicationPad2d((2, 2, 2, 2))"),
    (lambda n: n.CircularPad1d(2), "CircularPad1d((2, 2))"),
    (lambda n: n.CircularPad2d(2), "CircularPad2d((2, 2, 2, 2))"),
    (lambda n: n.Upsample(scale_factor=(2, 3)), "Upsample(scale_factor=(2.0, 3.0), mode='nearest')"),
    (lambda n: n.Upsample((3, 4), mode="bilinear"), "Upsample(size=(3, 4), mode='bilinear')"),
    (lambda n: n.UpsamplingNearest2d(scale_factor=2), "UpsamplingNearest2d(scale_factor=2.0, mode='nearest')"),
    (lambda n: n.UpsamplingBilinear2d(5), "UpsamplingBilinear2d(size=5, mode='bilinear')"),
    (lambda n: n.PixelShuffle(2), "PixelShuffle(upscale_factor=2)"),
    (lambda n: n.PixelUnshuffle(3), "PixelUnshuffle(downscale_factor=3)"),
]  # fmt: skip


# Layers that PyTorch lacks: the text, and the state.
OURS = [
    (lambda n: n.Dropout(0.25, scaling="evaluation"), "Dropout(p=0.25, inplace=False, scaling='evaluation')", []),
    (lambda n: n.DropConnect(3, 4, 0.25), "DropConnect(in_features=3, out_features=4, p=0.25, bias=True)", ["weight", "bias"]),
    (lambda n: n.GaussianNoise(0.5), "GaussianNoise(std=0.5)", []),
    (lambda n: n.MaskingNoise(0.5), "MaskingNoise(p=0.5)", []),
    (lambda n: n.WeightNoise(n.ReLU(), 0.5), "WeightNoise(\n  std=0.5, biases=False\n  (module): ReLU()\n)", []),
    (lambda n: n.Residual(n.Tanh(), 0.5), "Residual(\n  survival=0.5, mode='batch', scaling='evaluation'\n  (block): Tanh()\n  (shortcut): None\n)", []),
    (lambda n: n.StochasticDepth(0.25, "row"), "StochasticDepth(p=0.25, mode=row)", []),
    (lambda n: n.StochasticDepth(0.25, "batch", "evaluation"), "StochasticDepth(p=0.25, mode=batch, scaling=evaluation)", []),
    (lambda n: n.GatedLinear(3, 4), "GatedLinear(\n  (linear): Linear(in_features=3, out_features=8, bias=True)\n)", ["linear.weight", "linear.bias"]),
    (lambda n: n.FractionalMaxPool2d(2, 3, samples=4), "FractionalMaxPool2d(samples=4)", []),
    (lambda n: n.Highway(3).activation, "ReLU()", []),
    (lambda n: n.FactorizationMachine(3, 2), "FactorizationMachine(n_features=3, k=2, std=0.01)", ["bias", "weight", "factors"]),
    (lambda n: n.LowRankBilinear(2, 3, 4, 5), "LowRankBilinear(in1_features=2, in2_features=3, out_features=4, rank=5, bias=True)", ["u", "v", "weight", "bias"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text", "state"), OURS)
def test_repr_and_state_of_our_own(make, text, state):
    layer = make(nn)
    assert repr(layer) == text
    assert list(layer.state_dict()) == state


@pytest.mark.parametrize(("make", "text"), CASES)
def test_repr(make, text):
    assert repr(make(nn)) == text


@pytest.mark.parametrize(("make", "text"), CASES)
def test_repr_and_state_are_pytorchs(make, text):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    theirs, ours = make(torch.nn), make(nn)
    # The norms of older PyTorchs have no `bias`.
    assert re.sub(r", bias=\w+", "", repr(ours)) == re.sub(r", bias=\w+", "", repr(theirs))
    assert [(name, tuple(value.shape)) for name, value in ours.state_dict().items()] == [
        (name, tuple(value.shape)) for name, value in theirs.state_dict().items()
    ]


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Linear(0, 3), ValueError, "Linear: expected in_features of at least 1; got 0"),
        (lambda: nn.Linear(3, -1), ValueError, "Linear: expected out_features of at least 1; got -1"),
        (lambda: nn.Linear(3.0, 1), TypeError, "Linear: expected in_features to be an int; got 3.0"),
        (lambda: nn.Linear(3, 1, device="mps"), ValueError, "Linear: expected device 'cpu', the only one fastnn has; got 'mps'"),
        (lambda: nn.Linear(3, 1, dtype=_core.int64), TypeError, f"Linear: expected dtype float32 or float64; got {_core.int64}"),
        (lambda: nn.Conv2d(0, 8, 3), ValueError, "Conv2d: expected in_channels of at least 1; got 0"),
        (lambda: nn.Conv2d(3, 0, 3), ValueError, "Conv2d: expected out_channels of at least 1; got 0"),
        (lambda: nn.Conv2d(3, 8, 0), ValueError, "Conv2d: expected kernel_size of at least 1; got 0"),
        (lambda: nn.Conv2d(3, 8, 3.5), TypeError, "Conv2d: expected kernel_size to be an int; got 3.5"),
        (lambda: nn.Conv2d(3, 8, (3, 3, 3)), ValueError, "Conv2d: expected kernel_size to be an int or 2 of them; got (3, 3, 3)"),
        (lambda: nn.Conv1d(3, 8, (3, 3)), ValueError, "Conv1d: expected kernel_size to be an int or 1 of them; got (3, 3)"),
        (lambda: nn.Conv2d(3, 8, 3, stride=0), ValueError, "Conv2d: expected stride of at least 1; got 0"),
        (lambda: nn.Conv2d(3, 8, 3, stride=(1, 0)), ValueError, "Conv2d: expected stride of at least 1; got 0"),
        (lambda: nn.Conv2d(3, 8, 3, dilation=0), ValueError, "Conv2d: expected dilation of at least 1; got 0"),
        (lambda: nn.Conv2d(3, 8, 3, padding=-1), ValueError, "Conv2d: expected padding of at least 0; got -1"),
        (lambda: nn.Conv2d(3, 8, 3, padding="full"), ValueError, "Conv2d: expected padding to be 'same', 'valid' or numbers; got 'full'"),
        (lambda: nn.Conv2d(3, 8, 3, 2, "same"), ValueError, "Conv2d: expected stride 1 with padding 'same'; got (2, 2)"),
        (lambda: nn.Conv2d(3, 8, 3, groups=0), ValueError, "Conv2d: expected groups of at least 1; got 0"),
        (lambda: nn.Conv2d(3, 8, 3, groups=2), ValueError, "Conv2d: expected in_channels that groups divide; got 3 and 2"),
        (lambda: nn.Conv2d(4, 7, 3, groups=2), ValueError, "Conv2d: expected out_channels that groups divide; got 7 and 2"),
        (lambda: nn.Conv2d(3, 8, 3, padding_mode="mirror"), ValueError,
         "Conv2d: expected padding_mode to be one of ('zeros', 'reflect', 'replicate', 'circular'); got 'mirror'"),
        (lambda: nn.Conv2d(3, 8, 3, device="cuda"), ValueError, "Conv2d: expected device 'cpu', the only one fastnn has; got 'cuda'"),
        (lambda: nn.Conv2d(3, 8, 5)(ones(2, 3, 4, 9)), ValueError,
         "Conv2d(3, 8, (5, 5)): conv2d: expected a padded image at least as large as the kernel, (5, 5); got (4, 9)"),
        (lambda: nn.Conv2d(3, 8, 5, padding=1, dilation=2, padding_mode="reflect")(ones(2, 3, 4, 9)), ValueError,
         "Conv2d(3, 8, (5, 5)): conv2d: expected a padded image at least as large as the kernel, (9, 9); got (6, 11)"),
        (lambda: nn.Conv2d(3, 8, 5, padding=4, padding_mode="reflect")(ones(2, 3, 4, 9)), ValueError,
         "Conv2d(3, 8, (5, 5)): pad: expected padding of less than the input, which is (2, 3, 4, 9); got 4"),
        (lambda: nn.Conv2d(3, 8, 3)(ones(2, 4, 9, 9)), ValueError,
         "Conv2d(3, 8, (3, 3)): expected input of shape (n, 3, h, w) or (3, h, w); got (2, 4, 9, 9)"),
        (lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")(ones(2, 4, 9, 9)), ValueError,
         "Conv2d(3, 8, (3, 3)): expected input of shape (n, 3, h, w) or (3, h, w); got (2, 4, 9, 9)"),
        (lambda: nn.Conv2d(3, 8, (3, 2))(ones(9, 9)), ValueError,
         "Conv2d(3, 8, (3, 2)): expected input of shape (n, 3, h, w) or (3, h, w); got (9, 9)"),
        (lambda: nn.Conv2d(3, 8, 3)(np.ones((2, 3, 9, 9), np.uint8)), TypeError,
         "Conv2d(3, 8, (3, 3)): expected floating-point numbers; got an array of uint8"),
        (lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")(np.ones((2, 3, 9, 9), np.uint8)), TypeError,
         "Conv2d(3, 8, (3, 3)): expected floating-point numbers; got an array of uint8"),
        (lambda: nn.Conv2d(3, 8, 3)(fnn.ones(2, 3, 9, 9, dtype=_core.int64)), TypeError,
         "Conv2d(3, 8, (3, 3)): conv2d: expected a floating-point tensor; got int64"),
        (lambda: nn.ConvTranspose2d(3, 8, 3)(np.ones((2, 3, 9, 9), np.uint8)), TypeError,
         "ConvTranspose2d(3, 8, (3, 3)): expected floating-point numbers; got an array of uint8"),
        (lambda: nn.MaxPool2d(2)(np.ones((2, 3, 9, 9), np.uint8)), TypeError,
         "MaxPool2d(2): expected floating-point numbers; got an array of uint8"),
        (lambda: nn.Conv2d(3, 8, 3)(np.ones((2, 3, 9, 9))), TypeError,
         "Conv2d(3, 8, (3, 3)): conv2d: expected tensors of one dtype; got float64 and float32"),
        (lambda: nn.Conv2d(3, 8, 3)("x"), TypeError, "Conv2d(3, 8, (3, 3)): expected a tensor or an array; got str"),
        (lambda: nn.Conv1d(3, 8, 3)(ones(2, 3, 9, 9)), ValueError,
         "Conv1d(3, 8, 3): expected input of shape (n, 3, l) or (3, l); got (2, 3, 9, 9)"),
        (lambda: nn.Conv1d(3, 8, 3)(ones(2, 3, 2)), ValueError,
         "Conv1d(3, 8, 3): conv1d: expected a padded image at least as large as the kernel, (3,); got (2,)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, padding="same"), TypeError, "ConvTranspose2d: expected padding to be numbers; got 'same'"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, padding_mode="reflect"), ValueError,
         "ConvTranspose2d: expected padding_mode to be one of ('zeros',); got 'reflect'"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, output_padding=1)(ones(2, 3, 4, 4)), ValueError,
         "ConvTranspose2d(3, 8, (3, 3)): conv_transpose2d: expected output_padding below stride or dilation, 1; got 1"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, padding=4)(ones(2, 3, 2, 2)), ValueError,
         "ConvTranspose2d(3, 8, (3, 3)): conv_transpose2d: expected an image that padding leaves something of; got (2, 3, 2, 2)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3)(ones(2, 4, 4, 4), (6, 6)), ValueError,
         "ConvTranspose2d(3, 8, (3, 3)): expected input of shape (n, 3, h, w) or (3, h, w); got (2, 4, 4, 4)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, 2)(ones(4, 4), (9, 9)), ValueError,
         "ConvTranspose2d(3, 8, (3, 3)): expected input of shape (n, 3, h, w) or (3, h, w); got (4, 4)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, 2)(ones(2, 3, 4, 4), (9, 11)), ValueError,
         "ConvTranspose2d: expected output_size from (9, 9) to (10, 10); got (9, 11)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, 2)(ones(3, 4, 4), (8, 8, 9)), ValueError,
         "ConvTranspose2d: expected output_size from (9, 9) to (10, 10); got (8, 8, 9)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, 2)(ones(2, 3, 4, 4), (9,)), ValueError,
         "ConvTranspose2d: expected output_size from (9, 9) to (10, 10); got (9,)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, 2)(ones(2, 3, 4, 4), 9), TypeError, "ConvTranspose2d: expected output_size to be ints; got 9"),
        (lambda: nn.functional.conv2d(ones(2, 3, 9, 9), ones(8, 3, 3, 3), stride=2, padding="same"), ValueError,
         "conv2d: expected stride 1 with padding 'same'; got (2, 2)"),
        (lambda: nn.functional.conv2d(np.ones((2, 3, 9, 9), np.uint8), ones(8, 3, 3, 3)), TypeError,
         "conv2d: expected a floating-point tensor; got int64"),
        (lambda: nn.functional.conv_transpose2d(ones(2, 3, 4, 4), ones(3, 8, 3, 3), padding=-1), ValueError,
         "conv_transpose2d: expected padding of at least 0; got -1"),
        (lambda: nn.Bilinear(3, 1, 0), ValueError, "Bilinear: expected out_features of at least 1; got 0"),
        (lambda: nn.BatchNorm1d(0), ValueError, "BatchNorm1d: expected num_features of at least 1; got 0"),
        (lambda: nn.BatchNorm1d(3, eps=0), ValueError, "BatchNorm1d: expected eps above 0; got 0"),
        (lambda: nn.BatchNorm1d(3, eps=float("nan")), ValueError, "BatchNorm1d: expected eps above 0; got nan"),
        (lambda: nn.BatchNorm1d(3, momentum=1.5), ValueError, "BatchNorm1d: expected momentum in (0, 1] or None; got 1.5"),
        (lambda: nn.LayerNorm(0), ValueError, "LayerNorm: expected normalized_shape of at least 1; got 0"),
        (lambda: nn.LayerNorm(()), ValueError, "LayerNorm: expected a normalized_shape of 1 or more sizes; got ()"),
        (lambda: nn.LayerNorm((3, 0)), ValueError, "LayerNorm: expected sizes in normalized_shape of at least 1; got 0"),
        (lambda: nn.LayerNorm(2.5), TypeError, "LayerNorm: expected normalized_shape to be an int or ints; got 2.5"),
        (lambda: nn.LayerNorm("ab"), TypeError, "LayerNorm: expected normalized_shape to be an int or ints; got 'ab'"),
        (lambda: nn.LayerNorm(3, eps=-1), ValueError, "LayerNorm: expected eps of at least 0; got -1"),
        (lambda: nn.RMSNorm(3, eps=float("nan")), ValueError, "RMSNorm: expected eps of at least 0; got nan"),
        (lambda: nn.GroupNorm(0, 3), ValueError, "GroupNorm: expected num_groups of at least 1; got 0"),
        (lambda: nn.GroupNorm(2, 0), ValueError, "GroupNorm: expected num_channels of at least 1; got 0"),
        (lambda: nn.GroupNorm(4, 6), ValueError, "GroupNorm: expected num_channels to be a multiple of num_groups; got 6 and 4"),
        (lambda: nn.InstanceNorm1d(3, momentum=0), ValueError, "InstanceNorm1d: expected momentum in (0, 1] or None; got 0"),
        (lambda: nn.LayerNorm(3)(ones(3, 4)), ValueError, "LayerNorm(3): expected input of shape (*, 3); got (3, 4)"),
        (lambda: nn.LayerNorm((2, 3))(ones(3)), ValueError, "LayerNorm((2, 3)): expected input of shape (*, 2, 3); got (3,)"),
        (lambda: nn.RMSNorm(3)(ones(3, 4)), ValueError, "RMSNorm(3): expected input of shape (*, 3); got (3, 4)"),
        (lambda: nn.GroupNorm(2, 6)(ones(3, 4)), ValueError, "GroupNorm(2, 6): expected input of shape (n, 6, *); got (3, 4)"),
        (lambda: nn.GroupNorm(2, 6, affine=False)(ones(6)), ValueError, "GroupNorm(2, 6): expected input of shape (n, 6, *); got (6,)"),
        (lambda: nn.GroupNorm(6, 6)(ones(1, 6)), ValueError,
         "GroupNorm(6, 6): group_norm: expected more than 1 value per channel; got input of shape (1, 6)"),
        (lambda: nn.InstanceNorm1d(3, affine=True)(ones(2, 4, 5)), ValueError,
         "InstanceNorm1d(3): expected input of shape (n, 3, l) or (3, l); got (2, 4, 5)"),
        (lambda: nn.InstanceNorm1d(3)(ones(2, 3, 1)), ValueError,
         "InstanceNorm1d(3): instance_norm: expected more than 1 spatial element; got input of shape (2, 3, 1)"),
        (lambda: nn.functional.instance_norm(ones(2, 3, 4), use_input_stats=False), ValueError,
         "instance_norm: expected running_mean and running_var when use_input_stats is False; got None"),
        (lambda: nn.functional.normalize(np.ones((2, 3), np.int64)), TypeError,
         f"normalize: expected a floating-point tensor; got {_core.int64}"),
        (lambda: nn.BatchNorm2d(3, momentum=1.5), ValueError, "BatchNorm2d: expected momentum in (0, 1] or None; got 1.5"),
        (lambda: nn.BatchNorm1d(3)(ones(2, 3, 4, 4)), ValueError, "BatchNorm1d(3): expected input of shape (n, 3); got (2, 3, 4, 4)"),
        (lambda: nn.BatchNorm2d(3)(ones(2, 3)), ValueError, "BatchNorm2d(3): expected input of shape (n, 3, h, w); got (2, 3)"),
        (lambda: nn.BatchNorm2d(3)(ones(2, 4, 5, 5)), ValueError, "BatchNorm2d(3): expected input of shape (n, 3, h, w); got (2, 4, 5, 5)"),
        (lambda: nn.BatchNorm2d(3)(np.ones((2, 3, 5, 5), np.uint8)), TypeError, "BatchNorm2d(3): expected floating-point numbers; got an array of uint8"),
        (lambda: nn.BatchNorm2d(3)("x"), TypeError, "BatchNorm2d(3): expected a tensor or an array; got str"),
        (lambda: nn.BatchNorm2d(3)(ones(1, 3, 1, 1)), ValueError,
         "BatchNorm2d(3): batch_norm: expected more than 1 value per channel when training; got input of shape (1, 3, 1, 1)"),
        (lambda: nn.BatchNorm3d(3)(ones(2, 3, 4, 4)), ValueError, "BatchNorm3d(3): expected input of shape (n, 3, d, h, w); got (2, 3, 4, 4)"),
        (lambda: nn.InstanceNorm2d(3, affine=True)(ones(2, 4, 5, 5)), ValueError,
         "InstanceNorm2d(3): expected input of shape (n, 3, h, w) or (3, h, w); got (2, 4, 5, 5)"),
        (lambda: nn.InstanceNorm2d(3)(ones(3, 4)), ValueError, "InstanceNorm2d(3): expected input of shape (n, 3, h, w) or (3, h, w); got (3, 4)"),
        (lambda: nn.InstanceNorm2d(3)(ones(2, 3, 1, 1)), ValueError,
         "InstanceNorm2d(3): instance_norm: expected more than 1 spatial element; got input of shape (2, 3, 1, 1)"),
        (lambda: nn.InstanceNorm3d(3)(ones(2, 3, 4)), ValueError,
         "InstanceNorm3d(3): expected input of shape (n, 3, d, h, w) or (3, d, h, w); got (2, 3, 4)"),
        (lambda: nn.LocalResponseNorm(0), ValueError, "LocalResponseNorm: expected size of at least 1; got 0"),
        (lambda: nn.LocalResponseNorm(3)(ones(2, 3)), ValueError,
         "local_response_norm: expected input of shape (n, c, *) with 3 or more dimensions; got (2, 3)"),
        (lambda: nn.LocalResponseNorm(3)(np.ones((2, 3, 4), np.int64)), TypeError,
         f"local_response_norm: expected a floating-point tensor; got {_core.int64}"),
        (lambda: nn.Dropout1d(1.5), ValueError, "Dropout1d: expected p in [0, 1]; got 1.5"),
        (lambda: nn.Dropout2d("half"), TypeError, "Dropout2d: expected p to be a number; got 'half'"),
        (lambda: nn.Dropout1d()(ones(2, 3, 4, 5)), ValueError, "dropout1d: expected input of shape (n, c, l) or (c, l); got (2, 3, 4, 5)"),
        (lambda: nn.functional.dropout2d(ones(2, 3, 4, 5), -1), ValueError, "dropout2d: expected p in [0, 1]; got -1"),
        (lambda: nn.Dropout(-0.1), ValueError, "Dropout: expected p in [0, 1]; got -0.1"),
        (lambda: nn.Dropout("half"), TypeError, "Dropout: expected p to be a number; got 'half'"),
        (lambda: nn.Dropout(scaling="test"), ValueError, "Dropout: expected scaling to be 'training' or 'evaluation'; got 'test'"),
        (lambda: nn.AlphaDropout(1.5), ValueError, "AlphaDropout: expected p in [0, 1]; got 1.5"),
        (lambda: nn.FeatureAlphaDropout(float("nan")), ValueError, "FeatureAlphaDropout: expected p in [0, 1]; got nan"),
        (lambda: nn.FeatureAlphaDropout()(ones(3)), ValueError, "feature_alpha_dropout: expected input of shape (n, c, *); got (3,)"),
        (lambda: nn.functional.alpha_dropout(ones(3), 2), ValueError, "alpha_dropout: expected p in [0, 1]; got 2"),
        (lambda: nn.DropConnect(3, 4, -1), ValueError, "DropConnect: expected p in [0, 1]; got -1"),
        (lambda: nn.DropConnect(0, 4), ValueError, "DropConnect: expected in_features of at least 1; got 0"),
        (lambda: nn.DropConnect(3, 4)(ones(2, 4)), ValueError, "DropConnect(3, 4): expected input of shape (*, 3); got (2, 4)"),
        (lambda: nn.GaussianNoise(-1), ValueError, "GaussianNoise: expected std of at least 0; got -1"),
        (lambda: nn.GaussianNoise(float("inf")), ValueError, "GaussianNoise: expected std of at least 0; got inf"),
        (lambda: nn.MaskingNoise(1.1), ValueError, "MaskingNoise: expected p in [0, 1]; got 1.1"),
        (lambda: nn.WeightNoise(nn.Linear(1, 1), -0.5), ValueError, "WeightNoise: expected std of at least 0; got -0.5"),
        (lambda: nn.WeightNoise(0.5), TypeError, "WeightNoise: expected module to be an nn.Module; got float"),
        (lambda: nn.Residual(nn.Tanh(), 1.5), ValueError, "Residual: expected survival in [0, 1]; got 1.5"),
        (lambda: nn.Residual(nn.Tanh(), mode="sample"), ValueError, "Residual: expected mode to be 'batch' or 'row'; got 'sample'"),
        (lambda: nn.Residual(nn.Tanh(), scaling=None), ValueError, "Residual: expected scaling to be 'training' or 'evaluation'; got None"),
        (lambda: nn.Residual(None), TypeError, "Residual: expected block to be an nn.Module; got NoneType"),
        (lambda: nn.Residual(nn.Tanh(), shortcut=3), TypeError, "Residual: expected shortcut to be an nn.Module; got int"),
        (lambda: nn.Residual(nn.Linear(3, 4))(ones(2, 3)), ValueError,
         "Residual: expected the block to return the shape of its input, (2, 3); got (2, 4)"),
        (lambda: nn.Residual(nn.Tanh(), shortcut=nn.Linear(3, 4))(ones(2, 3)), ValueError,
         "Residual: expected the block to return the shape of the shortcut, (2, 4); got (2, 3)"),
        (lambda: nn.StochasticDepth(1.5, "row"), ValueError, "StochasticDepth: expected p in [0, 1]; got 1.5"),
        (lambda: nn.StochasticDepth(0.5, "sample"), ValueError, "StochasticDepth: expected mode to be 'batch' or 'row'; got 'sample'"),
        (lambda: nn.StochasticDepth(0.5, "row", "no"), ValueError,
         "StochasticDepth: expected scaling to be 'training' or 'evaluation'; got 'no'"),
        (lambda: nn.functional.stochastic_depth(ones(3), -1, "row"), ValueError, "stochastic_depth: expected p in [0, 1]; got -1"),
        (lambda: nn.functional.stochastic_depth(ones(3), "a", "row"), TypeError, "stochastic_depth: expected p to be a number; got 'a'"),
        (lambda: nn.functional.stochastic_depth(ones(3), 0.5, 3), ValueError,
         "stochastic_depth: expected mode to be 'batch' or 'row'; got 3"),
        (lambda: nn.functional.stochastic_depth(ones(3), 0.5, "row", scaling=1), ValueError,
         "stochastic_depth: expected scaling to be 'training' or 'evaluation'; got 1"),
        (lambda: nn.stochastic_depth_(3), TypeError, "stochastic_depth_: expected model to be an nn.Module; got int"),
        (lambda: nn.stochastic_depth_(nn.ReLU()), ValueError,
         "stochastic_depth_: expected a model with residual blocks; got ReLU without any"),
        (lambda: nn.stochastic_depth_(nn.Residual(nn.ReLU()), 2), ValueError, "stochastic_depth_: expected last in [0, 1]; got 2"),
        (lambda: nn.stochastic_depth_(nn.Residual(nn.ReLU()), mode="all"), ValueError,
         "stochastic_depth_: expected mode to be 'batch' or 'row'; got 'all'"),
        (lambda: nn.linear_survival(0), ValueError, "linear_survival: expected blocks of at least 1; got 0"),
        (lambda: nn.linear_survival(3, -1), ValueError, "linear_survival: expected last in [0, 1]; got -1"),
        (lambda: nn.GLU()(ones(2, 3)), ValueError, "glu: expected an even size in dimension -1; got (2, 3)"),
        (lambda: nn.GLU(2)(ones(2, 4)), ValueError, "glu: expected dim to be one of 2 dimensions; got 2"),
        (lambda: nn.GatedLinear(3, 0), ValueError, "GatedLinear: expected out_features of at least 1; got 0"),
        (lambda: nn.GatedLinear(3, 4)(ones(2, 4)), ValueError, "GatedLinear(3, 4): expected input of shape (*, 3); got (2, 4)"),
        (lambda: nn.Highway(0), ValueError, "Highway: expected features of at least 1; got 0"),
        (lambda: nn.Highway(3, "relu"), TypeError, "Highway: expected activation to be an nn.Module; got str"),
        (lambda: nn.Highway(3)(ones(2, 4)), ValueError, "Highway(3): expected input of shape (*, 3); got (2, 4)"),
        (lambda: nn.FactorizationMachine(3, 0), ValueError, "FactorizationMachine: expected k of at least 1; got 0"),
        (lambda: nn.FactorizationMachine(3, 2, std=-1), ValueError, "FactorizationMachine: expected std of at least 0; got -1"),
        (lambda: nn.FactorizationMachine(3, 2)(ones(2, 4)), ValueError, "FactorizationMachine(3, 2): expected input of shape (*, 3); got (2, 4)"),
        (lambda: nn.LowRankBilinear(2, 3, 4, 0), ValueError, "LowRankBilinear: expected rank of at least 1; got 0"),
        (lambda: nn.LowRankBilinear(2, 3, 4, 1)(ones(5, 2), ones(4, 3)), ValueError,
         "LowRankBilinear(2, 3, 4): expected inputs of shapes (*, 2) and (*, 3); got (5, 2) and (4, 3)"),
        (lambda: nn.GELU("erf"), ValueError, "GELU: expected approximate to be 'none' or 'tanh'; got 'erf'"),
        (lambda: nn.Softplus(0), ValueError, "Softplus: expected beta above 0; got 0"),
        (lambda: nn.Hardtanh(1, 1), ValueError, "Hardtanh: expected max_val above min_val; got 1 and 1"),
        (lambda: nn.PReLU(0), ValueError, "PReLU: expected num_parameters of at least 1; got 0"),
        (lambda: nn.MSELoss(reduction="avg"), ValueError, "MSELoss: expected reduction to be one of 'mean', 'sum', 'none'; got 'avg'"),
        (lambda: nn.KLDivLoss("avg"), ValueError, "KLDivLoss: expected reduction to be one of 'mean', 'sum', 'none', 'batchmean'; got 'avg'"),
        (lambda: nn.HuberLoss(delta=0), ValueError, "HuberLoss: expected delta above 0; got 0"),
        (lambda: nn.SmoothL1Loss(beta=-1), ValueError, "SmoothL1Loss: expected beta of at least 0; got -1"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), ValueError, "CrossEntropyLoss: expected label_smoothing in [0, 1]; got 2"),
        (lambda: nn.Linear(784, 256)(ones(64, 783)), ValueError, "Linear(784, 256): expected input of shape (*, 784); got (64, 783)"),
        (lambda: nn.BatchNorm1d(64)(ones(32, 63)), ValueError, "BatchNorm1d(64): expected input of shape (n, 64); got (32, 63)"),
        (lambda: nn.BatchNorm1d(64)(ones(32)), ValueError, "BatchNorm1d(64): expected input of shape (n, 64); got (32,)"),
        (lambda: nn.BatchNorm1d(4)(ones(2, 3, 5)), ValueError, "BatchNorm1d(4): expected input of shape (n, 4, l); got (2, 3, 5)"),
        (lambda: nn.PReLU(3)(ones(2, 4)), ValueError, "PReLU(3): expected input of shape (n, 3, *); got (2, 4)"),
        (lambda: nn.Bilinear(2, 3, 4)(ones(5, 2), ones(5, 4)), ValueError,
         "Bilinear(2, 3, 4): expected inputs of shapes (*, 2) and (*, 3); got (5, 2) and (5, 4)"),
        (lambda: nn.Linear(2, 3)("x"), TypeError, "Linear(2, 3): expected a tensor or an array; got str"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_errors_of_the_op_name_the_layer():
    with pytest.raises(ValueError, match=r"^BatchNorm1d\(3\): "):
        nn.BatchNorm1d(3)(ones(1, 3))
    with pytest.raises(TypeError, match=r"^Linear\(3, 2\): "):
        nn.Linear(3, 2)(np.ones((4, 3)))
    with pytest.raises(TypeError, match=r"^LayerNorm\(3\): layer_norm: expected tensors of one dtype; "):
        nn.LayerNorm(3)(np.ones((4, 3)))


def test_a_refused_batch_is_not_counted():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="BatchNorm1d"):
        layer(ones(1, 3))
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_mean.tolist() == [0, 0, 0]


def test_batch_norm_without_momentum_averages():
    layer = nn.BatchNorm1d(1, momentum=None)
    for mean in (100.0, 4.0, 7.0):
        layer(np.array([[mean - 1], [mean + 1]], np.float32))
    assert layer.num_batches_tracked.item() == 3
    assert layer.running_mean.item() == pytest.approx(37)
    assert layer.running_var.item() == pytest.approx(2)  # the unbiased variance
    layer.eval()(ones(2, 1))
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert (layer.running_mean.item(), layer.running_var.item(), layer.num_batches_tracked.item()) == (0, 1, 0)


def test_batch_norm_without_running_statistics_uses_the_batchs():
    layer = nn.BatchNorm1d(2, affine=False, track_running_stats=False, eps=0.5).eval()
    assert list(layer.state_dict()) == []
    x = np.array([[1, 10], [3, 20]], np.float32)
    expected = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.5)
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-6)


def test_weights_of_a_loss_are_state():
    loss = nn.CrossEntropyLoss(weight=np.array([1.0, 2.0], np.float32))
    assert list(loss.state_dict()) == ["weight"]
    assert list(nn.BCEWithLogitsLoss(pos_weight=np.array([3.0], np.float32)).state_dict()) == ["pos_weight"]


def test_flatten_takes_arrays():
    assert tuple(nn.Flatten()(ones(2, 3, 4)).shape) == (2, 12)
    assert tuple(nn.Flatten(0, 1)(ones(2, 3, 4)).shape) == (6, 4)
