"""Schedules in a fit: by epoch, by batch with the bits of stepping by hand, and where they stand when it ends early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, nn, optim
from fastnn.optim import lr_scheduler

# 13 batches of 9 and a last one of 4.
ROWS, BATCH, EPOCHS = 121, 9, 4
RNG = np.random.default_rng(3)
X = RNG.normal(size=(ROWS, 5)).astype(np.float32)
Y = (X @ RNG.normal(size=(5, 2))).astype(np.float32)
BATCHES = -(-ROWS // BATCH)


def make(kind: str = "SGD") -> tuple[nn.Module, Any]:
    fnn.manual_seed(4)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Dropout(0.2), nn.Linear(7, 2))
    groups = [{"params": model[0].parameters(), "lr": 0.02}, {"params": model[3].parameters()}]
    settings = {"momentum": 0.6} if kind == "SGD" else {}
    return model, getattr(optim, kind)(groups, lr=0.05, **settings)


def by_hand(kind: str, schedule: Callable[[Any], Any], by: str) -> tuple[nn.Module, Any, Any, list[float]]:
    """The loop that everybody writes; rows in order."""
    model, optimizer = make(kind)
    scheduler = schedule(optimizer)
    rates = []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        for start in range(0, ROWS, BATCH):
            loss = nn.functional.mse_loss(model(X[start : start + BATCH]), fnn.from_numpy(Y[start : start + BATCH]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if by == "batch":
                scheduler.step()
        if by == "epoch":
            scheduler.step()
    return model, optimizer, scheduler, rates


def fitted(kind: str, schedule: Callable[[Any], Any], by: str, **options: Any) -> tuple[nn.Module, Any, Any, Any]:
    model, optimizer = make(kind)
    scheduler = schedule(optimizer)
    trainer = fnn.Trainer(model, nn.MSELoss(), optimizer)
    told = [callbacks.LearningRateScheduler(scheduler, by=by), *options.pop("callbacks", ())]
    given = options.pop("data", (X, Y))
    sizes = {"batch_size": BATCH} if len(given) == 2 else {}
    history = trainer.fit(*given, epochs=EPOCHS, shuffle=False, callbacks=told, verbose=False, **sizes, **options)
    return model, optimizer, scheduler, history


def weights(model: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def settings(optimizer: Any) -> list[dict[str, Any]]:
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


S = lr_scheduler
TOTAL = EPOCHS * BATCHES
SCHEDULES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "exponential": ("SGD", lambda o: S.ExponentialLR(o, 0.95)),
    "cosine": ("AdamW", lambda o: S.CosineAnnealingLR(o, 11, 1e-4)),
    "one cycle": ("SGD", lambda o: S.OneCycleLR(o, [0.1, 0.05], TOTAL)),
    "one cycle of betas": ("Adam", lambda o: S.OneCycleLR(o, 0.01, TOTAL, three_phase=True)),
    "cyclic": ("SGD", lambda o: S.CyclicLR(o, 0.001, 0.08, 5, 3, "triangular2")),
    # Without momentum there is no buffer: the steps at 0 and those after it cannot run in one call.
    "momentum from 0": ("SGD", lambda o: S.CyclicLR(o, 0.001, 0.02, 4, base_momentum=0.0, max_momentum=0.5)),
    "warm restarts": ("RMSprop", lambda o: S.CosineAnnealingWarmRestarts(o, 6, 2)),
    "function": ("Adagrad", lambda o: S.LambdaLR(o, lambda t: 1 / (1 + t))),
    "warm-up": ("Adam", lambda o: S.WarmupLR(o, 7, S.PolynomialLR(o, TOTAL - 7, 2.0))),
    "sequence": ("Adam", lambda o: S.SequentialLR(o, [S.ConstantLR(o, 0.1, 4), S.StepLR(o, 5), S.PowerOfTenLR(o, 9)], [5, 29])),
    "chain": ("SGD", lambda o: S.ChainedScheduler([S.LinearLR(o), S.MultiStepLR(o, [20, 33])])),
}  # fmt: skip


@pytest.mark.parametrize("by", ["batch", "epoch"])
@pytest.mark.parametrize(("kind", "schedule"), SCHEDULES.values(), ids=SCHEDULES)
def test_fit_has_the_bits_of_stepping_by_hand(kind: str, schedule: Callable[[Any], Any], by: str) -> None:
    model, optimizer, scheduler, rates = by_hand(kind, schedule, by)
    fit, own, ours, history = fitted(kind, schedule, by)
    assert weights(fit) == weights(model)
    assert settings(own) == settings(optimizer)
    assert history["lr"] == rates
    assert ours.state_dict() == scheduler.state_dict()


@pytest.mark.parametrize("name", ["one cycle", "sequence"])
def test_batches_of_an_iterable_and_batch_callbacks_too(name: str) -> None:
    kind, schedule = SCHEDULES[name]
    expected = weights(by_hand(kind, schedule, "batch")[0])
    pairs = [(X[start : start + BATCH], Y[start : start + BATCH]) for start in range(0, ROWS, BATCH)]
    assert weights(fitted(kind, schedule, "batch", data=(pairs,))[0]) == expected
    seen: list[float] = []
    model, *_ = fitted(
        kind,
        schedule,
        "batch",
        callbacks=[callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(batch))],
    )
    assert weights(model) == expected
    assert seen == [*range(BATCHES)] * EPOCHS


def test_batches_by_schedule_run_many_in_a_call() -> None:
    model, optimizer = make()
    step = fnn.TrainStep(model, nn.MSELoss(), optimizer)
    calls: list[int] = []
    run = step._run_planned
    step._run_planned = lambda *args: calls.append(len(args[-1]) // 2) or run(*args)
    step.run_batches(X, Y, np.arange(ROWS), 0, 13, BATCH, [S.ExponentialLR(optimizer, 0.9)])
    # The first two are traced by themselves.
    assert calls == [13, 12, 11]
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.05 * 0.9**13)


@pytest.mark.parametrize("name", ["one cycle", "sequence", "chain", "warm restarts", "cosine", "function"])
@pytest.mark.parametrize("bad", [0, 1, 7, 12, 13])
def test_a_loss_that_is_not_finite_leaves_the_schedule_where_the_steps_ended(name: str, bad: int) -> None:
    kind, schedule = SCHEDULES[name]
    x = X.copy()
    x[bad * BATCH] = np.inf
    model, optimizer = make(kind)
    scheduler = schedule(optimizer)
    step = fnn.TrainStep(model, nn.MSELoss(), optimizer)
    step.stop_on_nonfinite = True
    losses = step.run_batches(x, Y, np.arange(ROWS), 0, BATCHES, BATCH, [scheduler])
    assert len(losses) == bad + 1
    other, by_itself = make(kind)
    expected = schedule(by_itself)
    alone = fnn.TrainStep(other, nn.MSELoss(), by_itself)
    for batch in range(bad):
        alone(x[batch * BATCH :][:BATCH], Y[batch * BATCH :][:BATCH])
        expected.step()
    assert weights(model) == weights(other)
    assert settings(optimizer) == settings(by_itself)
    assert scheduler.state_dict() == expected.state_dict()


def test_an_error_of_the_step_takes_the_schedule_back() -> None:
    model = nn.Linear(5, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = S.ExponentialLR(optimizer, 0.5)
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
    labels = np.zeros(ROWS, np.int64)
    step.run_batches(X, labels, np.arange(ROWS), 0, 2, BATCH, [scheduler])
    labels[5 * BATCH] = 7
    with pytest.raises(ValueError, match=r"^cross_entropy: expected labels in \[0, 3\)"):
        step.run_batches(X, labels, np.arange(ROWS), 2, 9, BATCH, [scheduler])
    assert scheduler.last_epoch == 2
    assert optimizer.param_groups[0]["lr"] == 0.025


def test_ctrl_c_while_looking_ahead_takes_the_schedule_back() -> None:
    def interrupted(t: int) -> float:
        if t == 9:
            raise KeyboardInterrupt
        return 1 / (1 + t)

    model, optimizer = make()
    scheduler = S.LambdaLR(optimizer, interrupted)
    step = fnn.TrainStep(model, nn.MSELoss(), optimizer)
    step.run_batches(X, Y, np.arange(ROWS), 0, 3, BATCH, [scheduler])
    with pytest.raises(KeyboardInterrupt):
        step.run_batches(X, Y, np.arange(ROWS), 3, 10, BATCH, [scheduler])
    assert scheduler.last_epoch == optimizer._slots[0].steps_of(0) == 3
    assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups] == [0.02 / 4, 0.05 / 4]


class Growing:
    """A function that remembers how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, t: int) -> float:
        self.calls += 1
        return 1.0 + self.calls


def test_functions_with_a_memory_are_taken_back_too() -> None:
    model, optimizer = make()
    function = Growing()
    scheduler = S.LambdaLR(optimizer, [function, function])
    step = fnn.TrainStep(model, nn.MSELoss(), optimizer)
    step.stop_on_nonfinite = True
    x = X.copy()
    x[6 * BATCH] = np.nan
    step.run_batches(x, Y, np.arange(ROWS), 0, 13, BATCH, [scheduler])
    assert function.calls == 2 + 2 * 6


def test_a_schedule_that_refuses_to_go_on_ends_the_fit_after_its_last_step() -> None:
    model, optimizer = make()
    scheduler = S.OneCycleLR(optimizer, 0.1, 30)
    trainer = fnn.Trainer(model, nn.MSELoss(), optimizer)
    with pytest.raises(ValueError, match=r"^OneCycleLR.step: expected at most 30 steps; got 31$"):
        trainer.fit(
            X,
            Y,
            epochs=4,
            batch_size=BATCH,
            callbacks=[callbacks.LearningRateScheduler(scheduler, "batch")],
            verbose=False,
        )
    assert [slots.steps_of(0) for slots in optimizer._slots] == [31, 31]


def test_a_rate_that_the_optimizer_refuses_comes_after_the_steps_before_it() -> None:
    model, optimizer = make()
    scheduler = S.LambdaLR(optimizer, lambda t: 1.0 if t < 17 else -1.0)
    trainer = fnn.Trainer(model, nn.MSELoss(), optimizer)
    with pytest.raises(ValueError, match=r"^SGD: expected lr of at least 0; got -0.02$"):
        trainer.fit(
            X,
            Y,
            epochs=4,
            batch_size=BATCH,
            callbacks=[callbacks.LearningRateScheduler(scheduler, "batch")],
            verbose=False,
        )
    assert optimizer._slots[0].steps_of(0) == 17
    assert scheduler.last_epoch == 17


def test_plateau_takes_the_monitored_measure() -> None:
    model, optimizer = make()
    scheduler = S.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=1e9, threshold_mode="abs")
    trainer = fnn.Trainer(model, nn.MSELoss(), optimizer)
    told = callbacks.LearningRateScheduler(scheduler, monitor="loss")
    history = trainer.fit(X, Y, epochs=6, batch_size=BATCH, callbacks=[told], verbose=False)
    assert scheduler.best == history["loss"][0]
    assert history["lr"] == [0.02, 0.02, 0.02, 0.01, 0.01, 0.005]


def test_it_goes_on_from_one_fit_to_the_next() -> None:
    model, optimizer = make()
    told = callbacks.LearningRateScheduler(S.StepLR(optimizer, 2, 0.1))
    trainer = fnn.Trainer(model, nn.MSELoss(), optimizer)
    rates = []
    for first in (0, 3):
        history = trainer.fit(X, Y, initial_epoch=first, epochs=first + 3, callbacks=[told], verbose=False)
        rates += history["lr"]
    np.testing.assert_allclose(rates, 0.02 * np.array([1, 1, 0.1, 0.1, 0.01, 0.01]))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (lambda o: (S.StepLR(o, 2), "step"), ValueError, "LearningRateScheduler: expected by to be 'epoch' or 'batch'; got 'step'"),
        (lambda o: (lambda epoch, lr: lr, "batch"), ValueError, "LearningRateScheduler: expected a schedule by batch, such as LambdaLR; got a function"),
        (lambda o: (S.ReduceLROnPlateau(o), "batch"), ValueError, "LearningRateScheduler: expected a schedule that needs no measure by batch; got ReduceLROnPlateau"),
        (lambda o: (S.StepLR(make()[1], 2),), ValueError, "LearningRateScheduler: expected a schedule of the trainer's optimizer; got StepLR of another SGD"),
        (lambda o: (S.ReduceLROnPlateau(o),), ValueError, "LearningRateScheduler: expected monitor to be one of 'loss', 'lr'; got 'val_loss'"),
    ],
)  # fmt: skip
def test_errors(given: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    model, optimizer = make()
    with pytest.raises(error) as caught:
        fnn.Trainer(model, nn.MSELoss(), optimizer).fit(
            X, Y, callbacks=[callbacks.LearningRateScheduler(*given(optimizer))], verbose=False
        )
    assert str(caught.value) == message
