import inspect
import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn
from fastnn.nn import init

SHAPE = (300, 200)  # fan_in 200, fan_out 300: different, so that a mode left unread shows


@pytest.fixture(autouse=True)
def _seed():
    fnn.manual_seed(5)


@pytest.mark.parametrize(
    ("draw", "std", "bound"),
    [
        (lambda t: init.uniform_(t, -2, 2), 4 / math.sqrt(12), 2),
        (lambda t: init.normal_(t, 0, 3), 3, None),
        (lambda t: init.xavier_uniform_(t, gain=2), 2 * math.sqrt(2 / 500), 2 * math.sqrt(6 / 500)),
        (lambda t: init.xavier_normal_(t, gain=2), 2 * math.sqrt(2 / 500), None),
        (init.xavier_normal_doubled_, math.sqrt(4 / 500), None),
        (lambda t: init.kaiming_uniform_(t, nonlinearity="relu"), math.sqrt(2 / 200), math.sqrt(6 / 200)),
        (lambda t: init.kaiming_uniform_(t, a=2, mode="fan_out"), math.sqrt(0.4 / 300), math.sqrt(1.2 / 300)),
        (lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="tanh"), 5 / 3 / math.sqrt(300), None),
        (lambda t: init.trunc_normal_(t, std=2, a=-2, b=2), 2 * 0.53956, 2),
    ],
)
def test_distributions(draw, std, bound):
    tensor = nn.Parameter(_core.zeros(*SHAPE))
    assert draw(tensor) is tensor
    values = tensor.detach().numpy()
    # 60,000 draws: six standard errors.
    assert abs(values.mean()) < 6 * std / math.sqrt(values.size)
    assert values.std() == pytest.approx(std, rel=6 / math.sqrt(2 * values.size))
    if bound is None:
        assert np.abs(values).max() > 3 * std
    else:
        assert 0.99 * bound < np.abs(values).max() <= bound * (1 + 1e-6)
    assert tensor.requires_grad
    assert tensor.grad_fn is None


def test_constants():
    tensor = _core.empty(2, 3)
    assert init.constant_(tensor, 2.5).tolist() == [[2.5] * 3] * 2
    assert init.ones_(tensor).tolist() == [[1] * 3] * 2
    assert init.zeros_(tensor).tolist() == [[0] * 3] * 2
    assert init.eye_(tensor).tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (4, 2, 3)])
def test_orthogonal(shape):
    values = init.orthogonal_(_core.empty(*shape, dtype=_core.float64), gain=2).numpy().reshape(shape[0], -1)
    product = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_sparse():
    values = init.sparse_(_core.empty(10, 40), sparsity=0.25, std=1).numpy()
    assert (values == 0).sum(axis=0).tolist() == [3] * 40
    assert len({tuple(column == 0) for column in values.T}) > 10


@pytest.mark.parametrize(
    ("name", "param", "gain"),
    [("linear", None, 1), ("sigmoid", None, 1), ("tanh", None, 5 / 3), ("relu", None, math.sqrt(2)), ("selu", None, 0.75),
     ("leaky_relu", None, math.sqrt(2 / 1.0001)), ("leaky_relu", 1, 1)],
)  # fmt: skip
def test_gain(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.calculate_gain("swish"), "Unsupported nonlinearity swish"),
        (lambda: init.calculate_gain("leaky_relu", True), "negative_slope True not a valid number"),
        (lambda: init.xavier_uniform_(_core.empty(3)), "Fan in and fan out cannot be computed for tensor with fewer than 2 dimensions"),
        (lambda: init.kaiming_normal_(_core.empty(3, 3), mode="fan"), "Mode fan not supported, please use one of ['fan_in', 'fan_out']"),
        (lambda: init.xavier_normal_doubled_(_core.empty(3)), "Fan in and fan out cannot be computed for tensor with fewer than 2 dimensions"),
        (lambda: init.lsuv_(nn.Tanh(), np.ones((4, 3), np.float32)), "lsuv_: expected a model with weights of two dimensions; got none"),
        (lambda: init.lsuv_(nn.Linear(3, 2), np.zeros((4, 3), np.float32)), "lsuv_: expected layer '' to have outputs that vary; got a standard deviation of 0.0"),
        (lambda: init.lsuv_(nn.Linear(3, 2), np.ones((4, 3)), target_std=0), "lsuv_: expected target_std above 0; got 0"),
        (lambda: init.lsuv_(nn.Linear(3, 2), np.ones((4, 3)), tol=-1), "lsuv_: expected tol above 0; got -1"),
        (lambda: init.lsuv_(nn.Linear(3, 2), np.ones((4, 3)), max_iter=0), "lsuv_: expected max_iter of at least 1; got 0"),
        (lambda: init.eye_(_core.empty(3)), "Only tensors with 2 dimensions are supported"),
        (lambda: init.orthogonal_(_core.empty(3)), "Only tensors with 2 or more dimensions are supported"),
        (lambda: init.sparse_(_core.empty(3, 3), 2), "sparse_: expected sparsity in [0, 1]; got 2"),
        (lambda: init.trunc_normal_(_core.empty(3), std=0), "trunc_normal_: expected std above 0; got 0"),
        (lambda: init.trunc_normal_(_core.empty(3), a=9, b=10), "trunc_normal_: expected bounds that hold 0.1 % of the distribution; got a=9 and b=10"),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        call()
    assert str(caught.value) == message


def test_linear_starts_within_one_over_the_root_of_fan_in():
    layer = nn.Linear(400, 50)
    for parameter in layer.parameters():
        assert 0.9 * 0.05 < np.abs(parameter.detach().numpy()).max() <= 0.05 * (1 + 1e-6)


def test_the_seed_decides():
    def draw():
        fnn.manual_seed(9)
        return init.orthogonal_(_core.empty(3, 3)).tolist(), nn.Linear(3, 2).weight.tolist()

    assert draw() == draw()


class Crossed(nn.Module):
    """Its layers run in another order than they are defined in, and one does not run at all."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(33, 5)
        self.idle = nn.Linear(7, 7)
        self.first = nn.Linear(13, 33)
        self.norm = nn.BatchNorm1d(33)
        self.drop = nn.Dropout(0.9)

    def forward(self, x):
        return self.last(nn.functional.relu(self.norm(self.drop(self.first(x)))))


@pytest.mark.parametrize("target", [1.0, 0.2])
def test_lsuv_gives_every_layer_that_runs_the_variance(target):
    x = np.random.default_rng(0).normal(3, 20, (200, 13)).astype(np.float32)
    model = Crossed()
    model.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = {}
    assert init.lsuv_(model, x, target_std=target, tol=0.01) is model
    assert [model.training, model.norm.training, model.drop.training] == [True, False, True]
    assert not any(module._forward_hooks for module in model.modules())
    for name in ("idle.weight", "idle.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"):
        assert model.state_dict()[name].tolist() == before[name].tolist()
    model.eval()
    for name in ("first", "last"):
        layer = getattr(model, name)
        layer.register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output.detach().numpy().std()})
        )
        weight = layer.weight.detach().numpy().astype(np.float64)
        assert layer.bias.tolist() == [0] * len(weight)
        # Orthonormal but for one factor.
        product = weight @ weight.T if len(weight) < weight.shape[1] else weight.T @ weight
        np.testing.assert_allclose(product, product[0, 0] * np.eye(len(product)), atol=1e-5 * product[0, 0])
    model(x)
    for std in seen.values():
        assert std**2 == pytest.approx(target**2, rel=0.01)
    assert len(seen) == 2


def test_lsuv_stops_at_max_iter_and_within_tol():
    x = np.random.default_rng(0).normal(0, 9, (50, 8)).astype(np.float32)
    model = nn.Linear(8, 8)
    init.lsuv_(model, x, tol=1e6)
    weight = model.weight.detach().numpy()
    np.testing.assert_allclose(weight @ weight.T, np.eye(8), atol=1e-5)  # one look, and no scaling


@pytest.mark.parametrize(
    "name",
    ["calculate_gain", "uniform_", "normal_", "constant_", "ones_", "zeros_", "eye_", "xavier_uniform_", "xavier_normal_",
     "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "trunc_normal_", "sparse_"],
)  # fmt: skip
def test_arguments_and_defaults_are_pytorchs(name):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")

    def arguments(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in parameters if p.name != "generator"]

    assert arguments(getattr(init, name)) == arguments(getattr(torch.nn.init, name))
