"""One parameter under several names: each tensor once, all of its names right."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import callbacks, nn, optim
from fastnn.nn import penalties
from fastnn.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(21, 5)), RNG.normal(size=(21, 5))
NAMES = ["enc.weight", "dec.weight"]
SHARED = {"enc.weight": "dec.weight", "mid.weight": "again.weight", "mid.bias": "again.bias"}


class Tied(nn.Module):
    """Encoder and decoder share a weight, ``mid`` is there twice as a module, and a buffer has two names."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.enc = nn.Linear(5, 5)
        self.mid = nn.Linear(5, 5)
        self.dec = nn.Linear(5, 5)
        self.again = self.mid
        shift = fnn.ones(5) * 0.1
        self.register_buffer("shift", shift)
        self.register_buffer("shift_again", shift)
        if tied:
            self.dec.weight = self.enc.weight

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return self.dec(self.again(self.mid(self.enc(x).tanh())) + self.shift_again)


def net() -> Tied:
    fnn.manual_seed(4)
    return Tied().double()


def check_tied(model: Any) -> None:
    assert model.enc.weight is model.dec.weight
    assert model.mid is model.again
    assert model.shift is model.shift_again


def check_equal(state: dict[str, Any]) -> None:
    for first, second in SHARED.items():
        np.testing.assert_array_equal(np.asarray(state[first]), np.asarray(state[second]))


def arrays(state: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in state.items()}


def trained(epochs: int = 3, **settings: Any) -> fnn.Trainer:
    """A trainer after a fit that takes the weights elsewhere from where they were."""
    fit = {key: settings.pop(key) for key in ("callbacks", "validation_data") if key in settings}
    model = net()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = fnn.Trainer(model, nn.MSELoss(), optimizer, **settings)
    fnn.manual_seed(6)
    trainer.fit(X, Y, batch_size=8, epochs=epochs, verbose=False, **fit)
    return trainer


class Weights(callbacks.Callback):
    """The shared weight after every update."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def on_batch_end(self, batch: int, logs: Any) -> None:
        self.seen.append(np.array(self.trainer.model.get_parameter("enc.weight").detach()))


def ema(decay: float) -> np.ndarray:
    recorded = Weights()
    trained(callbacks=[recorded])
    average = recorded.seen[0]
    for weight in recorded.seen[1:]:
        average = decay * average + (1 - decay) * weight
    return average


def test_copies_and_conversions_stay_tied() -> None:
    model = net()
    check_tied(model)
    for other in (copy.deepcopy(model), copy.deepcopy(model).float(), model.to(fnn.float64)):
        check_tied(other)
    copied = copy.deepcopy(model)
    assert copied.enc.weight is not model.enc.weight


def test_each_is_counted_once_and_named_by_all_its_names() -> None:
    model = net()
    once = [name for name, _ in model.named_parameters()]
    assert once == ["enc.weight", "enc.bias", "mid.weight", "mid.bias", "dec.bias"]
    assert sum(p.numel() for p in model.parameters()) == 2 * 25 + 3 * 5
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert sorted(every) == sorted([*once, *SHARED.values()])
    assert set(SHARED.values()) < set(model.state_dict())
    assert [name for name, _ in model.named_buffers()] == ["shift"]
    assert nn.utils.parameters_to_vector(model.parameters()).shape == (65,)


def test_ema_of_a_step_has_all_names() -> None:
    expected = ema(0.7)
    trainer = trained(ema=0.7)
    averages, state = trainer.step.averages(), trainer.step.averaged_state_dict()
    assert sorted(averages) == sorted(name for name, _ in trainer.model.named_parameters(remove_duplicate=False))
    for name in NAMES:
        np.testing.assert_allclose(np.asarray(averages[name]), expected, rtol=1e-12)
        np.testing.assert_allclose(np.asarray(state[name]), expected, rtol=1e-12)
    check_equal(state)
    # A checkpoint holds each once, and brings all back.
    kept = trainer.step.state_dict()
    assert sorted(kept["averages"]) == sorted(name for name, _ in trainer.model.named_parameters())
    other = trained(1, ema=0.7)
    other.step.load_state_dict(copy.deepcopy(kept))
    np.testing.assert_array_equal(*(np.asarray(t.step.averages()["dec.weight"]) for t in (trainer, other)))


@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("kind", ["EMA", "SWA", "PolyakAveraging"])
def test_averaging_callbacks(kind: str, apply: bool) -> None:
    recorded = Weights()
    trained(callbacks=[recorded])
    made = {
        "EMA": lambda: callbacks.EMA(0.7, apply=apply),
        "SWA": lambda: callbacks.SWA(1, apply=apply),
        "PolyakAveraging": lambda: callbacks.PolyakAveraging(1, apply=apply),
    }[kind]()
    expected = {
        "EMA": ema(0.7),
        "SWA": np.mean(recorded.seen[5::3], axis=0),
        "PolyakAveraging": np.mean(recorded.seen[3:], axis=0),
    }[kind]
    trainer = trained(callbacks=[made])
    averaged: Any = made.model
    for model in [averaged, trainer.model] if apply else [averaged]:
        check_tied(model)
        check_equal(model.state_dict())
        np.testing.assert_allclose(np.asarray(model.dec.weight.detach()), expected, rtol=1e-10)


def test_averaged_model_takes_each_once() -> None:
    model = net()
    averaged: Any = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    averaged.update_parameters(model)
    with fnn.no_grad():
        model.enc.weight.add_(1.0)
    averaged.update_parameters(model)
    check_tied(averaged.module)
    np.testing.assert_allclose(
        np.asarray(averaged.module.dec.weight.detach()), np.asarray(model.enc.weight.detach()) - 0.5, rtol=1e-12
    )


@pytest.mark.parametrize("penalty", [penalties.L2(0.3), penalties.L1(0.3), penalties.Lp(0.3, 1.5)])
def test_a_penalty_counts_each_once(penalty: nn.Module) -> None:
    model = net()
    expected = sum(float(penalty(p).item()) for p in (model.enc.weight, model.mid.weight))
    assert penalty(model).item() == pytest.approx(expected, rel=1e-12)
    for name in NAMES:
        one = penalties.PerLayer({name: penalty})
        assert one(model).item() == pytest.approx(penalty(model.enc.weight).item(), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_max_norm_by_either_name(name: str) -> None:
    trainer = trained(max_norm={name: 0.3})
    norms = np.linalg.norm(np.asarray(trainer.model.get_parameter("dec.weight").detach()), axis=1)
    assert (norms <= 0.3 + 1e-12).all()


@pytest.mark.parametrize("settings", [{}, {"clip_grad_norm": 0.05}, {"accumulate": 3}, {"penalty": penalties.L2(0.1)}])
def test_planned_steps_are_eager_ones(settings: dict[str, Any]) -> None:
    kept = []
    for hooked in (False, True):
        model = net()
        if hooked:
            model.mid.register_forward_hook(lambda *_: None)
        step = fnn.TrainStep(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), **settings)
        losses = [step(X, Y) for _ in range(5)]
        assert (step.reason is None) != hooked
        kept.append((losses, [p.detach().numpy().tobytes() for p in model.parameters()]))
    assert kept[0] == kept[1]


def test_the_best_weights_come_back_under_all_names(tmp_path: Path) -> None:
    stop = callbacks.EarlyStopping(patience=50, restore_best_weights=True)
    check = callbacks.ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True)
    # The validation wants the opposite, so the first epoch is the best.
    trainer = trained(6, callbacks=[stop, check], validation_data=(X, -Y))
    assert stop.best_epoch is not None
    saved = fnn.load(tmp_path / "best.safetensors")
    check_equal(saved)
    check_tied(trainer.model)
    for name, value in arrays(trainer.model.state_dict()).items():
        np.testing.assert_array_equal(value, np.asarray(saved[name]))
    loaded = net()
    loaded.load_state_dict(saved)
    check_tied(loaded)
    np.testing.assert_array_equal(np.asarray(loaded(X).detach()), np.asarray(trainer.model(X).detach()))


def test_two_steps_of_any_kind_move_the_shared_weight_once() -> None:
    """Every optimizer that holds each parameter once: the gradient is the sum over both uses."""
    for make in (
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SAM(optim.SGD(p, lr=0.1), rho=1e-9),
        lambda p: optim.LBFGS(p, lr=0.1, max_iter=1),
    ):
        model = net()
        before = np.array(model.enc.weight.detach())
        loss = nn.functional.mse_loss(model(X), Y)
        loss.backward()
        gradient = np.array(model.enc.weight.grad)
        scale = 0.1
        optimizer: Any = make(model.parameters())
        if isinstance(optimizer, optim.LBFGS):
            scale = 0.1 * min(1.0, 1.0 / sum(float(p.grad.abs().sum().item()) for p in model.parameters()))

        def closure(model: Tied = model, optimizer: Any = optimizer) -> fnn.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(X), Y)
            loss.backward()
            return loss

        optimizer.step(closure)
        np.testing.assert_allclose(np.asarray(model.dec.weight.detach()), before - scale * gradient, rtol=1e-6)


@pytest.mark.parametrize("twice", ["in a group", "in two groups"])
def test_an_optimizer_refuses_it_twice(twice: str) -> None:
    model = net()
    first, second = [model.enc.weight], [model.dec.weight]
    groups: Any = [*first, *second] if twice == "in a group" else [{"params": first}, {"params": second}]
    with pytest.raises(ValueError, match=r"share no memory|duplicate parameters|more than one parameter group"):
        optim.SGD(groups, lr=0.1)


def test_layerwise_groups_have_each_once() -> None:
    model = net()
    groups = optim.layerwise_lr(model, 0.1, 0.5)
    params = [p for group in groups for p in group["params"]]
    assert len(params) == len({id(p) for p in params}) == len(list(model.parameters()))
    optim.SGD(groups, lr=0.1)


def test_gradual_unfreezing_lets_what_is_shared_learn() -> None:
    model = net()
    trainer = fnn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
    before = arrays(model.state_dict())
    unfreezing = callbacks.GradualUnfreezing(1, [model.enc, model.mid, model.dec])
    trainer.fit(X, Y, epochs=1, callbacks=[unfreezing], verbose=False)
    after = arrays(model.state_dict())
    check_equal(after)
    assert (after["enc.weight"] != before["enc.weight"]).any()
    np.testing.assert_array_equal(after["mid.weight"], before["mid.weight"])


def test_members_of_an_ensemble_share_nothing_that_learns() -> None:
    trunk = nn.Linear(5, 5)
    make = lambda: nn.Sequential(trunk, nn.Linear(5, 2))  # noqa: E731
    message = (
        r"^DeepEnsemble: expected make_model to return models with weights of their own; got a parameter of shape "
        r"\(5, 5\) that models 0 and 1 share, and that is not frozen$"
    )
    with pytest.raises(ValueError, match=message):
        fnn.ensemble.DeepEnsemble(make, 2, nn.MSELoss(), optim.SGD)
    fnn.freeze(trunk)
    fnn.ensemble.DeepEnsemble(make, 2, nn.MSELoss(), optim.SGD)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_gradients_are_clipped_once(norm_type: float) -> None:
    model = net()
    nn.functional.mse_loss(model(X), Y).backward()
    once = {id(p): np.array(p.grad) for p in model.parameters()}
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in once.values()]), norm_type)
    every = [p for _, p in model.named_parameters(remove_duplicate=False)]
    assert nn.utils.clip_grad_norm_(every, 0.5 * norm, norm_type).item() == pytest.approx(norm, rel=1e-6)
    for p in model.parameters():
        np.testing.assert_allclose(np.asarray(p.grad), 0.5 * once[id(p)], rtol=1e-5)


def test_noise_is_added_once() -> None:
    noisy = []
    for every in (False, True):
        model = net()
        nn.functional.mse_loss(model(X), Y).backward()
        fnn.manual_seed(3)
        nn.utils.add_grad_noise_([p for _, p in model.named_parameters(remove_duplicate=not every)], 0.1)
        noisy.append([np.array(p.grad) for p in model.parameters()])
    for mine, expected in zip(*noisy, strict=True):
        np.testing.assert_array_equal(mine, expected)
