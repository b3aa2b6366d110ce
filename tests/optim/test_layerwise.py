import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim


def net():
    return nn.Sequential(
        nn.BatchNorm1d(5),
        nn.Linear(5, 4),
        nn.BatchNorm1d(4),
        nn.Sequential(nn.Linear(4, 4), nn.PReLU()),
        nn.Linear(4, 3),
    )


def test_rates_fall_from_the_output_to_the_input():
    model = net()
    groups = optim.layerwise_lr(model, 0.08, 0.5)
    assert [(group["name"], group["lr"], len(group["params"])) for group in groups] == [
        ("1", 0.02, 6),  # with both of the norms beside it
        ("3.0", 0.04, 3),
        ("4", 0.08, 2),
    ]
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.parameters()}


def test_convolutions_are_layers():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.GroupNorm(2, 4), nn.ReLU(), nn.Residual(nn.Conv2d(4, 4, 1)), nn.Flatten(),
        nn.Linear(16, 2),
    )  # fmt: skip
    groups = optim.layerwise_lr(model, 0.9, 1 / 3)
    assert [(group["name"], len(group["params"])) for group in groups] == [("0", 3), ("3.block", 2), ("5", 2)]
    np.testing.assert_allclose([group["lr"] for group in groups], [0.1, 0.3, 0.9], rtol=1e-15)


def test_an_optimizer_takes_them():
    model = net()
    optimizer = optim.SGD(optim.layerwise_lr(model, 1.0, 0.25), lr=9.0)
    before = [[p.detach().numpy().copy() for p in group["params"]] for group in optimizer.param_groups]
    for p in model.parameters():
        p.grad = fnn.ones_like(p)
    optimizer.step()
    for group, old, lr in zip(optimizer.param_groups, before, (1 / 16, 1 / 4, 1.0), strict=True):
        for p, value in zip(group["params"], old, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), value - lr, rtol=1e-6, atol=1e-7)


def test_shared_weights_and_models_without_matrices():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    groups = optim.layerwise_lr(nn.Sequential(first, second), 1.0, 0.5)
    assert [(group["name"], len(group["params"])) for group in groups] == [("0", 3)]
    assert [(group["name"], group["lr"]) for group in optim.layerwise_lr(nn.PReLU(), 2.0, 0.5)] == [("", 2.0)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: optim.layerwise_lr(net(), -1, 0.5), ValueError, "layerwise_lr: expected lr of at least 0; got -1"),
        (lambda: optim.layerwise_lr(net(), 1, 0), ValueError, "layerwise_lr: expected decay in (0, 1]; got 0"),
        (lambda: optim.layerwise_lr(net(), 1, 1.5), ValueError, "layerwise_lr: expected decay in (0, 1]; got 1.5"),
        (lambda: optim.layerwise_lr(nn.ReLU(), 1, 1), ValueError, "layerwise_lr: expected a model with parameters; got none"),
        (lambda: optim.layerwise_lr([], 1, 1), TypeError, "layerwise_lr: expected model to be an nn.Module; got list"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
