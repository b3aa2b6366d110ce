"""Averages of weights against their formulas in float64, and against PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.optim import swa_utils

DECAY = 0.3
X = np.random.default_rng(1).normal(100.0, 7.0, size=(37, 5)).astype(np.float32)


def net(library: Any = fnn) -> Any:
    return library.nn.Sequential(library.nn.Linear(5, 3), library.nn.BatchNorm1d(3), library.nn.Linear(3, 2))


def states(library: Any, model: Any, count: int = 6) -> list[dict[str, np.ndarray]]:
    """States that a model could go through; not in an order that an average would hide."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(count):
        state = {}
        for name, value in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                state[name] = np.array(rng.integers(0, 100))
            else:
                state[name] = rng.normal(size=tuple(value.shape)).astype(np.float32)
        found.append(state)
    return found


def averaged(library: Any, settings: Any, **options: Any) -> dict[str, np.ndarray]:
    """The state of an average over the states, as arrays."""
    utils = library.optim.swa_utils
    model = net(library)
    average = utils.AveragedModel(model, **settings(utils), **options)
    for state in states(library, model):
        model.load_state_dict({name: library.tensor(value) for name, value in state.items()})
        average.update_parameters(model)
    return {name: np.array(value.numpy()) for name, value in average.state_dict().items()}


SETTINGS = {
    "default": lambda utils: {},
    "swa": lambda utils: {"avg_fn": utils.get_swa_avg_fn()},
    "multi-swa": lambda utils: {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
    "ema": lambda utils: {"avg_fn": utils.get_ema_avg_fn(DECAY)},
    "multi-ema": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(DECAY)},
    "slow-ema": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.99)},
    "all-ema": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(1)},
    "no-ema": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0)},
    "own": lambda utils: {"avg_fn": lambda average, value, n: average + value * (int(n) + 1)},
}


@pytest.mark.parametrize("name", ["default", "swa", "multi-swa"])
def test_equal_average_is_the_mean(name: str) -> None:
    found = averaged(fnn, SETTINGS[name])
    history = states(fnn, net())
    assert found["n_averaged"] == len(history)
    for key in ("0.weight", "1.bias", "2.bias"):
        expected = np.mean([state[key].astype(np.float64) for state in history], axis=0)
        np.testing.assert_allclose(found[f"module.{key}"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "decay"), [("ema", DECAY), ("multi-ema", DECAY), ("slow-ema", 0.99), ("no-ema", 0.0)])
def test_exponential_average_is_the_formula(name: str, decay: float) -> None:
    found = averaged(fnn, SETTINGS[name])
    history = states(fnn, net())
    for key in ("0.weight", "1.weight", "2.bias"):
        expected = history[0][key].astype(np.float64)
        for state in history[1:]:
            expected = decay * expected + (1 - decay) * state[key]
        np.testing.assert_allclose(found[f"module.{key}"], expected, rtol=0, atol=1e-6)


def test_buffers_are_the_models_unless_they_are_averaged() -> None:
    history = states(fnn, net())
    copied = averaged(fnn, SETTINGS["default"])
    mean = averaged(fnn, SETTINGS["default"], use_buffers=True)
    assert np.array_equal(copied["module.1.running_var"], history[-1]["1.running_var"])
    assert copied["module.1.num_batches_tracked"] == history[-1]["1.num_batches_tracked"]
    expected = np.mean([state["1.running_var"] for state in history], axis=0)
    np.testing.assert_allclose(mean["module.1.running_var"], expected, rtol=0, atol=1e-6)


# PyTorch's equal average of many divides, which it does not do with the integers among the buffers.
@pytest.mark.parametrize(
    ("name", "use_buffers"),
    [(name, use) for name in SETTINGS for use in (False, True) if (name, use) != ("multi-swa", True)],
)
def test_average_against_torch(name: str, use_buffers: bool) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")

    ours, theirs = (
        averaged(fnn, SETTINGS[name], use_buffers=use_buffers),
        averaged(torch, SETTINGS[name], use_buffers=use_buffers),
    )
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert ours[key].dtype == value.dtype
        np.testing.assert_allclose(ours[key], value, rtol=1e-6, atol=1e-6, err_msg=key)


def test_average_is_a_copy_that_can_be_saved_and_loaded() -> None:
    model = net()
    average = swa_utils.AveragedModel(model)
    average.update_parameters(model)
    before = average.module[0].weight.detach().numpy().copy()
    model[0].weight.detach().fill_(9)
    assert np.array_equal(average.module[0].weight.detach().numpy(), before)
    again = swa_utils.AveragedModel(net())
    again.load_state_dict(average.state_dict())
    assert int(again.n_averaged) == 1
    assert np.array_equal(again(X).detach().numpy(), average(X).detach().numpy())


class TestUpdateBN:
    def test_statistics_are_the_means_over_batches(self) -> None:
        model = nn.Sequential(nn.BatchNorm1d(5, momentum=0.6), nn.Dropout(0.5))
        model[0].running_mean.fill_(1e6)
        swa_utils.update_bn([X[:10], (X[10:12], None), [fnn.tensor(X[12:])]], model)
        parts = [X[:10].astype(np.float64), X[10:12].astype(np.float64), X[12:].astype(np.float64)]
        np.testing.assert_allclose(
            model[0].running_mean.numpy(), np.mean([p.mean(axis=0) for p in parts], axis=0), rtol=1e-6
        )
        np.testing.assert_allclose(
            model[0].running_var.numpy(), np.mean([p.var(axis=0, ddof=1) for p in parts], axis=0), rtol=1e-5
        )
        assert model[0].num_batches_tracked.item() == 3
        assert model[0].momentum == 0.6

    @pytest.mark.parametrize(("batch_size", "sizes"), [(36, [19, 18]), (1024, [37]), (10, [10, 9, 9, 9])])
    def test_arrays_are_cut_into_equal_batches(self, batch_size: int, sizes: list[int]) -> None:
        whole, parts = nn.BatchNorm1d(5), nn.BatchNorm1d(5)
        # float64, as NumPy makes it: the model takes it in its own type.
        swa_utils.update_bn(X.astype(np.float64), whole, batch_size=batch_size)
        swa_utils.update_bn(np.split(X, np.cumsum(sizes)[:-1]), parts)
        assert np.array_equal(whole.running_var.numpy(), parts.running_var.numpy())
        assert np.array_equal(whole.running_mean.numpy(), parts.running_mean.numpy())

    def test_modes_and_momenta_are_put_back_after_an_error_too(self) -> None:
        model = nn.Sequential(nn.BatchNorm1d(5, momentum=0.6), nn.BatchNorm1d(5, momentum=None), nn.Dropout())
        model.eval()
        model[2].train()
        with pytest.raises(ValueError, match="BatchNorm1d"):
            swa_utils.update_bn([X, X[:, :4]], model)
        assert [part.training for part in (model, *model)] == [False, False, False, True]
        assert [part.momentum for part in model[:2]] == [0.6, None]

    def test_without_batch_norm_nothing_runs(self) -> None:
        swa_utils.update_bn(iter([]), nn.Linear(5, 2))
        model = nn.Linear(3, 2)
        swa_utils.update_bn(X, model)  # of the wrong width

    def test_against_torch(self) -> None:
        torch = pytest.importorskip("torch", reason="compares with PyTorch")

        ours, theirs = net(), net(torch)
        theirs.load_state_dict({name: torch.tensor(np.array(v)) for name, v in ours.state_dict().items()})
        batches = np.split(X, [8, 20])
        swa_utils.update_bn(batches, ours)
        torch.optim.swa_utils.update_bn([torch.tensor(batch) for batch in batches], theirs)
        for name, value in theirs.state_dict().items():
            np.testing.assert_allclose(np.array(ours.state_dict()[name]), value.numpy(), rtol=1e-4, err_msg=name)


def rates(library: Any, steps: int = 25, **settings: Any) -> np.ndarray:
    params = [library.zeros(3, requires_grad=True), library.zeros(2, requires_grad=True)]
    groups = [{"params": [param], "lr": lr} for param, lr in zip(params, (0.2, 0.03), strict=True)]
    optimizer = library.optim.SGD(groups, lr=1.0)
    schedule = library.optim.swa_utils.SWALR(optimizer, **settings)
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return np.array(found)


RATES = [
    {"swa_lr": 0.05},
    {"swa_lr": [0.5, 0.001], "anneal_epochs": 7},
    {"swa_lr": [0.5, 0.001], "anneal_epochs": 13, "anneal_strategy": "linear"},
    {"swa_lr": 0.07, "anneal_epochs": 1, "anneal_strategy": "linear"},
    {"swa_lr": 0.07, "anneal_epochs": 0},
]


@pytest.mark.parametrize("settings", RATES)
def test_swalr_is_the_formula(settings: dict[str, Any]) -> None:
    goals = np.broadcast_to(np.array(settings["swa_lr"]), 2)
    length = settings.get("anneal_epochs", 10)
    expected = []
    for t in range(25):
        share = 1.0 if length == 0 else min(t / length, 1.0)
        if settings.get("anneal_strategy", "cos") == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        expected.append(goals * share + np.array([0.2, 0.03]) * (1 - share))
    np.testing.assert_allclose(rates(fnn, **settings), expected, rtol=1e-12)


@pytest.mark.parametrize("settings", RATES)
def test_swalr_against_torch(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")

    np.testing.assert_allclose(rates(fnn, **settings), rates(torch, **settings), rtol=1e-12)


def test_swalr_goes_on_from_its_state() -> None:
    def make() -> tuple[Any, Any]:
        optimizer = optim.SGD([fnn.zeros(3, requires_grad=True)], lr=0.2)
        return optimizer, swa_utils.SWALR(optimizer, 0.01, 9)

    first, schedule = make()
    for _ in range(4):
        first.step()
        schedule.step()
    second, resumed = make()
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    for _ in range(6):
        for one in (first, schedule, second, resumed):
            one.step()
        assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"]
    assert second.param_groups[0]["lr"] == pytest.approx(0.01)


def sgd() -> optim.SGD:
    return optim.SGD([fnn.zeros(3, requires_grad=True)], lr=0.2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: swa_utils.get_ema_avg_fn(1.5), ValueError, "get_ema_avg_fn: expected decay in [0, 1]; got 1.5"),
        (lambda: swa_utils.get_ema_avg_fn("1"), TypeError, "get_ema_avg_fn: expected decay to be a number; got '1'"),
        (lambda: swa_utils.get_ema_multi_avg_fn(-0.1), ValueError, "get_ema_multi_avg_fn: expected decay in [0, 1]; got -0.1"),
        (lambda: swa_utils.get_ema_multi_avg_fn(math.nan), ValueError, "get_ema_multi_avg_fn: expected decay in [0, 1]; got nan"),
        (lambda: swa_utils.AveragedModel(3), TypeError, "AveragedModel: expected model to be an nn.Module; got int"),
        (lambda: swa_utils.AveragedModel(net(), avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn()), ValueError, "AveragedModel: expected avg_fn or multi_avg_fn; got both"),
        (lambda: swa_utils.AveragedModel(net(), "cuda"), ValueError, "AveragedModel: expected device 'cpu', the only one fastnn has; got 'cuda'"),
        (lambda: swa_utils.AveragedModel(nn.Linear(2, 3)).update_parameters(nn.Linear(3, 3)), ValueError, "AveragedModel.update_parameters: expected parameters and buffers of shapes [(3, 2), (3,)]; got [(3, 3), (3,)]"),
        (lambda: swa_utils.update_bn(3, net()), TypeError, "update_bn: expected inputs or an iterable of batches; got int"),
        (lambda: swa_utils.update_bn(X[:0], net()), ValueError, "update_bn: expected at least one row; got shape (0, 5)"),
        (lambda: swa_utils.update_bn(X, net(), batch_size=0), ValueError, "update_bn: expected batch_size of at least 1; got 0"),
        (lambda: swa_utils.update_bn(X, net(), "mps"), ValueError, "update_bn: expected device 'cpu', the only one fastnn has; got 'mps'"),
        (lambda: swa_utils.SWALR(3, 0.1), TypeError, "SWALR: expected optimizer to be one of fastnn's; got int"),
        (lambda: swa_utils.SWALR(sgd(), [0.1, 0.2]), ValueError, "SWALR: expected swa_lr to have a value for each of 1 groups; got 2"),
        (lambda: swa_utils.SWALR(sgd(), 0.1, 1.5), TypeError, "SWALR: expected anneal_epochs to be an int; got 1.5"),
        (lambda: swa_utils.SWALR(sgd(), 0.1, -1), ValueError, "SWALR: expected anneal_epochs of at least 0; got -1"),
        (lambda: swa_utils.SWALR(sgd(), 0.1, 3, "step"), ValueError, "SWALR: expected anneal_strategy to be 'cos' or 'linear'; got 'step'"),
    ],
)  # fmt: skip
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        make()
    assert str(raised.value) == message
