"""Properties of norms beyond their formulas, which are tested with the ops."""

import re
import warnings

import numpy as np
import pytest
from tests.planned import has_eager_bits

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
                least = tolerance * max(1, np.abs(expected.numpy()).max(initial=0))
                np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=tolerance, atol=least)


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
        y = np.arange(5, dtype=np.float32)[:, None]
        has_eager_bits(eager, planned, lambda params: optim.Adam(params, lr=0.1), X, y)
    finally:
        fnn.set_num_threads(before)


class Block(nn.Module):
    """All ways in which a norm and a ReLU meet in residual nets."""

    def __init__(self, c):
        super().__init__()
        self.first, self.second, self.third = nn.BatchNorm2d(c), nn.BatchNorm2d(c), nn.BatchNorm2d(c)
        self.shared, self.free = nn.BatchNorm2d(c), nn.BatchNorm2d(c, track_running_stats=False, affine=False)
        self.frozen = nn.BatchNorm2d(c).eval()
        self.head = nn.Linear(c * 35, 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.relu(self.second(x * 0.7) + x)
        x = F.relu(self.third(x * x) + self.free(x))
        x = F.relu(x + self.shared(x)) + F.relu(self.shared(x * 0.5))
        x = F.relu(self.frozen(x) + x.relu())
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
        step = has_eager_bits(eager, planned, lambda params: optim.Adam(params, lr=0.1), x, y)
    finally:
        fnn.set_num_threads(before)
    plan = [line.removeprefix("op ") for line in step.describe().splitlines() if "norm" in line or "relu" in line]
    assert plan.count("batch_norm + relu") == 2
    assert plan.count("batch_norm + add + relu") == 4
    assert plan.count("batch_norm + relu gradient") == 2
    assert plan.count("batch_norm + add + relu gradient") == 4
    # Of two norms that are added one stays by itself, and so does the ReLU of what others read too.
    assert plan.count("batch_norm") == plan.count("batch_norm_grad") == 1
    assert plan.count("relu") == 1


class Moving(nn.Module):
    """Changes its bias when it has used it: the gradient may not make the output again."""

    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(60, 1)

    def forward(self, x):
        y = F.relu(self.norm(x))
        with fnn.no_grad():
            self.norm.bias.add_(0.7)
        return self.head(y.flatten(1))


def test_a_bias_that_changes_after_its_norm_does_not_move_the_mask_of_relu():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 3, 4, 5)).astype(np.float32), rng.normal(size=(12, 1)).astype(np.float32)
    fnn.manual_seed(1)
    eager, planned = Moving(), Moving()
    planned.load_state_dict(eager.state_dict())
    has_eager_bits(eager, planned, lambda params: optim.SGD(params, lr=0.1), x, y)


def test_a_step_without_a_finite_loss_leaves_running_statistics_of_images():
    x = np.random.default_rng(0).normal(size=(12, 3, 4, 5)).astype(np.float32)
    x[9, 2, 3, 4] = np.nan
    y = np.zeros((12, 1), np.float32)

    def statistics(rows):
        fnn.manual_seed(5)
        norm, series = nn.BatchNorm2d(3), nn.InstanceNorm2d(3, track_running_stats=True)
        model = nn.Sequential(norm, nn.ReLU(), series, nn.Flatten(), nn.Linear(60, 1))
        trainer = fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), on_nonfinite="stop")
        trainer.fit(x[:rows], y[:rows], epochs=1, batch_size=4, shuffle=False, verbose=False)
        return [value.tolist() for name, value in model.state_dict().items() if "running" in name]

    kept = statistics(8)
    assert kept[0] != [0, 0, 0]
    with pytest.warns(RuntimeWarning, match=r"^Trainer\.fit: the loss is nan in epoch 0, batch 2: "):
        assert statistics(12) == kept


def test_dropout_drops_channels():
    torch = pytest.importorskip("torch", reason="compares shapes and warnings with PyTorch")
    x = np.random.default_rng(0).uniform(1, 2, size=(8, 9, 4, 5)).astype(np.float32)
    for name, shape, left in (
        ("dropout1d", (8, 9, 20), (8, 9)),
        ("dropout1d", (72, 20), (72,)),
        ("dropout2d", (8, 9, 4, 5), (8, 9)),
        ("dropout2d", (8, 9, 20), (8, 9)),
        ("dropout2d", (72, 20), (72, 20)),
        ("dropout3d", (8, 9, 2, 2, 5), (8, 9)),
        ("dropout3d", (72, 2, 2, 5), (72,)),
        ("dropout3d", (72, 20), (72,)),
    ):
        given = x.reshape(shape)
        warned = []
        for lib, function in ((fnn, getattr(F, name)), (torch, getattr(torch.nn.functional, name))):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                t = lib.tensor(given, requires_grad=True)
                y = function(t, 0.4)
            warned.append(bool(caught))
            y.sum().backward()
            factor = (y.detach().numpy() / given).reshape(*left, -1)
            np.testing.assert_allclose(t.grad.numpy().reshape(*left, -1), factor, rtol=1e-6)
            # Every channel has one factor, and both occur.
            np.testing.assert_allclose(factor, np.broadcast_to(factor[..., :1], factor.shape), rtol=1e-6)
            np.testing.assert_allclose(np.unique(factor.round(5)), [0, round(1 / 0.6, 5)], rtol=1e-6)
        assert warned[0] == warned[1], (name, shape)
    for layer in (nn.Dropout1d(0.3), nn.Dropout2d(0.3), nn.Dropout3d(0.3)):
        assert layer.eval()(x[..., None] if "3d" in repr(layer) else x[0] if "1d" in repr(layer) else x).shape[-1] in {
            1,
            5,
        }


def test_dropout_of_channels_is_drawn_by_position_and_planned():
    x = np.ones((64, 32, 2, 3), np.float32)
    fnn.manual_seed(3)
    first = F.dropout2d(x, 0.25).numpy()
    assert abs((first == 0).mean() - 0.25) < 5 * (0.25 * 0.75 / 2048) ** 0.5
    assert not np.array_equal(F.dropout2d(x, 0.25).numpy(), first)
    fnn.manual_seed(3)
    np.testing.assert_array_equal(F.dropout2d(x, 0.25).numpy(), first)
    np.testing.assert_array_equal(F.dropout2d(x, 1.0).numpy(), 0 * x)
    assert tuple(F.dropout2d(x[:0], 0.25).shape) == (0, 32, 2, 3)


@pytest.mark.parametrize(
    "make", ["linear", "linear no bias", "linear one", "conv", "conv no bias", "conv plain", "transpose", "conv1d"]
)
def test_a_folded_batch_norm_is_pytorchs_and_the_pair(make):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    rng = np.random.default_rng(4)

    def pair(n):
        return {
            "linear": lambda: (n.Linear(5, 6), n.BatchNorm1d(6, 0.3)),
            "linear no bias": lambda: (n.Linear(5, 6, bias=False), n.BatchNorm1d(6)),
            "linear one": lambda: (n.Linear(5, 6), n.BatchNorm1d(1)),
            "conv": lambda: (n.Conv2d(4, 6, 3, 2, 1, groups=2), n.BatchNorm2d(6, 0.3)),
            "conv no bias": lambda: (n.Conv2d(4, 6, (3, 2), bias=False), n.BatchNorm2d(6)),
            "conv plain": lambda: (n.Conv2d(4, 6, 1), n.BatchNorm2d(6, affine=False)),
            "transpose": lambda: (n.ConvTranspose2d(4, 6, 3), n.BatchNorm2d(6)),
            "conv1d": lambda: (n.Conv1d(4, 6, 3), n.BatchNorm1d(6)),
        }[make]()

    theirs, ours = [m.double().eval() for m in pair(torch.nn)], [m.double().eval() for m in pair(nn)]
    for mine, other in zip(ours, theirs, strict=True):
        state = {
            key: value.numpy() if value.ndim == 0 else rng.uniform(0.5, 2, size=tuple(value.shape))
            for key, value in other.state_dict().items()
        }
        other.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
        mine.load_state_dict(state)
    kept = {key: value.numpy().copy() for key, value in ours[0].state_dict().items()}
    if "linear" in make:
        expected = torch.nn.utils.fusion.fuse_linear_bn_eval(*theirs)
        found = nn.utils.fusion.fuse_linear_bn_eval(*ours)
    else:
        expected = torch.nn.utils.fusion.fuse_conv_bn_eval(*theirs, make == "transpose")
        found = nn.utils.fusion.fuse_conv_bn_eval(*ours, make == "transpose")
    assert [p.requires_grad for p in found.parameters()] == [p.requires_grad for p in expected.parameters()]
    for name, value in expected.state_dict().items():
        np.testing.assert_allclose(found.state_dict()[name].numpy(), value.numpy(), rtol=1e-12)
    if make != "linear one":
        x = rng.normal(size={"linear": (7, 5), "conv1d": (7, 4, 9)}.get(make.removesuffix(" no bias"), (7, 4, 9, 8)))
        y = ours[1](ours[0](x)).detach().numpy()
        np.testing.assert_allclose(found(x).detach().numpy(), y, rtol=1e-10, atol=1e-10)
    for name, value in kept.items():
        np.testing.assert_array_equal(ours[0].state_dict()[name].numpy(), value)


def test_what_can_not_be_folded_is_refused():
    conv, norm = nn.Conv2d(2, 3, 1).eval(), nn.BatchNorm2d(3).eval()
    for call, message in (
        (lambda: nn.utils.fusion.fuse_conv_bn_eval(conv, nn.BatchNorm2d(3)),
         "fuse_conv_bn_eval: expected both modules in evaluation mode; got one in training mode"),
        (lambda: nn.utils.fusion.fuse_conv_bn_eval(conv, nn.BatchNorm2d(3, track_running_stats=False).eval()),
         "fuse_conv_bn_eval: expected a batch norm with running statistics; got none"),
        (lambda: nn.utils.fusion.fuse_linear_bn_eval(nn.Linear(2, 4).eval(), norm),
         "fuse_linear_bn_eval: expected a batch norm of 4 features or 1; got 3"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            call()


def test_predict_folds_and_leaves_the_model_alone():
    fnn.manual_seed(2)
    rng = np.random.default_rng(5)
    inner = nn.Sequential(nn.Conv2d(6, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 5, 1))
    hooked = nn.BatchNorm2d(5)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), inner, hooked, nn.Flatten(), nn.Linear(5 * 12, 2)
    )
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.copy_(fnn.tensor(rng.normal(size=norm.num_features).astype(np.float32)))
        norm.running_var.copy_(fnn.tensor(rng.uniform(0.5, 2, size=norm.num_features).astype(np.float32)))
    x, y = rng.normal(size=(30, 3, 5, 6)).astype(np.float32), rng.normal(size=(30, 2)).astype(np.float32)
    kept = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    calls = []
    handle = model[1].register_forward_hook(lambda *_: calls.append("norm"))
    trainer = fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
    watched = trainer.predict(x, batch_size=7)
    assert calls == ["norm"] * 5  # whoever looks at a layer finds it at work
    handle.remove()
    found = trainer.predict(x, batch_size=7)
    model.eval()
    expected = model(x).detach().numpy()
    np.testing.assert_allclose(watched, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not np.array_equal(found, expected)  # other roundings: they were folded
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(((expected - y) ** 2).mean(), rel=1e-5)
    assert model.__dict__.get("_calls") is None
    assert list(model.state_dict()) == list(kept)
    for name, value in kept.items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value)
