"""Penalties, clipping, noise, max-norm and averages around the update: the reference, the bits, resuming, messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.reference import update_options as reference

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import penalties

# Widths that are no multiple of the vectors.
WIDTH, HIDDEN, OUT, BATCH = 13, 37, 5, 32
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4 * BATCH, WIDTH))
Y = RNG.normal(size=(4 * BATCH, OUT))
LABELS = RNG.integers(0, OUT, 4 * BATCH)
STEPS = 9

# Every one alone, and all at once; strong enough to show at every step.
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "L1": {"penalty": penalties.L1(0.02)},
    "L2": {"penalty": penalties.L2(0.03)},
    "elastic": {"penalty": penalties.ElasticNet(0.02, 0.03)},
    "Lp": {"penalty": penalties.Lp(0.02, 1.3)},
    "Lp by roots": {"penalty": {"0.*": penalties.Lp(0.002, 0.5), "*": penalties.Lp(0.02, 2.5)}},
    "biases too": {"penalty": penalties.L2(0.03, include_bias=True)},
    "per layer": {"penalty": {"0.*": penalties.L1(0.02), "*": penalties.L2(0.03)}},
    "value": {"clip_grad_value": 0.004},
    "norm": {"clip_grad_norm": 0.1},
    "noise": {"grad_noise": (0.3, 0.7)},
    "max-norm": {"max_norm": 0.4},
    "max-norm per layer": {"max_norm": {"0.*": 0.4, "*.weight": 0.7}},
    "ema": {"ema": 0.8},
    "fast ema": {"ema": 0.3},
    "all but norm": {
        "penalty": penalties.L1(0.02),
        "clip_grad_value": 0.004,
        "grad_noise": 0.01,
        "max_norm": 0.4,
        "ema": 0.8,
    },
    "all": {
        "penalty": penalties.L1(0.02),
        "clip_grad_value": 0.004,
        "clip_grad_norm": 0.05,
        "grad_noise": 0.01,
        "max_norm": 0.4,
        "ema": 0.8,
    },
}
EACH = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


def eagerly(step: fnn.TrainStep) -> Callable[[np.ndarray, np.ndarray], float]:
    """The step without its plan."""
    return lambda x, y: step._run_eagerly(x, y, None)


def rows(step: int) -> slice:
    return slice(step % 4 * BATCH, step % 4 * BATCH + BATCH)


# The reference


def small_net() -> nn.Sequential:
    fnn.manual_seed(3)
    return nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUT)).double()


def values(tensors: Any) -> list[np.ndarray]:
    return [t.detach().numpy().copy() for t in tensors]


def expected(settings: dict[str, Any], lr: float = 0.1) -> tuple[list[float], list[np.ndarray], list[np.ndarray]]:
    """Losses, parameters and averages after plain gradient descent."""
    params = values(small_net().parameters())
    averages = [np.zeros_like(p) for p in params]
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    losses = []
    for t in range(STEPS):
        loss, grads = reference.net_gradients(params, X[rows(t)], Y[rows(t)])
        for i, (name, param) in enumerate(zip(names, params, strict=True)):
            penalty = settings.get("penalty")
            if isinstance(penalty, dict):
                penalty = penalty["0.*"] if name.startswith("0.") else penalty["*"]
            if penalty is None or (name.endswith("bias") and not penalty.include_bias):
                continue
            kind = {k: v for k, v in vars(penalty).items() if k in {"l1", "l2", "strength", "p"}}
            if isinstance(penalty, penalties.L1 | penalties.L2):
                kind = {type(penalty).__name__.lower(): penalty.strength}
            loss += reference.penalty(param, **kind)
            grads[i] = grads[i] + reference.penalty_grad(param, **kind)
        losses.append(loss)
        if "clip_grad_value" in settings:
            grads = reference.clip_value(grads, settings["clip_grad_value"])
        if "clip_grad_norm" in settings:
            grads = reference.clip_norm(grads, settings["clip_grad_norm"])
        params = [p - lr * g for p, g in zip(params, grads, strict=True)]
        limit = settings.get("max_norm")
        for i in (0, 2):
            if limit is not None:
                of_this = limit if isinstance(limit, float) else limit["0.*" if i == 0 else "*.weight"]
                params[i] = reference.max_norm(params[i], of_this)
        decay = settings.get("ema", 0.0) if t else 0.0
        averages = [decay * a + (1 - decay) * p for a, p in zip(averages, params, strict=True)]
    return losses, params, averages


@EACH
@pytest.mark.parametrize("planned", [True, False], ids=["planned", "eager"])
def test_trajectory_is_the_reference(settings: dict[str, Any], planned: bool) -> None:
    # Noise has a test of its own.
    settings = {name: value for name, value in settings.items() if name != "grad_noise"}
    model = small_net()
    step = fnn.TrainStep(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), **settings)
    take = step if planned else eagerly(step)
    losses = [take(X[rows(t)], Y[rows(t)]) for t in range(STEPS)]
    assert step.reason is None
    expected_losses, params, averages = expected(settings)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-10)
    for found, wanted in zip(values(model.parameters()), params, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    if "ema" in settings:
        for found, wanted in zip(values(step.averages().values()), averages, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_settings_of_the_table_act() -> None:
    # A reference that leaves out what we leave out would not notice.
    plain = expected({})[1]
    for name, settings in SETTINGS.items():
        if name not in {"none", "noise", "ema", "fast ema"}:
            changed = [not np.allclose(a, b, atol=1e-6) for a, b in zip(expected(settings)[1], plain, strict=True)]
            assert changed[0], name
            assert changed[2], name


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "eager"])
def test_noise_has_the_papers_variance_and_no_two_alike(planned: bool) -> None:
    eta, gamma = 0.3, 0.7
    fnn.manual_seed(2)
    model = nn.Linear(251, 201)
    # A loss without a gradient to speak of: what is left is noise.
    step = fnn.TrainStep(
        model, lambda out, y: (out * y).sum(), optim.SGD(model.parameters(), lr=1.0), grad_noise=(eta, gamma)
    )
    x, y = np.ones((2, 251), np.float32), np.zeros((2, 201), np.float32)
    draws = []
    for t in range(5):
        before = values(model.parameters())
        (step if planned else eagerly(step))(x, y)
        after = values(model.parameters())
        z = np.concatenate([(b - a).ravel() for a, b in zip(after, before, strict=True)]).astype(float)
        z /= reference.noise_std(eta, gamma, t)
        n = z.size
        assert abs(z.mean()) < 5 / np.sqrt(n)
        assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / n)
        assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
        draws.append(z)
    # Neither from step to step, nor within a step: the weight's rows, and the bias.
    assert np.abs(np.corrcoef(draws) - np.eye(5)).max() < 5 / np.sqrt(n)
    within = draws[0][: 200 * 251].reshape(200, 251)
    assert np.abs(np.corrcoef(within) - np.eye(200)).max() < 6 / np.sqrt(251)


# Bits


def deep_net() -> nn.Sequential:
    fnn.manual_seed(11)
    return nn.Sequential(
        nn.Linear(WIDTH, HIDDEN),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(HIDDEN, 211),
        nn.Tanh(),
        nn.Linear(211, OUT),
    )


def adam(model: nn.Module) -> optim.Optimizer:
    return optim.Adam(model.parameters(), lr=0.01, weight_decay=0.01)


def bits(step: fnn.TrainStep) -> dict[str, bytes]:
    averages = step.state_dict()["averages"]
    model = step.model.state_dict()
    return {name: value.numpy().tobytes() for name, value in [*model.items(), *averages.items()]}


def run(settings: dict[str, Any], how: str) -> tuple[dict[str, bytes], list[float]]:
    x = X.astype(np.float32)
    # The patterns are of the small net.
    settings = {k: v for k, v in settings.items() if not (k == "max_norm" and isinstance(v, dict))}
    model = deep_net()
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), adam(model), **settings)
    if how == "eager":
        losses = [eagerly(step)(x[rows(t)], LABELS[rows(t)]) for t in range(STEPS)]
        return bits(step), losses
    if how == "planned":
        losses = [step(x[rows(t)], LABELS[rows(t)]) for t in range(STEPS)]
    else:
        order = np.concatenate([np.arange(4 * BATCH)] * 3)[: STEPS * BATCH]
        losses = step.run_batches(x, LABELS, order, 0, STEPS, BATCH).tolist()
    assert step.reason is None
    return bits(step), losses


@EACH
def test_planned_and_run_batches_have_the_bits_of_the_eager_step(settings: dict[str, Any]) -> None:
    eager = run(settings, "eager")
    assert run(settings, "planned") == eager
    assert run(settings, "batches") == eager


@pytest.mark.parametrize("name", ["per layer", "norm", "noise", "all but norm", "all"])
def test_threads_change_no_bit(name: str) -> None:
    before = fnn.get_num_threads()
    try:
        seen = []
        for threads in (1, 2, 3, 7):
            fnn.set_num_threads(threads)
            seen += [run(SETTINGS[name], how) for how in ("planned", "batches")]
    finally:
        fnn.set_num_threads(before)
    assert all(result == seen[0] for result in seen)


def test_a_penalty_and_the_norms_are_fused() -> None:
    model = small_net()
    step = fnn.TrainStep(model, nn.MSELoss(), optim.SGD(model.parameters()), penalty=penalties.L1(0.1))
    step(X, Y)
    plan = step.describe()
    assert plan.count("+ penalty + update") == 2
    assert "op penalty" not in plan
    assert plan.count("bias + tanh + penalty") == 1
    # For the decision whether to update, and with the gradients' sums.
    assert plan.count("penalty of 2 weights") == 2
    assert plan.rstrip().endswith("penalty of 2 weights")
    step = fnn.TrainStep(
        model, nn.MSELoss(), optim.SGD(model.parameters()), penalty=penalties.L1(0.1), clip_grad_norm=1.0
    )
    step(X, Y)
    assert step.describe().count("+ penalty + norms") == 2


def test_a_penalty_of_what_the_loss_multiplies_is_summed_up_at_once() -> None:
    def losses(planned: bool) -> tuple[list[float], dict[str, bytes]]:
        model = deep_net()
        half = lambda model: 0.5 * penalties.Lp(0.02, 1.3)(model)  # noqa: E731
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), adam(model), penalty=half)
        take = step if planned else eagerly(step)
        found = [take(X.astype(np.float32)[rows(t)], LABELS[rows(t)]) for t in range(STEPS)]
        if planned:
            assert not step.describe().rstrip().endswith("weights")
        return found, bits(step)

    assert losses(planned=True) == losses(planned=False)


# None is small; the second row is infinite to the power of 4; the third makes nothing but negative infinity before the ReLU.
LARGE = [17.0, 1e20, -np.inf]


@pytest.mark.parametrize("large", LARGE)
def test_large_weights_count_before_the_update(large: float) -> None:
    def run(planned: bool) -> tuple[bytes, dict[str, bytes]]:
        fnn.manual_seed(3)
        model = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUT))
        model[0].weight.detach().numpy()[5, 7] = large
        model[2].weight.detach().numpy()[:, 5] = 0
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), adam(model), penalty=penalties.Lp(0.02, 4.0))
        step.stop_on_nonfinite = True
        x = np.abs(X).astype(np.float32)
        take = step if planned else eagerly(step)
        before = bits(step)
        found = [take(x[rows(t)], LABELS[rows(t)]) for t in range(4)]
        assert (bits(step) == before) == (abs(large) > 1e9)
        assert np.isfinite(found).all() == (abs(large) < 1e9)
        return np.array(found).tobytes(), bits(step)

    assert run(planned=True) == run(planned=False)


def test_a_weight_that_is_used_twice_is_penalized_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: fnn.Tensor) -> fnn.Tensor:
            return self.layer(self.layer(x).tanh())

    def losses(planned: bool) -> tuple[list[float], bytes]:
        fnn.manual_seed(1)
        model = Tied()
        step = fnn.TrainStep(
            model,
            nn.MSELoss(),
            adam(model),
            penalty=lambda model: penalties.L1(0.1)(model) + penalties.L2(0.2)(model),
            clip_grad_norm=0.5,
        )
        x = X.astype(np.float32)
        found = [(step if planned else eagerly(step))(x, x) for _ in range(STEPS)]
        return found, model.layer.weight.detach().numpy().tobytes()

    assert losses(planned=True) == losses(planned=False)


def test_a_step_that_is_stopped_changes_nothing() -> None:
    def run(planned: bool) -> tuple[dict[str, bytes], int, tuple[int, int]]:
        model = deep_net()
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), adam(model), **SETTINGS["all"])
        step.stop_on_nonfinite = True
        x = X.astype(np.float32)
        take = step if planned else eagerly(step)
        for t in range(3):
            take(x[rows(t)], LABELS[rows(t)])
        before = bits(step)
        assert np.isnan(take(np.full_like(x[:BATCH], np.nan), LABELS[:BATCH]))
        assert bits(step) == before
        take(x[:BATCH], LABELS[:BATCH])
        return bits(step), step.state_dict()["updates"], fnn.get_rng_state()

    assert run(planned=True) == run(planned=False)
    assert run(planned=True)[1] == 4


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "eager"])
def test_resuming_gives_the_same_bits(planned: bool) -> None:
    x = X.astype(np.float32)

    def fresh() -> fnn.TrainStep:
        model = deep_net()
        return fnn.TrainStep(model, nn.CrossEntropyLoss(), adam(model), **SETTINGS["all"])

    def go(step: fnn.TrainStep, steps: range) -> None:
        for t in steps:
            (step if planned else eagerly(step))(x[rows(t)], LABELS[rows(t)])

    whole = fresh()
    go(whole, range(STEPS))
    first = fresh()
    go(first, range(4))
    generator = fnn.get_rng_state()
    second = fresh()
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    fnn.set_rng_state(generator)
    go(second, range(4, STEPS))
    assert bits(second) == bits(whole)
    assert second.state_dict()["updates"] == STEPS


# PyTorch


def test_clipping_max_norm_and_average_are_torchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = small_net()
    theirs = torch.nn.Sequential(torch.nn.Linear(WIDTH, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, OUT)).double()
    with torch.no_grad():
        for param, value in zip(theirs.parameters(), values(model.parameters()), strict=True):
            param.copy_(torch.from_numpy(value))
    averaged = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    step = fnn.TrainStep(
        model,
        nn.MSELoss(),
        optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        clip_grad_value=0.004,
        clip_grad_norm=0.05,
        max_norm=0.4,
        ema=0.8,
    )
    for t in range(STEPS):
        step(X[rows(t)], Y[rows(t)])
        loss = torch.nn.functional.mse_loss(theirs(torch.from_numpy(X[rows(t)])), torch.from_numpy(Y[rows(t)]))
        sgd.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(theirs.parameters(), 0.004)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        sgd.step()
        with torch.no_grad():
            for param in theirs.parameters():
                if param.ndim == 2:
                    param.copy_(torch.renorm(param, 2, 0, 0.4))
        averaged.update_parameters(theirs)
    for found, wanted in zip(model.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=1e-9, atol=1e-12)
    for found, wanted in zip(step.averages().values(), averaged.module.parameters(), strict=True):
        np.testing.assert_allclose(found.numpy(), wanted.detach().numpy(), rtol=1e-9, atol=1e-12)


# Python


def test_the_trainer_takes_them_and_reports_the_penalty() -> None:
    model = small_net()
    trainer = fnn.Trainer(
        model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), penalty=penalties.L2(0.03), ema=0.8, max_norm=0.4
    )
    history = trainer.fit(X, Y, epochs=1, batch_size=BATCH, shuffle=False, verbose=False)
    losses, params, averages = expected({"penalty": penalties.L2(0.03), "ema": 0.8, "max_norm": 0.4})
    del params, averages
    assert trainer.step.reason is None
    assert history["loss"][0] == pytest.approx(np.mean(losses[:4]), rel=1e-9)
    # An average model, to evaluate.
    other = small_net()
    other.load_state_dict(trainer.step.averaged_state_dict())
    assert values(other.parameters())[0].tobytes() == trainer.step.averages()["0.weight"].numpy().tobytes()
    assert not np.allclose(values(other.parameters())[0], values(model.parameters())[0])


def test_a_new_strength_is_noticed() -> None:
    model = small_net()
    penalty = penalties.L2(0.5)
    step = fnn.TrainStep(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.0), penalty=penalty)
    first = step(X, Y)
    penalty.strength = 0.0
    assert first - step(X, Y) == pytest.approx(
        0.5 * sum((w**2).sum() for w in values(model.parameters()) if w.ndim == 2)
    )


def test_a_model_that_becomes_double_keeps_its_averages() -> None:
    fnn.manual_seed(3)
    model = nn.Linear(WIDTH, OUT)
    step = fnn.TrainStep(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), ema=0.5)
    x, y = X.astype(np.float32), Y.astype(np.float32)
    for _ in range(3):
        step(x, y)
    before = values(step.averages().values())
    model.double()
    step(X, Y)
    for old, new, param in zip(before, step.averages().values(), values(model.parameters()), strict=True):
        assert new.dtype == fnn.float64
        np.testing.assert_allclose(new.numpy(), (old + param) / 2, rtol=1e-6)


def make(**settings: Any) -> fnn.TrainStep:
    model = small_net()
    return fnn.TrainStep(model, nn.MSELoss(), optim.SGD(model.parameters()), **settings)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"clip_grad_norm": 0}, ValueError, "expected clip_grad_norm above 0; got 0"),
        ({"clip_grad_norm": float("nan")}, ValueError, "expected clip_grad_norm above 0; got nan"),
        ({"clip_grad_value": -1.5}, ValueError, "expected clip_grad_value above 0; got -1.5"),
        ({"clip_grad_value": "1"}, TypeError, "expected clip_grad_value to be a number; got '1'"),
        ({"grad_noise": -1}, ValueError, "expected grad_noise of at least 0, and finite; got -1"),
        ({"grad_noise": (-1, 1)}, ValueError, "expected the variance of grad_noise of at least 0, and finite; got -1"),
        (
            {"grad_noise": (1, float("nan"))},
            ValueError,
            "expected the decay of grad_noise of at least 0, and finite; got nan",
        ),
        ({"grad_noise": (1,)}, ValueError, "expected grad_noise to be a variance and its decay; got (1,)"),
        ({"max_norm": 0.0}, ValueError, "expected max_norm above 0; got 0.0"),
        ({"max_norm": {"0.*": -2}}, ValueError, "expected max_norm above 0; got -2"),
        (
            {"max_norm": {"7.*": 2}},
            ValueError,
            "expected every pattern of max_norm to match a parameter's name; '7.*' matches none",
        ),
        ({"ema": 1}, ValueError, "expected ema in [0, 1); got 1"),
        ({"ema": -0.1}, ValueError, "expected ema in [0, 1); got -0.1"),
        ({"ema": float("nan")}, ValueError, "expected ema in [0, 1); got nan"),
        ({"penalty": 0.1}, TypeError, "expected penalty to be a penalty or a mapping of them; got float"),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        make(**settings)
    assert str(caught.value) == f"TrainStep: {message}"


def test_averages_need_a_decay() -> None:
    with pytest.raises(ValueError, match=r"^TrainStep: expected ema to be set; got None$"):
        make().averages()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("updates"), "expected the keys 'updates' and 'averages'; got ['averages']"),
        (lambda s: s.update(updates=-1), "expected updates of at least 0; got -1"),
        (
            lambda s: s["averages"].pop("0.bias"),
            "expected averages of ['0.bias', '0.weight', '2.bias', '2.weight']; got ['0.weight', '2.bias', '2.weight']",
        ),
        (
            lambda s: s["averages"].update({"0.bias": fnn.zeros(3)}),
            "expected an average of shape (37,) for '0.bias'; got (3,)",
        ),
    ],
)
def test_bad_states(change: Any, message: str) -> None:
    step = make(ema=0.5)
    step(X, Y)
    state = {"updates": 1, "averages": dict(step.state_dict()["averages"])}
    change(state)
    before = bits(step)
    with pytest.raises(ValueError, match="load_state_dict") as caught:
        step.load_state_dict(state)
    assert str(caught.value) == f"TrainStep.load_state_dict: {message}"
    assert bits(step) == before
