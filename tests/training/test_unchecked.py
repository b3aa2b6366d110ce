"""Settings that would have no effect raise."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, nn, optim
from fastnn.nn import penalties
from fastnn.optim.lr_scheduler import StepLR

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(12, 4)).astype(np.float32), np.arange(12) % 3


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def sgd(model: nn.Module) -> optim.SGD:
    return optim.SGD(model.parameters(), lr=0.1)


def trainer(model: nn.Module | None = None, optimizer: Any = None, **settings: Any) -> fnn.Trainer:
    model = net() if model is None else model
    return fnn.Trainer(model, nn.CrossEntropyLoss(), sgd(model) if optimizer is None else optimizer, **settings)


def fit(one: fnn.Trainer | None = None, x: Any = X, y: Any = Y, **settings: Any) -> fnn.History:
    return (trainer() if one is None else one).fit(x, y, verbose=False, **settings)


FROZEN = "Trainer.fit: expected an optimizer of parameters that require a gradient"
FOREIGN = "expected an optimizer of the model's parameters; got SGD, which has none of Sequential's"


def frozen_but_others() -> fnn.Trainer:
    model = net()
    fnn.freeze(model[0])
    return trainer(model, optim.SGD(model[0].parameters(), lr=0.1))


def with_another(name: str, value: Any) -> fnn.Trainer:
    one = trainer()
    setattr(one, name, value)
    return one


class ForeignSchedule(callbacks.Callback):
    def batch_schedulers(self) -> list[Any]:
        return [StepLR(sgd(net()), 1)]


CASES: list[tuple[Callable[[], Any], str]] = [
    # Weights of no class.
    *[
        (lambda key=key: fit(class_weight={key: 50.0}), f"Trainer.fit: expected class_weight of classes in [0, 3); got one of {key!r}")
        for key in ("0", 99, 3, -1, -100, 1.5, None, True)
    ],
    (lambda: fit(class_weight=[1.0, 2.0, 3.0, 4.0]), "Trainer.fit: expected class_weight of shape (3,); got (4,)"),
    (lambda: fit(class_weight=[1.0, 2.0]), "Trainer.fit: expected class_weight of shape (C,) with C above 2; got (2,)"),
    (lambda: fit(class_weight=[1.0, np.nan, 1.0]), "Trainer.fit: expected class_weight of at least 0; got nan at 1"),
    (lambda: fit(class_weight={0: -1.0}), "Trainer.fit: expected class_weight of at least 0; got -1.0 at 0"),
    (lambda: fit(sample_weight=np.ones((12, 1))), "Trainer.fit: expected sample_weight of shape (12,); got (12, 1)"),
    # Optimizers and schedules of something else.
    (lambda: trainer(optimizer=sgd(net())), f"Trainer: {FOREIGN}"),
    (lambda: fnn.TrainStep(net(), nn.CrossEntropyLoss(), sgd(net())), f"TrainStep: {FOREIGN}"),
    (lambda: fnn.lr_range_test(net(), nn.CrossEntropyLoss(), sgd(net()), X, Y), f"lr_range_test: {FOREIGN}"),
    (lambda: fnn.diagnose(net(), nn.CrossEntropyLoss(), X, Y, sgd(net()), verbose=False), f"diagnose: {FOREIGN}"),
    (
        lambda: fnn.ensemble.DeepEnsemble(net, 2, nn.CrossEntropyLoss(), lambda _: sgd(net())),
        f"Trainer: {FOREIGN}",
    ),
    (
        lambda: fit(frozen_but_others()),
        f"{FROZEN}; got SGD, whose parameters of Sequential are all frozen, while others of it are not",
    ),
    *[
        (lambda name=name, value=value: fit(with_another(name, value)), f"Trainer.fit: expected the {name} that it was made with; make another Trainer for another")
        for name, value in (("model", net()), ("loss", nn.NLLLoss()), ("optimizer", sgd(net())))
    ],
    (
        lambda: fit(callbacks=[ForeignSchedule()]),
        "Trainer.fit: expected schedules of the trainer's optimizer; got StepLR of another SGD",
    ),
    (
        lambda: fit(callbacks=[callbacks.LearningRateScheduler(StepLR(sgd(net()), 1))]),
        "LearningRateScheduler: expected a schedule of the trainer's optimizer; got StepLR of another SGD",
    ),
    (
        lambda: trainer().step.run_batches(X, Y, np.arange(12), 0, 1, 12, [StepLR(sgd(net()), 1)]),
        "TrainStep.run_batches: expected schedules of the step's optimizer; got StepLR of another SGD",
    ),
    (
        lambda: fit(callbacks=[callbacks.GradualUnfreezing(1, [nn.Linear(2, 2)])]),
        "GradualUnfreezing: expected groups of modules of the trainer's model; got Linear of another in group 0",
    ),
    # Patterns of names.
    (lambda: trainer(max_norm={"2.*": 1.0, "x.*": 1.0}), "TrainStep: expected every pattern of max_norm to match a parameter's name; 'x.*' matches none"),
    (lambda: trainer(max_norm={"*": 1.0, "2.*": 2.0}), "TrainStep: expected every pattern of max_norm to be the first that matches some weight; '2.*' is for none"),
    (lambda: trainer(max_norm={"*.bias": 1.0}), "TrainStep: expected max_norm for parameters of 2 dimensions or more; ['*.bias'] match none"),
    (lambda: fit(trainer(penalty={"*": penalties.L2(0.1), "2.*": penalties.L1(0.1)})), "PerLayer: expected every pattern to be the first that matches some weight; '2.*' is for none"),
    (lambda: fit(trainer(penalty={"*.weight": penalties.L2(0.1), "*.bias": penalties.L2(0.1)})), "PerLayer: expected every pattern to be the first that matches some weight; '*.bias' is for none"),
    # Arguments that go with arrays only.
    *[
        (lambda name=name, value=value: fit(x=[(X, Y)], y=None, **{name: value}), f"Trainer.fit: expected arrays with {name}; got list")
        for name, value in (("drop_last", True), ("class_weight", {0: 1.0}), ("sample_weight", np.ones(12)), ("validation_split", 0.5))
    ],
    (lambda: trainer().evaluate([(X, Y)], batch_size=4), "Trainer.evaluate: expected arrays with batch_size; got list"),
    (lambda: fit(validation_split=1.0), "Trainer.fit: expected validation_split in [0, 1); got 1.0"),
    (lambda: fit(validation_split=float("nan")), "Trainer.fit: expected validation_split in [0, 1); got nan"),
    (lambda: fnn.data.DataLoader(range(3), timeout=float("nan")), "DataLoader: expected timeout of at least 0; got nan"),
    (
        lambda: fnn.data.DataLoader(range(3), sampler=fnn.data.WeightedRandomSampler([1.0, 2.0], 3)),
        "DataLoader: expected a sampler with a weight for each of the 3 samples; got 2 weights",
    ),
    (lambda: callbacks.CSVLogger("x", separator=",,"), "CSVLogger: expected separator to be one character; got ',,'"),
    # Losses.
    (
        lambda: fnn.Trainer(net(), partial(nn.functional.mse_loss, reduction="none"), sgd(net())),
        "Trainer: expected a loss with reduction 'mean' or 'sum'; got 'none'",
    ),
    (
        lambda: nn.functional.cross_entropy(fnn.ones(2, 3), fnn.ones(2, 3), ignore_index=1),
        "cross_entropy: expected ignore_index below 0 with a target of probabilities; got 1",
    ),
    *[
        (lambda loss=loss, y=y: loss(fnn.ones(2, 3) * 0.5, y), f"{name}: expected {weight} that requires no gradient, for it has none; got one that does: detach it")
        for name, weight, y, loss in (
            ("cross_entropy", "weight", np.array([0, 1]), nn.CrossEntropyLoss(nn.Parameter(fnn.ones(3)))),
            ("nll_loss", "weight", np.array([0, 1]), nn.NLLLoss(nn.Parameter(fnn.ones(3)))),
            ("binary_cross_entropy", "weight", fnn.ones(2, 3), nn.BCELoss(nn.Parameter(fnn.ones(3)))),
            ("binary_cross_entropy_with_logits", "pos_weight", fnn.ones(2, 3), nn.BCEWithLogitsLoss(pos_weight=nn.Parameter(fnn.ones(3)))),
        )
    ],
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), CASES, ids=[message for _, message in CASES])
def test_it_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *[
            (lambda name=name: fit(**{name: "no"}), f"Trainer.fit: expected {name} to be a bool; got 'no'")
            for name in ("shuffle", "drop_last", "cache_features", "train_metrics")
        ],
        *[
            (lambda name=name: fnn.data.DataLoader(range(3), **{name: "no"}), f"DataLoader: expected {name} to be a bool; got 'no'")
            for name in ("shuffle", "drop_last")
        ],
        (lambda: callbacks.EarlyStopping(3), "EarlyStopping: expected monitor to be the name of a measure; got 3"),
        (lambda: nn.CrossEntropyLoss(ignore_index="0"), "CrossEntropyLoss: expected ignore_index to be an int; got '0'"),
        (lambda: nn.NLLLoss(ignore_index=1.5), "NLLLoss: expected ignore_index to be an int; got 1.5"),
    ],
)  # fmt: skip
def test_other_types_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        call()


def test_nothing_changes_when_it_raises() -> None:
    one = trainer()
    before = [p.detach().numpy().tobytes() for p in one.model.parameters()]
    for settings in ({"class_weight": {"0": 1.0}}, {"callbacks": [ForeignSchedule()]}):
        with pytest.raises(ValueError, match=r"^Trainer\.fit: "):
            fit(one, **settings)
    assert before == [p.detach().numpy().tobytes() for p in one.model.parameters()]
    assert one.model.training


@pytest.mark.parametrize("ignored", [-100, 255])
def test_a_class_that_no_row_has_may_have_a_weight(ignored: int) -> None:
    y = np.where(Y == 2, ignored, Y)
    losses = []
    for class_weight in ({0: 2.0, 2: 7.0}, {0: 2.0}, [2.0, 1.0, 7.0], {np.int64(0): 2.0, 1: 1}):
        fnn.manual_seed(0)
        model = net()
        one = fnn.Trainer(model, nn.CrossEntropyLoss(ignore_index=ignored), sgd(model))
        losses.append(fit(one, y=y, class_weight=class_weight)["loss"])
    assert losses.count(losses[0]) == len(losses)


def test_bagging_weighs_classes_that_a_sample_lacks() -> None:
    y = np.where(np.arange(12) == 0, 2, np.arange(12) % 2)
    fnn.manual_seed(1)
    ensemble = fnn.ensemble.BaggingEnsemble(net, 4, nn.CrossEntropyLoss(), lambda p: optim.SGD(p, lr=0.1))
    ensemble.fit(X, y, class_weight={2: 3.0}, verbose=False)
    assert ensemble.counts is not None
    assert (ensemble.counts[:, 0] == 0).any()


class Pair(nn.Module):
    """A generator and a discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(4, 4)
        self.discriminator = nn.Linear(4, 3)

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return self.discriminator(self.generator(x))


def test_an_optimizer_may_lack_parameters_and_have_others() -> None:
    pair = Pair()
    fit(trainer(pair, optim.SGD(pair.generator.parameters(), lr=0.1)))
    fit(trainer(pair.discriminator, sgd(pair)))
    # All that learns may be in the loss.
    temperature = nn.Parameter(fnn.tensor(1.0))

    class Tempered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = temperature

        def forward(self, output: fnn.Tensor, target: fnn.Tensor) -> fnn.Tensor:
            return nn.functional.cross_entropy(output * self.temperature, target)

    model = fnn.freeze(net())
    fnn.Trainer(model, Tempered(), optim.SGD([temperature], lr=0.1)).fit(X, Y, verbose=False)
    assert temperature.item() != 1.0


def test_an_optimizer_of_the_arrays_of_a_model() -> None:
    model = net()
    optimizer = optim.SGD([p.detach().numpy() for p in model.parameters()], lr=0.1)
    fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
