"""Random programs of views and in-place changes: values and gradients are NumPy's, and PyTorch refuses the same ones."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn as fnn
from tests.fuzz import differential
from tests.fuzz.differential import CALLS, IN_PLACE, VIEWS


@pytest.mark.parametrize("first", range(0, 3000, 500))
def test_programs_agree_with_the_reference(first: int) -> None:
    refused = [differential.check(differential.generate(seed), fnn) for seed in range(first, first + 500)]
    assert refused.count(None) > 250


def test_programs_reach_every_call() -> None:
    names = {step.name for seed in range(1500) for step in differential.generate(seed).steps}
    assert names == set(CALLS)


def test_what_pytorch_runs_is_run_with_its_gradients() -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    for seed in range(3000):
        program = differential.generate(seed)
        try:
            value, grads = differential.run_tensors(program, torch)
        except RuntimeError:
            continue  # more than here: PyTorch keeps no copy of what a change reads, such as x of x *= x
        got, got_grads = differential.run_tensors(program, fnn)
        np.testing.assert_allclose(got, value, rtol=1e-9, atol=1e-9, err_msg=str(program))
        for mine, expected in zip(got_grads, grads, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-8, atol=1e-8, err_msg=str(program))


X = np.linspace(0.5, 1.5, 12)
# Each takes a (3, 4) tensor.
VIEW_ARGS = {
    "view": ((2, 6),), "reshape": ((2, 6),), "view_as": ((3, 4),), "flatten": (), "t": (), "mT": (), "transpose": (0, 1),
    "permute": ((1, 0),), "squeeze": (0,), "unsqueeze": (1,), "expand": ((3, 4),), "narrow": (1, 1, 2), "select": (0, 1),
    "index": ((slice(None, None, 2), 1),), "split": (2, 0), "chunk": (2, 1), "unbind": (0,), "iter": (),
}  # fmt: skip
SEVERAL = ("split", "chunk", "unbind", "iter")


def change_args(name: str, x: fnn.Tensor) -> tuple[object, ...] | None:
    """Arguments of an in-place call for a tensor of any shape."""
    if name.startswith("x["):
        if x.ndim == 0:
            return None
        item = {"x[item]": 0, "x[mask]": np.ones(x.shape, bool), "x[positions]": np.array([0])}[
            name.split(" = ", maxsplit=1)[0]
        ]
        return (fnn.tensor(0.7, dtype=fnn.float64), item) if name.endswith("y") else (item, 0.7)
    if CALLS[name].operands == 2:
        return (fnn.tensor(0.7, dtype=fnn.float64),)
    return () if name in ("**= 2", "zero_") else (0.7,)


def gradient(view: str, change: str, *, of_view: bool, arrays: bool) -> np.ndarray | None:
    """Of a sum over the base and the view, after the one or the other was changed; by NumPy's complex steps, or fastnn."""

    def total(x: object) -> object:
        base = x * 2.0  # type: ignore[operator]
        made = (VIEWS[view].array if arrays else VIEWS[view].tensor)(base, *VIEW_ARGS[view])
        shown = made[0] if isinstance(made, tuple) else made
        target = shown if of_view else base
        args = change_args(change, fnn.tensor(np.real(target)) if arrays else target)
        if args is None:
            return None
        if arrays:
            args = tuple(np.asarray(a) if isinstance(a, fnn.Tensor) else a for a in args)
        (IN_PLACE[change].array if arrays else IN_PLACE[change].tensor)(target, *args)
        return (base * base).sum() + 3.0 * (shown * shown * shown).sum()

    if not arrays:
        x = fnn.tensor(X.reshape(3, 4), requires_grad=True)
        result = total(x)
        if result is None:
            return None
        result.backward()  # type: ignore[attr-defined]
        return np.asarray(x.grad)
    grad = np.zeros(12)
    for i in range(12):
        x = X.astype(complex)
        x[i] += 1j * differential.H
        grad[i] = np.imag(total(x.reshape(3, 4))) / differential.H
    return grad.reshape(3, 4)


@pytest.mark.parametrize("of_view", [True, False], ids=["of view", "of base"])
@pytest.mark.parametrize("change", IN_PLACE)
@pytest.mark.parametrize("view", VIEWS)
def test_every_change_of_every_kind_of_view(view: str, change: str, of_view: bool) -> None:
    if view in SEVERAL:
        with pytest.raises(RuntimeError, match=r"one of several views that one call|is changed in place"):
            gradient(view, change, of_view=of_view, arrays=False)
        return
    got = gradient(view, change, of_view=of_view, arrays=False)
    if got is None:
        return  # an item of a tensor without dimensions
    np.testing.assert_allclose(got, gradient(view, change, of_view=of_view, arrays=True), rtol=1e-12, atol=1e-12)
