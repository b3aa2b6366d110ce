"""Ops whose forward and backward are written in Python."""

from __future__ import annotations

from typing import Any

from fastnn import _core


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
    cannot be planned, and runs eagerly.
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
