"""States of schedules: numbers that no schedule can go on from are refused, and nothing is changed."""

import inspect
import math

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optim
from fastnn.optim import lr_scheduler

MAKE = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 5]},
    "ExponentialLR": {"gamma": 0.7},
    "ConstantLR": {},
    "LinearLR": {},
    "PolynomialLR": {},
    "CosineAnnealingLR": {"T_max": 7},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.3, "cycle_momentum": False},
    "WarmupLR": {"warmup_iters": 4},
    "PowerOfTenLR": {"n": 4.5},
    "OneCycleLR": {"max_lr": 0.3, "total_steps": 20, "cycle_momentum": False},
}


def optimizer() -> optim.SGD:
    return optim.SGD([fnn.nn.Parameter(np.ones(3, np.float32))], lr=0.25)


def numbers_of(state: dict[str, object]) -> list[str]:
    return [key for key, value in state.items() if type(value) in {int, float} and math.isfinite(value)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
def test_a_state_that_is_not_finite_is_refused(name: str, bad: float) -> None:
    schedule = getattr(lr_scheduler, name)(optimizer(), **MAKE[name])
    before = schedule.state_dict()
    keys = [key for key in numbers_of(before) if not key.startswith("_")]
    assert "last_epoch" in keys
    for key in keys:
        with pytest.raises(
            ValueError, match=rf"^{name}\.load_state_dict: expected {key} to be finite; got -?(nan|inf)$"
        ):
            schedule.load_state_dict({**before, key: bad})
        assert schedule.state_dict() == before


def test_restarts_name_their_ranges() -> None:
    most = 2**53
    for settings, message in [
        ({"T_0": 0}, rf"expected T_0 to be an int in \[1, {most}\]; got 0"),
        ({"T_0": 2**70}, rf"expected T_0 to be an int in \[1, {most}\]; got {2**70}"),
        ({"T_0": 2, "T_mult": 2**60}, rf"expected T_mult to be an int in \[1, {most}\]; got {2**60}"),
        ({"T_0": 2, "eta_min": math.nan}, "expected eta_min to be a finite number; got nan"),
        ({"T_0": 2, "last_epoch": 2**80}, f"expected last_epoch of at most {most}; got {2**80}"),
    ]:
        with pytest.raises(ValueError, match=f"^CosineAnnealingWarmRestarts: {message}$"):
            lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), **settings)
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), T_0=2, T_mult=3)
    for epoch in (-1, 1e300, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^CosineAnnealingWarmRestarts\.step: expected epoch in "):
            schedule.step(epoch)
    schedule.step(float(most))
    assert 0 <= schedule.T_cur < schedule.T_i


@pytest.mark.parametrize("key", ["T_0", "T_mult", "T_i"])
@pytest.mark.parametrize("bad", [0, -3, 2.5, 2**60])
def test_restarts_refuse_lengths_that_never_end(key: str, bad: float) -> None:
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), T_0=3, T_mult=2)
    before = schedule.state_dict()
    with pytest.raises(
        ValueError, match=rf"^CosineAnnealingWarmRestarts\.load_state_dict: expected {key} to be an int in "
    ):
        schedule.load_state_dict({**before, key: bad})
    assert schedule.state_dict() == before


@pytest.mark.filterwarnings("ignore:LRScheduler.step")
@pytest.mark.parametrize(("name", "settings"), [("ExponentialLR", {}), ("StepLR", {"step_size": 1})])
def test_whole_factors_grow_in_float64(name: str, settings: dict[str, int]) -> None:
    """Python's integers would grow to billions of digits first."""
    schedule = getattr(lr_scheduler, name)(optimizer(), gamma=2**15, **settings)
    with pytest.raises(ValueError, match=f"^{name}: expected settings with rates that float64 can hold at step "):
        schedule.step(2**32)


@pytest.mark.filterwarnings("ignore:LRScheduler.step")
def test_rates_that_float64_cannot_hold_are_errors_of_the_schedule() -> None:
    schedule = lr_scheduler.CosineAnnealingLR(optimizer(), T_max=2)
    schedule.load_state_dict({**schedule.state_dict(), "T_max": 1e-308})
    expected = "CosineAnnealingLR: expected settings with rates that float64 can hold at step -9; got an angle of -inf"
    with pytest.raises(ValueError, match=f"^{expected}$"):
        schedule.step(-9)


def test_every_schedule_of_settings_alone_is_here() -> None:
    def alone(cls: type) -> bool:
        needed = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
        return not {"lr_lambda", "schedulers", "schedule", "function"} & set(needed) and needed[:1] == ["optimizer"]

    public = [getattr(lr_scheduler, n) for n in dir(lr_scheduler) if n[0].isupper()]
    found = {c.__name__ for c in public if inspect.isclass(c) and issubclass(c, lr_scheduler.LRScheduler) and alone(c)}
    # The first is the base; the second's `best` may be infinite.
    assert found - set(MAKE) <= {"LRScheduler", "ReduceLROnPlateau", "ChainedScheduler", "SequentialLR"}
