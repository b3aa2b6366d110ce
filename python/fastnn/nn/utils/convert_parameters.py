"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import check_tensors, shape_of


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters, flattened, one after another.

    Raises:
        ValueError: There are none.
    """
    flat = [parameter.flatten() for parameter in check_tensors("parameters_to_vector", "parameters", parameters)]
    if not flat:
        raise ValueError("parameters_to_vector: expected at least one parameter; got none")
    return _core.cat(flat)


@no_grad()
def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the slices of a vector into the parameters, in place. The vector's length must be their size, all told.

    Raises:
        TypeError: ``vec`` is not a tensor.
        ValueError: It has another length, or a parameter is read-only; nothing is copied.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected Tensor, but got: {type(vec).__name__}")
    targets = check_tensors("vector_to_parameters", "parameters", parameters)
    size = sum(target.numel() for target in targets)
    if shape_of(vec) != (size,):
        raise ValueError(f"vector_to_parameters: expected a vector of shape ({size},); got {shape_of(vec)}")
    parts = []
    start = 0
    for target in targets:
        parts.append(vec[start : start + target.numel()].reshape(*shape_of(target)))
        start += target.numel()
    _core.assign("vector_to_parameters", [f"parameter {number}" for number in range(len(targets))], targets, parts)
