import itertools
import threading
import time
import traceback

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.callbacks import LambdaCallback
from fastnn.data import DataLoader, TensorDataset

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def trainer(loss=None, **options):
    fnn.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
    return fnn.Trainer(model, loss or nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), **options)


def state(fitted):
    return [value.numpy().copy() for value in fitted.model.state_dict().values()]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastnn-data")]


def none_left():
    """Return whether all threads end; after a Ctrl-C nobody waits for them."""
    deadline = time.monotonic() + 20
    while threads() and time.monotonic() < deadline:
        time.sleep(0.001)
    return not threads()


def noisy():
    """Batches that are drawn."""
    for start in range(0, 70, 16):
        yield X[start : start + 16] + fnn.randn(len(X[start : start + 16]), 4).numpy(), Y[start : start + 16]


def loaded(workers):
    class Noisy(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x + fnn.randn(4).numpy(), y

    return DataLoader(Noisy(X, Y), batch_size=16, shuffle=True, num_workers=workers)


@pytest.mark.parametrize("source", ["function", "loader"])
def test_the_bits_do_not_depend_on_who_prepares(source):
    results = []
    for prefetch, workers in ((0, 0), (1, 0), (5, 0), (2, 3), (0, 3)):
        fitted = trainer()
        given = noisy if source == "function" else loaded(workers)
        history = fitted.fit(given, epochs=3, prefetch=prefetch, verbose=False)
        results.append((history["loss"], [value.tolist() for value in state(fitted)], fnn.get_rng_state()))
    assert all(result == results[0] for result in results)
    assert len(set(results[0][0])) == 3
    assert none_left()


def test_a_loader_trains_as_its_arrays_do():
    by_loader, by_arrays = trainer(), trainer()
    loader = DataLoader(TensorDataset(X, Y), batch_size=16)
    fnn.manual_seed(5)
    history = by_loader.fit(loader, validation_data=loader, train_metrics=False, verbose=False)
    by_arrays.model.eval()  # no matter: fit sets the mode
    fnn.manual_seed(5)
    fnn.randint(0, 2, (2,))  # the seed of the loader's pass
    expected = by_arrays.fit(X, Y, batch_size=16, shuffle=False, validation_data=(X, Y), verbose=False)
    assert history["loss"] == expected["loss"]
    assert history["val_loss"] == pytest.approx(expected["val_loss"])
    assert by_loader.evaluate(loader) == pytest.approx(by_loader.evaluate(X, Y))
    assert by_loader.evaluate(loader, prefetch=0) == by_loader.evaluate(loader)


class Meeting(nn.Module):
    """A loss that does not go on before the batch after this one is asked for."""

    reduction = "mean"

    def __init__(self, asked):
        super().__init__()
        self.asked = asked
        self.steps = 0
        self.last = 4

    def forward(self, output, y):
        # In Python, so it runs at every step only where the step is not planned: a new shape each time.
        self.__dict__["steps"] += 1
        if self.steps < self.last:
            assert self.asked[self.steps].wait(20), "nobody prepares the next batch during a step"
        return nn.functional.cross_entropy(output, y)


@pytest.mark.parametrize("source", ["function", "loader"])
def test_the_next_batch_is_prepared_during_the_step(source):
    asked = [threading.Event() for _ in range(4)]
    where = set()

    def batches():
        for number in range(4):
            asked[number].set()
            where.add(threading.current_thread().name)
            yield X[: 10 + number], Y[: 10 + number]

    class Rows(fnn.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, number):
            asked[number].set()
            where.add(threading.current_thread().name)
            return X[: 10 + number], Y[: 10 + number]

    given = batches if source == "function" else DataLoader(Rows(), batch_size=None)
    fitted = trainer(Meeting(asked))
    fitted.fit(given, prefetch=1, verbose=False)
    assert fitted.loss.steps == 4
    assert where == {"fastnn-data-0"}


def test_nothing_is_prepared_ahead_if_it_must_not_be():
    log = []

    def batches():
        for number in range(3):
            log.append((number, threading.current_thread() is threading.main_thread()))
            yield X, Y

    steps = LambdaCallback(on_batch_end=lambda batch, logs: log.append(f"step {batch}"))
    trainer().fit(batches, prefetch=0, callbacks=[steps], verbose=False)
    assert log == [(0, True), "step 0", (1, True), "step 1", (2, True), "step 2"]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_no_more_is_taken_than_an_epoch_needs(prefetch):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield X[:8], Y[:8]

    source = endless()
    trainer().fit(source, epochs=3, steps_per_epoch=4, prefetch=prefetch, verbose=False)
    assert taken == list(range(12))
    assert next(source) is not None  # nobody holds it


@pytest.mark.parametrize("prefetch", [0, 2])
def test_exceptions_come_after_the_batches_before_them(prefetch):
    def batches():
        yield from [(X, Y)] * 3
        raise OSError("the disk")

    seen = []
    steps = LambdaCallback(on_batch_end=lambda batch, logs: seen.append(batch))
    with pytest.raises(OSError, match="the disk") as caught:
        trainer().fit(batches, prefetch=prefetch, callbacks=[steps], verbose=False)
    assert seen == [0, 1, 2]
    assert 'raise OSError("the disk")' in "".join(traceback.format_tb(caught.value.__traceback__))
    assert none_left()


@pytest.mark.parametrize("workers", [None, 0, 2])
@pytest.mark.parametrize("how", ["stop", "error", "interrupt", "nan"])
def test_no_thread_is_left(how, workers):
    fitted = trainer()

    def end(batch, logs):
        if how == "stop":
            fitted.stop("enough")
        elif how == "error":
            raise OSError
        elif how == "interrupt":
            raise KeyboardInterrupt

    def endless():
        while True:
            yield X * (np.nan if how == "nan" else 1), Y

    class Endless(fnn.data.IterableDataset):
        def __iter__(self):
            return endless()

    source = endless if workers is None else DataLoader(Endless(), batch_size=None, num_workers=workers)
    callbacks = [LambdaCallback(on_batch_end=end)]
    if how in {"error", "nan"}:
        with pytest.raises((OSError, ValueError)) as caught:
            fitted.fit(source, callbacks=callbacks, verbose=False)
        assert caught.value.__traceback__ is not None  # which keeps what the fit had
    else:
        history = fitted.fit(source, callbacks=callbacks, verbose=False)
        assert history.stop_reason == ("enough" if how == "stop" else "interrupted")
    assert none_left()


def test_lists_need_no_thread():
    seen = set()
    spy = LambdaCallback(on_batch_end=lambda batch, logs: seen.update(threads()))
    fitted = trainer()
    fitted.model[2].p = 0.0
    before = fnn.get_rng_state()
    fitted.fit([(X, Y)] * 3, callbacks=[spy], verbose=False)
    assert not seen
    assert fnn.get_rng_state() == before  # and no seed


def test_a_stream_without_a_length(capsys):
    class Stream(fnn.data.IterableDataset):
        def __iter__(self):
            return zip(X, Y, strict=True)

    history = trainer().fit(DataLoader(Stream(), batch_size=16, num_workers=2), epochs=2)
    assert len(history["loss"]) == 2
    assert "epoch 2/2" in capsys.readouterr().err


def test_prefetch_is_checked():
    for value, error, message in (
        (-1, ValueError, "Trainer.fit: expected prefetch of at least 0; got -1"),
        (1.5, TypeError, "Trainer.fit: expected prefetch to be an int; got 1.5"),
    ):
        with pytest.raises(error) as caught:
            trainer().fit([(X, Y)], prefetch=value)
        assert str(caught.value) == message
    with pytest.raises(ValueError, match=r"^Trainer.evaluate: expected prefetch of at least 0; got -1$"):
        trainer().evaluate([(X, Y)], prefetch=-1)
