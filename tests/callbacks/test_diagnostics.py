"""The callback: what it records, and that training does not change."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

RNG = np.random.default_rng(4)
X = RNG.normal(size=(90, 5)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
NAMES = {"activation_signal", "activation_rms", "gradient_norm", "dead_units", "saturated_units", "update_ratio"}


def trained(*callbacks: Any, epochs: int = 4, kind: str = "Adam", lr: float = 0.01, bias: float = 0.0) -> Any:
    fnn.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(5, 13), nn.BatchNorm1d(13), nn.Tanh(), nn.Dropout(0.2), nn.Linear(13, 9), nn.ReLU(), nn.Linear(9, 2)
    )
    nn.init.constant_(model[4].bias.data.narrow(0, 0, 3), bias)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), getattr(optim, kind)(model.parameters(), lr=lr))
    trainer.fit(X, Y, epochs=epochs, batch_size=16, callbacks=callbacks, verbose=False)
    return trainer


@pytest.mark.parametrize("kind", ["Adam", "LBFGS"])
def test_training_does_not_change_by_a_bit(kind: str) -> None:
    results = []
    for callbacks in ([], [fnn.callbacks.Diagnostics(X, Y, rows=33, sharpness=True)]):
        trainer = trained(*callbacks, kind=kind)
        state = {name: value.tolist() for name, value in trainer.model.state_dict().items()}
        results.append((trainer.history["loss"], state, fnn.get_rng_state()))
    assert results[0] == results[1]


def test_what_is_recorded() -> None:
    watch = fnn.callbacks.Diagnostics(X, Y, rows=40, sharpness=True)
    trainer = trained(watch, bias=-200.0)
    assert set(trainer.history) >= NAMES | {"sharpness"}
    assert trainer.history["dead_units"] == [pytest.approx(3 / 9)] * 4
    last = watch.epochs[-1]
    assert [layer.kind for layer in last.layers] == [
        "Linear",
        "BatchNorm1d",
        "Tanh",
        "Dropout",
        "Linear",
        "ReLU",
        "Linear",
    ]
    assert [one.epoch for one in watch.epochs] == [0, 1, 2, 3]
    assert trainer.history["activation_signal"][-1] == min(layer.signal for layer in last.layers[:-1])
    assert trainer.history["gradient_norm"][-1] == pytest.approx(np.linalg.norm(list(last.gradients.values())))
    assert trainer.history["update_ratio"][-1] == np.median(list(last.ratios.values()))
    rows = np.unique(np.linspace(0, 89, 40).round().astype(int))
    assert trainer.history["sharpness"][-1] == fnn.sharpness(trainer.model, trainer.loss, X[rows], Y[rows])


def test_update_ratio_is_that_of_the_step() -> None:
    watch = fnn.callbacks.Diagnostics(X, Y, rows=90)
    fnn.manual_seed(3)
    model = nn.Linear(5, 2)
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.25))
    trainer.fit(X, Y, epochs=1, callbacks=[watch], verbose=False)
    weight = np.array(model.weight.detach(), np.float64)
    scores = X @ weight.T + np.array(model.bias.detach())
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    gradient = (p - np.eye(2)[Y]).T @ X / len(X)
    expected = 0.25 * np.linalg.norm(gradient) / np.linalg.norm(weight)
    assert watch.epochs[0].ratios == {"weight": pytest.approx(expected, rel=1e-4)}
    assert watch.epochs[0].gradients["weight"] == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_every_second_epoch() -> None:
    watch = fnn.callbacks.Diagnostics(X, Y, every=2)
    history = trained(watch, epochs=5).history
    assert np.isnan(history["update_ratio"]).tolist() == [True, False, True, False, True]
    assert [one.epoch for one in watch.epochs] == [1, 3]
    assert "sharpness" not in history


def test_plot(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = fnn.callbacks.Diagnostics(X, Y)
    with pytest.raises(ValueError, match=r"^Diagnostics\.plot: expected at least one epoch; got none$"):
        watch.plot()
    trained(watch)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"^Diagnostics\.plot needs matplotlib: pip install fastnn-cpu\[plot\]$"):
            watch.plot()
    pytest.importorskip("matplotlib")
    figure = watch.plot(tmp_path / "watch.png")
    assert (tmp_path / "watch.png").stat().st_size > 1000
    np.testing.assert_array_equal(
        figure.axes[0].lines[3].get_ydata(), [layer.signal for layer in watch.epochs[3].layers]
    )


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match=r"^Diagnostics: expected every of at least 1; got 0$"):
        fnn.callbacks.Diagnostics(X, Y, every=0)
    with pytest.raises(ValueError, match=r"^Diagnostics: expected rows of at least 1; got 0$"):
        fnn.callbacks.Diagnostics(X, Y, rows=0)
    with pytest.raises(ValueError, match=r"^Diagnostics: expected x and y of one length; got 90 and 7$"):
        trained(fnn.callbacks.Diagnostics(X, Y[:7]))
