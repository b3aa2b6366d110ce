"""Random draws while training: values against float64 formulas, rates, gradients, modes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.autograd import gradcheck
from fastnn.nn import functional as F

SATURATION = -1.7580993408473766
# 3 · 17 columns: no multiple of the 8 that share a block of random bits.
X = np.random.default_rng(0).uniform(0.5, 2.0, (301, 51))


@pytest.fixture(autouse=True)
def _seed() -> None:
    fnn.manual_seed(7)


def mask_of(p: float, shape: tuple[int, ...], seed: int = 7) -> np.ndarray:
    """The mask that the first draw after a seed makes."""
    fnn.manual_seed(seed)
    kept = F.dropout(np.ones(shape), p).numpy() != 0
    fnn.manual_seed(seed)
    return kept.astype(np.float64)


def array(tensor: fnn.Tensor) -> np.ndarray:
    return np.asarray(tensor.detach())


def assert_rate(kept: np.ndarray, rate: float) -> None:
    """Within five standard errors."""
    assert abs(kept.mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / kept.size)


# Dropout that is scaled while evaluating


def test_dropout_scaled_while_evaluating_has_the_same_masks_and_no_scale() -> None:
    kept = mask_of(0.3, X.shape)
    layer = nn.Dropout(0.3, scaling="evaluation")
    np.testing.assert_array_equal(array(layer(X)), X * kept)
    np.testing.assert_allclose(array(layer.eval()(X)), 0.7 * X, rtol=1e-15)
    assert_rate(kept, 0.7)


def test_both_scalings_have_the_same_mean_while_evaluating_as_while_training() -> None:
    for scaling in ("training", "evaluation"):
        layer = nn.Dropout(0.4, scaling=scaling)
        trained = np.mean([array(layer(X)).mean() for _ in range(60)])
        assert trained == pytest.approx(array(layer.eval()(X)).mean(), rel=0.01)


# AlphaDropout


@pytest.mark.parametrize(("make", "mask"), [(nn.AlphaDropout, (9, 6, 4)), (nn.FeatureAlphaDropout, (9, 6, 1))])
@pytest.mark.parametrize("p", [0.2, 0.75])
def test_alpha_dropout_is_the_papers_formula(make: type[nn.Module], mask: tuple[int, ...], p: float) -> None:
    x = np.random.default_rng(1).normal(size=(9, 6, 4))
    kept = mask_of(p, mask)
    a = ((1 - p) * (1 + p * SATURATION**2)) ** -0.5
    b = -a * p * SATURATION
    expected = a * (x * kept + SATURATION * (1 - kept)) + b
    assert set(np.unique(kept)) == {0, 1}
    np.testing.assert_allclose(array(make(p)(x)), expected, rtol=1e-12, atol=1e-12)
    assert array(make(p).eval()(x)).tolist() == x.tolist()


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(2).normal(size=(500, 401))
    y = array(nn.AlphaDropout(0.3)(x))
    assert abs(y.mean()) < 0.02
    assert y.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
@pytest.mark.parametrize("p", [0.0, 0.35, 1.0])
def test_alpha_dropout_takes_two_values_as_pytorchs_does(name: str, p: float) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    x = np.full((64, 32, 2), 0.5)
    theirs = getattr(torch.nn.functional, name)(torch.tensor(x), p, training=True)
    ours = getattr(F, name)(x, p, training=True)
    np.testing.assert_allclose(np.unique(array(ours).round(12)), np.unique(theirs.numpy().round(12)), rtol=1e-11)


def test_a_feature_is_dropped_as_a_whole() -> None:
    y = array(nn.FeatureAlphaDropout(0.5)(np.ones((40, 7, 5))))
    assert (y == y[:, :, :1]).all()
    assert_rate(y[:, :, 0] == y.max(), 0.5)


def test_alpha_dropouts_gradient_is_the_scale_where_kept() -> None:
    x = fnn.tensor(X, requires_grad=True)
    kept = mask_of(0.25, X.shape)
    nn.AlphaDropout(0.25)(x).sum().backward()
    a = (0.75 * (1 + 0.25 * SATURATION**2)) ** -0.5
    np.testing.assert_allclose(x.grad.numpy(), a * kept, rtol=1e-12)


# DropConnect


def test_drop_connect_masks_weights_and_biases_for_the_whole_batch() -> None:
    layer = nn.DropConnect(51, 33, 0.4, dtype=fnn.float64)
    weight, bias = array(layer.weight), array(layer.bias)
    fnn.manual_seed(3)
    masks = [F.dropout(np.ones(v.shape), 0.4).numpy() for v in (weight, bias)]  # 1 / 0.6 or 0
    fnn.manual_seed(3)
    out = layer(X)
    np.testing.assert_allclose(array(out), X @ (weight * masks[0]).T + bias * masks[1], rtol=1e-12, atol=1e-13)
    out.sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), X.sum(0) * masks[0], rtol=1e-12)
    assert_rate(masks[0] != 0, 0.6)
    np.testing.assert_allclose(array(layer.eval()(X)), X @ weight.T + bias, rtol=1e-12)


def test_drop_connect_of_everything_gives_zeros() -> None:
    assert not array(nn.DropConnect(51, 3, 1.0, dtype=fnn.float64)(X)).any()


# Noise


def test_gaussian_noise_is_added_to_every_element_anew() -> None:
    layer = nn.GaussianNoise(2.5)
    noise = array(layer(X)) - X
    assert abs(noise.mean()) < 5 * 2.5 / math.sqrt(noise.size)
    assert noise.std() == pytest.approx(2.5, rel=0.03)
    assert np.abs(noise).max() > 3 * 2.5
    assert (array(layer(X)) - X != noise).all()
    fnn.manual_seed(7)
    assert (array(layer(X)) - X).tolist() == noise.tolist()
    assert array(layer.eval()(X)).tolist() == X.tolist()


def test_masking_noise_zeroes_and_does_not_scale() -> None:
    kept = mask_of(0.2, X.shape)
    layer = nn.MaskingNoise(0.2)
    np.testing.assert_array_equal(array(layer(X)), X * kept)
    assert_rate(kept, 0.8)
    assert array(layer.eval()(X)).tolist() == X.tolist()


@pytest.mark.parametrize("biases", [False, True])
def test_weight_noise_is_on_the_weights_of_one_forward(biases: bool) -> None:
    linear = nn.Linear(51, 40, dtype=fnn.float64)
    weight, bias = array(linear.weight).copy(), array(linear.bias).copy()
    layer = nn.WeightNoise(linear, 0.5, biases)
    fnn.manual_seed(4)
    noise = fnn.randn(40, 51, dtype=fnn.float64).numpy() * 0.5
    bias_noise = fnn.randn(40, dtype=fnn.float64).numpy() * 0.5 * biases
    fnn.manual_seed(4)
    out = layer(X)
    np.testing.assert_allclose(array(out), X @ (weight + noise).T + bias + bias_noise, rtol=1e-11, atol=1e-12)
    assert array(linear.weight).tolist() == weight.tolist()
    assert isinstance(linear.weight, nn.Parameter)
    assert list(layer.state_dict()) == ["module.weight", "module.bias"]
    (out * out).sum().backward()
    # The gradient is that at the noisy weights.
    expected = 2 * (X @ (weight + noise).T + bias + bias_noise).T @ X
    np.testing.assert_allclose(linear.weight.grad.numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(array(layer.eval()(X)), X @ weight.T + bias, rtol=1e-12, atol=1e-13)


def test_a_shared_weight_has_one_noise_and_an_error_leaves_the_parameters() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    layer = nn.WeightNoise(nn.ModuleList([first, second]), 0.5)
    seen = []

    def forward(x: object) -> None:
        seen.append((first.weight, second.weight))
        raise ValueError("stop")

    layer.module.forward = forward
    shared = first.weight
    with pytest.raises(ValueError, match=r"^stop$"):
        layer(X)
    assert seen[0][0] is seen[0][1] is not shared
    assert first.weight is second.weight is shared


# Residual blocks


def block(scale: float = 3.0) -> nn.Linear:
    layer = nn.Linear(51, 51, bias=False, dtype=fnn.float64)
    nn.init.constant_(layer.weight, 0)
    with fnn.no_grad():
        layer.weight.add_(fnn.tensor(np.eye(51) * scale))
    return layer


@pytest.mark.parametrize(("scaling", "trained", "evaluated"), [("evaluation", 3, 3 * 0.7), ("training", 3 / 0.7, 3)])
@pytest.mark.parametrize("mode", ["batch", "row"])
def test_residual_drops_the_block(scaling: str, trained: float, evaluated: float, mode: str) -> None:
    layer = nn.Residual(block(), survival=0.7, mode=mode, scaling=scaling)
    ratios = np.stack([array(layer(X)) / X - 1 for _ in range(40)])
    # All features of a sample have one fate; in mode "batch" all samples too.
    np.testing.assert_allclose(ratios, ratios[:, :, :1] * np.ones(51), atol=1e-12)
    fates = ratios[:, :, 0]
    np.testing.assert_allclose(fates[fates > 1e-9], trained, rtol=1e-12)
    if mode == "batch":
        assert (fates.round(9) == fates[:, :1].round(9)).all()
        assert_rate(fates[:, 0] > 1e-9, 0.7)
    else:
        assert_rate(fates > 1e-9, 0.7)
        assert 0 < (fates[0] > 1e-9).mean() < 1
    np.testing.assert_allclose(array(layer.eval()(X)), X * (1 + evaluated), rtol=1e-12)


def test_residual_without_chance_and_with_a_shortcut() -> None:
    fnn.manual_seed(7)
    before = fnn.get_rng_state()
    layer = nn.Residual(nn.Linear(51, 5, dtype=fnn.float64), shortcut=nn.Linear(51, 5, dtype=fnn.float64))
    drawn = fnn.get_rng_state()
    expected = array(layer.block(X)) + array(layer.shortcut(X))
    np.testing.assert_allclose(array(layer(X)), expected, rtol=1e-13)
    assert drawn != before
    assert fnn.get_rng_state() == drawn
    assert list(layer.state_dict()) == ["block.weight", "block.bias", "shortcut.weight", "shortcut.bias"]
    never = nn.Residual(block(), survival=0.0)
    assert array(never(X)).tolist() == array(never.eval()(X)).tolist() == X.tolist()


def test_a_dropped_block_has_no_gradient() -> None:
    layer = nn.Residual(block(), survival=0.5)
    seen = set()
    for _ in range(30):
        layer.zero_grad()
        out = layer(X)
        out.sum().backward()
        dropped = np.array_equal(array(out), X)
        seen.add(dropped)
        assert dropped == (not layer.block.weight.grad.numpy().any())
    assert seen == {True, False}


def test_survival_falls_linearly_with_depth() -> None:
    np.testing.assert_allclose(nn.linear_survival(4, 0.2), [0.8, 0.6, 0.4, 0.2], rtol=1e-15)
    assert nn.linear_survival(1) == [0.5]


@pytest.mark.parametrize("mode", ["batch", "row"])
@pytest.mark.parametrize("scaling", ["training", "evaluation"])
def test_stochastic_depth_drops_branches(mode: str, scaling: str) -> None:
    layer = nn.StochasticDepth(0.35, mode, scaling)
    kept = mask_of(0.35, (301, 1, 1) if mode == "row" else (1, 1, 1))
    x = X.reshape(301, 17, 3)
    scale = 0.65 if scaling == "training" else 1.0
    np.testing.assert_allclose(array(layer(x)), x * kept / scale, rtol=1e-15)
    expected = x if scaling == "training" else x * 0.65
    np.testing.assert_allclose(array(layer.eval()(x)), expected, rtol=1e-15)
    if mode == "row":
        assert_rate(kept, 0.65)
    generator = fnn.get_rng_state()
    assert array(layer.train()(np.ones((2, 1)))).shape == (2, 1)
    assert fnn.get_rng_state() != generator
    # Nothing is drawn where nothing is dropped, and everything dropped is zeros, not 0 / 0.
    generator = fnn.get_rng_state()
    assert array(nn.StochasticDepth(0.0, mode, scaling)(x)).tolist() == x.tolist()
    assert fnn.get_rng_state() == generator
    assert not array(nn.StochasticDepth(1.0, mode, scaling)(x)).any()


def test_stochastic_depth_of_batches_drops_as_often_as_said() -> None:
    layer = nn.StochasticDepth(0.35, "batch")
    assert_rate(np.array([array(layer(np.ones(1))).item() != 0 for _ in range(600)]), 0.65)


def test_survival_of_all_blocks_of_a_model() -> None:
    blocks = [nn.Residual(block()), nn.StochasticDepth(0.9, "row"), nn.Residual(block(), scaling="training")]
    model = nn.Sequential(blocks[0], nn.Sequential(blocks[1], nn.ReLU()), blocks[2])
    assert nn.stochastic_depth_(model, 0.4) == pytest.approx([0.8, 0.6, 0.4])
    assert [blocks[0].survival, 1 - blocks[1].p, blocks[2].survival] == pytest.approx([0.8, 0.6, 0.4])
    assert [one.mode for one in blocks] == ["batch", "row", "batch"]
    nn.stochastic_depth_(model, 1.0, mode="row")
    assert [blocks[0].survival, blocks[1].p, blocks[2].survival] == [1, 0, 1]
    assert [one.mode for one in blocks] == ["row"] * 3


def test_a_plan_notices_another_survival() -> None:
    model = nn.Sequential(nn.Linear(51, 51), nn.Residual(nn.Linear(51, 51)), nn.Linear(51, 3))
    step = fnn.TrainStep(model, nn.MSELoss(), fnn.optim.SGD(model.parameters(), lr=0.0))
    x, y = X.astype(np.float32), X[:, :3].astype(np.float32)
    assert len({step(x, y) for _ in range(9)}) == 1
    nn.stochastic_depth_(model)
    assert len({step(x, y) for _ in range(30)}) == 2
    nn.stochastic_depth_(model, mode="row")
    assert len({step(x, y) for _ in range(9)}) == 9
    assert step.reason is None


# All of them, eager and planned

LAYERS = {
    "dropout scaled while evaluating": lambda: nn.Dropout(0.3, scaling="evaluation"),
    "alpha dropout": lambda: nn.AlphaDropout(0.3),
    "feature alpha dropout": lambda: nn.FeatureAlphaDropout(0.3),
    "drop connect": lambda: nn.DropConnect(14, 14, 0.3),
    "gaussian noise": lambda: nn.GaussianNoise(0.3),
    "masking noise": lambda: nn.Sequential(nn.ReLU(), nn.MaskingNoise(0.3)),
    "weight noise": lambda: nn.WeightNoise(nn.Sequential(nn.Linear(14, 14), nn.BatchNorm1d(14)), 0.2, biases=True),
    "residual": lambda: nn.Residual(nn.Sequential(nn.Linear(14, 14), nn.ReLU()), 0.5),
    "residual by row": lambda: nn.Residual(nn.Linear(14, 14), 0.5, nn.Linear(14, 14), "row", "training"),
    "stochastic depth": lambda: nn.Sequential(nn.Tanh(), nn.StochasticDepth(0.3, "row"), nn.ReLU()),
    "glu": lambda: nn.Sequential(nn.GLU(), nn.Linear(7, 14)),
    "gated linear": lambda: nn.GatedLinear(14, 14),
    "highway": lambda: nn.Highway(14, nn.Tanh()),
    "factorization machine": lambda: nn.Sequential(nn.FactorizationMachine(14, 3, std=0.3), nn.Linear(1, 14)),
}


def trained(name: str, planned: bool) -> tuple[list[float], list[bytes]]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(37, 13)).astype(np.float32), np.arange(37) % 5
    fnn.manual_seed(1)
    model = nn.Sequential(nn.Linear(13, 14), LAYERS[name](), nn.Linear(14, 5))
    optimizer = fnn.optim.Adam(model.parameters(), lr=0.02)
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
    losses = []
    for _ in range(5):
        if planned:
            losses.append(step(x, y))
            assert step.reason is None
            continue
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [p.detach().numpy().tobytes() for p in model.parameters()]


@pytest.mark.parametrize("name", LAYERS)
def test_planned_is_eager_on_any_number_of_threads(name: str) -> None:
    before = fnn.get_num_threads()
    try:
        expected = trained(name, planned=False)
        for threads in (1, 3):
            fnn.set_num_threads(threads)
            assert trained(name, planned=True) == expected
    finally:
        fnn.set_num_threads(before)
    assert len(set(expected[0])) == 5


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_finite_differences(name: str) -> None:
    fnn.manual_seed(1)
    layer = LAYERS[name]().to(fnn.float64)
    x = fnn.tensor(np.random.default_rng(3).normal(size=(5, 14)), requires_grad=True)
    parameters = list(layer.parameters())

    def function(*_: fnn.Tensor) -> fnn.Tensor:
        fnn.manual_seed(11)  # the same draws every time
        return layer(x)

    assert gradcheck(function, [x, *parameters], eps=1e-6, atol=1e-6, rtol=1e-5)
