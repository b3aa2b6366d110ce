"""Every optimizer by one table: its trajectory, resuming, bad settings, groups, arrays."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optim
from tests.reference import optim as reference


@dataclass(frozen=True)
class Case:
    """One setting of one optimizer; ``bad`` are a setting and its whole message."""

    name: str
    settings: dict[str, Any]


# Far from the defaults, so that a setting left unread shows.
CASES = [
    Case("SGD", {"lr": 0.1}),
    Case("SGD", {"lr": 0.05, "momentum": 0.8}),
    Case("SGD", {"lr": 0.05, "momentum": 0.7, "dampening": 0.3, "weight_decay": 0.1, "maximize": True}),
    Case("SGD", {"lr": 0.05, "momentum": 0.6, "nesterov": True, "weight_decay": 0.2}),
    Case("Adafactor", {}),
    Case("Adafactor", {"lr": 0.3, "beta2_decay": -0.5, "eps": (0.7, 0.9), "d": 1.3, "weight_decay": 0.2}),
    Case("Adafactor", {"lr": 0.05, "beta2_decay": -0.3, "eps": (None, 3.0), "maximize": True}),
    Case("Adagrad", {}),
    Case("Adagrad", {"lr": 0.2, "lr_decay": 0.1, "weight_decay": 0.3, "initial_accumulator_value": 0.5, "eps": 1e-2}),
    Case("Adadelta", {}),
    Case("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.2, "maximize": True}),
    Case("RMSprop", {}),
    Case("RMSprop", {"lr": 0.03, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "centered": True}),
    Case("Adam", {}),
    Case("Adam", {"lr": 0.03, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.3}),
    Case("Adam", {"lr": 0.03, "betas": (0.7, 0.6), "amsgrad": True, "maximize": True}),
    Case("Adam", {"lr": 0.03, "betas": (0.6, 0.8), "eps": 1e-2, "weight_decay": 0.4, "decoupled_weight_decay": True}),
    Case("AdamW", {}),
    Case("AdamW", {"lr": 0.03, "betas": (0.6, 0.8), "eps": 1e-2, "weight_decay": 0.4, "amsgrad": True}),
    Case("Adamax", {}),
    Case("Adamax", {"lr": 0.03, "betas": (0.6, 0.8), "eps": 0.5, "weight_decay": 0.4}),
    Case("Adamax", {"lr": 0.03, "betas": (0.4, 0.3), "maximize": True}),
    Case("NAdam", {}),
    Case("NAdam", {"lr": 0.03, "betas": (0.6, 0.8), "eps": 0.5, "weight_decay": 0.4, "momentum_decay": 0.3}),
    Case("NAdam", {"lr": 0.03, "weight_decay": 0.4, "decoupled_weight_decay": True, "maximize": True}),
    Case("RAdam", {}),
    # The first divides from step 7 on, the second never.
    Case("RAdam", {"lr": 0.03, "betas": (0.6, 0.93), "eps": 0.5, "weight_decay": 0.4}),
    Case("RAdam", {"lr": 0.03, "betas": (0.6, 0.7), "eps": 0.5, "weight_decay": 0.4, "maximize": True}),
    Case("RAdam", {"lr": 0.03, "weight_decay": 0.4, "decoupled_weight_decay": True, "maximize": True}),
    Case("Rprop", {}),
    Case("Rprop", {"lr": 0.1, "etas": (0.4, 1.7), "step_sizes": (0.03, 0.6)}),
    Case("Rprop", {"lr": 0.1, "etas": (0.8, 1.1), "maximize": True}),
    Case("ASGD", {}),
    Case("ASGD", {"lr": 0.1, "lambd": 0.3, "alpha": 0.6, "t0": 4, "weight_decay": 0.2}),
    Case("ASGD", {"lr": 0.1, "lambd": 0.02, "alpha": 1.5, "t0": 0, "maximize": True}),
    Case("Lion", {}),
    Case("Lion", {"lr": 0.03, "betas": (0.7, 0.6), "weight_decay": 0.4}),
    Case("Lion", {"lr": 0.03, "betas": (0.3, 0.9), "weight_decay": 0.2, "maximize": True}),
]
IDS = [f"{case.name}-{'-'.join(case.settings) or 'defaults'}" for case in CASES]
STEPS = 100


def gradients(shape: tuple[int, ...], steps: int = STEPS) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=shape) * (1 + step % 7) for step in range(steps)]


def run(case: Case, start: np.ndarray, grads: list[np.ndarray]) -> list[np.ndarray]:
    param = fnn.tensor(start, requires_grad=True)
    optimizer = getattr(optim, case.name)([param], **case.settings)
    path = []
    for grad in grads:
        param.grad = fnn.tensor(grad, dtype=param.dtype)
        optimizer.step()
        path.append(param.detach().numpy().copy())
    return path


# One element, one off the vectors, one that is worth two threads.
@pytest.mark.parametrize("shape", [(1,), (5, 7), (300, 257)], ids=str)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_trajectory_is_the_reference(case: Case, shape: tuple[int, ...]) -> None:
    steps = STEPS if np.prod(shape) < 1000 else 5
    start, grads = np.random.default_rng(1).normal(size=shape), gradients(shape, steps)
    expected = getattr(reference, case.name.lower())(start, grads, **case.settings)
    for found, wanted in zip(run(case, start, grads), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch, keeping the scalars of its optimizers (NAdam's, ASGD's) in float64 too."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_trajectory_is_torchs(case: Case, torch: Any) -> None:
    if not hasattr(torch.optim, case.name):
        pytest.skip(f"PyTorch has no {case.name}")
    start, grads = np.random.default_rng(1).normal(size=(5, 7)), gradients((5, 7))
    param = torch.tensor(start, requires_grad=True)
    theirs = getattr(torch.optim, case.name)([param], **case.settings)
    for grad, found in zip(grads, run(case, start, grads), strict=True):
        param.grad = torch.tensor(grad)
        theirs.step()
        np.testing.assert_allclose(found, param.detach().numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_scheduled_state_is_torchs(case: Case, torch: Any) -> None:
    """State of every kind, after a rate that changes while training: keys, order, shapes, values."""
    if not hasattr(torch.optim, case.name):
        pytest.skip(f"PyTorch has no {case.name}")
    start, grads = np.random.default_rng(1).normal(size=(5, 7)), gradients((5, 7))
    theirs, ours = torch.tensor(start, requires_grad=True), fnn.tensor(start, requires_grad=True)
    settings = {"lr": 0.1, **case.settings}
    optimizers = [getattr(lib.optim, case.name)([p], **settings) for lib, p in ((torch, theirs), (fnn, ours))]
    for step, grad in enumerate(grads):
        theirs.grad, ours.grad = torch.tensor(grad), fnn.tensor(grad)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = settings["lr"] / (1 + step)
            optimizer.step()
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-9)
    expected, found = (optimizer.state_dict() for optimizer in optimizers)
    expected = {k: v for k, v in expected["state"].get(0, {}).items() if v is not None}
    assert list(found["state"].get(0, {})) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found["state"][0][name].numpy(), value.numpy(), rtol=1e-6, atol=1e-9, err_msg=name)
    ignored = {"params", "foreach", "capturable", "differentiable", "fused"}
    theirs_group, our_group = (o.state_dict()["param_groups"][0] for o in optimizers)
    assert {k: v for k, v in our_group.items() if k not in ignored} == {
        k: v for k, v in theirs_group.items() if k not in ignored
    }


def test_defaults_and_arguments_are_torchs(torch: Any) -> None:
    for name in sorted({case.name for case in CASES} - {"Lion"}):
        positional, by_name = zip(*(arguments(getattr(lib.optim, name)) for lib in (fnn, torch)), strict=True)
        assert positional[0] == positional[1], name
        assert by_name[0] == by_name[1], name


def arguments(optimizer: type) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """Those that have a place, and those that only have a name, with their defaults."""
    parameters = inspect.signature(optimizer).parameters.values()
    positional = [(p.name, p.default) for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return positional, {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_resuming_gives_the_same_bits(case: Case) -> None:
    start, grads = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32), gradients((5, 7), 20)
    whole = run(case, start, grads)[-1]
    param = fnn.tensor(start, requires_grad=True)
    first = getattr(optim, case.name)([param], **case.settings)
    for grad in grads[:9]:
        param.grad = fnn.tensor(grad, dtype=fnn.float32)
        first.step()
    again = fnn.tensor(param.detach(), requires_grad=True)
    # Other settings than the ones saved, which loading must replace.
    second = getattr(optim, case.name)([again], lr=7.0)
    second.load_state_dict(first.state_dict())
    for grad in grads[9:]:
        again.grad = fnn.tensor(grad, dtype=fnn.float32)
        second.step()
    np.testing.assert_array_equal(again.detach().numpy(), whole)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_number_of_threads_does_not_change_a_bit(case: Case) -> None:
    start, grads = np.random.default_rng(1).normal(size=(300, 257)).astype(np.float32), gradients((300, 257), 3)
    before = fnn.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 7):
            fnn.set_num_threads(threads)
            results.append(run(case, start, grads)[-1])
    finally:
        fnn.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_arrays_with_grads_are_updated_in_place(case: Case) -> None:
    start, grads = np.random.default_rng(1).normal(size=(5, 7)), gradients((5, 7), 6)
    w, column = start.copy(), np.zeros((5, 2))[:, 0]  # the second is no contiguous one
    optimizer = getattr(optim, case.name)([w, column], **case.settings)
    for grad in grads:
        optimizer.step(grads=[grad, grad[:, 0]])
    np.testing.assert_array_equal(w, run(case, start, grads)[-1])
    np.testing.assert_array_equal(column, run(case, np.zeros(5), [g[:, 0] for g in grads])[-1])


BAD = [
    ("SGD", {"lr": -1.0}, "SGD: expected lr of at least 0; got -1"),
    ("SGD", {"momentum": -0.5}, "SGD: expected momentum of at least 0; got -0.5"),
    (
        "SGD",
        {"nesterov": True},
        "SGD: expected momentum above 0 and dampening of 0 with nesterov; got 0 and 0",
    ),
    ("Adafactor", {"lr": -1.0}, "Adafactor: expected lr of at least 0; got -1"),
    ("Adafactor", {"beta2_decay": 0.5}, "Adafactor: expected beta2_decay of at most 0; got 0.5"),
    ("Adafactor", {"eps": (-1e-3, 1.0)}, "Adafactor: expected eps[0] of at least 0; got -0.001"),
    ("Adafactor", {"eps": (None, -2.0)}, "Adafactor: expected eps[1] of at least 0; got -2"),
    ("Adafactor", {"eps": (1.0,)}, "Adafactor: expected eps to have 2 numbers; got 1"),
    ("Adafactor", {"d": 0.5}, "Adafactor: expected d of at least 1; got 0.5"),
    ("Adafactor", {"weight_decay": -1.0}, "Adafactor: expected weight_decay of at least 0; got -1"),
    ("Adagrad", {"lr": float("nan")}, "Adagrad: expected lr of at least 0; got nan"),
    ("Adam", {"betas": (1.0, 0.9)}, "Adam: expected betas[0] in [0, 1); got 1"),
    ("AdamW", {"weight_decay": -1.0}, "AdamW: expected weight_decay of at least 0; got -1"),
    ("Adamax", {"betas": (0.9, 1.0)}, "Adamax: expected betas[1] in [0, 1); got 1"),
    ("Adamax", {"eps": -0.5}, "Adamax: expected eps of at least 0; got -0.5"),
    ("NAdam", {"momentum_decay": -1.0}, "NAdam: expected momentum_decay of at least 0; got -1"),
    ("NAdam", {"lr": -2.0}, "NAdam: expected lr of at least 0; got -2"),
    ("RAdam", {"weight_decay": -1.0}, "RAdam: expected weight_decay of at least 0; got -1"),
    ("RAdam", {"betas": (-0.5, 0.9)}, "RAdam: expected betas[0] in [0, 1); got -0.5"),
    ("Rprop", {"etas": (0.5, 1.0)}, "Rprop: expected etas[0] in (0, 1) and etas[1] above 1; got 0.5 and 1"),
    ("Rprop", {"etas": (0.0, 1.2)}, "Rprop: expected etas[0] in (0, 1) and etas[1] above 1; got 0 and 1.2"),
    ("Rprop", {"step_sizes": (float("nan"), 1.0)}, "Rprop: expected a number for step_sizes[0]; got nan"),
    ("ASGD", {"lambd": -1.0}, "ASGD: expected lambd of at least 0; got -1"),
    ("ASGD", {"alpha": -1.0}, "ASGD: expected alpha of at least 0; got -1"),
    ("ASGD", {"t0": float("nan")}, "ASGD: expected a number for t0; got nan"),
    ("Lion", {"lr": -1.0}, "Lion: expected lr of at least 0; got -1"),
    ("Lion", {"betas": (0.9, 1.5)}, "Lion: expected betas[1] in [0, 1); got 1.5"),
    ("Lion", {"weight_decay": -0.1}, "Lion: expected weight_decay of at least 0; got -0.1"),
    ("Nesterov", {"momentum": -0.1}, "Nesterov: expected momentum of at least 0; got -0.1"),
    ("Nesterov", {"lr": float("nan")}, "Nesterov: expected lr of at least 0; got nan"),
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD)
def test_bad_settings(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        getattr(optim, name)([fnn.zeros(2, requires_grad=True)], **settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Adam", {"lr": "fast"}, "expected lr to be a number; got 'fast'"),
        ("Adamax", {"betas": 0.9}, "expected betas to be a pair of numbers; got 0.9"),
        ("Rprop", {"etas": (0.5, 1.2, 1.3)}, "expected etas to be a pair of numbers; got (0.5, 1.2, 1.3)"),
        ("NAdam", {"decoupled_weight_decay": "yes"}, "expected decoupled_weight_decay to be True or False; got 'yes'"),
    ],
)
def test_settings_of_another_type(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as error:
        getattr(optim, name)([fnn.zeros(2, requires_grad=True)], **settings)
    assert str(error.value) == message


def test_a_pair_may_be_a_list() -> None:
    a, b = np.ones(3), np.ones(3)
    optim.Rprop([a], step_sizes=[0.25, 0.5]).step(grads=[np.ones(3)])
    optim.Rprop([b], step_sizes=(0.25, 0.5)).step(grads=[np.ones(3)])
    assert a.tolist() == b.tolist() == [0.75] * 3


def test_asgd_averages_its_walk() -> None:
    settings = {"lr": 0.1, "lambd": 0.05, "t0": 3}
    start, grads = np.random.default_rng(1).normal(size=(5, 7)), gradients((5, 7), 20)
    param = start.copy()
    optimizer = optim.ASGD([param], **settings)
    walk = reference.asgd(start, grads, **settings)
    for grad, expected in zip(grads, reference.averages(walk, 3), strict=True):
        optimizer.step(grads=[grad])
        np.testing.assert_allclose(optimizer.state[id(param)]["ax"].numpy(), expected, rtol=1e-12, atol=1e-12)


def test_a_state_without_its_scalars_is_refused() -> None:
    w = np.ones(3)
    optimizer = optim.NAdam([w])
    optimizer.step(grads=[np.ones(3)])
    saved = optimizer.state_dict()
    del saved["state"][0]["mu_product"]
    with pytest.raises(ValueError, match=r"^load_state_dict: expected 'mu_product' in the state of parameter 0$"):
        optimizer.load_state_dict(saved)


def test_no_parameters() -> None:
    with pytest.raises(ValueError, match=r"^optimizer got an empty parameter list$"):
        optim.SGD([])


def test_a_result_is_no_parameter() -> None:
    x = fnn.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"^can't optimize a non-leaf Tensor$"):
        optim.SGD([x * 2])


def test_a_read_only_array_is_no_parameter() -> None:
    w = np.zeros(3, np.float32)
    w.flags.writeable = False
    with pytest.raises(ValueError, match=r"^SGD: expected writable float32 or float64 arrays in native byte order$"):
        optim.SGD([w])


def test_parameters_twice() -> None:
    w = fnn.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"^some parameters appear in more than one parameter group$"):
        optim.SGD([{"params": [w]}, {"params": [w]}])


def test_arrays_that_overlap() -> None:
    w = np.zeros(10)
    with pytest.raises(ValueError, match=r"^SGD: expected parameters that share no memory; parameters 0 and 1 do$"):
        optim.SGD([w[:6], w[4:]])


def test_wrong_gradients_change_nothing() -> None:
    w, b = np.ones(3), np.ones(2)
    optimizer = optim.SGD([w, b], lr=0.5)
    with pytest.raises(ValueError, match=r"^SGD\.step: expected gradient 1 of shape \(2,\); got \(3,\)$"):
        optimizer.step(grads=[np.ones(3), np.ones(3)])
    with pytest.raises(TypeError, match=r"^SGD\.step: expected gradient 0 of dtype float64; got float32$"):
        optimizer.step(grads=[np.ones(3, np.float32), np.ones(2)])
    with pytest.raises(ValueError, match=r"^SGD\.step: expected 2 gradients; got 1$"):
        optimizer.step(grads=[np.ones(3)])
    assert w.tolist() == [1.0] * 3
    assert b.tolist() == [1.0] * 2


def test_the_parameter_as_its_own_gradient() -> None:
    w = np.array([2.0, 4.0])
    optim.SGD([w], lr=0.25).step(grads=[w])
    assert w.tolist() == [1.5, 3.0]


def test_groups_have_their_own_settings_which_may_change() -> None:
    a, b = fnn.zeros(1, requires_grad=True), fnn.zeros(1, requires_grad=True)
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    a.grad, b.grad = fnn.ones(1), fnn.ones(1)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 2.0
    optimizer.step()
    assert a.item() == pytest.approx(-2.1)
    assert b.item() == pytest.approx(-1.0)


def test_a_group_of_adamw_may_decay_as_adam_does() -> None:
    settings = {"lr": 0.03, "betas": (0.6, 0.8), "eps": 1e-2, "weight_decay": 0.4}
    start, grads = np.random.default_rng(1).normal(size=(5, 7)), gradients((5, 7), 20)
    a, b = (fnn.tensor(start, requires_grad=True) for _ in range(2))
    optimizer = optim.AdamW([{"params": [a], "decoupled_weight_decay": False}, {"params": [b]}], **settings)
    for grad in grads:
        a.grad, b.grad = fnn.tensor(grad), fnn.tensor(grad)
        optimizer.step()
    np.testing.assert_allclose(a.detach().numpy(), reference.adam(start, grads, **settings)[-1], rtol=1e-6)
    np.testing.assert_allclose(b.detach().numpy(), reference.adamw(start, grads, **settings)[-1], rtol=1e-6)
    optimizer.load_state_dict(optimizer.state_dict())
    assert [group["decoupled_weight_decay"] for group in optimizer.param_groups] == [True, True]


def test_groups_of_adamw_are_torchs(torch: Any) -> None:
    start, grads = np.random.default_rng(1).normal(size=(5, 7)), gradients((5, 7), 20)
    ends = []
    for lib in (torch, fnn):
        params = [lib.tensor(start, requires_grad=True) for _ in range(2)]
        groups = [{"params": params[:1], "decoupled_weight_decay": False}, {"params": params[1:]}]
        optimizer = lib.optim.AdamW(groups, lr=0.03, weight_decay=0.4)
        for step, grad in enumerate(grads):
            if step == 12:
                optimizer.load_state_dict(optimizer.state_dict())
            for param in params:
                param.grad = lib.tensor(grad)
            optimizer.step()
        ends.append([param.detach().numpy() for param in params])
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-6)


def test_a_parameter_without_gradient_is_left_alone() -> None:
    a, b = fnn.ones(1, requires_grad=True), fnn.ones(1, requires_grad=True)
    optimizer = optim.Adam([a, b], weight_decay=1.0)
    a.grad = fnn.ones(1)
    optimizer.step()
    assert b.item() == 1.0
    assert list(optimizer.state_dict()["state"]) == [0]


def test_state_dict_is_pytorchs() -> None:
    w = fnn.zeros(2, 3, requires_grad=True)
    optimizer = optim.Adam([w])
    w.grad = fnn.ones(2, 3)
    optimizer.step()
    saved = optimizer.state_dict()
    assert list(saved["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert saved["state"][0]["step"].item() == 1.0
    assert saved["param_groups"][0]["params"] == [0]
    assert saved["param_groups"][0]["betas"] == (0.9, 0.999)


def test_loading_is_all_or_nothing() -> None:
    w, b = fnn.zeros(2, requires_grad=True), fnn.zeros(3, requires_grad=True)
    optimizer = optim.Adam([{"params": [w]}, {"params": [b]}])
    w.grad, b.grad = fnn.ones(2), fnn.ones(3)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = 9.0
    saved["state"][1]["exp_avg"] = fnn.zeros(4)
    message = r"^load_state_dict: expected 'exp_avg' of parameter 0 of shape \(3,\); got \(4,\)$"
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 1e-3
    with pytest.raises(ValueError, match=r"^loaded state dict has a different number of parameter groups$"):
        optimizer.load_state_dict(optim.Adam([w]).state_dict())


def test_zero_grad() -> None:
    w = fnn.zeros(2, requires_grad=True)
    optimizer = optim.SGD([w])
    w.grad = fnn.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert w.grad is None


def test_closure_runs_first_and_its_loss_comes_back() -> None:
    w = fnn.ones(1, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.5)

    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with fnn.no_grad():
        assert optimizer.step(closure).item() == 1.0
    assert w.item() == 0.0


def test_replaced_data_is_trained() -> None:
    w = fnn.zeros(2, requires_grad=True)
    optimizer = optim.Adam([w], lr=0.5)
    w.grad = fnn.ones(2)
    optimizer.step()
    w.data = fnn.full((2,), 3.0, dtype=fnn.float64)
    w.grad = fnn.ones(2, dtype=fnn.float64)
    optimizer.step()
    assert w.dtype == fnn.float64
    np.testing.assert_allclose(w.detach().numpy(), 2.5, rtol=1e-6)
