"""Gradient clipping and noise, weights of limited norm, parameters as one vector; freezing, new heads, other states."""

from fastnn.nn.utils import fusion
from fastnn.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm
from fastnn.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from fastnn.nn.utils.freezing import freeze, unfreeze
from fastnn.nn.utils.head import replace_head
from fastnn.nn.utils.state import MatchedKeys, consume_prefix_in_state_dict_if_present, load_matching
from fastnn.nn.utils.treat import add_grad_noise_, max_norm_

__all__ = [
    "MatchedKeys",
    "add_grad_noise_",
    "clip_grad_norm_",
    "clip_grad_value_",
    "consume_prefix_in_state_dict_if_present",
    "freeze",
    "fusion",
    "get_total_norm",
    "load_matching",
    "max_norm_",
    "parameters_to_vector",
    "replace_head",
    "unfreeze",
    "vector_to_parameters",
]
