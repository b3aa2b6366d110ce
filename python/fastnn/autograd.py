"""Gradients: switching them off, asking for them, ops written in Python, and checking them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import enable_grad, no_grad, set_grad_enabled
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

__all__ = [
    "Function",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]

is_grad_enabled = _core.is_grad_enabled


class Function:
    """An op whose forward and backward are written in Python::

        class Cube(fastnn.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return 3 * x**2 * grad

        y = Cube.apply(x)

    ``forward`` runs without recording. ``backward`` gets the gradient of every output and returns one for every
    argument of ``forward``, ``None`` for those that need none (see ``ctx.needs_input_grad``). A step in which one runs
    can not be planned, and runs eagerly.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs: a tensor or a tuple of tensors."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradient of every argument of ``forward``."""
        raise NotImplementedError("You must implement the backward function for custom autograd.Function.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run it, and put it on the tape."""
        return _core.apply_function(cls, *args, **kwargs)


def _list(tensors: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of ``outputs`` with respect to ``inputs``, and leave every ``grad`` as it is.

    Args:
        outputs: What is differentiated.
        inputs: With respect to what: leaves, or results.
        grad_outputs: The gradient of each output; may be ``None`` for scalars.
        retain_graph: Whether to differentiate again later.
        create_graph: Not supported: fastnn has first derivatives only.
        allow_unused: Whether an input may have no influence; its gradient is then ``None``.

    Raises:
        RuntimeError: An input without influence, or that does not require grad; or ``create_graph``.
    """
    if create_graph:
        raise RuntimeError("grad: expected create_graph=False; fastnn has first derivatives only")
    roots = _list(outputs)
    seeds = (
        [None] * len(roots)
        if grad_outputs is None
        else [grad_outputs]
        if isinstance(grad_outputs, Tensor)
        else list(grad_outputs)
    )
    return tuple(_core.grad(roots, _list(inputs), seeds, bool(retain_graph), bool(allow_unused)))


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
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
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
        tensors = [result] if isinstance(result, Tensor) else list(result)
        return [y for y in tensors if y.is_floating_point()]

    def values() -> list[NDArray[np.float64]]:
        with no_grad():
            return [np.array(y.detach().numpy(), np.float64) for y in outputs()]

    shapes = [y.shape for y in outputs()]
    for (i, x), (j, shape) in itertools.product(enumerate(checked), enumerate(shapes)):
        numerical = _numerical(values, x.detach().numpy(), eps)
        columns = []
        for place in np.ndindex(shape):
            y = outputs()[j]
            seed = np.zeros(shape)
            seed[place] = 1.0
            found = grad(y, x, _core.tensor(seed, dtype=y.dtype), allow_unused=True)[0] if y.requires_grad else None
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


class set_detect_anomaly:  # noqa: N801
    """Look for NaN in every backward from now on or not; as a context manager, until the end of the ``with`` block.

    A backward then raises RuntimeError where an op's gradient becomes NaN, or at once if the loss is NaN. The error
    names the op, the layer it ran in, and, if NaN began in the forward pass, the op and the layer that made the first
    one. Steps of a ``TrainStep`` run eagerly meanwhile, and every tensor is read once more: for debugging only.

    Args:
        mode: Whether to look, in all threads.
        check_nan: ``False`` to look for nothing after all.

    Raises:
        TypeError: ``mode`` or ``check_nan`` is no bool.

    Source:
        PyTorch, which does not look at the loss, and prints the forward pass' traceback instead.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        for name, value in (("mode", mode), ("check_nan", check_nan)):
            if not isinstance(value, bool):
                raise TypeError(f"set_detect_anomaly: expected {name} to be a bool; got {value!r}")
        self._previous = _core.is_anomaly_enabled()
        self._mode = mode and check_nan
        self._set(self._mode)

    @staticmethod
    def _set(mode: bool) -> None:
        _core.set_detect_anomaly(mode)
        # So that every module's call notes which layer runs.
        Module._hooked = mode
        _core.bump_config()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._set(self._previous)


class detect_anomaly(set_detect_anomaly):  # noqa: N801
    """Look for NaN in every backward within a ``with`` block. See :class:`set_detect_anomaly`.

    Args:
        check_nan: ``False`` to look for nothing after all.
    """

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)
        self._set(self._previous)

    def __enter__(self) -> Self:
        self._previous = _core.is_anomaly_enabled()
        self._set(self._mode)
        return self
