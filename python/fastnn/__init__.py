"""Neural networks on CPUs, with PyTorch's names."""

from fastnn import nn
from fastnn._grad_mode import enable_grad, no_grad

__all__ = ["enable_grad", "nn", "no_grad"]
