"""Layers, activations and losses as functions, under PyTorch's names.

Each takes tensors or NumPy arrays, and returns a tensor. ``inplace=True`` is accepted where PyTorch has it, and gives
the same values in a new tensor.
"""

from fastnn._exports import exported as _exported
from fastnn.nn.functional.activation import (
    elu as elu,
    gelu as gelu,
    glu as glu,
    hardswish as hardswish,
    hardtanh as hardtanh,
    leaky_relu as leaky_relu,
    log_softmax as log_softmax,
    mish as mish,
    prelu as prelu,
    relu as relu,
    relu6 as relu6,
    selu as selu,
    sigmoid as sigmoid,
    silu as silu,
    softmax as softmax,
    softplus as softplus,
    tanh as tanh,
)
from fastnn.nn.functional.alpha_dropout import (
    alpha_dropout as alpha_dropout,
    feature_alpha_dropout as feature_alpha_dropout,
)
from fastnn.nn.functional.channel_dropout import (
    dropout1d as dropout1d,
    dropout2d as dropout2d,
    dropout3d as dropout3d,
)
from fastnn.nn.functional.conv import (
    conv1d as conv1d,
    conv2d as conv2d,
    conv_transpose1d as conv_transpose1d,
    conv_transpose2d as conv_transpose2d,
)
from fastnn.nn.functional.layer import (
    batch_norm as batch_norm,
    bilinear as bilinear,
    dropout as dropout,
    linear as linear,
)
from fastnn.nn.functional.loss import (
    binary_cross_entropy as binary_cross_entropy,
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
    cross_entropy as cross_entropy,
    huber_loss as huber_loss,
    kl_div as kl_div,
    l1_loss as l1_loss,
    mse_loss as mse_loss,
    nll_loss as nll_loss,
    smooth_l1_loss as smooth_l1_loss,
)
from fastnn.nn.functional.normalization import (
    group_norm as group_norm,
    instance_norm as instance_norm,
    layer_norm as layer_norm,
    local_response_norm as local_response_norm,
    normalize as normalize,
    rms_norm as rms_norm,
)
from fastnn.nn.functional.padding import pad as pad
from fastnn.nn.functional.pooling import (
    adaptive_avg_pool1d as adaptive_avg_pool1d,
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    adaptive_max_pool1d as adaptive_max_pool1d,
    adaptive_max_pool2d as adaptive_max_pool2d,
    avg_pool1d as avg_pool1d,
    avg_pool2d as avg_pool2d,
    fractional_max_pool2d as fractional_max_pool2d,
    lp_pool1d as lp_pool1d,
    lp_pool2d as lp_pool2d,
    max_pool1d as max_pool1d,
    max_pool2d as max_pool2d,
)
from fastnn.nn.functional.stochastic_depth import stochastic_depth as stochastic_depth
from fastnn.nn.functional.upsampling import (
    interpolate as interpolate,
    pixel_shuffle as pixel_shuffle,
    pixel_unshuffle as pixel_unshuffle,
)

__all__ = [*_exported(globals())]
