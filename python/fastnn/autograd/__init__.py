"""Gradients: switching them off, asking for them, ops written in Python, checking them, derivatives of derivatives."""

from fastnn._core import is_grad_enabled
from fastnn._grad_mode import enable_grad, no_grad, set_grad_enabled
from fastnn.autograd import functional
from fastnn.autograd._anomaly import detect_anomaly, set_detect_anomaly
from fastnn.autograd._checks import gradcheck, gradgradcheck
from fastnn.autograd._function import Function
from fastnn.autograd._gradient import grad

__all__ = [
    "Function",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]
