import math
import sys

import pytest

from fastnn.training import History


def test_it_is_a_mapping_of_lists():
    history = History()
    history.append(0, {"loss": 2.0})
    history.append(1, {"loss": 1.0, "val_loss": 3})
    assert dict(history)["loss"] == [2, 1]
    assert math.isnan(history["val_loss"][0])
    assert history["val_loss"][1] == 3
    assert (len(history), list(history), history.epochs) == (2, ["loss", "val_loss"], [0, 1])
    assert repr(history) == "History(2 epochs: loss, val_loss)"
    with pytest.raises(KeyError):
        history["accuracy"]


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="draws")
    history = History()
    with pytest.raises(ValueError, match=r"^History.plot: expected at least one epoch; got none$"):
        history.plot()
    for epoch in range(3):
        history.append(epoch, {"loss": 1 / (epoch + 1), "val_loss": 0.5, "val_accuracy": 0.9, "seconds": 1})
    figure = history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1]


def test_plot_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"^History.plot needs matplotlib: pip install fastnn-cpu\[plot\]$"):
        History().plot()
