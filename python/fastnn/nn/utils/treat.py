"""Noise on gradients, and weights of limited norm, in place."""

from __future__ import annotations

from collections.abc import Iterable

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import check_number, check_tensors, is_floating
from fastnn.nn.utils.clip_grad import gradients_of


@no_grad()
def add_grad_noise_(parameters: Tensor | Iterable[Tensor], std: float) -> None:
    """Add normal numbers to every gradient, in place: ``grad + std * z`` with ``z ~ N(0, 1)``.

    Args:
        parameters: One or several; those without a gradient are skipped.
        std: The standard deviation, at least 0. In the paper it is ``sqrt(eta / (1 + t)**0.55)`` at step t, from 0.

    Raises:
        ValueError: ``std`` is negative, or not finite, or a gradient is read-only. None is changed then.
        TypeError: ``std`` is not a number, or a parameter is no tensor.

    Source:
        Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807, equation 1. ``TrainStep(..., grad_noise=eta)`` does
        it inside the planned step.
    """
    std = check_number("add_grad_noise_", "std", std)
    if not 0 <= std < float("inf"):
        raise ValueError(f"add_grad_noise_: expected std of at least 0, and finite; got {std}")
    names, gradients = gradients_of("add_grad_noise_", parameters)
    _core.check_writable("add_grad_noise_", names, gradients)
    noisy = [gradient + _core.randn_like(gradient) * std for gradient in gradients]
    _core.assign("add_grad_noise_", names, gradients, noisy)


@no_grad()
def max_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> None:
    """Shorten every row of every weight to a 2-norm of at most ``max_norm``, in place.

    A row holds the weights into one unit; it is multiplied by ``max_norm / (norm + 1e-7)`` if its norm is greater.
    Parameters of fewer than 2 dimensions are left alone. To be called after the optimizer's step.

    Args:
        parameters: One or several.
        max_norm: The greatest norm, above 0.

    Raises:
        ValueError: ``max_norm`` is not above 0, or a weight is read-only. None is changed then.
        TypeError: ``max_norm`` is not a number, or a parameter is no tensor of floating point numbers.

    Source:
        Hinton et al. 2012, https://arxiv.org/abs/1207.0580, section 2, with the formula of ``torch.renorm(weight, 2, 0,
        max_norm)``. Keras' ``MaxNorm`` takes columns, since its weights are transposed. ``TrainStep(..., max_norm=c)``
        does it inside the planned step.
    """
    max_norm = check_number("max_norm_", "max_norm", max_norm)
    if not max_norm > 0:
        raise ValueError(f"max_norm_: expected max_norm above 0; got {max_norm}")
    weights = [
        (f"parameter {number}", parameter)
        for number, parameter in enumerate(check_tensors("max_norm_", "parameters", parameters))
        if parameter.dim() >= 2
    ]
    for name, weight in weights:
        if not is_floating(weight):
            raise TypeError(f"max_norm_: expected {name} to be of float32 or float64; got {weight.dtype}")
    targets = [weight for _, weight in weights]
    limited = [weight.detach().clone() for weight in targets]
    for weight in limited:
        _core.limit_row_norms(weight, max_norm)
    _core.assign("max_norm_", [name for name, _ in weights], targets, limited)
