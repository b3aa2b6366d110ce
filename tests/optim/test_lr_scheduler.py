"""Every schedule by one table: its whole curve, resuming in the middle, groups, what is saved, bad settings."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optim
from fastnn.optim import lr_scheduler
from tests.reference import lr_scheduler as reference

STEPS = 130
RATES = (0.2, 0.03)


@dataclass(frozen=True)
class Case:
    """One setting of one schedule; a list has a value for each of two groups."""

    name: str
    settings: dict[str, Any]
    optimizer: str = "SGD"


def wave(t: int) -> float:
    return 0.5 + 0.4 * math.cos(t / 3)


def slope(t: int) -> float:
    return 1 / (1 + t)


# Lengths that do not divide the number of steps, and far from the defaults.
CASES = [
    Case("LambdaLR", {"lr_lambda": wave}),
    Case("LambdaLR", {"lr_lambda": [slope, wave]}),
    Case("MultiplicativeLR", {"lr_lambda": [wave, lambda t: 0.99]}),
    Case("StepLR", {"step_size": 7}),
    Case("StepLR", {"step_size": 11, "gamma": 0.7}),
    Case("MultiStepLR", {"milestones": [50, 3, 3, 100], "gamma": 0.6}),
    Case("MultiStepLR", {"milestones": [0, 4]}),
    Case("ExponentialLR", {"gamma": 0.93}),
    Case("PowerOfTenLR", {"n": 37}),
    Case("PowerOfTenLR", {"n": 0.5}),
    Case("ConstantLR", {}),
    Case("ConstantLR", {"factor": 0.07, "total_iters": 33}),
    Case("LinearLR", {}),
    Case("LinearLR", {"start_factor": 0.9, "end_factor": 0.2, "total_iters": 41}),
    Case("LinearLR", {"start_factor": 0.5, "end_factor": 0.0, "total_iters": 13}),
    Case("PolynomialLR", {}),
    Case("PolynomialLR", {"total_iters": 77, "power": 2.7}),
    Case("CosineAnnealingLR", {"T_max": 1}),
    Case("CosineAnnealingLR", {"T_max": 19, "eta_min": 0.01}),
    Case("CosineAnnealingWarmRestarts", {"T_0": 9, "eta_min": 0.005}),
    Case("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 3}),
    Case("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.3, 0.4], "step_size_up": 7, "step_size_down": 4}),
    Case("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 9, "mode": "triangular2", "base_momentum": 0.3, "max_momentum": [0.7, 0.8]}),
    Case("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 6, "mode": "exp_range", "gamma": 0.97}, "Adam"),
    Case("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 5, "scale_fn": slope, "scale_mode": "iterations", "cycle_momentum": False}, "Adagrad"),
    Case("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS}),
    Case("OneCycleLR", {"max_lr": [0.5, 0.3], "total_steps": 143, "pct_start": 0.41, "anneal_strategy": "linear", "base_momentum": [0.2, 0.4], "max_momentum": 0.6, "div_factor": 7.0, "final_div_factor": 30.0}, "AdamW"),
    Case("OneCycleLR", {"max_lr": 0.5, "total_steps": 151, "three_phase": True, "cycle_momentum": False, "pct_start": 0.2}),
]  # fmt: skip
IDS = [f"{case.name}-{'-'.join(case.settings) or 'defaults'}" for case in CASES]
# PyTorch has no name for the other one.
TORCHS = [case for case in CASES if case.name != "PowerOfTenLR"]


def make_optimizer(library: Any, name: str = "SGD", **settings: Any) -> Any:
    params = [library.zeros(3, requires_grad=True), library.zeros(2, requires_grad=True)]
    groups = [{"params": [param], "lr": lr} for param, lr in zip(params, RATES, strict=True)]
    if name == "SGD":
        settings = {"momentum": 0.45, **settings}
    return getattr(library.optim, name)(groups, lr=1.0, **settings)


def momentum_of(group: dict[str, Any]) -> float:
    return group["betas"][0] if "betas" in group else group.get("momentum", math.nan)


def curve(optimizer: Any, scheduler: Any, steps: int = STEPS) -> np.ndarray:
    """Rate and momentum of each group at each step."""
    rows = []
    for _ in range(steps):
        rows.append([(group["lr"], momentum_of(group)) for group in optimizer.param_groups])
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        scheduler.step()
    return np.array(rows)


def ours(case: Case, steps: int = STEPS) -> np.ndarray:
    optimizer = make_optimizer(fnn, case.optimizer)
    return curve(optimizer, getattr(lr_scheduler, case.name)(optimizer, **case.settings), steps)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_curve_is_the_formula(case: Case) -> None:
    found = ours(case)
    for index, base in enumerate(RATES):
        settings = {
            key: v[index] if isinstance(v, list) and key != "milestones" else v for key, v in case.settings.items()
        }
        expected = getattr(reference, case.name.lower())(base, STEPS, **settings)
        np.testing.assert_allclose(found[:, index, 0], expected, rtol=1e-9, atol=1e-12)
        momentum = getattr(reference, f"{case.name.lower()}_momentum", None)
        if momentum is None or not settings.pop("cycle_momentum", True):
            start = momentum_of(make_optimizer(fnn, case.optimizer).param_groups[index])
            np.testing.assert_array_equal(found[:, index, 1], np.full(STEPS, start))
        else:
            np.testing.assert_allclose(found[:, index, 1], momentum(base, STEPS, **settings), rtol=1e-9)


@pytest.mark.parametrize("case", TORCHS, ids=lambda case: case.name)
def test_curve_and_state_are_torchs(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimizer, theirs = make_optimizer(fnn, case.optimizer), make_optimizer(torch, case.optimizer)
    scheduler = getattr(lr_scheduler, case.name)(optimizer, **case.settings)
    other = getattr(torch.optim.lr_scheduler, case.name)(theirs, **case.settings)
    np.testing.assert_array_equal(curve(optimizer, scheduler), curve(theirs, other))
    assert scheduler.state_dict() == other.state_dict()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_resuming_goes_on_where_it_was(case: Case) -> None:
    optimizer = make_optimizer(fnn, case.optimizer)
    scheduler = getattr(lr_scheduler, case.name)(optimizer, **case.settings)
    curve(optimizer, scheduler, 53)
    again = make_optimizer(fnn, case.optimizer)
    resumed = getattr(lr_scheduler, case.name)(again, **case.settings)
    resumed.load_state_dict(scheduler.state_dict())
    again.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(curve(again, resumed, STEPS - 53), ours(case)[53:])


@pytest.mark.parametrize("case", TORCHS, ids=lambda case: case.name)
def test_last_epoch_resumes_as_in_torch(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    curves = []
    for library in (fnn, torch):
        optimizer = make_optimizer(library, case.optimizer)
        schedules = library.optim.lr_scheduler
        curve(optimizer, getattr(schedules, case.name)(optimizer, **case.settings), 31)
        curves.append(curve(optimizer, getattr(schedules, case.name)(optimizer, **case.settings, last_epoch=30), 60))
    np.testing.assert_array_equal(*curves)


@pytest.mark.parametrize("case", TORCHS, ids=lambda case: case.name)
@pytest.mark.parametrize("epoch", [0, 1, 4, 5, 36, 120])
def test_stepping_to_an_epoch_is_torchs(case: Case, epoch: int) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rates = []
    for library in (fnn, torch):
        optimizer = make_optimizer(library, case.optimizer)
        scheduler = getattr(library.optim.lr_scheduler, case.name)(optimizer, **case.settings)
        optimizer.step()
        if case.name == "CosineAnnealingWarmRestarts":
            scheduler.step(epoch + 0.25)
        else:
            with pytest.warns(UserWarning, match="epoch"):
                scheduler.step(epoch)
        rates.append(scheduler.get_last_lr())
    np.testing.assert_allclose(*rates, rtol=1e-12, atol=0)


# Schedules of schedules, by functions of the library's schedules and an optimizer.
COMBINED = {
    "chain": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 9), s.ExponentialLR(o, 0.97), s.CosineAnnealingLR(o, 30)]),
    "sequence": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=9), s.CosineAnnealingWarmRestarts(o, 20, 2), s.StepLR(o, 7, 0.5)], [9, 90]),
    "sequence from the second": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.2, 9), s.ExponentialLR(o, 0.95)], [0]),
    "one-cycle after a constant": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.2, 50), s.OneCycleLR(o, 0.7, 120)], [17]),
    "chain of a sequence": lambda s, o: s.ChainedScheduler(
        [s.SequentialLR(o, [s.LinearLR(o, 0.3, total_iters=11), s.PolynomialLR(o, 200, 1.5)], [11]), s.MultiStepLR(o, [60])]),
}  # fmt: skip


@pytest.mark.parametrize("make", COMBINED.values(), ids=COMBINED)
def test_combined_curve_and_state_are_torchs(make: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimizer, theirs = make_optimizer(fnn), make_optimizer(torch)
    scheduler, other = make(lr_scheduler, optimizer), make(torch.optim.lr_scheduler, theirs)
    np.testing.assert_array_equal(curve(optimizer, scheduler), curve(theirs, other))
    assert scheduler.state_dict() == other.state_dict()


@pytest.mark.parametrize("make", COMBINED.values(), ids=COMBINED)
def test_combined_resumes_through_json(make: Any) -> None:
    if make is COMBINED["chain of a sequence"]:
        make = COMBINED["sequence"]
    optimizer = make_optimizer(fnn)
    scheduler = make(lr_scheduler, optimizer)
    curve(optimizer, scheduler, 41)
    again = make_optimizer(fnn)
    resumed = make(lr_scheduler, again)
    resumed.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    again.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(curve(again, resumed, 60), curve(optimizer, scheduler, 60))


def test_a_chain_multiplies() -> None:
    optimizer = make_optimizer(fnn)
    found = curve(optimizer, COMBINED["chain"](lr_scheduler, optimizer))[:, :, 0]
    for index, base in enumerate(RATES):
        parts = [
            reference.constantlr(1, STEPS, factor=0.1, total_iters=9),
            reference.exponentiallr(1, STEPS, gamma=0.97),
            reference.cosineannealinglr(1, STEPS, T_max=30),
        ]
        # After its least rate a cosine alone adds, so the chain is a product only until then.
        np.testing.assert_allclose(found[:30, index], (base * np.prod(parts, axis=0))[:30], rtol=1e-9)


@pytest.mark.parametrize(("settings", "first"), [({}, 1 / 8), ({"start_factor": 0.4}, 0.4)])
def test_warm_up(settings: dict[str, float], first: float) -> None:
    optimizer = make_optimizer(fnn)
    scheduler = lr_scheduler.WarmupLR(optimizer, 7, lr_scheduler.CosineAnnealingLR(optimizer, 60), **settings)
    found = curve(optimizer, scheduler)[:, :, 0]
    for index, base in enumerate(RATES):
        up = reference.linearlr(base, 7, start_factor=first, total_iters=7)
        down = reference.cosineannealinglr(base, STEPS - 7, T_max=60)
        np.testing.assert_allclose(found[:, index], np.concatenate([up, down]), rtol=1e-9, atol=1e-15)


def test_warm_up_alone_ends_at_the_full_rate() -> None:
    optimizer = make_optimizer(fnn)
    found = curve(optimizer, lr_scheduler.WarmupLR(optimizer, 3), 9)[:, 0, 0]
    np.testing.assert_allclose(found, 0.2 * np.array([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]), rtol=1e-12)


def test_sequences_and_chains_nest() -> None:
    """A chain and a sequence begin when their turn comes, as if they had just been made."""
    optimizer = make_optimizer(fnn)
    s, o = lr_scheduler, optimizer
    chain = s.ChainedScheduler([s.ConstantLR(o, 0.1, 5), s.ExponentialLR(o, 0.9)])
    inner = s.SequentialLR(o, [s.LinearLR(o, 0.5, total_iters=6), s.StepLR(o, 4)], [6])
    found = curve(o, s.SequentialLR(o, [s.StepLR(o, 3), chain, inner], [10, 30]), 50)[:, 0, 0]
    alone = make_optimizer(fnn)
    parts = [
        reference.steplr(0.2, 10, step_size=3),
        reference.constantlr(0.2, 20, factor=0.1, total_iters=5) * reference.exponentiallr(1, 20, gamma=0.9),
        curve(alone, s.SequentialLR(alone, [s.LinearLR(alone, 0.5, total_iters=6), s.StepLR(alone, 4)], [6]), 20)[
            :, 0, 0
        ],
    ]
    np.testing.assert_allclose(found, np.concatenate(parts), rtol=1e-12)


METRICS = [
    5,
    4,
    4.5,
    4.1,
    3.999,
    3.9985,
    math.nan,
    3.99,
    4,
    4,
    4,
    1,
    2,
    2,
    2,
    2,
    2,
    0.5,
    0.499,
    0.498,
    0.497,
    0.4969,
] * 6
PLATEAUS = [
    {},
    {"factor": 0.3, "patience": 2},
    {"factor": 0.5, "patience": 1, "threshold": 0.01, "cooldown": 3},
    {"factor": 0.6, "patience": 0, "threshold": 0.002, "threshold_mode": "abs", "cooldown": 2, "min_lr": [0.05, 0.001]},
    {"factor": 0.4, "patience": 2, "mode": "max", "threshold": 0.1, "eps": 0.01},
    {"factor": 0.4, "patience": 2, "mode": "max", "threshold": 0.5, "threshold_mode": "abs"},
]


def plateau_curve(library: Any, settings: dict[str, Any], split: int | None = None) -> np.ndarray:
    optimizer = make_optimizer(library)
    scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    rates = []
    for number, metric in enumerate(METRICS):
        if number == split:
            saved = json.loads(json.dumps(scheduler.state_dict()))
            state, optimizer = optimizer.state_dict(), make_optimizer(library)
            optimizer.load_state_dict(state)
            scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            scheduler.load_state_dict(saved)
        scheduler.step(metric)
        rates.append(scheduler.get_last_lr())
        assert rates[-1] == [group["lr"] for group in optimizer.param_groups]
    return np.array(rates)


@pytest.mark.parametrize("settings", PLATEAUS, ids=lambda settings: "-".join(settings) or "defaults")
def test_plateau(settings: dict[str, Any]) -> None:
    found = plateau_curve(fnn, settings)
    for index, base in enumerate(RATES):
        own = {key: value[index] if isinstance(value, list) else value for key, value in settings.items()}
        np.testing.assert_allclose(found[:, index], reference.plateau(base, METRICS, **own), rtol=1e-12)
    np.testing.assert_array_equal(plateau_curve(fnn, settings, split=13), found)


@pytest.mark.parametrize("settings", PLATEAUS, ids=lambda settings: "-".join(settings) or "defaults")
def test_plateau_is_torchs(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    np.testing.assert_array_equal(plateau_curve(fnn, settings), plateau_curve(torch, settings))
    ours, theirs = (
        library.optim.lr_scheduler.ReduceLROnPlateau(make_optimizer(library), **settings) for library in (fnn, torch)
    )
    assert ours.state_dict() == theirs.state_dict()


def test_plateau_follows_a_new_group() -> None:
    for least, error in ((0.02, None), ([0.0, 0.0], RuntimeError)):
        optimizer = make_optimizer(fnn)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=least)
        optimizer.add_param_group({"params": [fnn.zeros(2, requires_grad=True)], "lr": 0.5})
        scheduler.step(1)
        if error is None:
            scheduler.step(1)
            np.testing.assert_allclose(scheduler.get_last_lr(), [0.02, 0.02, 0.05])
        else:
            with pytest.raises(error) as caught:
                scheduler.step(1)
            assert str(caught.value) == (
                "ReduceLROnPlateau: expected min_lrs for each of 3 groups, of which some were added since; got 2"
            )


class Counting:
    """A function with a memory, which is saved."""

    def __init__(self, calls: int = 0) -> None:
        self.calls = calls

    def __call__(self, t: float) -> float:
        self.calls += 1
        return 0.9**self.calls


@pytest.mark.parametrize("name", ["LambdaLR", "MultiplicativeLR", "CyclicLR"])
def test_callable_objects_are_saved(name: str) -> None:
    def make(function: Counting) -> tuple[Any, Any]:
        optimizer = make_optimizer(fnn)
        settings = (
            {"base_lr": 0.1, "max_lr": 1, "scale_fn": function}
            if name == "CyclicLR"
            else {"lr_lambda": [function, function]}
        )
        return optimizer, getattr(lr_scheduler, name)(optimizer, **settings)

    optimizer, scheduler = make(Counting())
    curve(optimizer, scheduler, 20)
    again, resumed = make(Counting(99))
    resumed.load_state_dict(scheduler.state_dict())
    again.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(curve(again, resumed, 20), curve(optimizer, scheduler, 20))


def test_a_schedule_of_ones_own() -> None:
    class Own(lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / (1 + self.last_epoch) ** 2 for base in self.base_lrs]

    optimizer = make_optimizer(fnn)
    found = curve(optimizer, Own(optimizer))[:, 1, 0]
    np.testing.assert_allclose(found, 0.03 / np.arange(1, STEPS + 1) ** 2, rtol=1e-12)


def test_warnings() -> None:
    optimizer = make_optimizer(fnn)
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"^LRScheduler.step: expected optimizer.step\(\) before the first"):
        scheduler.step()
    with pytest.warns(UserWarning, match=r"^LRScheduler.get_lr: works out the next learning rate"):
        scheduler.get_lr()
    optimizer = make_optimizer(fnn)
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match=r"^LRScheduler.step: optimizer.step was replaced"):
        scheduler.step()


def plain(lr: float = 0.1) -> Any:
    return optim.SGD([fnn.zeros(1, requires_grad=True)], lr=lr)


S = lr_scheduler
ERRORS = [
    (lambda o: S.StepLR(None, 3), TypeError, "StepLR: expected optimizer to be one of fastnn's; got NoneType"),
    (lambda o: S.StepLR(o, 3, last_epoch=4), KeyError, "StepLR: expected 'initial_lr' in param_groups[0] with last_epoch 4: load the optimizer's state first, or begin with -1"),
    (lambda o: S.StepLR(o, 0), ValueError, "StepLR: expected step_size of at least 1; got 0"),
    (lambda o: S.StepLR(o, 2.5), TypeError, "StepLR: expected step_size to be an int; got 2.5"),
    (lambda o: S.StepLR(o, 2, -0.1), ValueError, "StepLR: expected gamma of at least 0; got -0.1"),
    (lambda o: S.MultiStepLR(o, [3, -1]), ValueError, "MultiStepLR: expected milestones of at least 0; got -1"),
    (lambda o: S.ExponentialLR(o, math.nan), ValueError, "ExponentialLR: expected gamma of at least 0; got nan"),
    (lambda o: S.ExponentialLR(o, "x"), TypeError, "ExponentialLR: expected gamma to be a number; got 'x'"),
    (lambda o: S.PowerOfTenLR(o, 0), ValueError, "PowerOfTenLR: expected n above 0; got 0"),
    (lambda o: S.ConstantLR(o, 1.5), ValueError, "ConstantLR: expected factor in (0, 1]; got 1.5"),
    (lambda o: S.ConstantLR(o, total_iters=0), ValueError, "ConstantLR: expected total_iters of at least 1; got 0"),
    (lambda o: S.LinearLR(o, 0), ValueError, "LinearLR: expected start_factor in (0, 1]; got 0"),
    (lambda o: S.LinearLR(o, end_factor=-1), ValueError, "LinearLR: expected end_factor in [0, 1]; got -1"),
    (lambda o: S.LinearLR(o, total_iters=-3), ValueError, "LinearLR: expected total_iters of at least 1; got -3"),
    (lambda o: S.PolynomialLR(o, 0), ValueError, "PolynomialLR: expected total_iters of at least 1; got 0"),
    (lambda o: S.PolynomialLR(o, 4, -2), ValueError, "PolynomialLR: expected power of at least 0; got -2"),
    (lambda o: S.CosineAnnealingLR(o, 0), ValueError, "CosineAnnealingLR: expected T_max above 0; got 0"),
    (lambda o: S.CosineAnnealingWarmRestarts(o, 0), ValueError, "CosineAnnealingWarmRestarts: expected T_0 to be an int in [1, 9007199254740992]; got 0"),
    (lambda o: S.CosineAnnealingWarmRestarts(o, 3, 1.5), ValueError, "CosineAnnealingWarmRestarts: expected T_mult to be an int in [1, 9007199254740992]; got 1.5"),
    (lambda o: S.CosineAnnealingWarmRestarts(o, 3, eta_min="0"), ValueError, "CosineAnnealingWarmRestarts: expected eta_min to be a finite number; got '0'"),
    (lambda o: S.CosineAnnealingWarmRestarts(o, 3).step(-1), ValueError, "CosineAnnealingWarmRestarts.step: expected epoch in [0, 9007199254740992]; got -1"),
    (lambda o: S.CyclicLR(o, 0.1, 1, 0), ValueError, "CyclicLR: expected step_size_up above 0; got 0"),
    (lambda o: S.CyclicLR(o, 0.1, 1, 5, -1), ValueError, "CyclicLR: expected step_size_down of at least 0; got -1"),
    (lambda o: S.CyclicLR(o, 0.1, 1, mode="saw"), ValueError, "CyclicLR: expected mode to be 'triangular', 'triangular2' or 'exp_range'; got 'saw'"),
    (lambda o: S.CyclicLR(o, 0.1, 1, scale_mode="epoch"), ValueError, "CyclicLR: expected scale_mode to be 'cycle' or 'iterations'; got 'epoch'"),
    (lambda o: S.CyclicLR(o, [0.1, 0.2], 1), ValueError, "CyclicLR: expected base_lr to have a value for each of 1 groups; got 2"),
    (lambda o: S.CyclicLR(optim.Adagrad([fnn.zeros(1, requires_grad=True)]), 0.1, 1), ValueError, "CyclicLR: expected an optimizer with momentum or betas, or cycle_momentum=False; got Adagrad"),
    (lambda o: S.OneCycleLR(o, 0.1), ValueError, "OneCycleLR: expected total_steps, or both epochs and steps_per_epoch; got neither"),
    (lambda o: S.OneCycleLR(o, 0.1, 0), ValueError, "OneCycleLR: expected total_steps to be an int of at least 1; got 0"),
    (lambda o: S.OneCycleLR(o, 0.1, epochs=3, steps_per_epoch=-2), ValueError, "OneCycleLR: expected steps_per_epoch to be an int of at least 1; got -2"),
    (lambda o: S.OneCycleLR(o, 0.1, 9, pct_start=1.5), ValueError, "OneCycleLR: expected pct_start to be a float in [0, 1]; got 1.5"),
    (lambda o: S.OneCycleLR(o, 0.1, 9, anneal_strategy="cosine"), ValueError, "OneCycleLR: expected anneal_strategy to be 'cos' or 'linear'; got 'cosine'"),
    (lambda o: S.OneCycleLR(o, 0.1, 9, div_factor=0), ValueError, "OneCycleLR: expected div_factor above 0; got 0"),
    (lambda o: [S.OneCycleLR(o, 0.1, 1), o.step(), s.step(), s.step()] if (s := S.OneCycleLR(o, 0.1, 1)) else 0, ValueError, "OneCycleLR.step: expected at most 1 steps; got 2"),
    (lambda o: S.ReduceLROnPlateau(o, factor=1.0), ValueError, "ReduceLROnPlateau: expected factor in [0, 1); got 1.0"),
    (lambda o: S.ReduceLROnPlateau(o, "best"), ValueError, "ReduceLROnPlateau: expected mode to be 'min' or 'max'; got 'best'"),
    (lambda o: S.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "ReduceLROnPlateau: expected threshold_mode to be 'rel' or 'abs'; got 'x'"),
    (lambda o: S.ReduceLROnPlateau(o, patience=-1), ValueError, "ReduceLROnPlateau: expected patience of at least 0; got -1"),
    (lambda o: S.ReduceLROnPlateau(o, min_lr=[0, 1]), ValueError, "ReduceLROnPlateau: expected min_lr for each of 1 groups; got 2"),
    (lambda o: S.LambdaLR(o, [slope, slope]), ValueError, "LambdaLR: expected lr_lambda for each of 1 groups; got 2"),
    (lambda o: S.MultiplicativeLR(o, 0.9), TypeError, "MultiplicativeLR: expected lr_lambda to be a function; got float"),
    (lambda o: S.ChainedScheduler([]), ValueError, "ChainedScheduler: expected at least one scheduler; got none"),
    (lambda o: S.ChainedScheduler([S.StepLR(o, 2), 3]), TypeError, "ChainedScheduler: expected schedulers; got int at index 1"),
    (lambda o: S.ChainedScheduler([S.StepLR(o, 2), S.StepLR(plain(), 2)]), ValueError, "ChainedScheduler: expected schedulers of one optimizer; got StepLR of another SGD at index 1"),
    (lambda o: S.SequentialLR(o, [S.ReduceLROnPlateau(o)], []), ValueError, "SequentialLR: expected schedulers that are stepped without a measure; got ReduceLROnPlateau at index 0"),
    (lambda o: S.SequentialLR(o, [S.StepLR(o, 2)], [3]), ValueError, "SequentialLR: expected 0 milestones with 1 schedulers; got 1"),
    (lambda o: S.SequentialLR(o, [S.StepLR(o, 2)] * 3, [5, 3]), ValueError, "SequentialLR: expected ascending milestones; got [5, 3]"),
    (lambda o: S.SequentialLR(o, [S.StepLR(o, 2)] * 2, [-5]), ValueError, "SequentialLR: expected milestones of at least 0; got -5"),
    (lambda o: S.WarmupLR(o, 0), ValueError, "WarmupLR: expected warmup_iters of at least 1; got 0"),
    (lambda o: S.WarmupLR(o, 3, S.StepLR(plain(), 2)), ValueError, "WarmupLR: expected schedulers of one optimizer; got StepLR of another SGD at index 1"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), ERRORS, ids=[message for *_, message in ERRORS])
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        make(plain())
    assert caught.value.args == (message,)
