"""A tensor that a module trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn._core import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


class Parameter(Tensor):
    """A leaf tensor that registers itself when it is assigned to a module.

    Args:
        data: Tensor, or NumPy array. A tensor's storage is shared, and so is that of a writable float array in
            native byte order; any other array is copied.
        requires_grad: Whether gradients are computed for it.

    Raises:
        TypeError: ``data`` is of a type that cannot be differentiated.
    """

    def __new__(cls, data: Any, requires_grad: bool = True) -> Self:
        self = super().__new__(cls, data)
        self.requires_grad = requires_grad
        return self

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        # All of the work is done in __new__.
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = memo.get(id(self))
        if copied is None:
            copied = memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return copied

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
