"""Averages over a fit, and snapshots, against the weights that the fit went through."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, nn, optim
from fastnn.optim import swa_utils

RNG = np.random.default_rng(0)
# Not a multiple of the batch size, and features whose scale running statistics have to follow.
X = RNG.normal(3.0, 2.0, size=(43, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [2.0], [3.0]])).astype(np.float32)
BATCH = 10
BATCHES = 5


def trainer(*, norm: bool = False, lr: float = 0.01, **options: Any) -> fnn.Trainer:
    fnn.manual_seed(0)
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)]
    model = nn.Sequential(*(layer for layer in layers if norm or not isinstance(layer, nn.BatchNorm1d)))
    return fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=lr, momentum=0.5), **options)


def fit(fitted: fnn.Trainer, *given: callbacks.Callback, epochs: int = 4, **options: Any) -> fnn.History:
    fnn.manual_seed(1)
    return fitted.fit(X, Y, epochs=epochs, batch_size=BATCH, callbacks=list(given), verbose=False, **options)


def state(model: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in model.state_dict().items()}


class Recorder(callbacks.Callback):
    """Keeps the weights after every epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        self.epochs.append(state(self.trainer.model))


class BatchRecorder(callbacks.Callback):
    """Keeps the weights after every batch, and the rate of it."""

    def __init__(self) -> None:
        self.batches: list[dict[str, np.ndarray]] = []
        self.rates: list[float] = []

    def on_batch_begin(self, batch: int) -> None:
        self.rates.append(self.trainer.optimizer.param_groups[0]["lr"])

    def on_batch_end(self, batch: int, logs: Any) -> None:
        self.batches.append(state(self.trainer.model))


def mean(states: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean([one[name].astype(np.float64) for one in states], axis=0) for name in states[0]}


def assert_close(model: Any, expected: dict[str, np.ndarray]) -> None:
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(np.array(parameter.detach()), expected[name], rtol=0, atol=1e-6, err_msg=name)


def assert_same(model: Any, expected: dict[str, np.ndarray]) -> None:
    found = state(model)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


class TestSWA:
    def test_the_model_ends_with_the_mean_of_epochs_from_start_on(self) -> None:
        fitted, recorder, swa = trainer(), Recorder(), callbacks.SWA(2)
        fit(fitted, recorder, swa, epochs=6)
        assert swa.averaged is not None
        assert int(swa.averaged.n_averaged) == 4
        assert_close(fitted.model, mean(recorder.epochs[2:]))
        assert swa.model is not None
        assert_same(swa.model, state(fitted.model))

    def test_unless_told_the_model_keeps_its_own_weights(self) -> None:
        fitted, recorder, swa = trainer(), Recorder(), callbacks.SWA(1, apply=False)
        fit(fitted, recorder, swa)
        assert_same(fitted.model, recorder.epochs[-1])
        assert_close(swa.model, mean(recorder.epochs[1:]))

    def test_averaging_changes_nothing_while_training(self) -> None:
        alone, other, first, second = trainer(), trainer(), Recorder(), Recorder()
        fit(alone, first)
        fit(other, callbacks.SWA(0), second)
        for one, two in zip(first.epochs, second.epochs, strict=True):
            assert all(np.array_equal(one[name], two[name]) for name in one)

    def test_running_statistics_are_those_of_the_averages(self) -> None:
        fitted, swa = trainer(norm=True), callbacks.SWA(1)
        fit(fitted, swa)
        expected = fitted.model[0](X).detach().numpy().astype(np.float64)
        np.testing.assert_allclose(fitted.model[1].running_mean.numpy(), expected.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(fitted.model[1].running_var.numpy(), expected.var(axis=0, ddof=1), rtol=1e-5)
        assert fitted.model[1].num_batches_tracked.item() == 1

    def test_unless_told_they_are_those_of_the_last_weights(self) -> None:
        fitted, recorder = trainer(norm=True), Recorder()
        fit(fitted, recorder, callbacks.SWA(1, update_bn=False))
        for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
            assert np.array_equal(state(fitted.model)[name], recorder.epochs[-1][name])

    def test_batches_of_an_iterable_are_gone_through_once_more(self) -> None:
        fitted = trainer(norm=True)
        batches = [(X[:20], Y[:20]), (X[20:], Y[20:])]
        fitted.fit(lambda: iter(batches), epochs=2, callbacks=[callbacks.SWA(0)], verbose=False)
        found = state(fitted.model)
        swa_utils.update_bn([x for x, _ in batches], fitted.model)
        assert_same(fitted.model, found)
        assert found["1.num_batches_tracked"] == 2

    def test_the_rate_goes_to_swa_lr(self) -> None:
        fitted, recorder = trainer(lr=0.01), BatchRecorder()
        fit(fitted, recorder, callbacks.SWA(2, 0.002, 3, "linear"), epochs=7)
        way = np.clip((np.arange(7) - 2) / 3, 0, 1)
        expected = 0.01 * (1 - way) + 0.002 * way
        np.testing.assert_allclose(recorder.rates[::BATCHES], expected, rtol=1e-12)
        assert fitted.optimizer.param_groups[0]["lr"] == pytest.approx(0.002)

    def test_a_fit_that_stops_before_start_leaves_the_model(self) -> None:
        fitted, recorder, swa = trainer(), Recorder(), callbacks.SWA(3)
        stop = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: fitted.stop("enough"))
        fit(fitted, recorder, swa, stop)
        assert swa.model is None
        assert_same(fitted.model, recorder.epochs[-1])

    def test_every_fit_begins_anew(self) -> None:
        fitted, swa = trainer(), callbacks.SWA(0)
        fit(fitted, swa)
        recorder = Recorder()
        fit(fitted, swa, recorder, epochs=2)
        assert_close(fitted.model, mean(recorder.epochs))


@pytest.mark.parametrize("start", [0, 2])
def test_polyak_is_the_mean_over_updates(start: int) -> None:
    fitted, recorder, polyak = trainer(norm=True), BatchRecorder(), callbacks.PolyakAveraging(start)
    fit(fitted, polyak, recorder)
    assert_close(fitted.model, mean(recorder.batches[start * BATCHES :]))
    assert polyak.averaged is not None
    assert int(polyak.averaged.n_averaged) == (4 - start) * BATCHES
    assert fitted.model[1].num_batches_tracked.item() == 1


class TestEMA:
    def test_the_model_ends_with_the_formula(self) -> None:
        fitted, recorder, ema = trainer(), BatchRecorder(), callbacks.EMA(0.7)
        fit(fitted, recorder, ema)
        expected = recorder.batches[0]
        for one in recorder.batches[1:]:
            expected = {name: 0.7 * expected[name].astype(np.float64) + 0.3 * one[name] for name in expected}
        assert_close(fitted.model, expected)
        assert ema.model is not None
        assert_same(ema.model, state(fitted.model))

    def test_many_batches_a_call_make_the_same_bits(self) -> None:
        slow, fast = trainer(norm=True), trainer(norm=True)
        fit(slow, callbacks.EMA(0.8), BatchRecorder())
        fit(fast, callbacks.EMA(0.8))
        assert fast.step.reason is None
        assert_same(fast.model, state(slow.model))

    def test_unless_told_the_model_keeps_its_own_weights(self) -> None:
        alone, fitted, ema = trainer(), trainer(), callbacks.EMA(0.9, apply=False)
        fit(alone)
        fit(fitted, ema)
        assert_same(fitted.model, state(alone.model))
        assert ema.model is not None
        assert not np.array_equal(state(ema.model)["0.weight"], state(fitted.model)["0.weight"])

    def test_every_fit_begins_anew(self) -> None:
        fitted, ema = trainer(grad_noise=1e-4), callbacks.EMA(0.7)
        plain, same = trainer(), callbacks.EMA(0.7)
        for one, callback in ((fitted, ema), (plain, same)):
            fit(one, callback)
        recorder = BatchRecorder()
        fit(plain, recorder, same, epochs=2)
        expected = recorder.batches[0]
        for one_state in recorder.batches[1:]:
            expected = {name: 0.7 * expected[name].astype(np.float64) + 0.3 * one_state[name] for name in expected}
        assert_close(plain.model, expected)
        with pytest.raises(ValueError, match=r"^TrainStep: expected ema to be set; got None$"):
            plain.step.averages()
        # The noise goes on decaying: its variance counts all updates of both fits.
        fit(fitted, ema, epochs=2)
        assert fitted.step.state_dict()["updates"] == (4 + 2) * BATCHES

    def test_the_trainers_own_settings_stay(self) -> None:
        fitted, ema = trainer(max_norm=0.3, ema=0.5), callbacks.EMA(0.7, apply=False)
        fit(fitted, ema)
        assert np.linalg.norm(state(fitted.model)["0.weight"], axis=1).max() <= 0.3 + 1e-6
        # Its own average began anew, with the parameters as they are.
        fit(fitted, epochs=5, initial_epoch=4)
        assert set(fitted.step.averages()) == {"0.weight", "0.bias", "2.weight", "2.bias"}

    def test_running_statistics_are_those_of_the_averages(self) -> None:
        fitted = trainer(norm=True)
        fit(fitted, callbacks.EMA(0.7))
        expected = fitted.model[0](X).detach().numpy().astype(np.float64)
        np.testing.assert_allclose(fitted.model[1].running_mean.numpy(), expected.mean(axis=0), rtol=1e-5)


class TestSnapshotEnsemble:
    def test_the_rate_comes_down_in_every_cycle_and_is_put_back(self) -> None:
        fitted, recorder = trainer(lr=0.02), BatchRecorder()
        fitted.optimizer.param_groups[0]["initial_lr"] = 7.0
        fit(fitted, recorder, callbacks.SnapshotEnsemble(3), epochs=8)
        # Cycles of 2, 3 and 3 epochs.
        expected = []
        for epochs in (2, 3, 3):
            t = np.arange(epochs * BATCHES)
            expected += list(0.02 * (1 + np.cos(math.pi * t / len(t))) / 2)
        np.testing.assert_allclose(recorder.rates, expected, rtol=1e-12)
        assert fitted.optimizer.param_groups[0]["lr"] == 0.02
        assert fitted.optimizer.param_groups[0]["initial_lr"] == 7.0

    def test_models_are_those_at_the_ends_of_cycles(self) -> None:
        fitted, recorder, snapshots = trainer(norm=True), Recorder(), callbacks.SnapshotEnsemble(3)
        fit(fitted, recorder, snapshots, epochs=12, initial_epoch=4)
        assert len(snapshots.models) == 3
        for model, epoch in zip(snapshots.models, (1, 4, 7), strict=True):
            assert_same(model, recorder.epochs[epoch])
        assert fitted.optimizer.param_groups[0].keys() == trainer().optimizer.param_groups[0].keys()

    def test_the_last_ones_are_kept(self) -> None:
        fitted, recorder, snapshots = trainer(), Recorder(), callbacks.SnapshotEnsemble(4, keep=2)
        fit(fitted, recorder, snapshots)
        assert len(snapshots.models) == 2
        assert_same(snapshots.models[0], recorder.epochs[2])
        assert_same(snapshots.models[1], recorder.epochs[3])

    def test_a_fit_that_stops_early_has_fewer(self) -> None:
        fitted, snapshots = trainer(lr=0.02), callbacks.SnapshotEnsemble(3)
        stop = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: fitted.stop("enough") if epoch == 3 else None)
        fit(fitted, stop, snapshots, epochs=6)
        assert len(snapshots.models) == 2
        assert fitted.optimizer.param_groups[0]["lr"] == 0.02


def generator() -> Any:
    yield X, Y


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: callbacks.EMA(1.0), ValueError, "EMA: expected decay in [0, 1); got 1.0"),
        (lambda: callbacks.EMA(-0.1), ValueError, "EMA: expected decay in [0, 1); got -0.1"),
        (lambda: callbacks.EMA("slow"), TypeError, "EMA: expected decay to be a number; got 'slow'"),
        (lambda: callbacks.SWA(-1), ValueError, "SWA: expected start of at least 0; got -1"),
        (lambda: callbacks.SWA(0.5), TypeError, "SWA: expected start to be an int; got 0.5"),
        (lambda: callbacks.SWA(1, -0.1), ValueError, "SWA: expected swa_lr of at least 0; got -0.1"),
        (lambda: callbacks.SWA(1, 0.1, -1), ValueError, "SWA: expected anneal_epochs of at least 0; got -1"),
        (lambda: callbacks.SWA(1, 0.1, 1, "step"), ValueError, "SWA: expected anneal_strategy to be 'cos' or 'linear'; got 'step'"),
        (lambda: callbacks.PolyakAveraging(-2), ValueError, "PolyakAveraging: expected start of at least 0; got -2"),
        (lambda: callbacks.SnapshotEnsemble(0), ValueError, "SnapshotEnsemble: expected cycles of at least 1; got 0"),
        (lambda: callbacks.SnapshotEnsemble(2.0), TypeError, "SnapshotEnsemble: expected cycles to be an int; got 2.0"),
        (lambda: callbacks.SnapshotEnsemble(3, 0), ValueError, "SnapshotEnsemble: expected keep of at least 1; got 0"),
        (lambda: callbacks.SnapshotEnsemble(3, 4), ValueError, "SnapshotEnsemble: expected keep of at most 3, the cycles; got 4"),
        (lambda: fit(trainer(), callbacks.SWA(4)), ValueError, "SWA: expected start below 4, the number of epochs; got 4"),
        (lambda: fit(trainer(), callbacks.PolyakAveraging(9)), ValueError, "PolyakAveraging: expected start below 4, the number of epochs; got 9"),
        (lambda: trainer(norm=True).fit(generator(), callbacks=[callbacks.SWA(0)], verbose=False), ValueError, "SWA: expected training data that can be gone through once more, for batch norm; got a generator: pass the function that makes it, or update_bn=False"),
        (lambda: fit(trainer(), callbacks.SnapshotEnsemble(5)), ValueError, "SnapshotEnsemble: expected at least 5 epochs, one a cycle; got 4"),
        (lambda: trainer().fit(generator, callbacks=[callbacks.SnapshotEnsemble(1)], verbose=False), ValueError, "SnapshotEnsemble: expected data that tell how many batches they have; got an iterable without a length: pass steps_per_epoch"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message


@pytest.mark.parametrize("callback", [callbacks.SWA(0), callbacks.EMA(), callbacks.SnapshotEnsemble(2)])
def test_no_epochs_change_nothing(callback: callbacks.Callback) -> None:
    fitted = trainer()
    before = state(fitted.model)
    fit(fitted, callback, epochs=0)
    assert_same(fitted.model, before)
    assert fitted.running is None
