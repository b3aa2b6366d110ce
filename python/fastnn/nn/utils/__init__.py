"""Gradient clipping, freezing, and parameters as one vector."""

from fastnn.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm
from fastnn.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from fastnn.nn.utils.freezing import freeze, unfreeze

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "freeze",
    "get_total_norm",
    "parameters_to_vector",
    "unfreeze",
    "vector_to_parameters",
]
