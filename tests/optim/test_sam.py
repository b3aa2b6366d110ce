"""SAM around other optimizers: its trajectory, the two halves, resuming, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import optim
from tests.optim.test_lbfgs import START, closure_of, objective
from tests.reference import closure_optim as reference

STEPS = 100
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}, {}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}, {"rho": 0.3}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}, {"rho": 0.5, "adaptive": True}),
    ("Adam", {"lr": 0.03, "betas": (0.7, 0.9)}, {"rho": 0.0}),
    ("AdamW", {"lr": 0.03, "weight_decay": 0.2}, {"rho": 0.3, "adaptive": True}),
]
IDS = ["-".join([name, *sam]) for name, _, sam in CASES]


def made(name: str, settings: dict[str, Any], sam: dict[str, Any]) -> tuple[list[fnn.Tensor], optim.SAM]:
    parts = [fnn.tensor(START[:4].reshape(2, 2), requires_grad=True), fnn.tensor(START[4:], requires_grad=True)]
    return parts, optim.SAM(getattr(optim, name)(parts, **settings), **sam)


def flat(parts: list[fnn.Tensor]) -> np.ndarray:
    return np.concatenate([part.detach().numpy().ravel() for part in parts])


@pytest.mark.parametrize(("name", "settings", "sam"), CASES, ids=IDS)
def test_trajectory_is_the_reference(name: str, settings: dict[str, Any], sam: dict[str, Any]) -> None:
    parts, optimizer = made(name, settings, sam)
    closure = closure_of(fnn, optimizer, parts, 1.0)
    for wanted in reference.sam(START, objective, STEPS, base=name, **settings, **sam):
        before = objective(flat(parts))[0]
        assert optimizer.step(closure).item() == pytest.approx(before, rel=1e-12)
        np.testing.assert_allclose(flat(parts), wanted, rtol=1e-6, atol=1e-9)


def test_torchs_base_takes_the_same_steps() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    settings, rho = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}, 0.4
    parts, optimizer = made("Adam", settings, {"rho": rho})
    closure = closure_of(fnn, optimizer, parts, 1.0)
    theirs = [torch.tensor(START[:4].reshape(2, 2), requires_grad=True), torch.tensor(START[4:], requires_grad=True)]
    base = torch.optim.Adam(theirs, **settings)
    their_closure = closure_of(torch, base, theirs, 1.0)
    for _ in range(STEPS):
        optimizer.step(closure)
        their_closure()
        before = [p.detach().clone() for p in theirs]
        norm = torch.cat([p.grad.reshape(-1) for p in theirs]).norm()
        with torch.no_grad():
            for p in theirs:
                p.add_(rho * p.grad / norm)
        their_closure()
        with torch.no_grad():
            for p, value in zip(theirs, before, strict=True):
                p.copy_(value)
        base.step()
        np.testing.assert_allclose(flat(parts), np.concatenate([p.detach().numpy().ravel() for p in theirs]), rtol=1e-6)


def test_the_two_halves_are_a_step() -> None:
    parts, optimizer = made("Adam", {}, {"rho": 0.5})
    again, other = made("Adam", {}, {"rho": 0.5})
    closure, gradients = closure_of(fnn, optimizer, parts, 1.0), closure_of(fnn, other, again, 1.0)
    for _ in range(4):
        optimizer.step(closure)
        gradients()
        start = flat(again)
        other.first_step(zero_grad=True)
        assert all(p.grad is None for p in again)
        assert np.linalg.norm(flat(again) - start) == pytest.approx(0.5)
        gradients()
        other.second_step(zero_grad=True)
        assert all(p.grad is None for p in again)
        np.testing.assert_array_equal(flat(again), flat(parts))


def test_groups_have_their_own_rho() -> None:
    a, b = fnn.tensor([1.0], requires_grad=True), fnn.tensor([2.0], requires_grad=True)
    optimizer = optim.SAM(optim.SGD([{"params": [a], "rho": 0.0}], lr=0.1), rho=0.5)
    optimizer.add_param_group({"params": [b], "lr": 0.2})
    assert [group["rho"] for group in optimizer.param_groups] == [0.0, 0.5]
    assert [group["lr"] for group in optimizer.base_optimizer.param_groups] == [0.1, 0.2]
    a.grad, b.grad = fnn.tensor([3.0]), fnn.tensor([4.0])
    optimizer.first_step()
    assert a.tolist() == [1.0]
    assert b.item() == pytest.approx(2.4)
    optimizer.second_step()
    assert a.item() == pytest.approx(0.7)
    assert b.item() == pytest.approx(1.2)


def test_a_gradient_of_zero_moves_nothing() -> None:
    p, q = fnn.ones(2, requires_grad=True), fnn.ones(2, requires_grad=True)
    optimizer = optim.SAM(optim.SGD([p, q]))
    p.grad = fnn.zeros(2)
    optimizer.first_step()
    assert p.tolist() == q.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("name", "settings", "sam"), CASES, ids=IDS)
def test_resuming_gives_the_same_bits(name: str, settings: dict[str, Any], sam: dict[str, Any]) -> None:
    parts, optimizer = made(name, settings, sam)
    closure = closure_of(fnn, optimizer, parts, 1.0)
    for _ in range(5):
        optimizer.step(closure)
    again = [fnn.tensor(p.detach(), requires_grad=True) for p in parts]
    second = optim.SAM(getattr(optim, name)(again, lr=7.0), rho=9.0)
    second.load_state_dict(optimizer.state_dict())
    assert second.param_groups[0]["rho"] == optimizer.param_groups[0]["rho"]
    other = closure_of(fnn, second, again, 1.0)
    for _ in range(5):
        optimizer.step(closure)
        second.step(other)
    np.testing.assert_array_equal(flat(again), flat(parts))


def test_a_closure_that_raises_changes_nothing() -> None:
    parts, optimizer = made("Adam", {}, {"rho": 0.5})
    gradients, calls = closure_of(fnn, optimizer, parts, 1.0), 0

    def closure() -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return gradients()

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    np.testing.assert_array_equal(flat(parts), START)
    assert optimizer.state_dict()["state"] == {}
    optimizer.step(closure)
    assert calls == 4


def test_repr_shows_both() -> None:
    shown = repr(optim.SAM(optim.SGD([fnn.zeros(1, requires_grad=True)], lr=0.25), rho=0.75))
    assert shown.startswith("SAM (\nParameter Group 0\n    adaptive: False\n")
    assert "    lr: 0.25\n" in shown
    assert "    rho: 0.75\n" in shown


W = fnn.zeros(2, requires_grad=True)
BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: optim.SAM(optim.SGD([W]), rho=-0.5), ValueError, "SAM: expected rho of at least 0; got -0.5"),
    (
        lambda: optim.SAM(optim.SGD([{"params": [W], "rho": -1.0}])),
        ValueError,
        "SAM: expected rho of at least 0; got -1",
    ),
    (lambda: optim.SAM([W]), TypeError, "SAM: expected base_optimizer to be an optimizer; got list"),
    (
        lambda: optim.SAM(optim.LBFGS([W])),
        TypeError,
        "SAM: expected a base_optimizer that needs no closure; got LBFGS",
    ),
    (
        lambda: optim.SAM(optim.SGD([np.zeros(2)])),
        TypeError,
        "SAM: expected tensors, whose gradients are computed twice a step; got arrays",
    ),
    (
        lambda: optim.SAM(optim.SGD([W])).step(),
        TypeError,
        "SAM.step: expected a closure that computes the loss and its gradients; got None",
    ),
    (
        lambda: optim.SAM(optim.SGD([W])).step(lambda: 0.0, grads=[None]),
        TypeError,
        "SAM.step: expected no grads, as the closure computes them",
    ),
    (
        lambda: optim.SAM(optim.SGD([W])).second_step(),
        RuntimeError,
        "SAM.second_step: expected first_step before it",
    ),
    (
        lambda: [(sam := optim.SAM(optim.SGD([W]))).first_step(), sam.first_step()],
        RuntimeError,
        "SAM.first_step: expected second_step before the next first_step",
    ),
]


@pytest.mark.parametrize(("use", "kind", "message"), BAD)
def test_misuse(use: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        use()
    assert str(error.value) == message
