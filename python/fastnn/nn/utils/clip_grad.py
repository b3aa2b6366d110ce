"""Clipping gradients in place."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import check_number, check_tensors


def gradients_of(where: str, parameters: Tensor | Iterable[Tensor]) -> tuple[list[str], list[Tensor]]:
    """Return the gradients that there are, each once, and what they are called in messages.

    Raises:
        TypeError: Something is no tensor.
    """
    # One that is given twice, as a model's under two names may be, has one gradient.
    tensors = {id(tensor): tensor for tensor in check_tensors(where, "parameters", parameters)}
    named = [
        (f"gradient {number}", tensor.grad) for number, tensor in enumerate(tensors.values()) if tensor.grad is not None
    ]
    return [name for name, _ in named], [grad for _, grad in named]


def _norm(gradient: Tensor, norm_type: float) -> float:
    # In float64, so that the square of a large float32 does not overflow.
    values = np.abs(np.asarray(gradient.numpy(), np.float64)).ravel()
    if not values.size:
        return 0.0
    if math.isinf(norm_type):
        return float(values.max())
    return float(np.sum(values**norm_type) ** (1.0 / norm_type))


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Return the norm of all tensors together, as if they were one vector.

    Args:
        tensors: One or several.
        norm_type: p, above 0; ``inf`` for the greatest absolute value.
        error_if_nonfinite: Whether NaN and infinity are an error.

    Raises:
        ValueError: The norm is not finite, and ``error_if_nonfinite``; or ``norm_type`` is out of range.
    """
    norm_type = check_number("get_total_norm", "norm_type", norm_type)
    if not norm_type > 0:
        raise ValueError(f"get_total_norm: expected norm_type above 0; got {norm_type}")
    given = check_tensors("get_total_norm", "tensors", tensors)
    norms = np.array([] if norm_type == 2.0 else [_norm(tensor, norm_type) for tensor in given])
    if norm_type == 2.0:
        total = _core.total_norm(given)
    elif not norms.size:
        total = 0.0
    elif math.isinf(norm_type):
        total = float(norms.max())
    else:
        total = float(np.sum(norms**norm_type) ** (1.0 / norm_type))
    if error_if_nonfinite and not math.isfinite(total):
        raise ValueError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return _core.tensor(total)


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,  # noqa: ARG001
) -> Tensor:
    """Scale all gradients by ``min(1, max_norm / (norm + 1e-6))``, in place; the norm is that of all together.

    Args:
        parameters: One or several; those without a gradient are skipped.
        max_norm: The norm to keep to.
        norm_type: p, above 0; ``inf`` for the greatest absolute value.
        error_if_nonfinite: Whether NaN and infinity are an error; nothing is scaled then.
        foreach: Accepted for PyTorch's sake.

    Returns:
        The norm before scaling.

    Raises:
        ValueError: The norm is not finite, and ``error_if_nonfinite``; ``norm_type`` is out of range; or a gradient is
            read-only. Nothing is scaled then.
        TypeError: An argument is of another type.

    Source:
        Pascanu et al. 2013, https://arxiv.org/abs/1211.5063, Algorithm 1; the 1e-6 is PyTorch's.
    """
    max_norm = check_number("clip_grad_norm_", "max_norm", max_norm)
    names, gradients = gradients_of("clip_grad_norm_", parameters)
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    _core.check_writable("clip_grad_norm_", names, gradients)
    scale = max_norm / (total.item() + 1e-6)
    # A norm that is NaN makes all gradients NaN, as in PyTorch.
    if not scale >= 1.0:
        _core.scale_all("clip_grad_norm_", names, gradients, scale)
    return total


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor],
    clip_value: float,
    foreach: bool | None = None,  # noqa: ARG001
) -> None:
    """Hold every element of every gradient in ``[-clip_value, clip_value]``, in place.

    Args:
        parameters: One or several; those without a gradient are skipped.
        clip_value: The greatest absolute value.
        foreach: Accepted for PyTorch's sake.

    Raises:
        ValueError: A gradient is read-only. None is changed then.
        TypeError: An argument is of another type.
    """
    clip_value = check_number("clip_grad_value_", "clip_value", clip_value)
    names, gradients = gradients_of("clip_grad_value_", parameters)
    clipped = [gradient.clamp(-clip_value, clip_value) for gradient in gradients]
    _core.assign("clip_grad_value_", names, gradients, clipped)
