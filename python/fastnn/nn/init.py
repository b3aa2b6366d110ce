"""Initial values, written in place; no gradients are recorded.

Draws come from the generator that ``fastnn.manual_seed`` sets.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from fastnn import _core
from fastnn._core import Tensor
from fastnn._grad_mode import no_grad
from fastnn._types import TensorLike, check_instance, check_number, shape_of
from fastnn.nn import _lsuv
from fastnn.nn.module import Module

_T = TypeVar("_T", bound=Tensor)
_M = TypeVar("_M", bound=Module)
_SIMPLE_GAINS = {"linear": 1.0, "identity": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through an activation.

    Args:
        nonlinearity: ``"linear"``, ``"identity"``, ``"sigmoid"``: 1; ``"tanh"``: 5/3; ``"relu"``: √2; ``"leaky_relu"``:
            ``√(2 / (1 + param²))``; ``"selu"``: 3/4.
        param: Slope of ``"leaky_relu"``; ``None`` for 0.01.

    Raises:
        ValueError: Another name, or a slope that is no number.
    """
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ValueError(f"negative_slope {param} not a valid number")
        slope = 0.01 if param is None else check_number("calculate_gain", "param", param)
        return math.sqrt(2.0 / (1 + slope * slope))
    if not isinstance(nonlinearity, str) or nonlinearity not in _SIMPLE_GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _SIMPLE_GAINS[nonlinearity]


def _check(where: str, tensor: object) -> None:
    check_instance(where, "tensor", tensor, Tensor, "a Tensor")


def _fans(tensor: Tensor) -> tuple[int, int]:
    _check("init", tensor)
    shape = shape_of(tensor)
    if len(shape) < 2:
        raise ValueError("Fan in and fan out cannot be computed for tensor with fewer than 2 dimensions")
    receptive_field = math.prod(shape[2:])
    return shape[1] * receptive_field, shape[0] * receptive_field


def _fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower() if isinstance(mode, str) else mode
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _fans(tensor)[mode == "fan_out"]


def _scaled(where: str, gain: float, variance: float, fan: float) -> float:
    """``gain * √(variance / fan)``; of a tensor without elements, which has no fan, 0."""
    gain = check_number(where, "gain", gain)
    return gain * math.sqrt(variance / fan) if fan else 0.0


@no_grad()
def uniform_(tensor: _T, a: float = 0.0, b: float = 1.0) -> _T:
    """Draw from U(a, b)."""
    _check("uniform_", tensor)
    return tensor.uniform_(a, b)


@no_grad()
def normal_(tensor: _T, mean: float = 0.0, std: float = 1.0) -> _T:
    """Draw from N(mean, std²)."""
    _check("normal_", tensor)
    return tensor.normal_(mean, std)


@no_grad()
def constant_(tensor: _T, val: float) -> _T:
    """Fill with ``val``."""
    _check("constant_", tensor)
    return tensor.fill_(val)


def ones_(tensor: _T) -> _T:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: _T) -> _T:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def _write(tensor: _T, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> _T:
    with no_grad():
        return tensor.copy_(_core.as_tensor(np.ascontiguousarray(values)))


def _standard_normal(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(_core.empty(*shape, dtype=_core.float64).normal_(0.0, 1.0).numpy())


def eye_(tensor: _T) -> _T:
    """Set a matrix to the identity, cut off or filled up with 0.

    Raises:
        ValueError: Not two dimensions.
    """
    _check("eye_", tensor)
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = shape_of(tensor)
    return _write(tensor, np.eye(rows, columns))


def xavier_uniform_(tensor: _T, gain: float = 1.0) -> _T:
    """Draw from ``U(-b, b)`` with ``b = gain * √(6 / (fan_in + fan_out))``.

    Source:
        Glorot & Bengio 2010, http://proceedings.mlr.press/v9/glorot10a.html, equation 16: the variance of
        :func:`xavier_normal_`, as a uniform distribution. Keras calls it ``glorot_uniform``.
    """
    bound = _scaled("xavier_uniform_", gain, 6.0, sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: _T, gain: float = 1.0) -> _T:
    """Draw from ``N(0, s²)`` with ``s = gain * √(2 / (fan_in + fan_out))``.

    Source:
        Glorot & Bengio 2010, http://proceedings.mlr.press/v9/glorot10a.html, equation 12. Keras truncates at 2 s. Where
        texts write a variance of ``1 / fan_in``, they leave out the backward pass: that is ``kaiming_normal_`` with
        ``nonlinearity="linear"``; for ``4 / (fan_in + fan_out)`` see :func:`xavier_normal_doubled_`.
    """
    return normal_(tensor, 0.0, _scaled("xavier_normal_", gain, 2.0, sum(_fans(tensor))))


def xavier_normal_doubled_(tensor: _T) -> _T:
    """Draw from ``N(0, s²)`` with ``s² = 4 / (fan_in + fan_out)``.

    Twice the variance of :func:`xavier_normal_`, or its ``gain=√2``: for ReLU, which lets half of the variance through,
    it is :func:`kaiming_normal_` with the mean of both fans.

    Args:
        tensor: Two dimensions or more, outputs first.

    Raises:
        ValueError: Fewer than two dimensions.

    Source:
        Taught under Xavier's name or He's; the factor 2 is that of He et al. 2015, https://arxiv.org/abs/1502.01852,
        section 2.2. Keras has it as ``VarianceScaling(2, "fan_avg", "untruncated_normal")``.
    """
    return normal_(tensor, 0.0, _scaled("xavier_normal_doubled_", 1.0, 4.0, sum(_fans(tensor))))


def kaiming_uniform_(tensor: _T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> _T:
    """Draw from ``U(-b, b)`` with ``b = gain * √(3 / fan)``.

    Args:
        tensor: Two dimensions or more, outputs first.
        a: Slope, for the gain of ``"leaky_relu"``.
        mode: ``"fan_in"`` keeps the variance forward, ``"fan_out"`` backward.
        nonlinearity: See :func:`calculate_gain`.

    Raises:
        ValueError: Fewer than two dimensions, or another mode or nonlinearity.

    Source:
        He et al. 2015, https://arxiv.org/abs/1502.01852, equation 10, as a uniform distribution; ``mode="fan_out"`` is
        equation 14. PyTorch's default gain, of ``"leaky_relu"`` with slope 0, is that of ReLU.
    """
    bound = _scaled("kaiming_uniform_", calculate_gain(nonlinearity, a), 3.0, _fan(tensor, mode))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: _T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> _T:
    """Draw from ``N(0, s²)`` with ``s = gain / √fan``. Arguments are those of :func:`kaiming_uniform_`.

    Source:
        He et al. 2015, https://arxiv.org/abs/1502.01852, equation 10. Keras truncates at 2 s.
    """
    return normal_(tensor, 0.0, _scaled("kaiming_normal_", calculate_gain(nonlinearity, a), 1.0, _fan(tensor, mode)))


def orthogonal_(tensor: _T, gain: float = 1) -> _T:
    """Set a matrix to ``gain`` times one with orthonormal rows or columns; further dimensions count as columns.

    Raises:
        ValueError: Fewer than two dimensions.

    Source:
        Saxe et al. 2014, https://arxiv.org/abs/1312.6120.
    """
    _check("orthogonal_", tensor)
    gain, shape = check_number("orthogonal_", "gain", gain), shape_of(tensor)
    if len(shape) < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if 0 in shape:
        return tensor
    rows, columns = shape[0], math.prod(shape[1:])
    draws = _standard_normal(max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(draws)
    # The signs of R's diagonal make Q uniform over the orthogonal matrices.
    q = q * np.sign(np.diag(r))
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(shape))


def trunc_normal_(tensor: _T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> _T:
    """Draw from N(mean, std²), again and again until the value is in [a, b]. The bounds are absolute.

    Raises:
        ValueError: ``std`` is not above 0, or the bounds hold almost none of the distribution.
    """
    _check("trunc_normal_", tensor)
    for name, value in {"mean": mean, "std": std, "a": a, "b": b}.items():
        check_number("trunc_normal_", name, value)
    if not std > 0:
        raise ValueError(f"trunc_normal_: expected std above 0; got {std}")
    low, high = (a - mean) / std, (b - mean) / std
    held = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    if not held > 1e-3:
        raise ValueError(f"trunc_normal_: expected bounds that hold 0.1 % of the distribution; got a={a} and b={b}")
    values = _standard_normal(math.prod(shape_of(tensor)))
    outside = np.flatnonzero((values < low) | (values > high))
    while outside.size:
        values[outside] = _standard_normal(outside.size)
        outside = outside[(values[outside] < low) | (values[outside] > high)]
    return _write(tensor, (mean + std * values).reshape(shape_of(tensor)))


def sparse_(tensor: _T, sparsity: float, std: float = 0.01) -> _T:
    """Draw from ``N(0, std²)``, and set ``⌈sparsity * rows⌉`` random elements of each column to 0.

    Raises:
        ValueError: Not two dimensions, or ``sparsity`` outside [0, 1].

    Source:
        Martens 2010, https://www.cs.toronto.edu/~jmartens/docs/Deep_HessianFree.pdf, section 5.
    """
    _check("sparse_", tensor)
    check_number("sparse_", "sparsity", sparsity)
    check_number("sparse_", "std", std)
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: expected sparsity in [0, 1]; got {sparsity}")
    rows, columns = shape_of(tensor)
    values = _standard_normal(rows, columns) * std
    zeros = math.ceil(sparsity * rows)
    for column in range(columns):
        values[_core.permutation(rows)[:zeros], column] = 0.0
    return _write(tensor, values)


def lsuv_(model: _M, x: TensorLike, target_std: float = 1.0, tol: float = 0.1, max_iter: int = 10) -> _M:
    """Start from orthonormal weights, and scale layer after layer until its outputs have unit variance on a batch::

        weight ← orthonormal;  then, from the first layer to the last, while |Var(output) / target_std² - 1| ≥ tol:
        weight ← weight * target_std / √Var(output)

    Layers are the modules with a ``weight`` of two dimensions or more, in the order in which they run; their biases
    become 0. The model runs as in evaluation mode, and keeps its modes and buffers.

    Args:
        model: The model.
        x: A batch of inputs, ``(n, *)``; some hundred rows.
        target_std: Standard deviation to reach, above 0.
        tol: Error of the variance that is allowed, relative, above 0.
        max_iter: How often a layer is scaled at most, at least 1.

    Returns:
        The model.

    Raises:
        ValueError: A setting is out of range, no layer has weights, or a layer's outputs do not vary.

    Source:
        Mishkin & Matas 2016, https://arxiv.org/abs/1511.06422, Algorithm 1, whose target is 1.
    """

    def start(layer: Module) -> None:
        orthogonal_(layer.weight)
        if layer._parameters.get("bias") is not None:
            zeros_(layer.bias)

    return _lsuv.scale_layers(model, x, target_std, tol, max_iter, start)
