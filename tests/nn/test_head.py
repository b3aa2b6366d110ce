"""New heads, and states of other models."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.nn import utils


class Net(nn.Module):
    """Its last layer with weights is not the last of its modules."""

    def __init__(self, classes=10):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
        self.fc = nn.Linear(6, classes, bias=False)
        self.out = nn.LogSoftmax(dim=1)

    def forward(self, x):
        return self.out(self.fc(nn.functional.relu(self.body(x))))


def rows(n=5, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(n, 4)).astype(dtype)


def test_a_head_for_other_classes():
    model = fnn.freeze(Net().double().eval())
    old = model.fc
    new = utils.replace_head(model, 3)
    assert new is model.fc is not old
    assert repr(new) == "Linear(in_features=6, out_features=3, bias=False)"
    assert new.weight.dtype == fnn.float64
    assert new.training is False
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["fc.weight"]
    assert model(rows(dtype=np.float64)).shape == (5, 3)
    assert list(model.state_dict())[-1] == "fc.weight"


def test_a_head_elsewhere_or_of_ones_own():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 2)), nn.Linear(2, 7))
    assert utils.replace_head(model, 5, "1.1").out_features == 5
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(5, 3))
    assert utils.replace_head(model, head) is model[2] is head
    assert model(rows()).shape == (5, 3)


def test_a_planned_step_sees_the_new_head():
    model = Net()
    step = fnn.TrainStep(model, nn.NLLLoss(), fnn.optim.SGD(model.parameters(), lr=0.1))
    y = np.array([0, 1, 2, 0, 1])
    step(rows(), y)
    head = utils.replace_head(model, 3)
    step = fnn.TrainStep(model, nn.NLLLoss(), fnn.optim.SGD(head.parameters(), lr=0.1))
    before = {name: value.numpy().tobytes() for name, value in model.state_dict().items()}
    for _ in range(3):
        step(rows(), y)
    assert step.reason is None
    after = {name: value.numpy().tobytes() for name, value in model.state_dict().items()}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"fc.weight", "body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: utils.replace_head([], 3), TypeError, "replace_head: expected model to be an nn.Module; got list"),
        (lambda: utils.replace_head(Net(), 0), ValueError, "replace_head: expected head of at least 1; got 0"),
        (lambda: utils.replace_head(Net(), 2.5), TypeError, "replace_head: expected head to be an int; got 2.5"),
        (lambda: utils.replace_head(nn.Sequential(nn.ReLU()), 3), ValueError,
         "replace_head: expected a model with a layer of weights in it; got Sequential"),
        (lambda: utils.replace_head(nn.Linear(2, 2), 3), ValueError,
         "replace_head: expected a model with a layer of weights in it; got Linear"),
        (lambda: utils.replace_head(Net(), 3, "body.7"), ValueError,
         "replace_head: expected name to be the path of a layer of Net; got 'body.7'"),
        (lambda: utils.replace_head(Net(), 3, ""), ValueError, "replace_head: expected name to be the path of a layer of Net; got ''"),
        (lambda: utils.replace_head(nn.Sequential(nn.Bilinear(2, 2, 2)), 3), ValueError,
         "replace_head: expected a module as head, where the layer '0' is a Bilinear and not a Linear; got 3"),
        (lambda: utils.load_matching({}, {}), TypeError, "load_matching: expected model to be an nn.Module; got dict"),
        (lambda: utils.load_matching(Net(), "net"), TypeError, "load_matching: expected state_dict to be a mapping; got str"),
        (lambda: utils.load_matching(Net(), {"fc.weight": np.zeros((3, 6)), "a": np.zeros(())}), ValueError,
         "load_matching: expected names and shapes of Net, such as body.0.weight (6, 4), body.0.bias (6,); got fc.weight (3, 6), a ()"),
        (lambda: utils.load_matching(Net(), {}), ValueError,
         "load_matching: expected names and shapes of Net, such as body.0.weight (6, 4), body.0.bias (6,); got none"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


def test_a_prefix_is_taken_off():
    state = {"module.a": 1, "b": 2, "module.module.c": 3}
    utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert state == {"b": 2, "a": 1, "module.c": 3}


def test_what_fits_is_loaded_and_the_rest_is_named():
    source, target = Net(), Net(3).double()
    source(rows())
    fc = target.fc.weight.detach().numpy().copy()
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    del state["module.body.0.bias"]
    state["module.extra"] = np.zeros(2)
    # A scalar that has become a vector of one.
    state["module.body.1.num_batches_tracked"] = np.array([4])
    matched = utils.load_matching(target, state)
    body = ["body.0.weight", "body.1.weight", "body.1.bias", "body.1.running_mean", "body.1.running_var"]
    assert matched == (
        [*body, "body.1.num_batches_tracked"],
        ["body.0.bias"],
        ["extra"],
        {"fc.weight": ((3, 6), (10, 6))},
    )
    for name in body:
        np.testing.assert_array_equal(target.state_dict()[name].numpy(), source.state_dict()[name].numpy())
    assert target.body[1].num_batches_tracked.item() == 4
    assert target.fc.weight.detach().numpy().tolist() == fc.tolist()
    assert target.fc.weight.dtype == fnn.float64
    assert next(iter(state)) == "module.body.0.weight"  # as it was


def test_a_model_whose_own_names_have_the_prefix():
    averaged = fnn.optim.swa_utils.AveragedModel(Net())
    assert utils.load_matching(averaged, averaged.state_dict()).loaded_keys == list(averaged.state_dict())
    plain = Net()
    assert utils.load_matching(plain, averaged.state_dict()).unexpected_keys == ["n_averaged"]
