import threading
import tracemalloc

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.training import data

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (90, 3, 4, 2), dtype=np.uint8)
Y = RNG.integers(0, 3, 90)


@pytest.fixture
def _small_pieces(monkeypatch):
    """Take every array for a large one, and a few batches at a time."""
    monkeypatch.setattr(data, "_SMALL", 0)
    monkeypatch.setattr(data, "_PIECE", 5000)


def trainer(**options):
    fnn.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    return fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1e-4), ["accuracy"], **options)


def mapped(tmp_path, array, name="x.npy"):
    np.save(tmp_path / name, array)
    return np.load(tmp_path / name, mmap_mode="r")


FORMS = {
    "uint8": lambda path: X,
    "float16": lambda path: X.astype(np.float16),
    "mapped uint8": lambda path: mapped(path, X),
    "mapped float64": lambda path: mapped(path, X.astype(np.float64)),
    "mapped float32": lambda path: mapped(path, X.astype(np.float32)),
    "mapped, in columns": lambda path: mapped(path, np.asfortranarray(X.astype(np.float32))),
    "mapped, every second": lambda path: mapped(path, np.repeat(X, 2, axis=0))[::2],
}

SETTINGS = {
    "plain": {},
    "weights": {"sample_weight": (np.arange(90) % 4).astype(float)},
    "split": {"validation_split": 0.3, "drop_last": True},
    "augment": {"augment": lambda x, y: (x[:, :, ::-1] + fnn.rand(len(x), 3, 4, 2).numpy(), y)},
    "in turn": {"shuffle": False, "prefetch": 0},
    "metrics": {"train_metrics": True, "class_weight": {0: 0.0, 2: 3.0}},
}


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_bits_are_those_of_arrays_that_were_converted(form, settings, tmp_path):
    results = []
    for x in (X.astype(np.float32), FORMS[form](tmp_path)):
        fitted = trainer()
        history = fitted.fit(x, Y, epochs=3, batch_size=7, verbose=False, **SETTINGS[settings])
        logs = {name: values for name, values in history.items() if name != "seconds"}
        outputs = fitted.predict(x, batch_size=11).tolist(), fitted.evaluate(x, Y, batch_size=11)
        results.append((logs, outputs, fnn.get_rng_state()))
    assert results[0] == results[1]


@pytest.mark.usefixtures("_small_pieces")
def test_targets_in_a_file(tmp_path):
    x = X.reshape(90, 24)
    results = []
    for targets in (x.astype(np.float32), mapped(tmp_path, x)):
        fnn.manual_seed(4)
        model = nn.Linear(24, 24)
        fitted = fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=1e-6))
        history = fitted.fit(x, targets, epochs=2, batch_size=8, validation_data=(x, targets), verbose=False)
        results.append((history["loss"], history["val_loss"]))
    assert results[0] == results[1]


@pytest.mark.usefixtures("_small_pieces")
def test_a_row_that_is_not_finite_is_named(tmp_path):
    x = X.astype(np.float64)
    x[41, 1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"row 41 of x holds a value that is not finite$"):
        trainer().fit(mapped(tmp_path, x), Y, batch_size=7, verbose=False)


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("prefetch", [0, 1])
def test_the_next_piece_is_converted_during_the_steps(prefetch, monkeypatch):
    """Unless it must not be; then it is converted in the fit's own thread."""
    asked, threads = [threading.Event() for _ in range(6)], set()
    convert, run_batches = data.ArrayData._piece, fnn.TrainStep.run_batches

    def piece(arrays, order, first, count):
        asked[first].set()
        threads.add(threading.current_thread().name)
        return convert(arrays, order, first, 1)

    def run(step, *args):
        if prefetch and len(ran) < 5:
            assert asked[len(ran) + 1].wait(20), "nobody converts the next piece during the steps"
        ran.append(None)
        return run_batches(step, *args)

    ran = []
    monkeypatch.setattr(data.ArrayData, "_piece", piece)
    monkeypatch.setattr(fnn.TrainStep, "run_batches", run)
    monkeypatch.setattr(data, "_PIECE", 1)
    trainer().fit(X, Y, batch_size=16, prefetch=prefetch, train_metrics=False, verbose=False)
    assert len(ran) == 6
    assert threads == {"fastnn-data-0" if prefetch else threading.main_thread().name}


@pytest.mark.usefixtures("_small_pieces")
def test_callbacks_see_every_batch():
    seen = []
    spy = fnn.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(batch))
    trainer().fit(X, Y, batch_size=16, callbacks=[spy], verbose=False)
    assert seen == list(range(6))


@pytest.mark.usefixtures("_small_pieces")
def test_batch_norm_is_measured_on_what_was_converted():
    statistics = []
    for x in (X.astype(np.float32), X):
        fnn.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(24), nn.Linear(24, 3))
        fitted = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1e-3))
        fitted.fit(x, Y, epochs=2, callbacks=[fnn.callbacks.SWA(0)], verbose=False)
        statistics.append(model[1].running_mean.tolist())
    assert statistics[0] == pytest.approx(statistics[1])
    assert statistics[0] == pytest.approx(X.reshape(90, 24).mean(axis=0), rel=1e-3)


def test_small_arrays_are_converted_at_once():
    assert data.features("f", X, data.Types(np.dtype("f4"), np.dtype("i8")), whole=False).dtype == np.float32


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_file_is_never_in_memory(dtype, tmp_path):
    """A file of zeros, which take no room on the disk; 200 or 400 MB as float32."""
    path = tmp_path / "x.npy"
    rows = 100_000 if dtype == np.uint8 else 50_000
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(rows, 1000))
    x, y = np.load(path, mmap_mode="r"), np.arange(rows) % 3
    model = nn.Linear(1000, 3)
    fitted = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), ["accuracy"])
    tracemalloc.start()
    try:
        fitted.fit(x, y, batch_size=1000, validation_data=(x[:5000], y[:5000]), train_metrics=True, verbose=False)
        assert fitted.predict(x).shape == (rows, 3)
        fitted.evaluate(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Two pieces of 16 MB, the file's part of one of them, and what there is for every row: order, targets, outputs.
    assert peak < 100e6
