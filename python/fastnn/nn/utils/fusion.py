"""A batch norm that no longer learns, folded into the layer before it."""

from __future__ import annotations

import copy
from typing import Any, Protocol, TypeVar

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn.nn.batchnorm import NormBase
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter

_M = TypeVar("_M", bound=Module)


class _Weighted(Protocol):
    weight: Any
    bias: Any


def _statistics(where: str, layer: Module, bn: NormBase) -> tuple[Tensor, Tensor]:
    if layer.training or bn.training:
        raise ValueError(f"{where}: expected both modules in evaluation mode; got one in training mode")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError(f"{where}: expected a batch norm with running statistics; got none")
    return bn.running_mean, bn.running_var


def _fold(
    weight: Tensor, bias: Tensor | None, moments: tuple[Tensor, Tensor], scaling: tuple[Any, ...], dim: int
) -> tuple[Parameter, Parameter]:
    (mean, var), (eps, bn_weight, bn_bias) = moments, scaling
    with no_grad():
        scale = (var + eps).rsqrt()
        if bn_weight is not None:
            scale = bn_weight * scale
        shape = [1] * weight.ndim
        shape[dim] = -1
        shift = -mean if bias is None else bias - mean
        shifted = shift * scale
        folded = weight * scale.reshape(shape), shifted if bn_bias is None else shifted + bn_bias
    return (
        Parameter(folded[0], requires_grad=weight.requires_grad),
        Parameter(folded[1], requires_grad=bias is not None and bias.requires_grad),
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Return weight and bias of the convolution that does what a convolution and a batch norm do::

        weight[o] = conv_w[o] * s[o]
        bias[o] = (conv_b[o] - bn_rm[o]) * s[o] + bn_b[o]      s = bn_w / sqrt(bn_rv + bn_eps)

    Args:
        conv_w: ``(out, in / groups, *)``; with ``transpose``, ``(in, out, *)``.
        conv_b: ``(out,)``; ``None`` for 0.
        bn_rm: The running mean, ``(out,)``.
        bn_rv: The running variance, ``(out,)``.
        bn_eps: What is added to the variance.
        bn_w: ``(out,)``; ``None`` for 1.
        bn_b: ``(out,)``; ``None`` for 0.
        transpose: Whether the convolution is a transposed one.

    Returns:
        New parameters; those that are given stay as they are.

    Raises:
        ValueError: Shapes do not match.

    Source:
        Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.
    """
    return _fold(conv_w, conv_b, (bn_rm, bn_rv), (bn_eps, bn_w, bn_b), 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Return weight and bias of the linear layer that does what a linear layer and a batch norm do.

    See :func:`fuse_conv_bn_weights`.

    Args:
        linear_w: ``(out, in)``.
        linear_b: ``(out,)``; ``None`` for 0.
        bn_rm: The running mean, ``(out,)`` or ``(1,)``.
        bn_rv: The running variance, likewise.
        bn_eps: What is added to the variance.
        bn_w: Likewise; ``None`` for 1.
        bn_b: Likewise; ``None`` for 0.

    Returns:
        New parameters; those that are given stay as they are.

    Raises:
        ValueError: Shapes do not match.
    """
    if linear_b is None:
        # As long as the output, even if the batch norm has one feature.
        linear_b = _core.zeros(linear_w.shape[0], dtype=linear_w.dtype)
    return _fold(linear_w, linear_b, (bn_rm, bn_rv), (bn_eps, bn_w, bn_b), 0)


def _with(layer: _M, folded: tuple[Parameter, Parameter]) -> _M:
    fused = copy.deepcopy(layer)
    fused.register_parameter("weight", folded[0])
    fused.register_parameter("bias", folded[1])
    return fused


def fuse_conv_bn_eval(conv: _M, bn: NormBase, transpose: bool = False) -> _M:
    """Return a convolution that does what ``bn(conv(x))`` does in evaluation mode.

    Args:
        conv: The convolution.
        bn: The batch norm behind it, with running statistics.
        transpose: Whether ``conv`` is a transposed convolution, which then has one group.

    Returns:
        A copy of ``conv`` with other parameters.

    Raises:
        ValueError: A module is in training mode, where PyTorch raises an AssertionError; there are no running
            statistics; or shapes do not match.

    Source:
        Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.
    """
    mean, var = _statistics("fuse_conv_bn_eval", conv, bn)
    layer: _Weighted = conv
    return _with(conv, fuse_conv_bn_weights(layer.weight, layer.bias, mean, var, bn.eps, bn.weight, bn.bias, transpose))


def fuse_linear_bn_eval(linear: Linear, bn: NormBase) -> Linear:
    """Return a linear layer that does what ``bn(linear(x))`` does in evaluation mode, for x of shape ``(n, in)``.

    Args:
        linear: The linear layer.
        bn: The batch norm behind it, with running statistics of as many features, or of one.

    Returns:
        A copy of ``linear`` with other parameters.

    Raises:
        ValueError: A module is in training mode, where PyTorch raises an AssertionError; there are no running
            statistics; or the numbers of features differ.
    """
    mean, var = _statistics("fuse_linear_bn_eval", linear, bn)
    if bn.num_features not in {linear.out_features, 1}:
        raise ValueError(
            f"fuse_linear_bn_eval: expected a batch norm of {linear.out_features} features or 1; got {bn.num_features}"
        )
    return _with(linear, fuse_linear_bn_weights(linear.weight, linear.bias, mean, var, bn.eps, bn.weight, bn.bias))
