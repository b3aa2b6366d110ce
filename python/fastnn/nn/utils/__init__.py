"""Gradient clipping and noise, weights of limited norm, freezing, and parameters as one vector."""

from fastnn.nn.utils import fusion
from fastnn.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm
from fastnn.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from fastnn.nn.utils.freezing import freeze, unfreeze
from fastnn.nn.utils.treat import add_grad_noise_, max_norm_

__all__ = [
    "add_grad_noise_",
    "clip_grad_norm_",
    "clip_grad_value_",
    "freeze",
    "fusion",
    "get_total_norm",
    "max_norm_",
    "parameters_to_vector",
    "unfreeze",
    "vector_to_parameters",
]
