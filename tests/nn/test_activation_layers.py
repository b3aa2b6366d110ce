"""Every activation at its kinks, at infinities and at NaN: values and gradients are PyTorch's."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.nn import activation

# Layers that need arguments, or have others than the defaults to be tried.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "ELU": [{}, {"alpha": 0.5}, {"alpha": -0.5}],
    "GELU": [{}, {"approximate": "tanh"}],
    "Hardtanh": [{}, {"min_val": -3.0, "max_val": 0.5}],
    "LeakyReLU": [{}, {"negative_slope": 0.25}, {"negative_slope": -0.25}, {"negative_slope": 0.0}],
    "Softplus": [{}, {"beta": 2.0, "threshold": 6.0}],
}
# Functions of several elements.
NOT_ELEMENTWISE = {"LogSoftmax", "Softmax", "PReLU"}
LAYERS = [
    name
    for name, layer in inspect.getmembers(activation, inspect.isclass)
    if issubclass(layer, nn.Module) and layer.__module__ == activation.__name__ and name[0] != "_"
]
CASES = [(name, settings) for name in LAYERS if name not in NOT_ELEMENTWISE for settings in SETTINGS.get(name, [{}])]
POINTS = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.0,
    -1.0,
    3.0,
    -3.0,
    6.0,
    20.0,
    20.5,
    -20.0,
    100.0,
    -100.0,
    math.inf,
    -math.inf,
    math.nan,
]


def test_every_elementwise_layer_is_public_and_tried() -> None:
    assert len(CASES) >= 20
    assert all(hasattr(nn, name) for name in LAYERS)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("grad", [1.0, -2.5])
def test_kinks_and_infinities_are_pytorchs(name: str, settings: dict[str, Any], dtype: str, grad: float) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    points = np.array(POINTS, dtype)
    if name == "GELU":  # PyTorch's erf of a vector of float32 is NaN at infinity
        points = points[points != math.inf]
    ours, theirs = fnn.tensor(points, requires_grad=True), torch.tensor(points, requires_grad=True)
    y, expected = getattr(nn, name)(**settings)(ours), getattr(torch.nn, name)(**settings)(theirs)
    y.backward(fnn.full(y.shape, grad, dtype=y.dtype))
    expected.backward(torch.full(expected.shape, grad, dtype=expected.dtype))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=tolerance, atol=tolerance)
