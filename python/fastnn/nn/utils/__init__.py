"""Gradient clipping and noise, weights of limited norm, parameters as one vector; freezing, new heads, other states."""

from fastnn._exports import exported as _exported
from fastnn.nn.utils import fusion as fusion
from fastnn.nn.utils.clip_grad import (
    clip_grad_norm_ as clip_grad_norm_,
    clip_grad_value_ as clip_grad_value_,
    get_total_norm as get_total_norm,
)
from fastnn.nn.utils.convert_parameters import (
    parameters_to_vector as parameters_to_vector,
    vector_to_parameters as vector_to_parameters,
)
from fastnn.nn.utils.freezing import (
    freeze as freeze,
    unfreeze as unfreeze,
)
from fastnn.nn.utils.head import replace_head as replace_head
from fastnn.nn.utils.state import (
    MatchedKeys as MatchedKeys,
    consume_prefix_in_state_dict_if_present as consume_prefix_in_state_dict_if_present,
    load_matching as load_matching,
)
from fastnn.nn.utils.treat import (
    add_grad_noise_ as add_grad_noise_,
    max_norm_ as max_norm_,
)

__all__ = [*_exported(globals(), "fusion")]
