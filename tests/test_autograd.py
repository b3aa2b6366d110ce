"""The tape from Python: backward, in-place changes, Function, grad, gradcheck."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import autograd


def leaf(*values: float) -> fnn.Tensor:
    return fnn.tensor(list(values), dtype=fnn.float64, requires_grad=True)


def test_gradients_add_up() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]


def test_backward_twice_needs_retain_graph() -> None:
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [12.0]
    with pytest.raises(RuntimeError, match=r"^backward: Trying to backward through the graph a second time"):
        y.backward()


def test_backward_of_a_vector_needs_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"^backward: grad can be implicitly created only for scalar outputs$"):
        (x * 2).backward()
    (x * 2).backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]


def test_backward_without_a_tape() -> None:
    message = "^backward: element 0 of tensors does not require grad and does not have a grad_fn$"
    with pytest.raises(RuntimeError, match=message):
        fnn.ones(1).backward()


def test_in_place_change_of_a_leaf() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match=r"changed in place; expected this under no_grad\(\)$"):
        x += 1
    with fnn.no_grad():
        x += 1
        x.mul_(3).sub_(1).div_(2).clamp_(max=2.0)
    assert x.tolist() == [2.0]
    assert x.requires_grad


def test_in_place_change_that_spoils_a_backward() -> None:
    x, w = leaf(2.0), leaf(5.0)
    kept = x * 1
    y = kept * w
    kept += 1
    with pytest.raises(RuntimeError, match=r"has been modified by an inplace operation"):
        y.sum().backward()


def test_in_place_change_of_a_result_is_on_the_tape() -> None:
    x, w = leaf(2.0, 3.0), leaf(5.0, 7.0)
    y = x * 2
    y += w
    y *= w
    y.sum().backward()
    assert y.tolist() == [45.0, 91.0]
    assert x.grad.tolist() == [10.0, 14.0]
    assert w.grad.tolist() == [14.0, 20.0]


def test_setitem_while_recording() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(
        RuntimeError,
        match=r"^__setitem__: a leaf tensor that requires grad is changed in place; expected this under no_grad\(\)$",
    ):
        x[0] = 5.0
    with fnn.no_grad():
        x[0] = 5.0
    assert x.tolist() == [5.0, 2.0]


def test_grad_modes() -> None:
    x = leaf(1.0)
    with fnn.no_grad():
        assert not (x * 2).requires_grad
        with fnn.enable_grad():
            assert (x * 2).requires_grad

    @fnn.no_grad()
    def double(t: fnn.Tensor) -> fnn.Tensor:
        return t * 2

    assert not double(x).requires_grad
    assert fnn.is_grad_enabled()
    with fnn.set_grad_enabled(False):
        assert not fnn.is_grad_enabled()
    assert fnn.is_grad_enabled()


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: fnn.Tensor, scale: float) -> fnn.Tensor:
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x**3 * scale

    @staticmethod
    def backward(ctx: Any, grad: fnn.Tensor) -> Any:
        assert ctx.needs_input_grad == (True, False)
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad * ctx.scale, None


def test_function() -> None:
    x = leaf(1.0, 2.0)
    y = Cube.apply(x, 0.5)
    assert y.tolist() == [0.5, 4.0]
    assert not y.is_leaf
    (y * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]
    assert autograd.gradcheck(lambda t: Cube.apply(t, 0.5), leaf(0.3, -1.2, 2.0))


def test_function_that_raises() -> None:
    class Picky(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: fnn.Tensor) -> fnn.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: fnn.Tensor) -> fnn.Tensor:
            raise KeyError("no gradient today")

    y = Picky.apply(leaf(1.0)).sum()
    with pytest.raises(KeyError, match=r"^'no gradient today'$"):
        y.backward()


def test_function_with_too_few_gradients() -> None:
    class Short(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: fnn.Tensor, y: fnn.Tensor) -> fnn.Tensor:
            return x * y

        @staticmethod
        def backward(ctx: Any, grad: fnn.Tensor) -> fnn.Tensor:
            return grad

    message = r"^function ShortBackward returned an incorrect number of gradients \(expected 2, got 1\)$"
    with pytest.raises(RuntimeError, match=message):
        Short.apply(leaf(1.0), leaf(2.0)).sum().backward()


def test_function_with_several_outputs() -> None:
    class Both(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: fnn.Tensor) -> tuple[fnn.Tensor, fnn.Tensor]:
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, a: fnn.Tensor, b: fnn.Tensor) -> fnn.Tensor:
            return 2 * a + 3 * b

    x = leaf(1.0)
    two, _ = Both.apply(x)
    two.sum().backward()
    assert x.grad.tolist() == [2.0]


def test_saved_tensor_that_was_changed() -> None:
    x = leaf(2.0)
    y = Cube.apply(x, 1.0).sum()
    with fnn.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match=r"has been modified by an inplace operation"):
        y.backward()


def test_grad_leaves_grad_alone() -> None:
    x, unused = leaf(3.0), leaf(1.0)
    y = (x * x).sum()
    found, nothing = autograd.grad(y, [x, unused], retain_graph=True, allow_unused=True)
    assert found is not None
    assert found.tolist() == [6.0]
    assert nothing is None
    assert x.grad is None
    with pytest.raises(RuntimeError, match=r"appears to not have been used in the graph"):
        autograd.grad(y, [unused])


def test_gradcheck_catches_a_wrong_gradient() -> None:
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: fnn.Tensor) -> fnn.Tensor:
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: fnn.Tensor) -> fnn.Tensor:
            return grad * 1.01

    with pytest.raises(RuntimeError, match=r"^Jacobian mismatch for output 0 with respect to input 0"):
        autograd.gradcheck(Wrong.apply, leaf(0.5, 1.5))
    assert not autograd.gradcheck(Wrong.apply, leaf(0.5, 1.5), raise_exception=False)
    assert autograd.gradcheck(lambda a, b: (a * b).exp(), [leaf(0.5, 1.5), leaf(-1.0, 0.2)])


def test_gradcheck_wants_float64() -> None:
    with pytest.raises(ValueError, match=r"^gradcheck: expected inputs of dtype float64; got fastnn.float32$"):
        autograd.gradcheck(lambda x: x * 2, fnn.ones(2, requires_grad=True))
