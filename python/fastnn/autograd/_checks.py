"""Gradients against central differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import enable_grad, no_grad
from fastnn._types import check_items, check_tensors
from fastnn.autograd._gradient import grad

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _numerical(
    function: Callable[[], list[NDArray[np.float64]]], values: NDArray[np.float64], eps: float
) -> list[NDArray[np.float64]]:
    """Jacobians of each output by central differences, one row an element of ``values``, which is changed in place."""
    rows: list[list[NDArray[np.float64]]] = []
    for place in np.ndindex(values.shape):
        original = float(values[place])
        values[place] = original + eps
        above = function()
        values[place] = original - eps
        below = function()
        values[place] = original
        rows.append([(a - b).ravel() / (2 * eps) for a, b in zip(above, below, strict=True)])
    return [np.array(column) for column in zip(*rows, strict=True)]


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of ``func`` with central differences, element by element.

    Args:
        func: Of the inputs; returns a tensor or a tuple of tensors. It must be deterministic.
        inputs: Those that are float64 tensors and require grad are checked.
        eps: The step of the differences.
        atol: Difference that is allowed.
        rtol: Share of the number by which it may be greater.
        raise_exception: Whether to raise where the gradients differ, or to return ``False``.

    Returns:
        Whether they agree.

    Raises:
        ValueError: No input requires grad, or one that does is not float64.
        RuntimeError: They differ.
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else check_items("gradcheck", "inputs", inputs)
    checked = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have "
            "requires_grad=True."
        )
    for x in checked:
        if x.dtype != _core.float64:
            raise ValueError(f"gradcheck: expected inputs of dtype float64; got {x.dtype}")
        if not x.is_contiguous():
            raise ValueError("gradcheck: expected contiguous inputs")

    def outputs() -> list[Tensor]:
        result = func(*arguments)
        tensors = check_tensors("gradcheck", "the result of func", result)
        return [y for y in tensors if y.is_floating_point()]

    def values() -> list[NDArray[np.float64]]:
        with no_grad():
            return [np.array(y.detach().numpy(), np.float64) for y in outputs()]

    shapes = [y.shape for y in outputs()]
    numericals = [_numerical(values, x.detach().numpy(), eps) for x in checked]
    for (i, x), (j, shape) in itertools.product(enumerate(checked), enumerate(shapes)):
        numerical = numericals[i]
        columns = []
        y = outputs()[j]
        for place in np.ndindex(shape):
            seed = _core.zeros(*shape, dtype=y.dtype)
            seed.numpy()[place] = 1.0
            found = grad(y, x, seed, retain_graph=True, allow_unused=True)[0] if y.requires_grad else None
            columns.append(np.zeros(x.numel()) if found is None else np.array(found.numpy()).ravel())
        analytical = np.array(columns).T.reshape(x.numel(), -1)
        expected = numerical[j].reshape(x.numel(), -1) if numerical else np.zeros((0, 0))
        if x.numel() and not np.allclose(analytical, expected, rtol=rtol, atol=atol):
            if not raise_exception:
                return False
            raise RuntimeError(
                f"Jacobian mismatch for output {j} with respect to input {i},\n"
                f"numerical:{expected}\nanalytical:{analytical}\n"
            )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the second derivatives of ``func`` with central differences of its first.

    The gradients of the inputs, ``J^T @ grad_outputs``, are checked by :func:`gradcheck` as a function of the inputs
    and of ``grad_outputs``.

    Args:
        func: Of the inputs; returns a tensor or a tuple of tensors. It must be deterministic.
        inputs: Those that are float64 tensors and require grad are checked.
        grad_outputs: The gradient of each output that has one, float64; by default uneven constants, so that a
            gradient in the wrong place shows. (PyTorch draws them.)
        eps: The step of the differences.
        atol: Difference that is allowed.
        rtol: Share of the number by which it may be greater.
        raise_exception: Whether to raise where the derivatives differ, or to return ``False``.

    Returns:
        Whether they agree.

    Raises:
        ValueError: No input requires grad, or one that does is not float64.
        RuntimeError: They differ; or an op has no second derivative.
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else check_items("gradgradcheck", "inputs", inputs)

    def outputs(values: Sequence[Any]) -> list[Tensor]:
        result = func(*values)
        tensors = check_tensors("gradgradcheck", "the result of func", result)
        return [y for y in tensors if y.is_floating_point() and y.requires_grad]

    if grad_outputs is None:
        seeds = []
        for y in outputs(arguments):
            weights = (0.3 + 0.7 * ((np.arange(y.numel()) * 7 + 3) % 11) / 11).reshape(y.shape)
            seeds.append(_core.tensor(weights, dtype=y.dtype, requires_grad=True))
    else:
        seeds = [g.detach().requires_grad_() for g in check_tensors("gradgradcheck", "grad_outputs", grad_outputs)]

    @enable_grad()
    def gradients(*values: Any) -> tuple[Tensor, ...]:
        count = len(arguments)
        wanted = [x for x in values[:count] if isinstance(x, Tensor) and x.requires_grad]
        found = grad(outputs(values[:count]), wanted, list(values[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(gradients, [*arguments, *seeds], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)
