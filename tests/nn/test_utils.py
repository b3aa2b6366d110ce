import math

import numpy as np
import pytest

from fastnn import _core, nn
from fastnn.nn import utils


def parameters(*gradients):
    made = []
    for gradient in gradients:
        parameter = nn.Parameter(_core.zeros(len(gradient)))
        parameter.grad = _core.tensor(gradient)
        made.append(parameter)
    return [*made, nn.Parameter(_core.zeros(2))]  # one without a gradient


@pytest.mark.parametrize(
    ("norm_type", "norm"), [(2.0, math.sqrt(9 + 16 + 144)), (1, 19.0), (float("inf"), 12.0), (3, (27 + 64 + 1728) ** (1 / 3))]
)  # fmt: skip
def test_clip_grad_norm(norm_type, norm):
    given = parameters([3.0, -4.0], [12.0])
    assert utils.clip_grad_norm_(given, 2.0, norm_type).item() == pytest.approx(norm)
    scale = 2 / (norm + 1e-6)
    np.testing.assert_allclose(given[0].grad.numpy(), np.array([3, -4]) * scale, rtol=1e-6)
    np.testing.assert_allclose(given[1].grad.numpy(), np.array([12]) * scale, rtol=1e-6)
    assert given[2].grad is None


def test_a_small_norm_is_left_alone():
    given = parameters([3.0, -4.0])
    assert utils.clip_grad_norm_(iter(given), 5.1).item() == pytest.approx(5)
    assert given[0].grad.tolist() == [3, -4]
    assert utils.clip_grad_norm_([], 1.0).item() == 0


def test_a_norm_that_is_not_finite():
    given = parameters([3.0, math.inf])
    with pytest.raises(
        ValueError, match=r"^The total norm of order 2.0 for gradients from `parameters` is non-finite, so"
    ):
        utils.clip_grad_norm_(given, 1.0, error_if_nonfinite=True)
    assert given[0].grad.tolist() == [3, math.inf]
    assert utils.clip_grad_norm_(given, 1.0).item() == math.inf
    assert given[0].grad.tolist()[0] == 0


def test_clip_grad_value():
    given = parameters([3.0, -4.0, 0.5])
    utils.clip_grad_value_(given, 1.5)
    assert given[0].grad.tolist() == [1.5, -1.5, 0.5]


def test_a_norm_that_float32_cannot_hold_the_square_of():
    given = parameters([3e30, -4e30])
    assert utils.clip_grad_norm_(given, 1.0).item() == pytest.approx(5e30)
    np.testing.assert_allclose(given[0].grad.numpy(), [0.6, -0.8], rtol=1e-6)


@pytest.mark.parametrize("shape", [(1,), (7, 5), (33, 130), (5000,)])
def test_the_norm_is_numpys(shape):
    gradient = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    whole = np.linalg.norm(gradient.astype(float).ravel())
    assert _core.total_norm([_core.as_tensor(gradient)]) == pytest.approx(whole, rel=1e-14)
    transposed = _core.as_tensor(gradient.T)
    assert utils.get_total_norm([transposed, transposed]).item() == pytest.approx(whole * math.sqrt(2), rel=1e-6)


def test_grad_noise():
    _core.manual_seed(4)
    weight = nn.Parameter(_core.zeros(200, 51))
    weight.grad = _core.full((200, 51), 3.0)
    utils.add_grad_noise_([weight, nn.Parameter(_core.zeros(2))], 0.25)
    noise = weight.grad.numpy().astype(float) - 3
    assert abs(noise.mean()) < 5 * 0.25 / math.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.25, rel=0.05)
    for bad in (-1, float("nan")):
        with pytest.raises(
            ValueError, match=rf"^add_grad_noise_: expected std of at least 0, and finite; got {float(bad)}$"
        ):
            utils.add_grad_noise_(weight, bad)


def test_max_norm():
    layer = nn.Linear(2, 3)
    vector = np.array([3, 4, 0.3, 0.4, 0, -8, 7, 8, 9], np.float32)
    utils.vector_to_parameters(_core.as_tensor(vector), layer.parameters())
    utils.max_norm_(layer.parameters(), 2.0)
    expected = [[1.2, 1.6], [0.3, 0.4], [0, -2]]
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, rtol=1e-6)
    assert layer.bias.tolist() == [7, 8, 9]
    with pytest.raises(ValueError, match=r"^max_norm_: expected max_norm above 0; got 0.0$"):
        utils.max_norm_(layer.weight, 0)


def test_max_norm_is_torchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    weight = np.random.default_rng(1).normal(size=(7, 3, 5))
    ours = nn.Parameter(_core.tensor(weight))
    utils.max_norm_(ours, 3.5)
    np.testing.assert_allclose(ours.detach().numpy(), torch.renorm(torch.from_numpy(weight), 2, 0, 3.5), rtol=1e-12)


def test_vectors():
    net = nn.Linear(2, 3)
    vector = utils.parameters_to_vector(net.parameters()).detach()
    assert tuple(vector.shape) == (9,)
    assert vector.tolist() == [*net.weight.detach().numpy().ravel().tolist(), *net.bias.tolist()]
    utils.vector_to_parameters(_core.as_tensor(np.arange(9, dtype=np.float32)), net.parameters())
    assert net.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert net.bias.tolist() == [6, 7, 8]
    with pytest.raises(ValueError, match=r"^vector_to_parameters: expected a vector of shape \(9,\); got \(8,\)$"):
        utils.vector_to_parameters(_core.zeros(8), net.parameters())
    assert net.bias.tolist() == [6, 7, 8]
