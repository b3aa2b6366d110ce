import copy
import re
import threading

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.callbacks import LambdaCallback

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def trainer(model=None, loss=None, **options):
    fnn.manual_seed(3)
    model = model or nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    return fnn.Trainer(model, loss or nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), **options)


def state(model):
    return {name: np.array(value.numpy()) for name, value in model.state_dict().items()}


def assert_same(first, second):
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_fit_is_the_loop_everybody_knows():
    fitted = trainer()
    by_hand = copy.deepcopy(fitted.model)
    history = fitted.fit(X, Y, epochs=3, batch_size=32, shuffle=False, verbose=False)

    optimizer, loss_function = optim.SGD(by_hand.parameters(), lr=0.1), nn.CrossEntropyLoss()
    for epoch in range(3):
        total = 0.0
        for rows in (slice(0, 32), slice(32, 64), slice(64, 70)):
            loss = loss_function(by_hand(X[rows]), Y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(Y[rows])
        assert history["loss"][epoch] == pytest.approx(total / 70)
    for name, value in state(by_hand).items():
        np.testing.assert_allclose(state(fitted.model)[name], value, rtol=1e-5, atol=1e-7)


def test_it_learns_and_measures():
    fitted = trainer(metrics=["accuracy"])
    history = fitted.fit(X, Y, epochs=60, batch_size=8, validation_data=(X, Y), verbose=False)
    assert fitted.history is history
    assert set(history) == {"loss", "val_loss", "val_accuracy", "seconds"}
    assert history.epochs == list(range(60))
    assert history["val_accuracy"][-1] > 0.95
    logs = fitted.evaluate(X, Y, batch_size=7)
    assert logs["accuracy"] == history["val_accuracy"][-1]
    assert logs["loss"] == pytest.approx(history["val_loss"][-1])
    np.testing.assert_array_equal(
        fitted.predict(X, batch_size=9).argmax(axis=1) == Y, fitted.predict(X).argmax(axis=1) == Y
    )


def test_the_seed_decides():
    first, second, third = trainer(), trainer(), trainer()
    for fitted, seed in ((first, 1), (second, 1), (third, 2)):
        fnn.manual_seed(seed)
        fitted.fit(X, Y, epochs=2, batch_size=8, verbose=False)
    assert_same(state(first.model), state(second.model))
    assert not np.array_equal(state(first.model)["0.weight"], state(third.model)["0.weight"])


def test_training_metrics():
    assert set(trainer(metrics=["accuracy"]).fit(X, Y, verbose=False)) == {"loss", "accuracy", "seconds"}
    history = trainer(metrics=["accuracy"]).fit(X, Y, validation_split=0.5, train_metrics=True, verbose=False)
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}


def test_every_row_is_seen_once():
    seen = []

    class Spy(nn.Linear):
        def forward(self, input):
            seen.append(np.array(input.numpy())[:, 0])
            return super().forward(input)

    x = np.arange(70, dtype=np.float32)[:, None]
    fitted = trainer(Spy(1, 2))
    fitted.optimizer.param_groups[0]["lr"] = 0.0
    fitted.fit(x, Y, batch_size=16, verbose=False)
    assert sorted(np.concatenate(seen)) == list(range(70))
    assert list(np.concatenate(seen)) != list(range(70))
    assert [len(rows) for rows in seen] == [16, 16, 16, 16, 6]
    seen.clear()
    fitted.fit(x, Y, batch_size=16, drop_last=True, shuffle=False, verbose=False)
    assert list(np.concatenate(seen)) == list(range(64))


def test_validation_split_takes_the_end():
    fitted = trainer(nn.Linear(4, 2))
    broken = X.copy()
    broken[-7:] = np.nan  # would stop the fit if it were trained on
    history = fitted.fit(broken, Y, validation_split=0.1, verbose=False)
    assert np.isnan(history["val_loss"][0])
    assert np.isfinite(history["loss"][0])


@pytest.mark.parametrize("source", ["list", "function", "iterator"])
def test_iterables(source):
    batches = [(X[:30], Y[:30]), (X[30:], Y[30:])]
    given = {"list": batches, "function": lambda: iter(batches), "iterator": iter(batches * 3)}[source]
    steps = {"iterator": 2}.get(source)
    fitted, arrays = trainer(), trainer()
    history = fitted.fit(given, epochs=3, steps_per_epoch=steps, validation_data=batches, verbose=False)
    expected = arrays.fit(X[:60], Y[:60], epochs=3, batch_size=30, shuffle=False, verbose=False)
    assert len(history["val_loss"]) == 3
    # The second batch is larger than in `arrays`, so only the first losses can be the same.
    assert history["loss"][0] == pytest.approx(expected["loss"][0], rel=0.1)


def test_metrics_of_a_list_of_batches():
    batches = [(X[:35], Y[:35]), (X[35:], Y[35:])]
    by_list = trainer(metrics=["accuracy"]).fit(batches, epochs=2, verbose=False)
    by_arrays = trainer(metrics=["accuracy"]).fit(X, Y, epochs=2, batch_size=35, shuffle=False, verbose=False)
    assert by_list["accuracy"] == by_arrays["accuracy"]
    assert set(trainer(metrics=["accuracy"]).fit(lambda: iter(batches), verbose=False)) == {"loss", "seconds"}


@pytest.mark.parametrize("form", [tuple, list])
@pytest.mark.parametrize("rows", [np.array, fnn.tensor, lambda a: a.tolist()])
def test_validation_data_are_a_pair(form, rows):
    fitted = trainer()
    history = fitted.fit(X, Y, validation_data=form([rows(X[:9]), rows(Y[:9])]), verbose=False)
    assert history["val_loss"] == [fitted.evaluate(X[:9], Y[:9])["loss"]]


@pytest.mark.parametrize("form", [tuple, list])
def test_validation_data_are_two_batches(form):
    fitted = trainer()
    history = fitted.fit(X, Y, validation_data=form([(X[:8], Y[:8]), (X[8:9], Y[8:9])]), verbose=False)
    assert history["val_loss"][0] == pytest.approx(fitted.evaluate(X[:9], Y[:9])["loss"])


def test_steps_per_epoch_goes_on_where_it_was():
    seen = []
    batches = [(np.full((2, 4), value, np.float32), Y[:2]) for value in range(3)]
    model = nn.Linear(4, 2)
    model.register_forward_pre_hook(lambda module, args: seen.append(int(args[0].numpy()[0, 0])))
    trainer(model).fit(batches, epochs=2, steps_per_epoch=2, verbose=False)
    assert seen == [0, 1, 2, 0]


def test_modes_and_gradients_are_restored():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.9), nn.Linear(8, 2))
    model[1].eval()  # frozen by the user
    fitted = trainer(model)
    modes = [module.training for module in model.modules()]
    before = state(model)
    first = fitted.predict(X)
    np.testing.assert_array_equal(fitted.predict(X), first)  # no dropout
    fitted.evaluate(X, Y)
    assert_same(state(model), before)  # no running statistics
    assert [module.training for module in model.modules()] == modes
    assert fitted.model(X).requires_grad
    fitted.fit(X, Y, verbose=False)
    assert [module.training for module in model.modules()] == modes


def test_data_are_converted():
    assert "val_loss" in trainer().fit(X, Y, validation_data=(X.tolist(), Y.tolist()), verbose=False)
    logs = trainer(metrics=["accuracy"]).evaluate(X.astype(np.float64)[::-1].tolist(), Y.astype(np.uint8)[::-1])
    assert logs == pytest.approx(trainer(metrics=["accuracy"]).evaluate(X, Y))
    frozen = X.astype(">f8")
    frozen.flags.writeable = False
    assert trainer(metrics=["accuracy"]).evaluate(frozen, Y) == pytest.approx(logs)
    trainer(nn.Linear(4, 1), nn.MSELoss()).fit(X, Y[:, None], verbose=False)  # integers as numbers
    double = trainer(nn.Linear(4, 2).double())
    double.fit(X, Y, verbose=False)
    assert double.predict(X).dtype == np.float64


def test_ctrl_c_ends_the_fit():
    ended = []

    def interrupt(epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    callback = LambdaCallback(on_epoch_begin=interrupt, on_fit_end=lambda: ended.append(True))
    fitted = trainer()
    history = fitted.fit(X, Y, epochs=5, callbacks=[callback], verbose=False)
    assert history.interrupted
    assert history.stop_reason == "interrupted"
    assert history.epochs == [0, 1]
    assert ended == [True]
    assert fitted.fit(X, Y, initial_epoch=2, epochs=3, verbose=False).epochs == [2]


def test_one_fit_at_a_time():
    fitted = trainer()
    refused = []

    def fit_too():
        with pytest.raises(RuntimeError) as caught:
            fitted.fit(X, Y)
        refused.append(str(caught.value))

    def again(epoch):
        thread = threading.Thread(target=fit_too)
        thread.start()
        thread.join()

    fitted.fit(X, Y, callbacks=[LambdaCallback(on_epoch_begin=again)], verbose=False)
    assert refused == ["Trainer.fit: this model is being fitted already, in another thread or a callback"]
    fitted.fit(X, Y, verbose=False)  # and it can be fitted again


class Log(nn.Module):
    def forward(self, x):
        return nn.functional.softplus(x) / 0.0 if self.training else x


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda x, y, model: x.__setitem__((41, 2), np.nan), "row 41 of x holds a value that is not finite"),
        (
            lambda x, y, model: model[0].weight.detach().fill_(np.inf),
            "parameter '0.weight' holds a value that is not finite",
        ),
        (
            lambda x, y, model: model.insert(1, Log()),
            "the first value that is not finite comes out of layer '1', Log()",
        ),
    ],
)
def test_a_loss_that_is_not_finite(spoil, cause):
    x, fitted = X.copy(), trainer()
    spoil(x, Y, fitted.model)
    with pytest.raises(ValueError, match=r"^Trainer.fit: the loss is (nan|inf) in epoch 0, batch \d: ") as caught:
        fitted.fit(x, Y, shuffle=False, verbose=False)
    assert str(caught.value).endswith(f": {cause}")
    assert np.isfinite(fitted.model[-1].weight.detach().numpy()).all()  # no update was made


def test_nonfinite_can_stop_or_be_ignored():
    x = X.copy()
    x[41] = np.nan
    stopped = trainer(on_nonfinite="stop")
    with pytest.warns(RuntimeWarning, match=r"^Trainer.fit: the loss is nan in epoch 0, batch 1: row 41 of x holds"):
        history = stopped.fit(x, Y, epochs=3, shuffle=False, verbose=False)
    assert history.stop_reason == "the loss is nan"
    assert history.epochs == [0]
    ignored = trainer(on_nonfinite="ignore").fit(x, Y, epochs=3, verbose=False)
    assert np.isnan(ignored["loss"]).all()
    assert len(ignored["loss"]) == 3


def test_batch_callbacks():
    seen = []
    callback = LambdaCallback(
        on_batch_begin=seen.append,
        on_batch_end=lambda batch, logs: seen.append((batch, logs["loss"] > 0)),
    )
    trainer().fit(X, Y, batch_size=32, callbacks=[callback], verbose=False)
    assert seen == [0, (0, True), 1, (1, True), 2, (2, True)]


def test_stop():
    fitted = trainer()
    stop = LambdaCallback(on_epoch_end=lambda epoch, logs: fitted.stop("enough") if epoch == 1 else None)
    history = fitted.fit(X, Y, epochs=9, callbacks=[stop], verbose=False)
    assert (history.epochs, history.stop_reason) == ([0, 1], "enough")
    assert fitted.fit(X, Y, verbose=False).stop_reason is None


def test_progress_bar(capsys):
    trainer(metrics=["accuracy"]).fit(X, Y, epochs=2, validation_data=(X, Y))
    text = capsys.readouterr().err
    assert "epoch 2/2" in text
    assert "loss=" in text
    last = text.replace("\r", "\n").splitlines()[-1]
    assert re.search(r"^epoch 2/2: 100%\|.*\| 00:0\d, 00:00 left, loss=0\.\d{4}, val_accuracy=[01]\.\d{4}$", last)
    assert len(last.replace("█", "")) < 80  # or it is cut where terminals end
    trainer().fit(X, Y, epochs=0)
    trainer().fit(X, Y, verbose=False)
    assert not capsys.readouterr().err


def test_progress_of_an_unknown_number_of_batches(capsys):
    trainer().fit(lambda: iter([(X, Y)] * 3), epochs=2)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert "epoch 1/2: 0 batches, 00:00" in lines
    assert any(line.startswith("epoch 1/2:  50%|") for line in lines)  # the first epoch tells
    assert lines[-1].startswith("epoch 2/2: 100%|")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.fit(X, Y[:69]), ValueError, "Trainer.fit: expected x and y of one length; got 70 and 69"),
        (lambda t: t.fit(X[:0], Y[:0]), ValueError, "Trainer.fit: expected at least one row in x; got shape (0, 4)"),
        (lambda t: t.fit(X, Y, batch_size=0), ValueError, "Trainer.fit: expected batch_size of at least 1; got 0"),
        (lambda t: t.fit(X, Y, batch_size=2.5), TypeError, "Trainer.fit: expected batch_size to be an int; got 2.5"),
        (lambda t: t.fit(X, Y, batch_size=99, drop_last=True), ValueError, "Trainer.fit: expected at least 99 rows with drop_last; got 70"),
        (lambda t: t.fit(X, Y, epochs=-1), ValueError, "Trainer.fit: expected epochs of at least 0; got -1"),
        (lambda t: t.fit(X), ValueError, "Trainer.fit: expected targets y to go with the array x; got None"),
        (lambda t: t.fit(3), TypeError, "Trainer.fit: expected arrays x and y, or an iterable of (x, y); got int"),
        (lambda t: t.fit([(X, Y, Y)]), ValueError, "Trainer.fit: expected batches to be pairs (x, y); got 3 things"),
        (lambda t: t.fit([]), ValueError, "Trainer.fit: expected at least 1 batches an epoch; got 0; an iterator serves once: pass a list, or a function that returns an iterator"),
        (lambda t: t.fit(X, Y, steps_per_epoch=3), ValueError, "Trainer.fit: expected steps_per_epoch with an iterable only; got it with arrays"),
        (lambda t: t.fit(X, Y, validation_split=1), ValueError, "Trainer.fit: expected validation_split in [0, 1); got 1"),
        (lambda t: t.fit(X, Y, validation_split=0.1, validation_data=(X, Y)), ValueError, "Trainer.fit: expected validation_data or validation_split; got both"),
        (lambda t: t.fit(X, Y, validation_data=(X, Y[1:])), ValueError, "Trainer.fit: expected validation x and validation y of one length; got 70 and 69"),
        (lambda t: t.fit(X, Y, callbacks=[print]), TypeError, f"Trainer.fit: expected callbacks to be Callback objects; got {print!r}"),
        (lambda t: t.fit([["a", "b"]], [1]), TypeError, "Trainer.fit: expected x to hold real numbers; got dtype <U1"),
        (lambda t: t.fit((pair for pair in [(X, Y)]), epochs=2), ValueError, "Trainer.fit: expected x to serve 2 epochs; got a generator, which serves one: pass the function that makes it"),
        (lambda t: t.fit(X, Y, epochs=3, validation_data=(pair for pair in [(X, Y)])), ValueError, "Trainer.fit: expected validation_data to serve 3 epochs; got a generator, which serves one: pass the function that makes it"),
        (lambda t: t.fit(iter([(X, Y)]), train_metrics=True), ValueError, "Trainer.fit: expected arrays or a list of batches with train_metrics; got an iterable"),
        (lambda t: t.predict(map), TypeError, "Trainer.predict: expected x to be an array of real numbers; got type"),
        (lambda t: t.fit([[1, 2], [1]], [1, 2]), ValueError, "Trainer.fit: expected x to have rows of one length"),
        (lambda t: t.evaluate(X, Y[1:]), ValueError, "Trainer.evaluate: expected x and y of one length; got 70 and 69"),
        (lambda t: t.predict(X[:0]), ValueError, "Trainer.predict: expected at least one row in x; got shape (0, 4)"),
        (lambda t: t.predict(X[:, :3]), ValueError, "Linear(4, 8): expected input of shape (*, 4); got (70, 3)"),
        (lambda t: trainer(metrics=["f2"]), ValueError, "Trainer: expected a metric among accuracy, binary_accuracy, mae, mse, r2, rmse, top_k; got 'f2'"),
        (lambda t: trainer(metrics=["mse", "mse"]), ValueError, "Trainer: expected each metric once; got 'mse' twice"),
        (lambda t: trainer(loss=nn.MSELoss(reduction="none")), ValueError, "Trainer: expected a loss with reduction 'mean' or 'sum'; got 'none'"),
        (lambda t: trainer(on_nonfinite="panic"), ValueError, "Trainer: expected on_nonfinite to be 'raise', 'stop' or 'ignore'; got 'panic'"),
        (lambda t: fnn.Trainer(3, print, None), TypeError, "Trainer: expected model to be an nn.Module; got int"),
    ],
)  # fmt: skip
def test_errors_change_nothing(call, error, message):
    fitted = trainer()
    before = state(fitted.model)
    with pytest.raises(error) as caught:
        call(fitted)
    assert str(caught.value) == message
    assert_same(state(fitted.model), before)
