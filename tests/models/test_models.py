"""Sizes, names and outputs of the nets, against the formulas and against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import models, nn, optim
from tests.reference import models as reference

COUNTS = [
    (lambda: models.mlp(784, (256, 128), 10), 785 * 256 + 257 * 128 + 129 * 10, (784,)),
    (lambda: models.mlp(5, [7], 3, batch_norm=True, dropout=0.3, activation=nn.Tanh), 6 * 7 + 2 * 7 + 8 * 3, (5,)),
    (lambda: models.mlp(5, [], 3), 18, (5,)),
    (models.lenet5, 61_706, (1, 28, 28)),
    (lambda: models.lenet5(7, 3, 32), 61_706 + 2 * 150 - 3 * 85, (3, 32, 32)),
    (models.resnet8, 75_290, (3, 32, 32)),
    (lambda: models.resnet8(shortcut="B"), 78_042, (3, 32, 32)),
    (models.resnet20, 269_722, (3, 32, 32)),
    (lambda: models.resnet20(shortcut="B"), 272_474, (3, 19, 23)),
    (lambda: models.resnet8(5, 1), 75_290 - 288 - 5 * 65, (1, 28, 28)),
    (models.vgg_small, 551_466, (3, 32, 32)),
    (lambda: models.vgg_small(batch_norm=False), 551_466 - 896, (3, 32, 32)),
    (lambda: models.vgg_small(4, 1, 28), 551_466 - 576 - 7 * 128 * 128 - 6 * 129, (1, 28, 28)),
]


@pytest.mark.parametrize(("make", "count", "shape"), COUNTS)
def test_parameters_and_output(make, count, shape):
    model = make()
    assert sum(p.numel() for p in model.parameters()) == count
    classes = list(model.parameters())[-1].shape[0]
    assert model(np.zeros((2, *shape), np.float32)).shape == (2, classes)


def test_the_table_of_the_docs():
    for name, count in (("lenet5", "61,706"), ("resnet8", "75,290"), ("resnet20", "269,722"), ("vgg_small", "551,466")):
        line = next(line for line in models.__doc__.splitlines() if line.startswith(f"``{name}("))
        assert count in line
        assert count in getattr(models, name).__doc__


def test_names_are_torchvisions():
    block = [f"{part}.{value}" for part in ("bn1", "bn2") for value in ("weight", "bias")]
    names = dict(models.resnet20(shortcut="B").named_parameters())
    expected = ["conv1.weight", "bn1.weight", "bn1.bias"]
    for stage in (1, 2, 3):
        for number in range(3):
            parts = ["conv1.weight", *block[:2], "conv2.weight", *block[2:]]
            if stage > 1 and number == 0:
                parts += ["downsample.0.weight", "downsample.1.weight", "downsample.1.bias"]
            expected += [f"layer{stage}.{number}.{part}" for part in parts]
    assert list(names) == [*expected, "fc.weight", "fc.bias"]
    assert not any("downsample" in name for name in models.resnet8().state_dict())


def random_state(model, seed=0):
    """Numbers of which none is a default, of a size that keeps the signal."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, value in model.state_dict().items():
        shape = tuple(value.shape)
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(3)
        elif len(shape) >= 2:
            state[name] = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            state[name] = rng.uniform(0.5, 1.5, shape) if name.endswith("var") else rng.normal(size=shape)
    return state


CASES = {
    "lenet5": (models.lenet5, (1, 28, 28), reference.lenet5),
    "lenet5 in color": (lambda: models.lenet5(10, 3, 32), (3, 32, 32), reference.lenet5),
    "lenet5 of 1998": (
        lambda: models.lenet5(activation=nn.Tanh, pool=nn.AvgPool2d),
        (1, 28, 28),
        lambda state, x: reference.lenet5(state, x, np.tanh, np.mean),
    ),
    "resnet8": (models.resnet8, (3, 13, 10), lambda state, x: reference.resnet(state, x, 1, "A")),
    "resnet8 B": (
        lambda: models.resnet8(shortcut="B"),
        (3, 9, 11),
        lambda state, x: reference.resnet(state, x, 1, "B"),
    ),
    "resnet20": (models.resnet20, (3, 8, 8), lambda state, x: reference.resnet(state, x, 3, "A")),
    "vgg": (models.vgg_small, (3, 32, 32), lambda state, x: reference.vgg(state, x, True)),
    "vgg without norms": (
        lambda: models.vgg_small(batch_norm=False),
        (3, 32, 32),
        lambda state, x: reference.vgg(state, x, False),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_the_formulas(name):
    make, shape, formula = CASES[name]
    model = make().double().eval()
    state = random_state(model)
    model.load_state_dict(state)
    x = np.random.default_rng(1).normal(size=(3, *shape))
    expected = formula(state, x)
    np.testing.assert_allclose(model(x).detach().numpy(), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


TWINS = {
    "lenet5": (lambda t: t.LeNet5(), models.lenet5, (1, 28, 28)),
    "lenet5 in color": (lambda t: t.LeNet5(3, 32), lambda: models.lenet5(10, 3, 32), (3, 32, 32)),
    "resnet8": (lambda t: t.ResNet(1, "A"), models.resnet8, (3, 15, 12)),
    "resnet20": (lambda t: t.ResNet(3, "A"), models.resnet20, (3, 8, 8)),
    "resnet8 B": (lambda t: t.ResNet(1, "B"), lambda: models.resnet8(shortcut="B"), (3, 16, 16)),
    "vgg": (lambda t: t.VGG(True), lambda: models.vgg_small(dropout=0.0), (3, 32, 32)),
    "vgg without norms": (lambda t: t.VGG(False), lambda: models.vgg_small(batch_norm=False, dropout=0.0), (3, 32, 32)),
}


@pytest.mark.parametrize("name", TWINS)
def test_pytorchs_twins_have_the_same_names_values_and_gradients(name):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    from tests.models import torch_models

    make, ours, shape = TWINS[name]
    theirs, model = make(torch_models).double(), ours().double()
    assert [(key, tuple(v.shape)) for key, v in model.state_dict().items()] == [
        (key, tuple(v.shape)) for key, v in theirs.state_dict().items()
    ]
    state = random_state(model, 2)
    theirs.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    model.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(3).normal(size=(4, *shape))
    y = np.array([1, 9, 3, 3])
    for training in (False, True):
        theirs.train(training)
        model.train(training)
        loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        mine = nn.functional.cross_entropy(model(x), y)
        assert mine.item() == pytest.approx(loss.item(), rel=1e-10)
    loss.backward()
    mine.backward()
    for (key, p), q in zip(model.named_parameters(), theirs.parameters(), strict=True):
        expected = q.grad.numpy()
        # Biases ahead of a norm have a gradient of 0, but for rounding.
        atol = 1e-9 * np.abs(expected).max() + 1e-13
        np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-7, atol=atol, err_msg=key)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[key].numpy(), value.numpy(), rtol=1e-9, atol=1e-12, err_msg=key)


STEPS = {
    "lenet5": (models.lenet5, (1, 28, 28)),
    "resnet8": (lambda: models.resnet8(survival=0.5), (3, 9, 10)),
    "resnet8 B": (lambda: models.resnet8(shortcut="B"), (3, 8, 8)),
    "vgg": (lambda: models.vgg_small(image_size=9), (3, 9, 9)),
}


@pytest.mark.parametrize("name", STEPS)
def test_planned_is_eager(name):
    make, shape = STEPS[name]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, *shape)).astype(np.float32), np.arange(7) % 4
    results = []
    for planned in (False, True):
        fnn.manual_seed(1)
        model = make()
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
        losses = []
        for _ in range(4):
            if planned:
                losses.append(step(x, y))
                assert step.reason is None
                continue
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        results.append((losses, [v.numpy().tobytes() for v in model.state_dict().values()]))
    assert results[0] == results[1]


def test_predict_folds_batch_norms_where_the_class_says_that_it_may(monkeypatch):
    fnn.manual_seed(3)
    model = models.resnet8(shortcut="B")
    rng = np.random.default_rng(1)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.copy_(fnn.tensor(rng.normal(size=norm.num_features).astype(np.float32)))
        norm.running_var.copy_(fnn.tensor(rng.uniform(0.5, 2, size=norm.num_features).astype(np.float32)))
    x, called = rng.normal(size=(5, 3, 32, 32)).astype(np.float32), []
    expected = model.eval()(x).detach().numpy()
    forward = nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: called.append(self) or forward(self, x))
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    np.testing.assert_allclose(trainer.predict(x), expected, rtol=1e-4, atol=1e-4)
    assert called == []
    assert all(name not in module.__dict__ for module in model.modules() for name in ("conv1", "bn1", "conv2", "bn2"))
    model.bn1 = nn.Identity()  # as somebody may who wants none
    trainer.predict(x)

    class Twice(models.ResNet):
        def forward(self, x):
            h = self.conv1(x)
            return self.fc(self.avgpool(self.layer3(self.layer2(self.bn1(h) + h))).flatten(1))

    other = Twice(1)
    expected = other.eval()(x).detach().numpy()
    trainer = fnn.Trainer(other, nn.CrossEntropyLoss(), optim.SGD(other.parameters(), lr=0.1))
    np.testing.assert_allclose(trainer.predict(x), expected, rtol=1e-4, atol=1e-4)
    assert called.count(other.bn1) == 2


def test_the_start_is_hes_by_fan_out():
    fnn.manual_seed(0)
    model = models.resnet20()
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().numpy()
            expected = np.sqrt(2 / (weight.shape[0] * 9))
            assert abs(weight.std() / expected - 1) < 5 / np.sqrt(2 * weight.size), name
    first, second = models.resnet8(), models.resnet8()
    assert first.conv1.weight.tolist() != second.conv1.weight.tolist()


def test_survival_falls_with_depth():
    model = models.resnet20(survival=0.1)
    drops = [module for module in model.modules() if isinstance(module, nn.StochasticDepth)]
    assert [1 - drop.p for drop in drops] == pytest.approx([1 - block / 9 * 0.9 for block in range(1, 10)])
    assert {(drop.mode, drop.scaling) for drop in drops} == {("batch", "evaluation")}
    # Evaluating, every branch counts for as much as it survives.
    x = np.random.default_rng(0).normal(size=(2, 16, 6, 6)).astype(np.float32)
    block = model.layer1[2].eval()
    block.drop.p = 0.75
    branch = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(fnn.tensor(x)))))).detach().numpy()
    np.testing.assert_allclose(
        block(fnn.tensor(x)).detach().numpy(), np.maximum(x + branch / 4, 0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: models.mlp(0, [], 3), ValueError, "mlp: expected in_features of at least 1; got 0"),
        (lambda: models.mlp(3, [4, 0], 3), ValueError, "mlp: expected widths in hidden of at least 1; got 0"),
        (lambda: models.mlp(3, 4, 3), TypeError, "mlp: expected hidden to be widths in a sequence; got 4"),
        (lambda: models.mlp(3, [4], 3, dropout=2), ValueError, "mlp: expected dropout in [0, 1]; got 2"),
        (lambda: models.lenet5(image_size=30), ValueError, "LeNet5: expected image_size to be 28 or 32; got 30"),
        (lambda: models.lenet5(0), ValueError, "LeNet5: expected num_classes of at least 1; got 0"),
        (lambda: models.resnet8(shortcut="C"), ValueError, "ResNet: expected shortcut to be 'A' or 'B'; got 'C'"),
        (lambda: models.resnet8(survival=1.5), ValueError, "ResNet: expected survival in [0, 1]; got 1.5"),
        (lambda: models.resnet8(in_channels=0), ValueError, "ResNet: expected in_channels of at least 1; got 0"),
        (lambda: models.ResNet(0), ValueError, "ResNet: expected blocks of at least 1; got 0"),
        (lambda: models.BasicBlock(16, 16, shortcut=None), ValueError, "BasicBlock: expected shortcut to be 'A' or 'B'; got None"),
        (lambda: models.PadShortcut(16, 33), ValueError, "PadShortcut: expected planes an even number above 16; got 33"),
        (lambda: models.PadShortcut(16, 15), ValueError, "PadShortcut: expected planes of at least 16; got 15"),
        (lambda: models.vgg_small(image_size=7), ValueError, "VGG: expected image_size of at least 8; got 7"),
        (lambda: models.vgg_small(dropout="no"), TypeError, "VGG: expected dropout to be a number; got 'no'"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
