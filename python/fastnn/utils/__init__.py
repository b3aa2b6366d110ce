"""PyTorch's path to :mod:`fastnn.data`."""

from fastnn._exports import exported as _exported
from fastnn.utils import data as data

__all__ = [*_exported(globals(), "data")]
