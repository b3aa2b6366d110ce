"""create_graph: backward passes that are differentiated again."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.autograd import Function, grad, gradgradcheck
from fastnn.nn import functional as F

RNG = np.random.default_rng(3)


def leaf(*shape: int, low: float = -2.0, high: float = 2.0) -> fnn.Tensor:
    return fnn.tensor(RNG.uniform(low, high, shape), requires_grad=True)


def test_third_derivative_of_a_cube() -> None:
    x = fnn.tensor([2.0, -3.0], dtype=fnn.float64, requires_grad=True)
    (first,) = grad((x**3).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    (third,) = grad(second.sum(), x)
    assert first.tolist() == [12.0, 27.0]
    assert second.tolist() == [12.0, -18.0]
    assert third.tolist() == [6.0, 6.0]
    assert not third.requires_grad


def test_backward_with_create_graph_adds_gradients_that_are_on_the_tape() -> None:
    x = fnn.tensor([2.0], dtype=fnn.float64, requires_grad=True)
    y = (x**4).sum()
    y.backward(create_graph=True)
    assert x.grad is not None
    assert x.grad.requires_grad
    y.backward(create_graph=True)
    total = x.grad
    assert total.tolist() == [64.0]
    x.grad = None
    total.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [96.0]


def test_without_create_graph_nothing_is_recorded() -> None:
    x, v = leaf(3), leaf(3)
    (found,) = grad(x + 1, x, v)
    assert not found.requires_grad
    assert v.requires_grad
    y = x * x
    (found,) = grad(y.sum(), x)
    assert not found.requires_grad
    with pytest.raises(RuntimeError, match=r"^backward: Trying to backward through the graph a second time"):
        y.sum().backward()


def test_retain_graph_follows_create_graph_unless_it_is_given() -> None:
    x = leaf(2)
    y = x.exp().sum()
    grad(y, x, create_graph=True)
    grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(RuntimeError, match=r"a second time"):
        grad(y, x)


def test_the_first_gradient_has_the_same_bits_either_way() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.GELU(), nn.Dropout(0.3), nn.Linear(5, 4))
    x, y = fnn.tensor(RNG.normal(size=(9, 3)).astype(np.float32)), fnn.tensor(np.arange(9) % 4)
    params = list(model.parameters())
    found = []
    for create in (False, True):
        fnn.manual_seed(5)
        grads = grad(F.cross_entropy(model(x), y), params, create_graph=create)
        found.append([np.array(g.detach()).tobytes() for g in grads if g is not None])
    assert found[0] == found[1]


def test_create_graph_under_no_grad_records_all_the_same() -> None:
    x = leaf(2)
    y = (x**3).sum()
    with fnn.no_grad():
        (first,) = grad(y, x, create_graph=True)
    assert first.requires_grad
    assert fnn.is_grad_enabled()


def test_materialized_gradients() -> None:
    x, unused = leaf(2), leaf(3)
    y = (x * x).sum()
    found = grad(y, [x, unused], materialize_grads=True)
    assert found[1] is not None
    assert found[1].tolist() == [0.0, 0.0, 0.0]
    message = "grad: expected allow_unused=True or None with materialize_grads=True; got False"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        grad((x * x).sum(), [x, unused], allow_unused=False, materialize_grads=True)


# Functions that the table of ops lacks: of one tensor by other names, kinks' other branches, other layouts.
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[fnn.Tensor, ...]]] = {
    "sin": (lambda x: x.sin(), (leaf(5),)),
    "cos": (lambda x: x.cos(), (leaf(5),)),
    "erf": (lambda x: x.erf(), (leaf(5),)),
    "expm1": (lambda x: x.expm1(), (leaf(5),)),
    "log1p": (lambda x: x.log1p(), (leaf(5, low=-0.5),)),
    "rsqrt": (lambda x: x.rsqrt(), (leaf(5, low=0.3),)),
    "reciprocal": (lambda x: x.reciprocal(), (leaf(5, low=0.3),)),
    "square": (lambda x: x.square(), (leaf(5),)),
    "sign": (lambda x: x.sign() * x, (leaf(5, low=0.3),)),
    "powers": (lambda x: x**0 + x**1 + x**2 + x**-1 + x**0.5, (leaf(5, low=0.3),)),
    "elu below 0": (lambda x: F.elu(x, -0.7), (leaf(7),)),
    "leaky_relu below 0": (lambda x: F.leaky_relu(x, -0.3), (leaf(7),)),
    "softplus": (lambda x: F.softplus(x, 0.7), (leaf(7),)),
    "prelu of a vector": (F.prelu, (leaf(7), leaf(1))),
    "prod": (lambda x: x.prod(1), (leaf(3, 4),)),
    "prod of all": (lambda x: x.prod(), (leaf(4),)),
    "prod over two": (lambda x: x.permute(1, 0).prod(0), (leaf(3, 4),)),
    "amax": (lambda x: x.amax(1) * x.amin(), (leaf(3, 4),)),
    "std": (lambda x: x.std((0, 2)), (leaf(3, 4, 2),)),
    "norm": (lambda x: x.norm(), (leaf(3, 4),)),
    "indexing": (lambda x: (x[1:, ::2] * x[0, 1]) ** 2, (leaf(3, 4),)),
    "positions": (lambda x: x[fnn.tensor([2, 0, 2])] ** 2, (leaf(3, 4),)),
    "scatter_add": (
        lambda x, s: fnn.scatter_add(x, 1, fnn.tensor([[0, 2], [1, 1]]), s) ** 2, (leaf(2, 3), leaf(3, 4))
    ),
    "cat, split": (lambda x, y: fnn.cat([x * y, y], 1).split(2, 1)[0] ** 2, (leaf(2, 3), leaf(2, 3))),
    "expand": (lambda x: (x.expand(4, 3) * x) ** 2, (leaf(1, 3),)),
    "cast": (lambda x: (x.double() ** 3).sum(), (leaf(3),)),
    "linear of a vector": (F.linear, (leaf(3), leaf(2, 3), leaf(2))),
    "bilinear of three dimensions": (F.bilinear, (leaf(2, 2, 2), leaf(2, 2, 3), leaf(2, 2, 3))),
    "matmul of a stack and a matrix": (fnn.matmul, (leaf(2, 3, 2), leaf(2, 3))),
    "matmul of a stack and a vector": (fnn.matmul, (leaf(2, 3, 2), leaf(2))),
    "matmul of a vector and a stack": (fnn.matmul, (leaf(3), leaf(2, 3, 2))),
    "matmul of stacks that broadcast": (fnn.matmul, (leaf(2, 1, 2, 3), leaf(2, 3, 2))),
    "log_softmax of no dimension": (lambda x: F.log_softmax(x.sum(), 0) * x.sum() ** 2, (leaf(2),)),
    "logsumexp keepdim": (lambda x: x.logsumexp(0, keepdim=True), (leaf(3, 4),)),
    "batch_norm of sequences": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=0.3), (leaf(3, 2, 4), leaf(2), leaf(2))
    ),
    "batch_norm without weight": (lambda x: F.batch_norm(x, None, None, training=True, eps=0.3), (leaf(4, 3),)),
    "batch_norm evaluating": (
        lambda x, w, b: F.batch_norm(
            x, fnn.tensor([0.5, -1.0], dtype=fnn.float64), fnn.tensor([2.0, 0.7], dtype=fnn.float64), w, b, eps=0.3
        ),
        (leaf(3, 2), leaf(2), leaf(2)),
    ),
    "cross_entropy of sequences": (
        lambda x: F.cross_entropy(
            x, fnn.tensor([[0, 2, 1], [1, -7, 2]]), fnn.tensor([0.5, 2.0, 1.2], dtype=fnn.float64),
            ignore_index=-7, label_smoothing=0.2,
        ),
        (leaf(2, 3, 3),),
    ),
    "cross_entropy of one sample": (lambda x: F.cross_entropy(x, fnn.tensor(1), reduction="none"), (leaf(4),)),
    "cross_entropy of probabilities, weighted": (
        lambda x, t: F.cross_entropy(x, t, fnn.tensor([0.5, 2.0, 1.2], dtype=fnn.float64), label_smoothing=0.2),
        (leaf(2, 3), leaf(2, 3, low=0.1)),
    ),
    "nll_loss of sequences": (
        lambda x: F.nll_loss(x**2, fnn.tensor([[0, 2, 1], [1, -7, 2]]), ignore_index=-7, reduction="none"),
        (leaf(2, 3, 3),),
    ),
    "bce weighted": (
        lambda x, t: F.binary_cross_entropy(x, t, fnn.tensor([0.5, 2.0, 1.2], dtype=fnn.float64)),
        (leaf(2, 3, low=0.2, high=0.8), leaf(2, 3, low=0.2, high=0.8)),
    ),
    "bce with logits far out": (
        lambda x, t: F.binary_cross_entropy_with_logits(x * 30, t, fnn.tensor([0.5, 2.0, 1.2], dtype=fnn.float64)),
        (leaf(2, 3), leaf(2, 3, low=0.2, high=0.8)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives(name: str) -> None:
    function, inputs = FUNCTIONS[name]
    assert gradgradcheck(function, inputs, atol=1e-6, rtol=1e-5)


THIRD = (
    "erf",
    "rsqrt",
    "powers",
    "std",
    "bilinear of three dimensions",
    "batch_norm of sequences",
    "cross_entropy of sequences",
)


@pytest.mark.parametrize("name", THIRD)
def test_third_derivatives(name: str) -> None:
    function, inputs = FUNCTIONS[name]

    def gradient(*values: fnn.Tensor) -> Any:
        y = function(*values)
        weights = fnn.linspace(0.5, 1.5, max(1, y.numel()), dtype=fnn.float64).reshape(*y.shape)
        return grad((y * weights).sum(), values, create_graph=True)

    assert gradgradcheck(gradient, inputs, atol=1e-5, rtol=1e-4)


def test_zeros_of_a_product_have_a_second_derivative() -> None:
    x = fnn.tensor([[0.0, 2.0, 0.0], [0.0, 3.0, 5.0]], dtype=fnn.float64, requires_grad=True)
    assert gradgradcheck(lambda t: t.prod(1), x)


def test_powers_of_zero_have_no_nan() -> None:
    x = fnn.tensor([0.0, 1.5], dtype=fnn.float64, requires_grad=True)
    y = fnn.tensor([2.0, 2.0], dtype=fnn.float64, requires_grad=True)
    first = grad((x**y).sum(), [x, y], create_graph=True)
    second = grad(sum((g * g).sum() for g in first if g is not None), [x, y])
    assert all(np.isfinite(np.asarray(g)).all() for g in second if g is not None)


def test_dropout_keeps_its_mask() -> None:
    fnn.manual_seed(1)
    x = leaf(200)
    y = F.dropout(x, 0.5)
    mask = (np.asarray(y.detach()) != 0) * 2.0
    (first,) = grad((y**3).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    np.testing.assert_allclose(np.asarray(second), 6 * mask**3 * np.asarray(x.detach()))


class Exponential(Function):
    """Keeps its output, so that the second derivative has to find its way through it."""

    @staticmethod
    def forward(ctx: Any, x: fnn.Tensor) -> fnn.Tensor:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: fnn.Tensor) -> fnn.Tensor:
        (y,) = ctx.saved_tensors
        return g * y


def test_function_in_python_has_second_and_third_derivatives() -> None:
    assert gradgradcheck(Exponential.apply, leaf(4))
    x = leaf(3)
    (first,) = grad(Exponential.apply(x).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x, create_graph=True)
    (third,) = grad(second.sum(), x)
    np.testing.assert_allclose(np.asarray(third), np.exp(np.asarray(x.detach())))


def test_graphs_are_freed() -> None:
    before = None
    for i in range(30):
        x = fnn.ones(1000, requires_grad=True)
        (first,) = grad((x.exp() * x).sum(), x, create_graph=True)
        grad(first.sum(), x)
        if i == 10:
            gc.collect()
            before = len(gc.get_objects())
    del x, first
    gc.collect()
    assert before is not None
    assert len(gc.get_objects()) <= before + 20


class Penalized(nn.Module):
    """The norm of the input's gradient as a part of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        inputs = x.detach().requires_grad_()
        y = self.body(inputs)
        (slope,) = grad(y.sum(), inputs, create_graph=True)
        assert slope is not None
        return y.flatten() + ((slope**2).sum(1) - 1) ** 2


def test_a_gradient_penalty_trains_planned_with_the_bits_of_eager() -> None:
    x, y = RNG.normal(size=(7, 3)).astype(np.float32), RNG.normal(size=7).astype(np.float32)
    fnn.manual_seed(2)
    eager = Penalized()
    fnn.manual_seed(2)
    planned = Penalized()
    optimizer = optim.Adam(eager.parameters(), lr=0.01)
    step = fnn.TrainStep(planned, nn.MSELoss(), optim.Adam(planned.parameters(), lr=0.01))
    for _ in range(4):
        loss = F.mse_loss(eager(fnn.tensor(x)), fnn.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert step(x, y) == loss.item()
        assert step.reason is None
    for a, b in zip(eager.parameters(), planned.parameters(), strict=True):
        assert np.asarray(a.detach()).tobytes() == np.asarray(b.detach()).tobytes()


def test_second_derivatives_of_a_net_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    x, y = RNG.normal(size=(11, 4)), np.arange(11) % 3
    results = []
    state: dict[str, np.ndarray] = {}
    for lib in (torch, fnn):
        layers = lib.nn
        model = layers.Sequential(
            layers.Linear(4, 6), layers.BatchNorm1d(6), layers.GELU(), layers.Linear(6, 5), layers.SiLU(), layers.ELU(),
            layers.Linear(5, 5), layers.Softplus(), layers.SELU(), layers.Linear(5, 3),
        ).double()  # fmt: skip
        if not state:
            state = {k: np.asarray(v.detach()).copy() for k, v in model.state_dict().items()}
        model.load_state_dict({k: lib.tensor(v) for k, v in state.items()})
        params = list(model.parameters())
        loss = lib.nn.functional.cross_entropy(model(lib.tensor(x)), lib.tensor(y), label_smoothing=0.1)
        first = lib.autograd.grad(loss, params, create_graph=True)
        second = lib.autograd.grad(sum((g * g).sum() for g in first), params)
        results.append([np.asarray(g.detach()) for g in (*first, *second)])
    for ours, theirs in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10 * max(1.0, float(np.abs(theirs).max())))
