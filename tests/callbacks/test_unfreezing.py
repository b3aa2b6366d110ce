"""Groups that learn in each epoch; frozen ones stay as they are, statistics included."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, nn, optim

X = np.random.default_rng(0).normal(3, 2, (40, 5)).astype(np.float32)
Y = np.arange(40) % 3


def net():
    fnn.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm1d(5),
        nn.Linear(5, 7),
        nn.BatchNorm1d(7),
        nn.ReLU(),
        nn.Sequential(nn.Linear(7, 6), nn.BatchNorm1d(6)),
        nn.Dropout(0.2),
        nn.Linear(6, 3),
    )


class Watch(callbacks.Callback):
    """Notes which children changed in every epoch."""

    def __init__(self):
        self.changed = []

    def on_epoch_begin(self, epoch):
        self.before = self.state()

    def on_epoch_end(self, epoch, logs):
        after = self.state()
        self.changed.append("".join(name[0] for name in after if after[name] != self.before[name]))

    def state(self):
        return {name: value.numpy().tobytes() for name, value in self.trainer.model.state_dict().items()}


def fit(model, unfreezing, **settings):
    watch = Watch()
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    trainer.fit(X, Y, batch_size=8, callbacks=[unfreezing, watch], verbose=False, **settings)
    return watch.changed


# The parameters, and the statistics, of the norm, and of what follows it.
NORM, LINEAR = 5, 2
GROUPS = ["0" * NORM + "1" * LINEAR + "2" * NORM, "4" * (LINEAR + NORM), "6" * LINEAR]


def test_one_group_more_every_other_epoch():
    model = net()
    changed = fit(model, callbacks.GradualUnfreezing(every=2), epochs=6)
    assert changed == [GROUPS[2]] * 2 + [GROUPS[1] + GROUPS[2]] * 2 + ["".join(GROUPS)] * 2
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.modules())


def test_what_is_frozen_at_the_end_stays_frozen_in_its_mode():
    model = net()
    fit(model, callbacks.GradualUnfreezing(), epochs=2)
    assert [p.requires_grad for p in model.parameters()] == [False] * 6 + [True] * 6
    model.train()
    assert [model[i].training for i in (0, 2)] == [False, False]
    assert model[4][1].training
    # A fit goes on where another ended.
    assert fit(model, callbacks.GradualUnfreezing(), initial_epoch=2, epochs=3) == ["".join(GROUPS)]


def test_groups_of_ones_own():
    model = net()
    unfreezing = callbacks.GradualUnfreezing(groups=[[model[1], model[2]], model[6]])
    changed = fit(model, unfreezing, epochs=2)
    rest = "0" * NORM, GROUPS[1]
    assert changed == [rest[0] + rest[1] + GROUPS[2], rest[0] + "1" * LINEAR + "2" * NORM + rest[1] + GROUPS[2]]


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x):
        return self.body(x)


class Own(Wrapped):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(np.ones(1, np.float32))


def test_a_model_around_a_model():
    assert fit(Wrapped(), callbacks.GradualUnfreezing(), epochs=1) == ["b" * LINEAR]
    assert fit(nn.Sequential(nn.Linear(5, 3)), callbacks.GradualUnfreezing(), epochs=1) == ["0" * LINEAR]


def without_the_trunk():
    model = net()
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model[6].parameters(), lr=0.1))
    trainer.fit(X, Y, callbacks=[callbacks.GradualUnfreezing()], verbose=False)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: callbacks.GradualUnfreezing(0), ValueError, "GradualUnfreezing: expected every of at least 1; got 0"),
        (lambda: callbacks.GradualUnfreezing(1.5), TypeError, "GradualUnfreezing: expected every to be an int; got 1.5"),
        (lambda: callbacks.GradualUnfreezing(groups=[]), ValueError, "GradualUnfreezing: expected at least one group; got none"),
        (lambda: callbacks.GradualUnfreezing(groups=3), TypeError,
         "GradualUnfreezing: expected groups to be modules in a sequence; got int"),
        (lambda: callbacks.GradualUnfreezing(groups=net()), TypeError,
         "GradualUnfreezing: expected groups to be modules in a sequence; got Sequential"),
        (lambda: callbacks.GradualUnfreezing(groups=[["1"]]), TypeError,
         "GradualUnfreezing: expected groups to hold modules; got str"),
        (lambda: fit(Own(), callbacks.GradualUnfreezing(), epochs=1), ValueError,
         "GradualUnfreezing: expected groups for Own, which has parameters of its own; got None"),
        (without_the_trunk, ValueError,
         "GradualUnfreezing: expected an optimizer of all groups' parameters; it lacks some of group 0, BatchNorm1d, Linear, BatchNorm1d"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
