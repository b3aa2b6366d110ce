import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, nn, optim

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [2.0], [3.0]], np.float32)


def trainer():
    fnn.manual_seed(0)
    model = nn.Linear(3, 1)
    return fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.01))


class Scripted(callbacks.Callback):
    """Hands given values to a callback as if they had been measured, and writes the epoch into the model."""

    def __init__(self, inner, name, values):
        self.inner, self.name, self.values = inner, name, values

    def on_fit_begin(self):
        self.inner.trainer = self.trainer
        self.inner.on_fit_begin()

    def on_epoch_end(self, epoch, logs):
        self.trainer.model.bias.detach().fill_(epoch)
        self.inner.on_epoch_end(epoch, {**logs, self.name: self.values[epoch]})

    def on_fit_end(self):
        self.inner.on_fit_end()


@pytest.mark.parametrize(
    ("options", "name", "values", "epochs", "best_epoch"),
    [
        ({"patience": 2}, "val_loss", [5, 4, 4, 3, 3, 3, 9], 6, 3),
        ({"patience": 0}, "val_loss", [5, 4, 4, 1], 3, 1),
        ({"patience": 1, "min_delta": 0.5}, "val_loss", [5, 4.6, 1], 2, 0),
        ({"patience": 2, "monitor": "val_accuracy"}, "val_accuracy", [0.5, 0.7, 0.6, 0.7, 0.9], 4, 1),
        ({"patience": 2, "monitor": "gain", "mode": "max"}, "gain", [1, 2, 1, 1, 3], 4, 1),
        ({"patience": 2}, "val_loss", [math.nan, 4, math.nan, math.nan, 3], 4, 1),
        ({"patience": 9}, "val_loss", [3, 2, 1], 3, 2),
    ],
)
def test_early_stopping(options, name, values, epochs, best_epoch):
    stopping = callbacks.EarlyStopping(**options, restore_best_weights=True)
    fitted = trainer()
    history = fitted.fit(X, Y, epochs=len(values), callbacks=[Scripted(stopping, name, values)], verbose=False)
    assert len(history.epochs) == epochs
    assert stopping.best_epoch == best_epoch
    assert stopping.best == values[best_epoch]
    assert fitted.model.bias.item() == best_epoch
    assert (history.stop_reason is None) == (epochs == len(values))


def test_early_stopping_keeps_the_last_weights_unless_told():
    fitted = trainer()
    stopping = Scripted(callbacks.EarlyStopping(patience=2), "val_loss", [1, 2, 3])
    history = fitted.fit(X, Y, epochs=3, callbacks=[stopping], verbose=False)
    assert fitted.model.bias.item() == 2
    assert history.stop_reason == "val_loss has not improved for 2 epochs"


class End(callbacks.Callback):
    """Ends the fit after epoch 2, in one way or another."""

    def __init__(self, how):
        self.how = how

    def on_epoch_begin(self, epoch):
        if epoch == 3:
            if self.how == "stop":
                self.trainer.stop("enough")
            elif self.how == "interrupt":
                raise KeyboardInterrupt
            elif self.how == "error":
                raise OSError("disk full")
            elif self.how == "exit":
                raise SystemExit
            elif self.how == "nan":
                with fnn.no_grad():
                    self.trainer.model.weight.fill_(math.nan)


@pytest.mark.parametrize("how", ["patience", "last epoch", "stop", "interrupt", "error", "exit", "nan"])
def test_the_best_weights_are_restored_however_the_fit_ends(how):
    fitted = trainer()
    stopping = callbacks.EarlyStopping(patience=2 if how == "patience" else 9, restore_best_weights=True)
    scripted = Scripted(stopping, "val_loss", [2, 1, 3, 4])
    scripted.on_fit_error = stopping.on_fit_error
    errors = {"error": OSError, "exit": SystemExit, "nan": ValueError}
    try:
        fitted.fit(X, Y, epochs=4, callbacks=[scripted, End(how)], verbose=False)
        ended_by = None
    except BaseException as error:  # noqa: BLE001  (SystemExit too)
        ended_by = type(error)
    assert ended_by == errors.get(how)
    assert stopping.best_epoch == 1
    assert fitted.model.bias.item() == 1
    assert np.isfinite(fitted.model.weight.tolist()).all()
    assert fitted.model.training


def test_callbacks_are_told_of_an_error_and_not_of_an_end():
    told = []
    teller = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch: told.append(1 // (1 - epoch)),
        on_fit_end=lambda: told.append("end"),
        on_fit_error=lambda error: told.append(type(error).__name__),
    )
    with pytest.raises(ZeroDivisionError):
        trainer().fit(X, Y, epochs=3, callbacks=[teller], verbose=False)
    assert told == [1, "ZeroDivisionError"]


def test_checkpoints(tmp_path):
    fitted = trainer()
    every = callbacks.ModelCheckpoint(tmp_path / "deep" / "net-{epoch:02d}.safetensors", every=2)
    best = callbacks.ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True)
    fitted.fit(
        X,
        Y,
        epochs=4,
        callbacks=[every, Scripted(best, "val_loss", [3, 1, 2, 4])],
        verbose=False,
        validation_data=(X, Y),
    )
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["net-01.safetensors", "net-03.safetensors"]
    assert fnn.load(tmp_path / "best.safetensors")["bias"].item() == 1
    assert every.saved == tmp_path / "deep" / "net-03.safetensors"


def test_csv(tmp_path):
    path = tmp_path / "log.csv"
    fitted = trainer()
    history = fitted.fit(X, Y, epochs=2, callbacks=[callbacks.CSVLogger(path)], verbose=False)
    fitted.fit(X, Y, initial_epoch=2, epochs=3, callbacks=[callbacks.CSVLogger(path, append=True)], verbose=False)
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert lines[0] == ["epoch", "loss", "seconds"]
    assert [line[0] for line in lines[1:]] == ["0", "1", "2"]
    assert [float(line[1]) for line in lines[1:3]] == history["loss"]
    fitted.fit(X, Y, callbacks=[callbacks.CSVLogger(path, separator=";")], verbose=False)
    assert path.read_text().startswith("epoch;loss;seconds\n0;")


def test_learning_rates():
    fitted = trainer()
    seen = []
    fitted.fit(
        X,
        Y,
        epochs=3,
        callbacks=[
            callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2 if epoch else 0.4),
            callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: seen.append(fitted.optimizer.param_groups[0]["lr"])
            ),
        ],
        verbose=False,
    )
    assert seen == [0.4, 0.2, 0.1]


def test_a_learning_rate_of_zero_changes_nothing():
    fitted = trainer()
    before = fitted.model.weight.tolist()
    fitted.fit(X, Y, callbacks=[callbacks.LearningRateScheduler(lambda epoch, lr: 0.0)], verbose=False)
    assert fitted.model.weight.tolist() == before


def test_terminate_on_nan():
    fitted = trainer()
    x = X.copy()
    x[3, 1] = np.inf
    with pytest.warns(RuntimeWarning, match=r"row 3 of x holds a value that is not finite$"):
        history = fitted.fit(x, Y, epochs=5, callbacks=[callbacks.TerminateOnNaN()], verbose=False)
    assert history.stop_reason is not None
    assert fitted.on_nonfinite == "raise"


def test_callbacks_are_told_in_order():
    told = []

    class Teller(callbacks.Callback):
        def on_fit_begin(self):
            told.append("fit")

        def on_epoch_begin(self, epoch):
            told.append(epoch)

        def on_epoch_end(self, epoch, logs):
            told.append(sorted(logs))

        def on_fit_end(self):
            told.append("end")

    trainer().fit(X, Y, epochs=1, initial_epoch=0, callbacks=[Teller()], verbose=False)
    assert told == ["fit", 0, ["loss", "seconds"], "end"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: callbacks.EarlyStopping(patience=-1), ValueError, "EarlyStopping: expected patience of at least 0; got -1"),
        (lambda: callbacks.EarlyStopping(mode="best"), ValueError, "EarlyStopping: expected mode to be 'auto', 'min' or 'max'; got 'best'"),
        (lambda: callbacks.EarlyStopping(min_delta=-1), ValueError, "EarlyStopping: expected min_delta of at least 0; got -1"),
        (lambda: callbacks.EarlyStopping("val_los"), ValueError, "EarlyStopping: expected monitor to be one of 'loss', 'val_loss'; got 'val_los'"),
        (lambda: callbacks.ModelCheckpoint("x", every=0), ValueError, "ModelCheckpoint: expected every of at least 1; got 0"),
        (lambda: callbacks.ModelCheckpoint("{nothing}"), ValueError, "ModelCheckpoint: expected path to hold fields of the logs; got '{nothing}'"),
        (lambda: callbacks.LearningRateScheduler(0.1), TypeError, "LearningRateScheduler: expected schedule to be a schedule or a function; got 0.1"),
        (lambda: callbacks.LearningRateScheduler(lambda epoch, lr: -1), ValueError, "LearningRateScheduler: expected schedule to return a number of at least 0; got -1"),
        (lambda: callbacks.LambdaCallback(on_end=print), TypeError,
         "LambdaCallback: expected names among on_fit_begin, on_fit_end, on_fit_error, on_epoch_begin, on_epoch_end, on_batch_begin, on_batch_end; got 'on_end'"),
        (lambda: callbacks.LambdaCallback(on_fit_end=3), TypeError, "LambdaCallback: expected on_fit_end to be a function; got 3"),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error) as caught:
        trainer().fit(X, Y, validation_data=(X, Y), callbacks=[make()], verbose=False)
    assert str(caught.value) == message
