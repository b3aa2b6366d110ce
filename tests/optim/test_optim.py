"""Every optimizer by one table: its trajectory, resuming, bad settings, groups, arrays."""

from __future__ import annotations

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
    Case("AdamW", {}),
    Case("AdamW", {"lr": 0.03, "betas": (0.6, 0.8), "eps": 1e-2, "weight_decay": 0.4, "amsgrad": True}),
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


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_trajectory_is_torchs(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    start, grads = np.random.default_rng(1).normal(size=(5, 7)), gradients((5, 7))
    param = torch.tensor(start, requires_grad=True)
    theirs = getattr(torch.optim, case.name)([param], **case.settings)
    for grad, found in zip(grads, run(case, start, grads), strict=True):
        param.grad = torch.tensor(grad)
        theirs.step()
        np.testing.assert_allclose(found, param.detach().numpy(), rtol=1e-6, atol=1e-9)


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
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD)
def test_bad_settings(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        getattr(optim, name)([fnn.zeros(2, requires_grad=True)], **settings)
    assert str(error.value) == message


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
    with pytest.raises(ValueError, match=r"^SGD: expected parameters that share no memory$"):
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
