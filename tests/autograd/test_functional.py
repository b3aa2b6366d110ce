"""autograd.functional against closed forms, finite differences and PyTorch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.autograd import functional as AF
from fastnn.nn import functional as F

RNG = np.random.default_rng(4)
A = RNG.normal(size=(5, 5))
SYMMETRIC = A + A.T


def values(x: Any) -> np.ndarray:
    return np.asarray(x.detach())


def quadratic(x: fnn.Tensor) -> fnn.Tensor:
    return 0.5 * (x * (fnn.tensor(SYMMETRIC) @ x)).sum() + (x**3).sum()


def test_hessian_and_its_products_of_a_polynomial() -> None:
    point, v = RNG.normal(size=5), RNG.normal(size=5)
    x = fnn.tensor(point)
    expected = SYMMETRIC + np.diag(6 * point)
    np.testing.assert_allclose(values(AF.hessian(quadratic, x)), expected, atol=1e-12)
    for product in (AF.hvp, AF.vhp):
        y, found = product(quadratic, x, fnn.tensor(v))
        np.testing.assert_allclose(values(found), expected @ v, atol=1e-12)
        np.testing.assert_allclose(y.item(), quadratic(x).item())
        assert not found.requires_grad
        assert not y.requires_grad


def test_products_with_a_jacobian_that_is_not_square() -> None:
    def function(x: fnn.Tensor, y: fnn.Tensor) -> tuple[fnn.Tensor, fnn.Tensor]:
        return (x * y).sin(), x.exp().sum().reshape(1)

    x, y = RNG.normal(size=3), RNG.normal(size=3)
    inputs = (fnn.tensor(x), fnn.tensor(y))
    blocks = AF.jacobian(function, inputs)
    np.testing.assert_allclose(values(blocks[0][0]), np.diag(np.cos(x * y) * y))
    np.testing.assert_allclose(values(blocks[0][1]), np.diag(np.cos(x * y) * x))
    np.testing.assert_allclose(values(blocks[1][0]), np.exp(x)[None])
    np.testing.assert_allclose(values(blocks[1][1]), np.zeros((1, 3)))
    full = np.block([[values(b) for b in row] for row in blocks])
    v, u = RNG.normal(size=6), RNG.normal(size=4)
    _, forward = AF.jvp(function, inputs, (fnn.tensor(v[:3]), fnn.tensor(v[3:])))
    np.testing.assert_allclose(np.concatenate([values(f) for f in forward]), full @ v)
    _, backward = AF.vjp(function, inputs, (fnn.tensor(u[:3]), fnn.tensor(u[3:])))
    np.testing.assert_allclose(np.concatenate([values(f) for f in backward]), u @ full)


def test_results_with_a_graph_can_be_differentiated_with_respect_to_point_and_vector() -> None:
    x = fnn.tensor(RNG.normal(size=3), requires_grad=True)
    v = fnn.tensor(RNG.normal(size=3), requires_grad=True)
    _, product = AF.hvp(lambda t: (t**4).sum(), x, v, create_graph=True)
    by_x, by_v = fnn.autograd.grad(product.sum(), [x, v])
    np.testing.assert_allclose(values(by_x), 24 * values(x) * values(v))
    np.testing.assert_allclose(values(by_v), 12 * values(x) ** 2)
    _, product = AF.jvp(lambda t: t**3, x, v, create_graph=True)
    by_x, by_v = fnn.autograd.grad(product.sum(), [x, v])
    np.testing.assert_allclose(values(by_x), 6 * values(x) * values(v))
    np.testing.assert_allclose(values(by_v), 3 * values(x) ** 2)
    full = AF.hessian(lambda t: (t**4).sum(), x, create_graph=True)
    np.testing.assert_allclose(values(fnn.autograd.grad(full.sum(), x)[0]), 24 * values(x))


def test_what_nothing_depends_on_is_zero_or_when_strict_an_error() -> None:
    x = fnn.ones(2, dtype=fnn.float64)
    constant = fnn.ones(3, dtype=fnn.float64)
    assert values(AF.jacobian(lambda _: constant, x)).tolist() == [[0.0, 0.0]] * 3
    assert values(AF.hessian(lambda t: (2 * t).sum(), x)).tolist() == [[0.0, 0.0]] * 2
    assert values(AF.hvp(lambda t: (2 * t).sum(), x, x)[1]).tolist() == [0.0, 0.0]
    with pytest.raises(
        RuntimeError, match=r"^jacobian: expected outputs that depend on the inputs when strict; one does not$"
    ):
        AF.jacobian(lambda _: constant, x, strict=True)
    message = "vjp: expected a result that depends on every input when strict; number 1 does not"
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        AF.vjp(lambda a, _: a.sum(), (x, x), strict=True)
    message = "hvp: expected a result that depends on every input when strict; number 0 does not"
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        AF.hvp(lambda t: (2 * t).sum(), x, x, strict=True)


BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: AF.vjp(lambda t: t, fnn.ones(2)), ValueError, "vjp: expected v, which may be None for a single element only; got None"),
    (lambda: AF.jvp(lambda t: t, fnn.ones(2), fnn.ones(3)), ValueError, "jvp: expected v of the shapes [(2,)]; got [(3,)]"),
    (lambda: AF.hvp(lambda t: t, fnn.ones(2), fnn.ones(2)), ValueError,
     "hvp: expected func to return a single element; got shape (2,)"),
    (lambda: AF.hessian(lambda _: 1.0, fnn.ones(2)), TypeError, "hessian: expected func to return a Tensor; got float"),
    (lambda: AF.jacobian(lambda t: t, [fnn.ones(2)]), TypeError,  # type: ignore[arg-type]
     "jacobian: expected inputs to be a Tensor or a tuple of Tensors; got list"),
    (lambda: AF.hessian_max_eigenvalue(lambda: fnn.ones(()), []), ValueError,
     "hessian_max_eigenvalue: expected at least one parameter; got none"),
    (lambda: AF.hessian_max_eigenvalue(lambda: fnn.ones(()), fnn.ones(1), iterations=0), ValueError,
     "hessian_max_eigenvalue: expected iterations of at least 1; got 0"),
    (lambda: AF.hessian_max_eigenvalue(lambda: fnn.ones(()), fnn.ones(1), tol=-1.0), ValueError,
     "hessian_max_eigenvalue: expected tol of at least 0; got -1.0"),
    (lambda: AF.hessian_max_eigenvalue(lambda: fnn.ones(()), fnn.ones(1), which="largest"), ValueError,
     "hessian_max_eigenvalue: expected which to be 'magnitude' or 'algebraic'; got 'largest'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), BAD, ids=[b[2][:40] for b in BAD])
def test_what_does_not_fit_is_named(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        call()


def with_eigenvalues(eigenvalues: list[float]) -> tuple[np.ndarray, np.ndarray]:
    vectors, _ = np.linalg.qr(RNG.normal(size=(len(eigenvalues),) * 2))
    return vectors @ np.diag(eigenvalues) @ vectors.T, vectors


@pytest.mark.parametrize(
    ("eigenvalues", "which", "index"),
    [
        ([-1.0, 0.5, 2.0, 7.0], "magnitude", 3),
        ([-9.0, 0.5, 2.0, 7.0], "magnitude", 0),
        ([-9.0, 0.5, 2.0, 7.0], "algebraic", 3),
        ([-9.0, -8.0, -3.0, -1.0], "algebraic", 3),
        ([-1.0, 0.5, 2.0, 7.0], "algebraic", 3),
    ],
)
def test_greatest_eigenvalue_of_a_quadratic(eigenvalues: list[float], which: str, index: int) -> None:
    matrix, vectors = with_eigenvalues(eigenvalues)
    full = fnn.tensor(matrix)
    a, b = fnn.zeros(1, dtype=fnn.float64, requires_grad=True), fnn.zeros(3, dtype=fnn.float64, requires_grad=True)

    def loss() -> fnn.Tensor:
        x = fnn.cat([a, b])
        return 0.5 * (x * (full @ x)).sum()

    state = fnn.get_rng_state()
    found = AF.hessian_max_eigenvalue(loss, [a, b], iterations=1000, tol=1e-7, which=which)
    assert fnn.get_rng_state() == state
    assert found.value == pytest.approx(eigenvalues[index], rel=1e-9)
    vector = np.concatenate([values(v) for v in found.vector])
    assert abs(vector @ vectors[:, index]) == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(np.linalg.norm(matrix @ vector - found.value * vector), found.residual, atol=1e-9)
    assert a.grad is None


def net(lib: Any) -> tuple[Any, Callable[[], Any]]:
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 3
    model = lib.nn.Sequential(lib.nn.Linear(4, 5), lib.nn.Tanh(), lib.nn.Linear(5, 3)).double()
    generator = np.random.default_rng(1)
    model.load_state_dict({k: lib.tensor(generator.normal(size=tuple(v.shape))) for k, v in model.state_dict().items()})
    return model, lambda: lib.nn.functional.cross_entropy(model(lib.tensor(x)), lib.tensor(y))


def full_hessian(model: nn.Module, loss: Callable[[], fnn.Tensor]) -> np.ndarray:
    params = list(model.parameters())
    first = fnn.autograd.grad(loss(), params, create_graph=True)
    flat = fnn.cat([g.flatten() for g in first if g is not None])
    rows = []
    for i in range(flat.numel()):
        row = fnn.autograd.grad(flat[i], params, retain_graph=True)
        rows.append(np.concatenate([values(g).ravel() for g in row]))
    return np.array(rows)


def test_sharpness_of_a_net_is_the_greatest_eigenvalue_of_its_full_hessian() -> None:
    model, loss = net(fnn)
    full = full_hessian(model, loss)
    np.testing.assert_allclose(full, full.T, atol=1e-13)
    eigenvalues = np.linalg.eigvalsh(full)
    found = AF.hessian_max_eigenvalue(loss, list(model.parameters()), iterations=5000, tol=1e-6)
    assert found.value == pytest.approx(max(eigenvalues, key=abs), rel=1e-6)
    assert found.iterations < 5000
    found = AF.hessian_max_eigenvalue(loss, list(model.parameters()), iterations=5000, tol=1e-6, which="algebraic")
    assert found.value == pytest.approx(eigenvalues[-1], rel=1e-6)
    stopped = AF.hessian_max_eigenvalue(loss, list(model.parameters()), iterations=2, tol=0.0)
    assert stopped.iterations == 2
    assert np.abs(eigenvalues - stopped.value).min() <= stopped.residual


def test_the_functions_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    x, w, u = RNG.normal(size=(3, 2)), RNG.normal(size=(4, 2)), RNG.normal(size=(3, 4))
    results = []
    for lib in (torch, fnn):
        lf = lib.autograd.functional
        xs, ws, us, vs = (lib.tensor(a) for a in (x, w, u, x[::-1].copy()))

        def function(a: Any, lib: Any = lib, ws: Any = ws) -> Any:
            return lib.nn.functional.gelu(lib.nn.functional.linear(a, ws))

        def scalar(a: Any, function: Any = function) -> Any:
            return (function(a) ** 2).sum()

        results.append(
            [
                lf.jacobian(function, xs), lf.hessian(scalar, xs), lf.vjp(function, xs, us)[1], lf.jvp(function, xs, vs)[1],
                lf.hvp(scalar, xs, vs)[1], lf.vhp(scalar, xs, vs)[1], lf.vjp(scalar, xs)[1], lf.vjp(scalar, xs)[0],
                *(block for row in lf.hessian(lambda a, b: (a * b).sin().sum(), (xs, vs)) for block in row),
            ]
        )  # fmt: skip
    for theirs, ours in zip(*results, strict=True):
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(values(ours), values(theirs), rtol=1e-10, atol=1e-12)


def test_float32_stays_float32() -> None:
    x = fnn.tensor([0.5, 1.5])
    full = AF.hessian(lambda t: F.softplus(t).sum() ** 2, x)
    assert full.dtype == fnn.float32
