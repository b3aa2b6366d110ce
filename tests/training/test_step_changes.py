"""Changes of the model between planned steps are noticed."""

from __future__ import annotations

import copy

import pytest
from tests.training.steps import BATCH, WIDTH, Wrapped, X, Y, adam, batches, eager_step, net, planned, state

import fastnn as fnn
from fastnn import nn


class Follow:
    """A planned and an eager run of the same steps, side by side, with the same change made to both."""

    def __init__(self) -> None:
        self.models = net(), net()
        self.step = planned(self.models[0])
        self.optimizer = adam(self.models[1])

    def steps(self, n: int = 3) -> None:
        for rows in batches(n):
            seed_state = fnn.get_rng_state()
            loss = self.step(X[rows], Y[rows])
            fnn.set_rng_state(seed_state)
            assert loss == eager_step(self.models[1], self.optimizer, X[rows], Y[rows])
        assert self.step.reason is None
        assert state(self.models[0]) == state(self.models[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda model, optimizer: model.eval(),
        lambda model, optimizer: model[1].eval(),
        lambda model, optimizer: setattr(model[3], "p", 0.7),
        lambda model, optimizer: setattr(model[1], "momentum", 0.5),
        lambda model, optimizer: model[0].requires_grad_(False),
        lambda model, optimizer: setattr(model[4].bias, "requires_grad", False),
        lambda model, optimizer: model[4].weight.requires_grad_(False),
        lambda model, optimizer: optimizer.param_groups[0].update(lr=0.1),
        lambda model, optimizer: optimizer.param_groups[0].update(weight_decay=0.5, betas=(0.5, 0.6)),
        lambda model, optimizer: optimizer.param_groups[0].update(amsgrad=True),
        lambda model, optimizer: model.__setitem__(2, nn.Sigmoid()),
        lambda model, optimizer: model.insert(5, nn.ReLU()),
        lambda model, optimizer: model.__delitem__(3),
        lambda model, optimizer: model.load_state_dict({k: v.numpy() + 1 for k, v in model.state_dict().items()}),
        lambda model, optimizer: optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict())),
        lambda model, optimizer: setattr(model[0].weight, "data", fnn.ones(37, WIDTH) / 9),
        lambda model, optimizer: setattr(model[1], "running_mean", fnn.ones(37)),
        lambda model, optimizer: model[4].weight.detach().mul_(0.5),
        lambda model, optimizer: fnn.set_num_threads(1),
    ],
)  # fmt: skip
def test_changes_between_steps_are_noticed(change: object) -> None:
    threads = fnn.get_num_threads()
    try:
        follow = Follow()
        follow.steps()
        for model, optimizer in zip(follow.models, (follow.step.optimizer, follow.optimizer), strict=True):
            change(model, optimizer)
        follow.steps()
    finally:
        fnn.set_num_threads(threads)


def test_new_memory_of_a_frozen_parameter_is_noticed() -> None:
    follow = Follow()
    for model in follow.models:
        model[0].requires_grad_(False)
    follow.steps()
    for model in follow.models:
        model[0].weight.data = fnn.ones(37, WIDTH) / 7
    follow.steps()


def _swap(model: nn.Sequential) -> None:
    # The second may get the address of what the first has replaced.
    model[2] = nn.Sigmoid()
    model[2] = nn.Tanh()


def test_a_layer_at_the_address_of_another_is_noticed() -> None:
    follow = Follow()
    for _ in range(3):
        follow.steps()
        for model in follow.models:
            _swap(model)
        follow.steps()
        for model in follow.models:
            model[2] = nn.ReLU()
            model[2] = nn.SiLU()


def test_attributes_that_are_tensors_or_functions_are_noticed() -> None:
    model = Wrapped(nn.functional.relu)
    step = planned(model)
    step.optimizer.param_groups[0].update(lr=0.0, weight_decay=0.0)
    losses = []
    for function in (nn.functional.relu, nn.functional.tanh, nn.functional.silu):
        model.function = function
        losses.append([step(X[:BATCH], Y[:BATCH]) for _ in range(2)])
    scales = fnn.tensor(1.0), fnn.tensor(5.0)
    model.function = lambda h: h * model.pair[0]
    for pair in (scales, scales[::-1]):
        model.pair = pair
        losses.append([step(X[:BATCH], Y[:BATCH]) for _ in range(2)])
    assert all(first == second for first, second in losses)
    assert len({first for first, _ in losses}) == 5
    assert step.reason is None


def test_back_to_training_uses_the_dropout_again() -> None:
    follow = Follow()
    for mode in (True, False, True):
        for model in follow.models:
            model.train(mode)
        follow.steps()
