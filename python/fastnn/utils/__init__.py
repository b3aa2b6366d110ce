"""PyTorch's path to :mod:`fastnn.data`."""

from fastnn.utils import data

__all__ = ["data"]
