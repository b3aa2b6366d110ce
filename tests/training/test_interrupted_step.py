"""A signal's handler that raises within a planned step: the step has changed nothing, or it is complete."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no interval timers")

WIDTH = 256
# Steps that run eagerly before there is a plan.
TRACED = 2

Alarm = Callable[[Callable[[], object]], None]


class Interruption(BaseException):
    """The handler's exception; not an `Exception`, as KeyboardInterrupt is none."""


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    """Call a function, and wait, while a timer runs whose signal's handler raises."""
    before = signal.getsignal(signal.SIGALRM)

    def handle(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise Interruption

    signal.signal(signal.SIGALRM, handle)

    def during(call: Callable[[], object]) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        call()
        signal.pause()

    yield during
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def trained(rows: int) -> tuple[fnn.TrainStep, np.ndarray, np.ndarray]:
    fnn.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(WIDTH, WIDTH),
        nn.BatchNorm1d(WIDTH),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(WIDTH, WIDTH),
        nn.Linear(WIDTH, 4),
    )
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3))
    x = np.random.default_rng(0).normal(size=(rows, WIDTH)).astype(np.float32)
    y = np.arange(rows) % 4
    for _ in range(TRACED):
        step(x, y)
    assert step.reason is None
    return step, x, y


def state(step: fnn.TrainStep) -> dict[str, bytes]:
    tensors = {**step.model.state_dict()}
    for number, kept in step.optimizer.state_dict()["state"].items():
        tensors |= {f"state {number} {name}": tensor for name, tensor in kept.items()}
    return {
        "generator": repr(fnn.get_rng_state()).encode(),
        **{n: t.detach().numpy().tobytes() for n, t in tensors.items()},
    }


def updates(step: fnn.TrainStep) -> int:
    return int(step.optimizer.state_dict()["state"][0]["step"].item())


def test_a_long_step_ends_before_it_changes_anything(alarm: Alarm) -> None:
    for rows in [2**k for k in range(12, 18)]:  # long enough on any machine in the end
        step, x, y = trained(rows)
        before = state(step)
        with pytest.raises(Interruption):
            alarm(lambda step=step, x=x, y=y: step(x, y))
        if updates(step) == TRACED:
            assert state(step) == before
            break
    else:
        pytest.fail("no step ended early")
    # It goes on as if nothing had been.
    step(x, y)
    after = state(step)
    again, x, y = trained(rows)
    again(x, y)
    assert state(again) == after


@pytest.mark.parametrize("scheduled", [False, True])
def test_steps_before_the_one_that_ends_early_count(alarm: Alarm, scheduled: bool) -> None:
    for rows in [2**k for k in range(12, 17)]:
        step, x, y = trained(rows)
        scheduler = optim.lr_scheduler.ExponentialLR(step.optimizer, 0.5)
        order = np.tile(np.arange(rows), 50)
        settings = (x, y, order, 0, 50, rows, [scheduler] if scheduled else [])
        with pytest.raises(Interruption):
            alarm(lambda step=step, settings=settings: step.run_batches(*settings))
        taken = updates(step) - TRACED
        assert step.optimizer.param_groups[0]["lr"] == 1e-3 * 0.5 ** (taken if scheduled else 0)
        again, x, y = trained(rows)
        other = optim.lr_scheduler.ExponentialLR(again.optimizer, 0.5)
        for _ in range(taken):
            again(x, y)
            if scheduled:
                other.step()
        assert state(again) == state(step)
        if taken < 50:
            break
    else:
        pytest.fail("no call ended early")


def test_other_threads_are_not_interrupted(alarm: Alarm) -> None:
    step, x, y = trained(2**13)
    losses: list[float] = []
    done = threading.Event()

    def train() -> None:
        losses.extend(step(x, y) for _ in range(3))
        done.set()

    threading.Thread(target=train, daemon=True).start()
    with pytest.raises(Interruption):
        alarm(lambda: None)
    assert done.wait(120)
    assert len(losses) == 3
