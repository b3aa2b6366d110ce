"""Tensors in Python: sharing memory with NumPy, dtypes, indexing and operators, each against NumPy by a table."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn

RNG = np.random.default_rng(0)


def grid(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_], ids=lambda d: d.__name__)
def test_memory_is_shared_both_ways(dtype: Any) -> None:
    array = np.zeros((2, 3), dtype)
    tensor = fnn.from_numpy(array)
    array[0, 1] = 1
    assert tensor[0, 1].item() == 1
    back = tensor.numpy()
    back[1, 2] = 1
    assert array[1, 2] == 1
    assert back.dtype == dtype
    assert np.shares_memory(np.asarray(tensor), array)


VIEWS: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [
    ("reversed", lambda a: a[::-1, ::-2]),
    ("columns", lambda a: a[:, 1:3]),
    ("transposed", lambda a: a.T),
    ("broadcast", lambda a: np.broadcast_to(a[0], (3, 5))),
    ("one", lambda a: a[2, 3]),
    ("none", lambda a: a[:0]),
]


@pytest.mark.parametrize("view", [v for _, v in VIEWS], ids=[n for n, _ in VIEWS])
def test_strided_arrays_are_shared(view: Any) -> None:
    array = np.asarray(view(grid(4, 5)))
    tensor = fnn.from_numpy(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    np.testing.assert_array_equal((tensor * 2 + tensor).numpy(), array * 3)
    if array.size:
        assert np.shares_memory(tensor.numpy(), array)


def test_read_only_arrays_are_shared_but_not_written() -> None:
    array = grid(3)
    array.flags.writeable = False
    tensor = fnn.from_numpy(array)
    assert tensor.tolist() == [0.0, 1.0, 2.0]
    assert not tensor.numpy().flags.writeable
    with pytest.raises(ValueError, match=r"^add_: expected a writable tensor; got a read-only array$"):
        tensor.add_(1)
    assert array.tolist() == [0.0, 1.0, 2.0]


ARRAYS = [
    (np.array([1.5, -2.0], ">f4"), fnn.float32),
    (np.array([1.5, -2.0], ">f8"), fnn.float64),
    (np.array([1, 200], np.uint8), fnn.int64),
    (np.array([1, -2], ">i8"), fnn.int64),
    (np.array([1, -2], np.int16), fnn.int64),
    (np.frombuffer(b"\0" + np.array([1.5, 2.5], np.float32).tobytes(), np.float32, 2, 1), fnn.float32),
    (np.zeros(2, [("a", np.float32), ("b", np.int8)])["a"], fnn.float32),
]


@pytest.mark.parametrize(("array", "dtype"), ARRAYS, ids=range(len(ARRAYS)))
def test_other_arrays_are_copied(array: np.ndarray, dtype: fnn.dtype) -> None:
    tensor = fnn.from_numpy(array)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert not np.shares_memory(tensor.numpy(), array)


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, np.object_, "U3", "M8[s]"])
def test_arrays_that_are_refused(dtype: Any) -> None:
    message = f"^expected an array of float32, float64, bool or integers; got {np.dtype(dtype)}$".replace("[", r"\[")
    with pytest.raises(TypeError, match=message):
        fnn.from_numpy(np.zeros(2, dtype))


DATA = [
    (1.5, fnn.float32, ()),
    (3, fnn.int64, ()),
    (True, fnn.bool, ()),
    ([1.0, 2.0], fnn.float32, (2,)),
    ([[1, 2, 3]], fnn.int64, (1, 3)),
    ([], fnn.float32, (0,)),
    (np.float64(2.0), fnn.float64, ()),
    (np.zeros((2, 2)), fnn.float64, (2, 2)),
    ([np.zeros(2, np.float64)], fnn.float64, (1, 2)),
    ((1.0, 2), fnn.float32, (2,)),
]


@pytest.mark.parametrize(("data", "dtype", "shape"), DATA, ids=range(len(DATA)))
def test_tensor_of_data(data: Any, dtype: fnn.dtype, shape: tuple[int, ...]) -> None:
    tensor = fnn.tensor(data)
    assert tensor.dtype is dtype
    assert tensor.shape == shape
    np.testing.assert_array_equal(tensor.numpy(), np.asarray(data))


def test_tensor_copies_and_as_tensor_shares() -> None:
    array = grid(2)
    assert not np.shares_memory(fnn.tensor(array).numpy(), array)
    assert np.shares_memory(fnn.as_tensor(array).numpy(), array)
    tensor = fnn.from_numpy(array)
    assert fnn.as_tensor(tensor) is tensor
    with pytest.raises(ValueError, match=r"^expected nested lists of equal lengths; got "):
        fnn.tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(TypeError, match=r"^expected a tensor, an array or numbers; got dict$"):
        fnn.tensor({})


def test_dtypes() -> None:
    assert repr(fnn.float32) == "fastnn.float32"
    assert fnn.float32 == np.float32 == fnn.float32 == np.dtype("float32") != fnn.float64
    assert fnn.int64 == "int64"
    assert {fnn.float32: 1}[fnn.zeros(1).dtype] == 1
    x = fnn.tensor([0.0, 2.7])
    assert [x.long().tolist(), x.bool().tolist(), x.double().dtype] == [[0, 2], [False, True], fnn.float64]
    assert x.to("cpu") is x.to(fnn.float32) is x.cpu() is x
    assert x.to(np.float64).dtype == x.to(dtype="float64").dtype == fnn.float64
    for call in (lambda: x.to("cuda"), lambda: fnn.zeros(1, device="cuda")):
        with pytest.raises(ValueError, match=r"^expected device 'cpu', the only one fastnn has; got 'cuda'$"):
            call()
    with pytest.raises(TypeError, match=r"expected dtype float32, float64, int64 or bool; got float16"):
        fnn.zeros(1, dtype="float16")


def test_numpy_of_a_tensor_that_requires_grad() -> None:
    x = fnn.ones(1, requires_grad=True)
    message = r"^Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\) instead.$"
    for call in (x.numpy, lambda: np.asarray(x)):
        with pytest.raises(RuntimeError, match=message):
            call()
    assert np.shares_memory(x.detach().numpy(), x.data.numpy())


def test_dlpack() -> None:
    x = fnn.arange(6, dtype=fnn.float32).reshape(2, 3)
    assert np.shares_memory(np.from_dlpack(x), x.numpy())


def test_memory_outlives_the_tensor() -> None:
    array = (fnn.arange(1000) + 1).numpy()
    rest = [fnn.zeros(1000) for _ in range(100)]
    assert array.sum() == 500500
    del rest


INDICES: list[Any] = [
    0,
    -1,
    (1, 2),
    slice(None),
    slice(1, 3),
    slice(None, None, 2),
    (slice(None), -1),
    (slice(1, None), slice(None, 2), 0),
    ...,
    (..., 1),
    (0, ..., 1),
    None,
    (None, 1, None),
    [0, 2, 2],
    np.array([1, -1]),
    (slice(None), [0, 1, 0]),
    ([0, 1], [1, 3]),
    ([0, 1], slice(None), [1, 0]),
    ([[0], [2]], [[1, 3]]),
    np.arange(3) > 0,
    (grid(3, 4, 2) % 3 == 1),
    (slice(None), np.array([True, False, True, True])),
    (1, [2, 0]),
    [],
    slice(5, 9),
]


def as_index(index: Any) -> Any:
    """NumPy's empty list is of floats."""
    return np.array([], int) if isinstance(index, list) and not index else index


@pytest.mark.parametrize("index", INDICES, ids=range(len(INDICES)))
def test_indexing_is_numpys(index: Any) -> None:
    array = grid(3, 4, 2)
    at = as_index(index)
    expected = array[at]
    x = fnn.tensor(array, requires_grad=True)
    found = x[index]
    np.testing.assert_array_equal(found.detach().numpy(), expected)
    weights = RNG.normal(size=expected.shape).astype(np.float32)
    found.backward(weights)
    grad = np.zeros_like(array)
    np.add.at(grad, at, weights)
    np.testing.assert_allclose(x.grad.numpy(), grad, rtol=1e-6)


@pytest.mark.parametrize("index", INDICES, ids=range(len(INDICES)))
def test_assignment_is_numpys(index: Any) -> None:
    array = grid(3, 4, 2)
    x = fnn.tensor(array)
    at = as_index(index)
    array[at] = -7
    x[index] = -7
    np.testing.assert_array_equal(x.numpy(), array)
    values = np.arange(array[at].size).reshape(array[at].shape)
    if not (isinstance(index, list) and index == [0, 2, 2]):
        array[at] = values
        x[index] = fnn.tensor(values, dtype=fnn.float32)
        np.testing.assert_array_equal(x.numpy(), array)


def test_index_by_tensors_and_its_errors() -> None:
    x = fnn.tensor(grid(3, 4))
    assert x[fnn.tensor([2, 0])].tolist() == x.numpy()[[2, 0]].tolist()
    assert x[fnn.tensor(1)].tolist() == [4.0, 5.0, 6.0, 7.0]
    assert x[x > 9].tolist() == [10.0, 11.0]
    for index in (3, (0, -5), [3]):
        with pytest.raises(IndexError):
            x[index]
    with pytest.raises(IndexError, match=r"^tensors used as indices must be int64 or bool tensors; got float32$"):
        x[fnn.tensor([0.0])]
    with pytest.raises(ValueError, match=r"^slice: expected a step of at least 1; got -1$"):
        x[::-1]
    with pytest.raises(IndexError, match=r"^invalid index of a 0-dim tensor"):
        fnn.tensor(1.0)[0]
    with pytest.raises(TypeError, match=r"are valid indices; got str$"):
        x["a"]


BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow]
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
PAIRS = [((5,), (5,)), ((3, 4), (4,)), ((2, 1), (1, 3)), ((), (3,)), ((0, 2), (1, 2))]


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("op", [*BINARY, *COMPARE], ids=lambda o: o.__name__)
def test_operators_are_numpys(op: Any, shapes: Any) -> None:
    a, b = (RNG.integers(1, 5, size=s).astype(np.float64) for s in shapes)
    expected = op(a, b)
    for left, right in ((fnn.tensor(a), fnn.tensor(b)), (fnn.tensor(a), b), (a, fnn.tensor(b))):
        found = op(left, right)
        assert isinstance(found, fnn.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("number", [3, 2.5, True, np.float64(1.5), np.int64(2)], ids=repr)
@pytest.mark.parametrize("op", [*BINARY, *COMPARE], ids=lambda o: o.__name__)
def test_numbers_leave_the_dtype_alone(op: Any, number: Any) -> None:
    a = np.array([1.0, 2.0, 5.0], np.float32)
    x = fnn.tensor(a)
    for found, expected in ((op(x, number), op(a, float(number))), (op(number, x), op(float(number), a))):
        assert found.dtype == (fnn.bool if op in COMPARE else fnn.float32)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_promotion() -> None:
    i, f, d, m = fnn.tensor([2]), fnn.tensor([2.0]), fnn.tensor([2.0], dtype=fnn.float64), fnn.tensor([True])
    table = [(i + 1, "int64"), (i + 1.5, "float32"), (i + f, "float32"), (f + d, "float64"), (i / 2, "float32")]
    table += [
        (m + 1, "int64"),
        (i + m, "int64"),
        (f * m, "float32"),
        (f + fnn.tensor(1.0, dtype=fnn.float64), "float32"),
    ]
    for found, dtype in table:
        assert found.dtype == dtype


def test_logic() -> None:
    a, b = np.array([True, True, False]), np.array([True, False, False])
    x, y = fnn.tensor(a), fnn.tensor(b)
    for found, expected in ((x & y, a & b), (x | y, a | b), (x ^ y, a ^ b), (~x, ~a)):
        np.testing.assert_array_equal(found.numpy(), expected)
    with pytest.raises(TypeError, match=r"^&: expected bool tensors; got float32$"):
        fnn.ones(1) & x
    with pytest.raises(TypeError, match=r"unsupported operand"):
        x + "a"


def test_matmul() -> None:
    a, b = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 5))
    for found in (fnn.tensor(a) @ b, a @ fnn.tensor(b), fnn.matmul(a, b), fnn.tensor(a).mm(fnn.tensor(b))):
        np.testing.assert_allclose(found.numpy(), a @ b, rtol=1e-13)


def test_reductions() -> None:
    a = RNG.normal(size=(3, 4, 5))
    x = fnn.tensor(a)
    table = [
        (x.sum(), a.sum()),
        (x.mean(1), a.mean(1)),
        (x.sum((0, -1), keepdim=True), a.sum((0, 2), keepdims=True)),
        (x.max(), a.max()),
        (x.max(1).values, a.max(1)),
        (x.min(dim=-1).indices, a.argmin(-1)),
        (x.argmax(), a.argmax()),
        (x.argmax(0), a.argmax(0)),
        (x.var(), a.var(ddof=1)),
        (x.std(0, unbiased=False), a.std(0)),
        (x.prod(2), a.prod(2)),
        (fnn.maximum(x, 0.0), np.maximum(a, 0)),
        (fnn.where(x > 0, x, 0.0), np.where(a > 0, a, 0)),
        (fnn.cat([x, x], 1), np.concatenate([a, a], 1)),
        (fnn.stack([a, x], -1), np.stack([a, a], -1)),
    ]
    for found, expected in table:
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_numbers_in_python() -> None:
    assert [float(fnn.tensor(1.5)), int(fnn.tensor([2.7])), bool(fnn.tensor([0]))] == [1.5, 2, False]
    assert [10, 20, 30][fnn.tensor(1)] == 20
    assert f"{fnn.tensor(1.23456):.2f}" == "1.23"
    assert fnn.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert [row.tolist() for row in fnn.tensor([[1.0], [2.0]])] == [[1.0], [2.0]]
    assert 2 in fnn.tensor([1, 2])
    with pytest.raises(RuntimeError, match=r"^a Tensor with 2 elements cannot be converted to Scalar$"):
        fnn.zeros(2).item()
    with pytest.raises(RuntimeError, match=r"^Boolean value of Tensor with more than one value is ambiguous$"):
        bool(fnn.zeros(2))
    with pytest.raises(TypeError, match=r"^len\(\) of a 0-d tensor$"):
        len(fnn.tensor(1.0))
    with pytest.raises(TypeError, match=r"^iteration over a 0-d tensor$"):
        iter(fnn.tensor(1.0))


REPR = [
    (lambda: fnn.tensor([1.0, 2.0]), "tensor([1., 2.])"),
    (lambda: fnn.tensor([0.1, -12.25]), "tensor([  0.1000, -12.2500])"),
    (lambda: fnn.tensor([1e-6, 1.0]), "tensor([1.0000e-06, 1.0000e+00])"),
    (lambda: fnn.tensor([[1, 20], [3, 4]]), "tensor([[ 1, 20],\n        [ 3,  4]])"),
    (lambda: fnn.tensor(True), "tensor(True)"),
    (lambda: fnn.tensor([float("nan"), float("inf"), 1.0]), "tensor([nan, inf, 1.])"),
    (lambda: fnn.tensor(1.5, dtype=fnn.float64), "tensor(1.5000, dtype=fastnn.float64)"),
    (lambda: fnn.ones(2, requires_grad=True), "tensor([1., 1.], requires_grad=True)"),
    (lambda: fnn.ones(1, requires_grad=True) + 1, "tensor([2.], grad_fn=<AddBackward>)"),
    (lambda: fnn.zeros(0), "tensor([])"),
    (lambda: fnn.zeros(2, 0), "tensor([], size=(2, 0))"),
    (lambda: fnn.arange(2000), "tensor([   0,    1,    2, ..., 1997, 1998, 1999])"),
]


@pytest.mark.parametrize(("make", "text"), REPR, ids=[text for _, text in REPR])
def test_repr_is_pytorchs(make: Any, text: str) -> None:
    assert repr(make()).replace("AddScalarBackward", "AddBackward") == text


def test_copies() -> None:
    x = fnn.ones(2, requires_grad=True)
    x.grad = fnn.full((2,), 3.0)
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.grad.tolist() == [3.0, 3.0]
    with fnn.no_grad():
        y.zero_()
    assert x.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match=r"^Only Tensors created explicitly by the user \(graph leaves\)"):
        copy.deepcopy(x * 2)


def test_hash_outlives_an_assignment_to_data() -> None:
    x = fnn.zeros(2)
    found = {x: "x"}
    x.data = fnn.ones(3, dtype=fnn.float64)
    assert found[x] == "x"
    assert x.shape == (3,)


def test_grad_is_checked() -> None:
    x = fnn.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"^grad: expected a gradient of shape \(2,\); got \(3,\)$"):
        x.grad = fnn.ones(3)
    with pytest.raises(TypeError, match=r"^grad: expected a gradient of dtype float32; got float64$"):
        x.grad = fnn.ones(2, dtype=fnn.float64)


def test_seeds() -> None:
    fnn.manual_seed(3)
    first, state = fnn.randn(5), fnn.get_rng_state()
    second = fnn.rand(5)
    fnn.manual_seed(3)
    assert fnn.equal(fnn.randn(5), first)
    fnn.set_rng_state(state)
    assert fnn.equal(fnn.rand(5), second)
    assert not fnn.equal(first, second)


def test_sizes_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^zeros: expected sizes of at least 0 that fit in memory; got \[-1\]$"):
        fnn.zeros(-1)
    with pytest.raises(ValueError, match=r"^zeros: expected sizes of at least 0 that fit in memory"):
        fnn.zeros(1 << 40, 1 << 40)
