"""Bias and variance: nets made to have either, and what a trainer is left with."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.diagnostics import BiasVariance

ROWS, WIDTH = 160, 6


def problem(seed: int, noise: float = 0.0, *, linear: bool = False) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * ROWS, WIDTH)).astype(np.float32)
    y = (x[:, :1] - x[:, 1:2] if linear else np.sign(x[:, :1] * x[:, 1:2])) + noise * rng.normal(size=(2 * ROWS, 1))
    y = y.astype(np.float32)
    return x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:]


def trainer(width: int, seed: int = 0, **settings: Any) -> fnn.Trainer:
    fnn.manual_seed(seed)
    model: Any = (
        nn.Sequential(nn.Linear(WIDTH, width), nn.ReLU(), nn.Linear(width, 1)) if width else nn.Linear(WIDTH, 1)
    )
    return fnn.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.02), **settings)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("width", "noise", "sizes", "verdict"),
    [
        (0, 0.0, (0.5, 1.0), "high bias"),
        (60, 1.5, (0.25, 1.0), "high variance"),
        (30, 0.1, (0.2, 1.0), "fine"),
        (0, 0.0, (9,), "high bias and high variance"),
    ],
)
def test_verdicts(width: int, noise: float, sizes: Any, verdict: str, seed: int) -> None:
    settings = {"target": 0.0, "gap": 0.1} if verdict == "high bias and high variance" else {}
    data = problem(seed, noise, linear=verdict == "fine")
    found = fnn.bias_variance(trainer(width, seed), *data, sizes, epochs=60, verbose=False, **settings)
    assert found.verdict == verdict, str(found)
    assert bool(found.advice) == (verdict != "fine")


def test_each_size_is_a_fit_of_its_own() -> None:
    data = problem(1)
    fnn.manual_seed(9)
    found = fnn.bias_variance(lambda: trainer(7), *data, (30, 160, 30), epochs=3, batch_size=16, verbose=False)
    assert found.sizes == (30, 160)
    fnn.manual_seed(9)
    trainer(7)
    order = np.array(fnn.randperm(ROWS))
    for i, (count, epochs) in enumerate([(30, 15), (160, 3)]):
        rows = np.sort(order[:count])
        one = trainer(7)
        if i == 0:
            # The function was called before the rows were drawn.
            trainer(7)
            order = np.array(fnn.randperm(ROWS))
            rows = np.sort(order[:count])
        one.fit(data[0][rows], data[1][rows], epochs=epochs, batch_size=16, verbose=False)
        assert found.train_losses[i] == one.evaluate(data[0][rows], data[1][rows])["loss"]
        assert found.val_losses[i] == one.evaluate(data[2], data[3])["loss"]
    assert found.baseline == pytest.approx(float(data[3].var()), rel=1e-5)
    assert (found.target, found.gap) == (0.3 * found.baseline, 0.2 * found.baseline)


def test_a_trainer_is_left_as_it_was() -> None:
    data = problem(2)
    results = []
    for measured in (True, False):
        one = trainer(5, ema=0.9)
        history = one.fit(data[0], data[1], epochs=2, verbose=False)
        if measured:
            fnn.bias_variance(one, *data, (0.5, 1.0), epochs=1, verbose=False)
        assert one.history is history
        one.fit(data[0], data[1], epochs=2, verbose=False)
        state = one.step.averaged_state_dict()
        results.append(
            [
                one.history["loss"],
                [p.tolist() for p in one.model.parameters()],
                {name: value.tolist() for name, value in state.items()},
                fnn.get_rng_state(),
            ]
        )
    assert results[0] == results[1]


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    found = fnn.bias_variance(trainer(0), *problem(0), (40, 1.0), epochs=1, target=0.125)
    text = capsys.readouterr().out
    assert text == f"{found}\n"
    lines = text.splitlines()
    assert lines[0].split() == ["rows", "training", "validation", "gap"]
    assert [line.split()[0] for line in lines[1:3]] == ["40", "160"]
    assert lines[3].startswith("high bias")
    assert "training at most 0.125, gap at most" in lines[3]
    assert lines[4].startswith("try: ")


def test_plot(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = BiasVariance((10, 20), (0.5, 0.4), (0.9, 0.8), 1.0, 0.3, 0.2)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"^BiasVariance\.plot needs matplotlib: pip install fastnn-cpu\[plot\]$"):
            found.plot()
    pytest.importorskip("matplotlib")
    axes = found.plot(tmp_path / "curve.png").axes[0]
    assert (tmp_path / "curve.png").stat().st_size > 1000
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[10, 0.9], [20, 0.8]])


@pytest.mark.parametrize(
    ("given", "settings", "error", "message"),
    [
        (3, {}, TypeError, "bias_variance: expected a Trainer, or a function that returns one; got int"),
        (lambda: nn.Linear(6, 1), {}, TypeError, "bias_variance: expected the function to return a Trainer; got Linear"),
        (None, {"sizes": ()}, ValueError, "bias_variance: expected at least one size; got none"),
        (None, {"sizes": (0.0,)}, ValueError, "bias_variance: expected sizes to be shares in (0, 1]; got 0.0"),
        (None, {"sizes": (161,)}, ValueError, "bias_variance: expected sizes to be numbers of rows in [1, 160]; got 161"),
        (None, {"sizes": ("all",)}, TypeError, "bias_variance: expected sizes to be a number; got 'all'"),
        (None, {"epochs": 0}, ValueError, "bias_variance: expected epochs of at least 1; got 0"),
        (None, {"target": "low"}, TypeError, "bias_variance: expected target to be a number; got 'low'"),
    ],
)  # fmt: skip
def test_bad_settings(given: Any, settings: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        fnn.bias_variance(trainer(0) if given is None else given, *problem(0), verbose=False, **settings)
    assert str(raised.value) == message
