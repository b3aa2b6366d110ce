"""Gates and products: values against float64 formulas, and what only a product can learn."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

RNG = np.random.default_rng(0)
F64 = fnn.float64


@pytest.fixture(autouse=True)
def _seed() -> None:
    fnn.manual_seed(7)


def array(tensor: fnn.Tensor) -> np.ndarray:
    return np.asarray(tensor.detach())


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("shape", [(1, 7), (33, 7), (2, 5, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_gated_linear(shape: tuple[int, ...], bias: bool) -> None:
    layer = nn.GatedLinear(7, 5, bias, dtype=F64)
    x = RNG.normal(size=shape)
    w, v = np.split(array(layer.linear.weight), 2)
    b, c = np.split(array(layer.linear.bias), 2) if bias else (0, 0)
    np.testing.assert_allclose(array(layer(x)), (x @ w.T + b) * sigmoid(x @ v.T + c), rtol=1e-12)


def test_glu_is_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    x = RNG.normal(size=(4, 6, 3))
    for dim in (0, 1, -2):
        np.testing.assert_allclose(array(nn.GLU(dim)(x)), torch.nn.GLU(dim)(torch.tensor(x)).numpy(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 7), (33, 7), (2, 5, 7)])
def test_highway(shape: tuple[int, ...]) -> None:
    layer = nn.Highway(7, nn.Tanh(), gate_bias=-3.0, dtype=F64)
    x = RNG.normal(size=shape)
    assert layer.gate.bias.tolist() == [-3.0] * 7
    h = np.tanh(x @ array(layer.transform.weight).T + array(layer.transform.bias))
    g = sigmoid(x @ array(layer.gate.weight).T - 3)
    np.testing.assert_allclose(array(layer(x)), g * h + (1 - g) * x, rtol=1e-12)


def test_a_highway_begins_by_carrying_its_input_over() -> None:
    x = RNG.normal(size=(50, 7))
    deep = nn.Sequential(*(nn.Highway(7, gate_bias=-20.0, dtype=F64) for _ in range(30)))
    np.testing.assert_allclose(array(deep(x)), x, atol=1e-5)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 3), (17, 33)])
def test_factorization_machine_is_the_sum_over_pairs(n: int, k: int) -> None:
    layer = nn.FactorizationMachine(n, k, std=0.7, dtype=F64)
    nn.init.normal_(layer.weight)
    nn.init.constant_(layer.bias, 0.3)
    x = RNG.normal(size=(9, n))
    w, v = array(layer.weight)[0], array(layer.factors)
    expected = 0.3 + x @ w
    for i in range(n):
        for j in range(i + 1, n):
            expected = expected + v[:, i] @ v[:, j] * x[:, i] * x[:, j]
    np.testing.assert_allclose(array(layer(x)), expected[:, None], rtol=1e-11, atol=1e-11)
    assert v.std() == pytest.approx(0.7, rel=0.1) or n * k < 500


@pytest.mark.parametrize("bias", [True, False])
def test_low_rank_bilinear_is_a_bilinear_map_of_that_rank(bias: bool) -> None:
    layer = nn.LowRankBilinear(5, 3, 4, 2, bias, dtype=F64)
    x, z = RNG.normal(size=(9, 5)), RNG.normal(size=(9, 3))
    u, v, w = (array(p) for p in (layer.u, layer.v, layer.weight))
    matrices = np.einsum("or,ri,rj->oij", w, u, v)
    expected = np.einsum("ni,oij,nj->no", x, matrices, z) + (array(layer.bias) if bias else 0)
    np.testing.assert_allclose(array(layer(x, z)), expected, rtol=1e-11, atol=1e-13)
    for parameter, fan_in in zip(layer.parameters(), (5, 3, 2, 2), strict=False):
        assert np.abs(array(parameter)).max() <= fan_in**-0.5


class Pair(nn.Module):
    """Gives the halves of a row to a layer of two inputs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return self.layer(x[:, :3], x[:, 3:])


def inner_product_error(model: nn.Module) -> float:
    """Learn ⟨x, z⟩ from samples; return the error on samples from twice as far out, relative to their variance."""
    rng = np.random.default_rng(1)
    x, far = rng.uniform(-1, 1, (512, 6)), rng.uniform(-2, 2, (512, 6))
    y, far_y = ((a[:, :3] * a[:, 3:]).sum(1, keepdims=True) for a in (x, far))
    trainer = fnn.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.02))
    for lr, epochs in ((0.02, 60), (0.002, 40)):
        trainer.optimizer.param_groups[0]["lr"] = lr
        trainer.fit(x, y, epochs=epochs, batch_size=64, verbose=False)
    return float(((trainer.predict(far) - far_y) ** 2).mean() / far_y.var())


def test_products_learn_the_inner_product_exactly_and_an_mlp_does_not() -> None:
    exact = [
        Pair(nn.Bilinear(3, 3, 1)),
        Pair(nn.LowRankBilinear(3, 3, 1, 6)),
        nn.FactorizationMachine(6, 6, std=0.1),
    ]
    for model in exact:
        assert inner_product_error(model) < 1e-6
    mlp = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1))
    assert inner_product_error(mlp) > 0.01
