"""Gradients on request."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_instance, check_items, check_tensors


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    *,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of ``outputs`` with respect to ``inputs``, and leave every ``grad`` as it is.

    For every input x::

        grad_x = sum over outputs y of (dy / dx)^T @ grad_y

    With ``create_graph`` the computation of the gradients is itself on the tape, so that they can be differentiated
    again, to any order: a gradient penalty, a Hessian. An op that has no further derivative raises then, or when that
    is asked for.

    Args:
        outputs: What is differentiated.
        inputs: With respect to what: leaves, or results.
        grad_outputs: The gradient of each output; may be ``None`` for scalars.
        retain_graph: Whether to differentiate again later; the default is ``create_graph``.
        create_graph: Whether the gradients can be differentiated. They hold the graph of ``outputs`` then.
        allow_unused: Whether an input may have no influence; its gradient is then ``None``. The default is
            ``materialize_grads``.
        materialize_grads: Whether a gradient that would be ``None`` is zeros instead.

    Returns:
        A gradient for each input.

    Raises:
        RuntimeError: An input without influence, or that does not require grad; or an op without a derivative.
        ValueError: ``allow_unused=False`` together with ``materialize_grads=True``.

    Example:
        >>> import fastnn as fnn
        >>> x = fnn.tensor([1.0, 2.0], requires_grad=True)
        >>> (slope,) = fnn.autograd.grad((x**3).sum(), x, create_graph=True)
        >>> slope.detach()
        tensor([ 3., 12.])
        >>> fnn.autograd.grad(slope.sum(), x)
        (tensor([ 6., 12.]),)
    """
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: expected allow_unused=True or None with materialize_grads=True; got False")
    roots, wanted = check_tensors("grad", "outputs", outputs), check_tensors("grad", "inputs", inputs)
    given = [grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs
    seeds = [None] * len(roots) if given is None else check_items("grad", "grad_outputs", given, "a Tensor or several")
    for seed in seeds:
        check_instance("grad", "grad_outputs", seed, (Tensor, type(None)), "Tensors or None")
    retain = create_graph if retain_graph is None else retain_graph
    unused = materialize_grads if allow_unused is None else allow_unused
    found = _core.grad(roots, wanted, seeds, retain, create_graph, unused)
    if materialize_grads:
        return tuple(_core.zeros_like(x) if g is None else g for x, g in zip(wanted, found, strict=True))
    return tuple(found)
