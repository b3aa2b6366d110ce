"""Gradients: switching them off, asking for them, ops written in Python, checking them, derivatives of derivatives."""

from fastnn._core import is_grad_enabled as is_grad_enabled
from fastnn._exports import exported as _exported
from fastnn._grad_mode import (
    enable_grad as enable_grad,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from fastnn.autograd import functional as functional
from fastnn.autograd._anomaly import (
    detect_anomaly as detect_anomaly,
    set_detect_anomaly as set_detect_anomaly,
)
from fastnn.autograd._checks import (
    gradcheck as gradcheck,
    gradgradcheck as gradgradcheck,
)
from fastnn.autograd._function import Function as Function
from fastnn.autograd._gradient import grad as grad

__all__ = [*_exported(globals(), "functional")]
