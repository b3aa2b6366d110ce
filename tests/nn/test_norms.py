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


def torch_image_layers(lib):
    n = lib.nn
    return {
        "batch": n.BatchNorm2d(6, 0.3, 0.25),
        "batch mean": n.BatchNorm2d(6, momentum=None),
        "batch untracked": n.BatchNorm2d(6, track_running_stats=False),
        "batch plain": n.BatchNorm2d(6, affine=False),
        "instance": n.InstanceNorm2d(6, 0.3, affine=True),
        "instance running": n.InstanceNorm2d(6, 0.3, 0.25, track_running_stats=True),
        "group": n.GroupNorm(3, 6, eps=0.3),
        "layer": n.LayerNorm((6, 7, 5), eps=0.3),
        "local": n.LocalResponseNorm(3, 0.5, 0.6, 2.0),
        "local even": n.LocalResponseNorm(4),
        "local wide": n.LocalResponseNorm(15, 3.0),
    }


def torch_volume_layers(lib):
    n = lib.nn
    return {
        "batch": n.BatchNorm3d(6, 0.3, 0.25),
        "instance": n.InstanceNorm3d(6, affine=True, track_running_stats=True),
        "group": n.GroupNorm(2, 6),
        "local": n.LocalResponseNorm(2),
    }


@pytest.mark.parametrize(
    ("make", "shape", "name", "n"),
    [
        (make, shape, name, n)
        for make, shape in ((torch_image_layers, (6, 7, 5)), (torch_volume_layers, (6, 2, 3, 5)))
        for name in make(fnn)
        for n in (5, 1, 0)
        if n > 0 or "instance" not in name
    ],
)
def test_layers_over_images_are_pytorchs(make, shape, name, n):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-5)):
        theirs, ours = make(torch)[name], make(fnn)[name]
        if dtype == np.float64:
            theirs, ours = theirs.double(), ours.double()
        rng = np.random.default_rng(1)
        with torch.no_grad():
            for value in theirs.parameters():
                value.copy_(torch.tensor(rng.normal(size=value.shape)))
        ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
        x, g = rng.normal(size=(n, *shape)) * 3 + 2, rng.normal(size=(n, *shape))
        for training in (True, True, False):
            outcomes = []
            for lib, layer in ((torch, theirs), (fnn, ours)):
                layer.train(training)
                layer.zero_grad()
                t = lib.tensor(x.astype(dtype), requires_grad=True)
                y = layer(t)
                y.backward(lib.tensor(g.astype(dtype)))
                outcomes.append(
                    [y.detach(), t.grad, *(p.grad for p in layer.parameters()), *layer.state_dict().values()]
                )
            for found, expected in zip(outcomes[1], outcomes[0], strict=True):
                expected = expected.numpy()
                least = tolerance * max(1, np.abs(expected).max(initial=0))
                np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=least)


def test_an_image_without_a_batch_dimension():
    image = np.random.default_rng(2).normal(size=(6, 7, 5)).astype(np.float32)
    for layer in (nn.InstanceNorm2d(6, affine=True), nn.InstanceNorm2d(6, track_running_stats=True).eval()):
        np.testing.assert_array_equal(layer(image).detach().numpy(), layer(image[None]).detach().numpy()[0])


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


class Block(nn.Module):
    """All ways in which a norm and a ReLU meet in residual nets."""

    def __init__(self, c):
        super().__init__()
        self.first, self.second, self.third = nn.BatchNorm2d(c), nn.BatchNorm2d(c), nn.BatchNorm2d(c)
        self.shared, self.free = nn.BatchNorm2d(c), nn.BatchNorm2d(c, track_running_stats=False, affine=False)
        self.frozen = nn.BatchNorm2d(c)
        self.head = nn.Linear(c * 35, 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.relu(self.second(x * 0.7) + x)
        x = F.relu(self.third(x * x) + self.free(x))
        x = F.relu(x + self.shared(x)) + F.relu(self.shared(x * 0.5))
        x = F.relu(self.frozen.eval()(x) + x.relu())
        return self.head(x.flatten(1))


# Few channels, which are shared by units, and enough to be shared whole.
@pytest.mark.parametrize("c", [3, 70])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_norms_with_relu_are_planned_as_one_and_have_eager_bits(c, threads):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, c, 7, 5)).astype(np.float32), rng.normal(size=(60, 1)).astype(np.float32)
    before = fnn.get_num_threads()
    fnn.set_num_threads(threads)
    try:
        fnn.manual_seed(1)
        eager = Block(c)
        planned = Block(c)
        planned.load_state_dict(eager.state_dict())
        optimizer = optim.Adam(eager.parameters(), lr=0.1)
        step = fnn.TrainStep(planned, nn.MSELoss(), optim.Adam(planned.parameters(), lr=0.1))
        for _ in range(4):
            loss = F.mse_loss(eager(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert step(x, y) == loss.item()
            assert step.reason is None
    finally:
        fnn.set_num_threads(before)
    for name, value in eager.state_dict().items():
        np.testing.assert_array_equal(planned.state_dict()[name].numpy(), value.numpy(), err_msg=name)
    plan = [line.removeprefix("op ") for line in step.describe().splitlines() if "norm" in line or "relu" in line]
    assert plan.count("batch_norm + relu") == 2
    assert plan.count("batch_norm + add + relu") == 4
    assert plan.count("batch_norm + relu gradient") == 2
    assert plan.count("batch_norm + add + relu gradient") == 4
    # That of the branch `free`, and the ReLU of what was normalised already.
    assert plan.count("batch_norm") == plan.count("batch_norm_grad") == 1
    assert plan.count("relu") == 1


def test_a_step_without_a_finite_loss_leaves_running_statistics_of_images():
    layer = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.InstanceNorm2d(3, track_running_stats=True), nn.Flatten(), nn.Linear(60, 1))
    step = fnn.TrainStep(layer, nn.MSELoss(), optim.SGD(layer.parameters(), lr=0.1))
    x, y = np.random.default_rng(0).normal(size=(4, 3, 4, 5)).astype(np.float32), np.zeros((4, 1), np.float32)
    step(x, y)
    step(x, y)
    kept = {name: value.numpy().copy() for name, value in layer.state_dict().items()}
    trainer = fnn.Trainer(layer, nn.MSELoss(), optim.SGD(layer.parameters(), lr=0.1))
    x[1, 2, 3, 4] = np.nan
    with pytest.raises(Exception, match="nan|finite"):
        trainer.fit(x, y, epochs=1, batch_size=4, verbose=False)
    for name, value in layer.state_dict().items():
        if "running" in name:
            np.testing.assert_array_equal(value.numpy(), kept[name], err_msg=name)
