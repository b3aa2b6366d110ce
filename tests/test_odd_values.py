"""Values that hardly anybody gives: an error that names the function and what was expected, and nothing changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import data, nn, optim
from fastnn.optim import lr_scheduler

ROWS = data.TensorDataset(fnn.ones(4, 2), fnn.ones(4))


def sgd() -> optim.SGD:
    return optim.SGD([nn.Parameter(fnn.ones(2))], lr=0.5)


def every(samples: Any) -> list[Any]:
    return [samples[i] for i in range(2)]


CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: every(data.Subset({"a": 1}, [0, 2])), ValueError, "Subset: expected the dataset to have the key 0"),
    (lambda: every(data.Subset([1, 2], [[0], [1]])), TypeError, "Subset: expected an index to be an int; got [0]"),
    (lambda: every(data.Subset((1, 2), [0.5, 1])), TypeError, "Subset: expected an index to be an int; got 0.5"),
    (
        lambda: list(data.DataLoader([1.0, 2.0], sampler=[0, "a"])),
        TypeError,
        "DataLoader: expected an index to be an int; got 'a'",
    ),
    (
        lambda: list(data.DataLoader(ROWS, batch_sampler=[[0, 1], None])),
        TypeError,
        "DataLoader: expected a batch of the batch_sampler to be indices; got None",
    ),
    (
        lambda: nn.utils.max_norm_([fnn.ones(2, 2), fnn.tensor([[1, 2]])], 0.1),
        TypeError,
        "max_norm_: expected parameter 1 to be of float32 or float64; got fastnn.int64",
    ),
    (
        lambda: optim.LBFGS([nn.Parameter(fnn.ones(2))]).step(lambda: None),
        TypeError,
        "LBFGS.step: expected a closure that returns the loss; got NoneType",
    ),
    (lambda: fnn.save({}, "\ud800"), ValueError, "expected a path that a file can have; got '\\ud800'"),
    (lambda: fnn.load("\ud800"), ValueError, "expected a path that a file can have; got '\\ud800'"),
    (lambda: fnn.save({}, "a\0b"), ValueError, "expected a path that a file can have; got 'a\\x00b'"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[ascii(c[2][:40]) for c in CASES])
def test_message(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as caught:
        call()
    assert type(caught.value) is error


def test_max_norm_changes_nothing_then() -> None:
    weights = [fnn.full((2, 2), 5.0), fnn.tensor([[1, 2]])]
    with pytest.raises(TypeError):
        nn.utils.max_norm_(weights, 0.1)
    assert weights[0].tolist() == [[5.0, 5.0], [5.0, 5.0]]


SCHEDULES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda o: lr_scheduler.StepLR(o, np.array(2), 0.9), "step_size"),
    (lambda o: lr_scheduler.StepLR(o, 2, np.float32(0.5)), "gamma"),
    (lambda o: lr_scheduler.CosineAnnealingLR(o, 5), "T_max"),
    (lambda o: lr_scheduler.ExponentialLR(o, np.array(0.5)), "gamma"),
    (lambda o: lr_scheduler.PolynomialLR(o, 3), "total_iters"),
]
NAMES = ["StepLR-step_size", "StepLR-gamma", "CosineAnnealingLR", "ExponentialLR", "PolynomialLR"]


@pytest.mark.parametrize(("make", "key"), SCHEDULES, ids=NAMES)
@pytest.mark.parametrize(
    "value", [[1, 2], "a", None, np.zeros(2), fnn.ones(3)], ids=["list", "a", "None", "array", "tensor"]
)
def test_a_state_with_something_else_than_a_number(make: Callable[[Any], Any], key: str, value: Any) -> None:
    schedule = make(sgd())
    before = schedule.state_dict()
    with pytest.raises(TypeError, match=rf"load_state_dict: expected {key} to be a number; got "):
        schedule.load_state_dict({**before, key: value})
    assert schedule.state_dict() == before


@pytest.mark.parametrize(("make", "key"), SCHEDULES, ids=NAMES)
def test_a_state_with_numbers_of_other_types(make: Callable[[Any], Any], key: str) -> None:
    schedules = [make(sgd()), make(sgd())]
    state = schedules[0].state_dict()
    schedules[0].load_state_dict({**state, key: np.array(float(state[key]))})
    for schedule in schedules:
        schedule.optimizer.step()
    for _ in range(4):
        for schedule in schedules:
            schedule.step()
        assert schedules[0].get_last_lr() == schedules[1].get_last_lr()


@pytest.mark.parametrize("zero", [0, np.array(0, np.uint8), fnn.tensor(0)], ids=["int", "array", "tensor"])
def test_a_state_without_a_rate(zero: Any) -> None:
    schedule = lr_scheduler.CosineAnnealingLR(sgd(), 1)
    schedule.load_state_dict({**schedule.state_dict(), "T_max": zero})
    schedule.optimizer.step()
    with pytest.raises(ValueError, match=r"^CosineAnnealingLR: expected settings with rates that float64 can hold"):
        schedule.step()


def test_a_class_as_the_function_of_a_schedule() -> None:
    schedule = lr_scheduler.LambdaLR(sgd(), float)
    schedule.optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.5]
    with pytest.raises(TypeError):
        schedule.step([])  # type: ignore[arg-type]
    assert (schedule.get_last_lr(), schedule.last_epoch) == ([0.5], 1)


def test_nothing_is_written_to_a_path_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a path"):
        fnn.save({"a": fnn.ones(2)}, tmp_path / "\ud800")
    assert list(tmp_path.iterdir()) == []
