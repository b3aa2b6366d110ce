"""A frozen trunk computed once: the same weights, bit for bit, and every reason why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, nn, optim

# 211 rows: batches of 32 and one of 19, probes of 32, and features in no whole number of anything.
X = np.random.default_rng(0).normal(1, 2, (211, 9)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 211)


def chain() -> nn.Module:
    trunk = nn.Sequential(nn.Linear(9, 21), nn.BatchNorm1d(21), nn.Sequential(nn.ReLU(), nn.Dropout(0.3)))
    return nn.Sequential(trunk, nn.ReLU(), nn.Linear(21, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


class Net(nn.Module):
    """Not a Sequential, and what learns is the end of what it calls last."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(13, 11), nn.ReLU(), nn.Dropout(0.4), nn.Linear(11, 3))
        self.first = nn.Linear(9, 13)
        self.norm = nn.BatchNorm1d(13)
        self.second = nn.Linear(9, 13)

    def forward(self, x: Any) -> Any:
        return self.head(nn.functional.relu(self.norm(self.first(x))) * self.second(x))


def freeze_chain(model: Any) -> None:
    fnn.freeze(model[0])


def freeze_all_but_the_last(model: Any) -> None:
    fnn.freeze(model)
    fnn.unfreeze(model.head[3])


class AsSeries(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.reshape(-1, 1, 9)


def convolution() -> nn.Module:
    """Batch norm behind a convolution, which a prediction may fold into it."""
    trunk = nn.Sequential(nn.Conv1d(1, 6, 4, stride=2), nn.BatchNorm1d(6), nn.ReLU())
    return nn.Sequential(AsSeries(), trunk, nn.Flatten(), nn.Dropout(0.2), nn.Linear(18, 3))


def freeze_convolution(model: Any) -> None:
    fnn.freeze(model[1])


# Makers of a model, functions that freeze a part of it, and the number of layers that run in every epoch all the same.
CASES = [(chain, freeze_chain, 6), (Net, freeze_all_but_the_last, 2), (convolution, freeze_convolution, 2)]


def fitted(make: Any, freeze: Any, dtype: Any = fnn.float32, optimizer: str = "Adam", **settings: Any) -> Any:
    fnn.manual_seed(3)
    model = make().to(dtype)
    model(X.astype(np.float64 if dtype == fnn.float64 else np.float32))  # statistics that are not 0 and 1
    freeze(model)
    learning = getattr(optim, optimizer)(model.parameters(), lr=0.01, weight_decay=0.1)
    trainer = fnn.Trainer(
        model, nn.CrossEntropyLoss(), learning, metrics=["accuracy"], clip_grad_norm=0.7, max_norm=1.5
    )
    history = trainer.fit(X, Y, epochs=3, batch_size=32, verbose=False, **settings)
    return trainer, history


def state(model: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def without_time(history: Any) -> dict[str, list[float]]:
    return {name: history[name] for name in history.keys() if name != "seconds"}  # noqa: SIM118


@pytest.mark.parametrize(("make", "freeze", "parts"), CASES)
@pytest.mark.parametrize(
    "settings",
    [
        {"validation_split": 0.3},
        {"validation_data": (X[:7], Y[:7]), "sample_weight": np.arange(211) % 3},
        {"validation_data": [(X[:7], Y[:7]), (X[9:20], Y[9:20])], "train_metrics": True, "drop_last": True},
        {"dtype": fnn.float64},
        {"optimizer": "SGD", "callbacks": [callbacks.EMA(0.5)]},
    ],
)
def test_the_weights_and_the_history_are_those_of_the_whole_model(make, freeze, parts, settings) -> None:
    whole, expected = fitted(make, freeze, **settings)
    part, history = fitted(make, freeze, cache_features=True, **settings)
    assert state(part.model) == state(whole.model)
    assert history["loss"] == expected["loss"]
    # A prediction by the whole model may fold batch norm into the layer before it.
    for name, values in without_time(expected).items():
        assert history[name] == pytest.approx(values, rel=1e-5)
    assert part.step.part is part.model
    assert part.evaluate(X, Y) == whole.evaluate(X, Y)
    # A second fit, of the whole, does not go on with the plan of the part.
    for trainer in (whole, part):
        fnn.manual_seed(5)
        trainer.fit(X, Y, verbose=False)
    assert state(part.model) == state(whole.model)


@pytest.mark.parametrize(("make", "freeze", "parts"), CASES)
def test_the_trunk_is_not_run_again(make, freeze, parts) -> None:
    called: list[int] = []
    called_on: list[Any] = []

    class Watch(callbacks.Callback):
        def on_epoch_begin(self, epoch: int) -> None:
            called_on.append([type(part).__name__ for part in self.trainer.step.part])
            model = self.trainer.model
            first = model.first if isinstance(model, Net) else model[0]
            self.handle = first.register_forward_pre_hook(lambda *_: called.append(epoch))

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            self.handle.remove()

    fitted(make, freeze, cache_features=True, callbacks=[Watch()])
    assert called == []
    assert [len(parts_called) for parts_called in called_on] == [parts] * 3
    # Dropout belongs to what is run every time.
    assert called_on[0][0] == "Dropout"


def test_narrow_numbers_that_are_converted_batch_by_batch(monkeypatch) -> None:
    monkeypatch.setattr("fastnn.training.data._SMALL", 0)
    x = np.random.default_rng(2).integers(0, 256, (211, 9)).astype(np.uint8)
    states = []
    for cached in (False, True):
        fnn.manual_seed(3)
        model = chain()
        freeze_chain(model)
        trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), metrics=["accuracy"])
        weight = np.arange(211) % 3
        history = trainer.fit(
            x,
            Y,
            epochs=2,
            batch_size=32,
            sample_weight=weight,
            validation_split=0.1,
            cache_features=cached,
            verbose=False,
        )
        states.append((state(model), without_time(history)))
    assert states[0] == states[1]
    np.testing.assert_array_equal(fnn.features(chain_of(x), x), x.astype(np.float32))


def chain_of(x: Any) -> nn.Module:
    return nn.Sequential(nn.Identity(), nn.Linear(x.shape[1], 2))


def test_a_number_that_is_not_finite_is_traced_to_the_models_layer() -> None:
    model = chain()
    freeze_chain(model)
    model[5].bias.data.fill_(float("inf"))
    trainer = fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=1.0))
    with pytest.raises(ValueError, match=r"epoch 0, batch 0: parameter '5.bias' holds a value that is not finite$"):
        trainer.fit(X, X[:, :3], cache_features=True, verbose=False)
    assert trainer.step.part is model


class Scaled(nn.Module):
    """Other values while training."""

    def forward(self, x: Any) -> Any:
        return x * (3.0 if self.training else 2.0)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(9, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.head(nn.functional.dropout(self.first(x), 0.2, self.training))


class After(Noisy):
    def forward(self, x: Any) -> Any:
        return nn.functional.relu(self.head(self.first(x)))


class Twice(Noisy):
    def forward(self, x: Any) -> Any:
        hidden = self.first(x)
        return self.head(hidden + self.head(hidden).sum() * 0)


def attempt(model: Any, frozen: Any = lambda model: model[:-1], how: Any = fnn.freeze, **settings: Any) -> None:
    how(frozen(model))
    data = settings.pop("data", (X, Y))
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    trainer.fit(*data, cache_features=True, verbose=False, **settings)


def only_grad(module: nn.Module) -> None:
    module.requires_grad_(False)


SAME = "Trainer.fit: expected a trunk that returns the same features in every epoch with cache_features; "
TRUNK = (
    "Trainer.fit: expected a frozen trunk with cache_features, and behind it what learns as the end of an nn.Sequential or "
    "as the one module whose output is the model's; got "
)
BY_ITSELF = (
    "Trainer.fit: expected a trunk that treats every row by itself with cache_features; the features of one row depend on "
    "the others, as with batch norm that has no running statistics"
)
REASONS = [
    (lambda: attempt(nn.Sequential(nn.Linear(9, 4), nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 4)), nn.Linear(4, 3))),
     SAME + "'1.0' (Dropout) draws random numbers while training"),
    (lambda: attempt(nn.Sequential(nn.Dropout(0.1), nn.Linear(9, 3))), SAME + "'0' (Dropout) draws random numbers while training"),
    (lambda: attempt(nn.Sequential(nn.Linear(9, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), how=only_grad),
     SAME + "'1' (BatchNorm1d) changes its statistics while training: freeze it with fastnn.freeze"),
    (lambda: attempt(nn.Sequential(nn.Linear(9, 4), nn.Residual(nn.Linear(4, 4), 0.5), nn.Linear(4, 3))),
     SAME + "'1' (Residual) draws random numbers while training"),
    (lambda: attempt(nn.Sequential(Scaled(), nn.Linear(9, 3))), SAME + "'0' (Scaled) does something else while evaluating"),
    (lambda: attempt(Noisy(), lambda model: model.first), SAME + "Noisy draws random numbers while training"),
    (lambda: attempt(nn.Sequential(nn.Linear(9, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3))),
     BY_ITSELF),
    (lambda: attempt(After(), lambda model: model.first), TRUNK + "After, of which head learns"),
    (lambda: attempt(Twice(), lambda model: model.first), TRUNK + "Twice, of which head learns"),
    (lambda: attempt(chain(), lambda model: model[5]), TRUNK + "Sequential, of which 0, 2, 3 learns"),
    (lambda: attempt(chain(), lambda model: model),
     "Trainer.fit: expected a part of the model that learns with cache_features; all of it is frozen"),
    (lambda: attempt(chain(), lambda model: model[0], augment=lambda x, y: (x, y)),
     "Trainer.fit: expected no augment with cache_features: it changes the images every epoch"),
    (lambda: attempt(chain(), lambda model: model[0], data=([(X, Y)],)),
     "Trainer.fit: expected arrays with cache_features; got list"),
    (lambda: attempt(nn.Sequential(nn.Linear(9, 4), nn.Linear(4, 3)), callbacks=[callbacks.GradualUnfreezing()], epochs=2),
     "Trainer.fit: expected the trunk to stay frozen during a fit with cache_features; it learns now"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REASONS)
def test_reasons(call: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        call()
    assert str(caught.value) == message


def test_looking_for_reasons_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(9, 4), nn.BatchNorm1d(4), nn.Dropout(0.1), nn.Linear(4, 4), nn.Linear(4, 3))
    generator, before = fnn.get_rng_state(), state(model)
    with pytest.raises(ValueError, match="BatchNorm1d"):
        attempt(model, how=only_grad)
    assert fnn.get_rng_state() == generator
    assert state(model) == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_features_are_what_the_head_is_given() -> None:
    fnn.manual_seed(0)
    model = Net()
    model(X)
    before = [module.training for module in model.modules()]
    model.eval()
    hidden = nn.functional.relu(model.norm(model.first(X))) * model.second(X)
    model.train()
    got = fnn.features(model, X.astype(np.float64), "head", batch_size=17)
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, hidden.detach().numpy())
    assert [module.training for module in model.modules()] == before
    # By default, those of the last layer with weights; no hook stays behind.
    model = nn.Sequential(nn.Tanh(), nn.Linear(9, 2), nn.ReLU())
    np.testing.assert_array_equal(fnn.features(model, X), fnn.tanh(fnn.tensor(X)).numpy())
    assert not model[1]._forward_pre_hooks


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fnn.features(None, X), TypeError, "features: expected model to be an nn.Module; got NoneType"),
        (lambda: fnn.features(nn.Tanh(), X), ValueError, "features: expected a model with a layer of weights in it; got Tanh"),
        (lambda: fnn.features(Net(), X, "body"), ValueError,
         "features: expected name to be the path of a layer; got 'body': Net has no attribute `body`"),
        (lambda: fnn.features(Net(), X[:0]), ValueError, "features: expected at least one row in x; got shape (0, 9)"),
        (lambda: fnn.features(Net(), X, batch_size=0), ValueError, "features: expected batch_size of at least 1; got 0"),
        (lambda: fnn.features(nn.ModuleDict({"a": After(), "b": nn.Linear(1, 1)})["a"], X, "head.0"), ValueError,
         "features: expected name to be the path of a layer; got 'head.0': Linear has no attribute `0`"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
