"""What the norms do beyond their formulas, which are tested with the ops."""

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

X = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32) + 3


def torch_layers(lib):
    return {
        "layer": lib.nn.LayerNorm((6, 7), eps=0.3),
        "layer plain": lib.nn.LayerNorm(7, elementwise_affine=False),
        "layer no bias": lib.nn.LayerNorm(7, bias=False),
        "rms": lib.nn.RMSNorm(7),
        "rms plain": lib.nn.RMSNorm((6, 7), eps=0.3, elementwise_affine=False),
        "group": lib.nn.GroupNorm(3, 6, eps=0.3),
        "group plain": lib.nn.GroupNorm(2, 6, affine=False),
        "instance": lib.nn.InstanceNorm1d(6, affine=True),
        "instance running": lib.nn.InstanceNorm1d(6, 0.3, 0.25, track_running_stats=True),
        "instance still": lib.nn.InstanceNorm1d(6, momentum=None, track_running_stats=True),
    }


# PyTorch's instance norm takes no empty batch.
@pytest.mark.parametrize(
    ("name", "n"), [(name, n) for name in torch_layers(fnn) for n in (5, 1, 0) if n > 0 or "instance" not in name]
)
def test_layers_are_pytorchs(name, n):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    theirs, ours = torch_layers(torch)[name].double(), torch_layers(fnn)[name].double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for value in theirs.parameters():
            value.copy_(torch.tensor(rng.normal(size=value.shape)))
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = rng.normal(size=(n, 6, 7)) * 3 + 2
    for training in (True, False):
        outcomes = []
        for lib, layer in ((torch, theirs), (fnn, ours)):
            layer.train(training)
            layer.zero_grad()
            t = lib.tensor(x, requires_grad=True)
            y = layer(t)
            (y * lib.arange(7)).sum().backward()
            outcomes.append([y.detach(), t.grad, *(p.grad for p in layer.parameters()), *layer.state_dict().values()])
        for found, expected in zip(outcomes[1], outcomes[0], strict=True):
            np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=1e-9, atol=1e-11)


def test_functions_are_pytorchs():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    zero_row = X[0].copy()
    zero_row[2] = 0
    for call in (
        lambda f, x: f.normalize(x),
        lambda f, x: f.normalize(x, p=1, dim=0),
        lambda f, x: f.normalize(x, p=2.5, dim=-1, eps=20.0),
        lambda f, x: f.normalize(x, dim=(0, 1)),
        lambda f, x: f.rms_norm(x * 1e-3, (7,)),
        lambda f, x: f.group_norm(x[:, 1:], 2, bias=x[0, 1:]),
    ):
        expected = torch.tensor(zero_row, requires_grad=True)
        found = fnn.tensor(zero_row, requires_grad=True)
        y, z = call(torch.nn.functional, expected), call(F, found)
        np.testing.assert_allclose(z.detach().numpy(), y.detach().numpy(), rtol=2e-5, atol=1e-6)
        (y * y * y).sum().backward()
        (z * z * z).sum().backward()
        np.testing.assert_allclose(found.grad.numpy(), expected.grad.numpy(), rtol=2e-4, atol=2e-4)


def test_a_row_of_zeros_has_a_gradient():
    x = fnn.zeros(2, 3, requires_grad=True)
    F.normalize(x, eps=0.5).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 2.0))  # 1 / eps, and not NaN


def test_a_sample_of_one_value_becomes_the_bias():
    layer = nn.LayerNorm(1)
    layer.bias.data.fill_(2.5)
    np.testing.assert_array_equal(layer(np.array([[7.0], [-3.0]], np.float32)).detach().numpy(), [[2.5], [2.5]])


def test_without_weight_and_bias_other_channels_are_warned_of():
    with pytest.warns(
        UserWarning, match=r"^InstanceNorm1d\(3\): expected input of shape \(n, 3, l\) or \(3, l\); got \(5, 6, 7\), "
    ):
        y = nn.InstanceNorm1d(3)(X)
    np.testing.assert_array_equal(y.numpy(), nn.InstanceNorm1d(6)(X).numpy())


def test_without_a_batch_dimension():
    for layer in (nn.InstanceNorm1d(6), nn.InstanceNorm1d(6, track_running_stats=True).eval()):
        np.testing.assert_array_equal(layer(X[2]).numpy(), layer(X).numpy()[2])


def test_an_empty_batch_leaves_running_statistics_alone():
    layer = nn.InstanceNorm1d(6, track_running_stats=True)
    assert tuple(layer(X[:0]).shape) == (0, 6, 7)
    assert (layer.running_mean.tolist(), layer.running_var.tolist()) == ([0] * 6, [1] * 6)


@pytest.mark.parametrize("threads", [1, 3])
def test_planned_steps_are_eager_ones(threads):
    def model():
        fnn.manual_seed(1)
        series = nn.InstanceNorm1d(6, affine=True, track_running_stats=True)
        return nn.Sequential(
            nn.BatchNorm1d(6), series, nn.GroupNorm(3, 6), nn.Flatten(), nn.RMSNorm(42), nn.Linear(42, 1)
        )

    before = fnn.get_num_threads()
    fnn.set_num_threads(threads)
    try:
        eager, planned = model(), model()
        optimizer = optim.Adam(eager.parameters(), lr=0.1)
        step = fnn.TrainStep(planned, nn.MSELoss(), optim.Adam(planned.parameters(), lr=0.1))
        y = np.arange(5, dtype=np.float32)[:, None]
        for _ in range(4):
            loss = F.mse_loss(eager(X), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert step(X, y) == loss.item()
            assert step.reason is None
    finally:
        fnn.set_num_threads(before)
    for name, value in eager.state_dict().items():
        np.testing.assert_array_equal(planned.state_dict()[name].numpy(), value.numpy(), err_msg=name)
