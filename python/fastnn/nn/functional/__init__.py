"""Layers, activations and losses as functions, under PyTorch's names.

Each takes tensors or NumPy arrays, and returns a tensor. ``inplace=True`` is accepted where PyTorch has it, and gives
the same values in a new tensor.
"""

from fastnn.nn.functional.activation import (
    elu,
    gelu,
    glu,
    hardtanh,
    leaky_relu,
    log_softmax,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from fastnn.nn.functional.alpha_dropout import alpha_dropout, feature_alpha_dropout
from fastnn.nn.functional.conv import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from fastnn.nn.functional.layer import batch_norm, bilinear, dropout, linear
from fastnn.nn.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from fastnn.nn.functional.normalization import group_norm, instance_norm, layer_norm, normalize, rms_norm

__all__ = [
    "alpha_dropout",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "elu",
    "feature_alpha_dropout",
    "gelu",
    "glu",
    "group_norm",
    "hardtanh",
    "huber_loss",
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "normalize",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]
