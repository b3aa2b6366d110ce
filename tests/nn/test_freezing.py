import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.training.evaluation import evaluating

X = np.random.default_rng(0).normal(3, 2, (40, 5)).astype(np.float32)
Y = np.arange(40) % 3


def net():
    fnn.manual_seed(0)
    body = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(0.5))
    return nn.Sequential(body, nn.BatchNorm1d(7), nn.Linear(7, 3))


def state(module):
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("how", ["fit", "loop"])
def test_what_is_frozen_stays_and_the_rest_learns(how):
    model = net()
    assert fnn.freeze(model[0]) is model[0]
    # Weight decay would move a weight that has a gradient of 0.
    optimizer = optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    frozen, before = state(model[0]), state(model)
    if how == "fit":
        fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer).fit(
            X, Y, epochs=2, batch_size=8, validation_data=(X, Y), verbose=False
        )
    else:
        for _ in range(3):
            model.train()
            loss = nn.functional.cross_entropy(model(X), Y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert state(model[0]) == frozen
    after = state(model)
    assert all(after[name] != before[name] for name in after if not name.startswith("0."))
    # Only layers with running statistics change their mode.
    model.train()
    assert [part.training for part in model.modules()] == [True, True, True, False, True, True, True]


def test_unfrozen_parts_learn_again_in_the_mode_they_would_be_in():
    model = net()
    fnn.freeze(model)
    assert not any(p.requires_grad for p in model.parameters())
    assert model[1].training is False
    assert fnn.unfreeze(model) is model
    assert all(p.requires_grad for p in model.parameters())
    assert all(part.training for part in model.modules())
    fnn.freeze(model)
    fnn.freeze(model)
    model.eval()
    fnn.unfreeze(model)
    assert not any(part.training for part in model.modules())


def test_evaluation_does_not_change_the_mode_after_unfreezing():
    model = net()
    fnn.freeze(model)
    with evaluating(model):
        pass
    nn.init.lsuv_(model, X)
    fnn.unfreeze(model)
    assert all(part.training for part in model.modules())


def test_modes_are_put_back_also_if_a_part_was_frozen_or_unfrozen_meanwhile():
    model = net()
    fnn.freeze(model[1])
    with evaluating(model):
        fnn.unfreeze(model[1])
        fnn.freeze(model[0])
    assert model[1].training
    assert [part.training for part in model[0]] == [True, False, True]
    model.eval()
    assert fnn.unfreeze(model[0])[1].training is False


def test_statistics_that_are_frozen_are_not_measured_anew():
    model = net()
    model(X)
    fnn.freeze(model[0])
    before = state(model)
    optim.swa_utils.update_bn(X, model)
    after = state(model)
    assert {name for name in after if after[name] != before[name]} == {"1.running_mean", "1.running_var"}


def test_a_planned_step_notices():
    model = net()
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    step(X, Y)
    fnn.freeze(model[0])
    before = state(model[0])
    step(X, Y)
    assert step.reason is None
    assert state(model[0]) == before
    fnn.unfreeze(model[0])
    step(X, Y)
    after = state(model[0])
    assert all(after[name] != before[name] for name in after)


@pytest.mark.parametrize("function", [fnn.freeze, fnn.unfreeze])
def test_errors(function):
    with pytest.raises(TypeError) as caught:
        function([nn.Linear(1, 1)])
    assert str(caught.value) == f"{function.__name__}: expected module to be an nn.Module; got list"
