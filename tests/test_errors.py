"""Bad input from a user: the exception, the whole message, and that nothing was changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
Y = np.arange(12) % 2


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def net() -> nn.Sequential:
    fnn.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))


def sgd(model: nn.Module) -> optim.Optimizer:
    return optim.SGD(model.parameters(), lr=0.1)


def trainer(**options: Any) -> fnn.Trainer:
    model = net()
    return fnn.Trainer(model, nn.CrossEntropyLoss(), sgd(model), **options)


def step() -> fnn.TrainStep:
    model = net()
    return fnn.TrainStep(model, nn.CrossEntropyLoss(), sgd(model))


def linear() -> nn.Linear:
    return nn.Linear(4, 3)


def backward_twice() -> None:
    loss = linear()(X).sum()
    loss.backward()
    loss.backward()


NO_ARRAY = "expected an array of float32, float64, bool or integers"
CPU = "expected device 'cpu', the only one fastnn has; got 'cuda'"

CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    # Shapes
    (lambda: linear()(ones(2, 5)), ValueError, "Linear(4, 3): expected input of shape (*, 4); got (2, 5)"),
    (lambda: linear()(np.array(1, np.float32)), ValueError, "Linear(4, 3): expected input of shape (*, 4); got ()"),
    (lambda: nn.BatchNorm1d(3)(ones(3)), ValueError, "BatchNorm1d(3): expected input of shape (n, 3); got (3,)"),
    (lambda: nn.BatchNorm1d(3)(ones(2, 3, 1, 1)), ValueError, "BatchNorm1d(3): expected input of shape (n, 3); got (2, 3, 1, 1)"),
    (lambda: nn.BatchNorm1d(3)(ones(1, 3)), ValueError, "BatchNorm1d(3): batch_norm: expected more than 1 value per channel when training; got input of shape (1, 3)"),
    (lambda: F.mse_loss(ones(5, 1), ones(5)), ValueError, "mse_loss: expected target of shape (5, 1); got (5,)"),
    (lambda: F.softmax(ones(2, 2), dim=5), IndexError, "softmax: expected dim in [-2, 1]; got 5"),
    (lambda: fnn.zeros(0).max(), ValueError, "max: expected at least one element to choose from; got (0,)"),
    (lambda: fnn.zeros(1 << 40, 1 << 30), ValueError, "zeros: expected sizes of at least 0 that fit in memory; got [1099511627776, 1073741824]"),
    (lambda: fnn.zeros(1 << 50), MemoryError, "zeros: can't allocate memory: you tried to allocate 4503599627370496 bytes"),
    (lambda: fnn.zeros(1 << 24, 1) + fnn.zeros(1, 1 << 24), MemoryError, "add: can't allocate memory: you tried to allocate 1125899906842624 bytes"),
    (lambda: fnn.ones(1).expand(1 << 40, 1 << 40), ValueError, "expand: expected sizes that fit in memory; got (1099511627776, 1099511627776)"),
    # Types
    (lambda: linear()(ones(2, 4, dtype=np.float64)), TypeError, "Linear(4, 3): linear: expected tensors of one dtype; got float64 and float32"),
    (lambda: linear()(ones(2, 4, dtype=np.int64)), TypeError, "Linear(4, 3): expected floating-point numbers; got an array of int64"),
    (lambda: linear()(ones(2, 4, dtype=bool)), TypeError, "Linear(4, 3): expected floating-point numbers; got an array of bool"),
    (lambda: linear()(ones(2, 4, dtype=np.float16)), TypeError, f"Linear(4, 3): {NO_ARRAY}; got float16"),
    (lambda: linear()(ones(2, 4, dtype=np.complex64)), TypeError, f"Linear(4, 3): {NO_ARRAY}; got complex64"),
    (lambda: linear()(np.array([["a"] * 4])), TypeError, f"Linear(4, 3): {NO_ARRAY}; got <U1"),
    (lambda: linear()(np.array([[None] * 4])), TypeError, f"Linear(4, 3): {NO_ARRAY}; got object"),
    (lambda: linear()(None), TypeError, "Linear(4, 3): expected a tensor or an array; got NoneType"),
    (lambda: nn.BatchNorm1d(3)(ones(2, 3, dtype=np.int64)), TypeError, "BatchNorm1d(3): expected floating-point numbers; got an array of int64"),
    (lambda: fnn.manual_seed("a"), TypeError, "manual_seed: expected an int; got str"),
    # Labels
    (lambda: F.cross_entropy(ones(3, 2), np.array([0, 2, 1])), ValueError, "cross_entropy: expected labels in [0, 2) or ignore_index -100; got 2 at position 1"),
    (lambda: F.cross_entropy(ones(3, 2), np.array([0, 1, -1])), ValueError, "cross_entropy: expected labels in [0, 2) or ignore_index -100; got -1 at position 2"),
    (lambda: F.cross_entropy(ones(3, 2), np.array([0, 1])), ValueError, "cross_entropy: expected target of shape (3,); got (2,)"),
    (lambda: F.cross_entropy(ones(3, 2), ones(3)), ValueError, "cross_entropy: expected target of shape (3, 2); got (3,)"),
    (lambda: F.cross_entropy(ones(3, 2), Y[:3], weight=ones(3)), ValueError, "cross_entropy: expected weight of shape (2,); got (3,)"),
    (lambda: F.binary_cross_entropy(ones(2) * 2, ones(2)), ValueError, "binary_cross_entropy: expected input in [0, 1]; got 2"),
    # Steps and fits
    (lambda: step()(X[:5], Y[:4]), ValueError, "cross_entropy: expected target of shape (5,); got (4,)"),
    (lambda: step()(X[:, :3], Y), ValueError, "Linear(4, 3): expected input of shape (*, 4); got (12, 3)"),
    (lambda: step()(X.astype(np.float64), Y), TypeError, "Linear(4, 3): linear: expected tensors of one dtype; got float64 and float32"),
    (lambda: step()(X[:1], Y[:1]), ValueError, "BatchNorm1d(3): batch_norm: expected more than 1 value per channel when training; got input of shape (1, 3)"),
    (lambda: trainer().fit(X, Y[:11]), ValueError, "Trainer.fit: expected x and y of one length; got 12 and 11"),
    (lambda: trainer().fit(X[:0], Y[:0]), ValueError, "Trainer.fit: expected at least one row in x; got shape (0, 4)"),
    (lambda: trainer().fit(X, Y + 1, batch_size=4, shuffle=False), ValueError, "cross_entropy: expected labels in [0, 2) or ignore_index -100; got 2 at position 1"),
    # Optimizers
    (lambda: optim.Adam([]), ValueError, "optimizer got an empty parameter list"),
    (lambda: optim.SGD(linear().parameters(), lr=-1), ValueError, "SGD: expected lr of at least 0; got -1"),
    (lambda: optim.Adam(linear().parameters(), lr=float("nan")), ValueError, "Adam: expected lr of at least 0; got nan"),
    (lambda: optim.Adam(linear().parameters(), betas=(0.9, 1.0)), ValueError, "Adam: expected betas[1] in [0, 1); got 1"),
    # Devices, in-place changes, the tape
    (lambda: fnn.zeros(2, device="cuda"), ValueError, CPU),
    (lambda: fnn.zeros(2).to("cuda"), ValueError, CPU),
    (lambda: linear().cuda(), ValueError, f"Linear.to: {CPU}"),
    (lambda: linear().to("cuda"), ValueError, f"Linear.to: {CPU}"),
    (lambda: linear().weight.add_(1), RuntimeError, "add_: a leaf tensor that requires grad is changed in place; expected this under no_grad()"),
    (backward_twice, RuntimeError, "backward: Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Specify retain_graph=True if you need to backward through the graph a second time."),
    (lambda: linear()(X).backward(), RuntimeError, "backward: grad can be implicitly created only for scalar outputs"),
    (lambda: fnn.ones(1).sum().backward(), RuntimeError, "backward: element 0 of tensors does not require grad and does not have a grad_fn"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=range(len(CASES)))
def test_messages(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bias"), 'Missing key(s) in state_dict: "bias". '),
        (lambda s: s.update(foo=ones(1)), 'Unexpected key(s) in state_dict: "foo". '),
        (lambda s: s.update(weight=ones(4, 3)), "size mismatch for weight: copying a param with shape (4, 3) from checkpoint, the shape in current model is (3, 4)."),
        (lambda s: s.update(bias="x"), 'While copying the parameter named "bias", an exception occurred : expected a tensor or a NumPy array; got str.'),
    ],
)  # fmt: skip
def test_a_state_that_does_not_fit_changes_nothing(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    layer, other = linear(), linear()
    before = {name: value.numpy().copy() for name, value in layer.state_dict().items()}
    state = dict(other.state_dict())
    change(state)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        layer.load_state_dict(state)
    assert str(caught.value) == f"Error(s) in loading state_dict for Linear:\n\t{message}"
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("planned", [False, True])
def test_a_value_that_is_not_finite_is_found_and_changes_nothing(bad: float, planned: bool) -> None:
    fitted = trainer()
    if planned:
        fitted.fit(X, Y, batch_size=4, shuffle=False, verbose=False)
        assert fitted.step.reason is None
    x = X.copy()
    x[1, 2] = bad
    before = {name: value.numpy().copy() for name, value in fitted.model.state_dict().items()}
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (matched whole below)
        fitted.fit(x, Y, batch_size=4, shuffle=False, verbose=False)
    assert (
        str(caught.value)
        == "Trainer.fit: the loss is nan in epoch 0, batch 0: row 1 of x holds a value that is not finite"
    )
    for name, value in fitted.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    fitted.fit(X, Y, batch_size=4, verbose=False)


def test_the_layer_is_named() -> None:
    fitted = trainer()
    fitted.model[3].register_forward_hook(lambda module, args, output: output / 0)
    with pytest.raises(ValueError, match=r": the first value that is not finite comes out of layer '3', Linear\(.*\)$"):
        fitted.fit(X, Y, verbose=False)


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "turn",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        _read_only,
        lambda x: x.astype(">f4"),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view("<f4").reshape(x.shape),
        memoryview,
    ],
    ids=["fortran", "strided", "reversed", "read-only", "big-endian", "unaligned", "memoryview"],
)  # fmt: skip
def test_arrays_of_every_kind_work(turn: Callable[[np.ndarray], Any]) -> None:
    layer = linear()
    x = turn(X)
    np.testing.assert_array_equal(np.asarray(layer(x).detach()), np.asarray(layer(X).detach()))
    np.testing.assert_array_equal(np.asarray(F.dropout(x, 0.5, training=False)), X)


def test_one_array_as_input_and_output() -> None:
    x = X.copy()
    shared = fnn.from_numpy(x)
    shared.add_(shared)
    np.testing.assert_array_equal(x, X + X)
    square = fnn.from_numpy(np.arange(9.0).reshape(3, 3))
    expected = np.asarray(square) + np.asarray(square).T
    np.testing.assert_array_equal(np.asarray(square.add_(square.t())), expected)
    parameter = X.copy()
    optim.SGD([parameter], lr=0.5).step(grads=[parameter])
    np.testing.assert_array_equal(parameter, X / 2)
    running = fnn.ones(4)
    message = "^batch_norm: expected running_mean and running_var to share no memory; got two that do$"
    with pytest.raises(ValueError, match=message):
        F.batch_norm(X, running, running, None, None, training=True)
    assert running.tolist() == [1.0] * 4


def test_an_empty_batch_has_an_empty_result() -> None:
    assert linear()(X[:0]).shape == (0, 3)
    assert net().eval()(X[:0]).shape == (0, 2)
    assert np.isnan(F.cross_entropy(ones(0, 2), Y[:0]).item())
    layer = linear()
    layer(X[:0]).sum().backward()
    assert layer.weight.grad is not None
    assert not np.asarray(layer.weight.grad).any()


# No shape, dtype or number makes a panic, which is no `Exception`.

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b, n: a + b,
    "matmul": lambda a, b, n: a @ b,
    "pow": lambda a, b, n: a**b,
    "linear": lambda a, b, n: F.linear(a, b),
    "bilinear": lambda a, b, n: F.bilinear(a, a, b),
    "batch_norm": lambda a, b, n: F.batch_norm(a, None, None, b, training=True),
    "prelu": lambda a, b, n: F.prelu(a, b),
    "softmax": lambda a, b, n: F.softmax(a, dim=n),
    "sum": lambda a, b, n: a.sum(n),
    "var": lambda a, b, n: a.var(n, keepdim=True),
    "max": lambda a, b, n: a.max(n).values,
    "logsumexp": lambda a, b, n: a.logsumexp(n),
    "reshape": lambda a, b, n: a.reshape(n, -1),
    "narrow": lambda a, b, n: a.narrow(0, n, 2),
    "index": lambda a, b, n: a[n],
    "slice": lambda a, b, n: a[n:, None, ..., :n],
    "mask": lambda a, b, n: a[b > 0],
    "take": lambda a, b, n: a[b.long()],
    "gather": lambda a, b, n: a.gather(n, b.long()),
    "index_select": lambda a, b, n: a.index_select(n, b.long()),
    "scatter_add": lambda a, b, n: fnn.scatter_add(a, n, b.long(), a),
    "cat": lambda a, b, n: fnn.cat([a, b], dim=n),
    "split": lambda a, b, n: a.split(n),
    "where": lambda a, b, n: fnn.where(a > b, a, n),
    "cross_entropy": lambda a, b, n: F.cross_entropy(a, b.long(), ignore_index=n),
    "cross_entropy probabilities": lambda a, b, n: F.cross_entropy(a, b, label_smoothing=0.1),
    "nll_loss": lambda a, b, n: F.nll_loss(a, b.long()),
    "mse_loss": lambda a, b, n: F.mse_loss(a, b),
    "binary_cross_entropy": lambda a, b, n: F.binary_cross_entropy(a, b, b),
    "kl_div": lambda a, b, n: F.kl_div(a, b, reduction="batchmean"),
    "dropout": lambda a, b, n: F.dropout(a, n),
    "in place": lambda a, b, n: (a * 1).add_(b),
    "assignment": lambda a, b, n: (a * 1).__setitem__(n, b),
}
shapes = st.lists(st.sampled_from([0, 1, 2, 3, 17]), max_size=4).map(tuple)
dtypes = st.sampled_from([np.float32, np.float64, np.int64, np.bool_])
numbers = st.sampled_from([0, 1, 2, -1, -2, 7, 2**31, -(2**31), 2**63 - 1, -(2**63)])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(FUNCTIONS)), shapes, st.none() | shapes, dtypes, dtypes, numbers, st.booleans(), st.booleans())  # fmt: skip
def test_nothing_panics(
    name: str, first: Any, second: Any, a_dtype: Any, b_dtype: Any, n: int, turned: bool, special: bool
) -> None:
    rng = np.random.default_rng(len(name))
    a = rng.normal(size=first).astype(a_dtype)
    b = rng.normal(size=first if second is None else second).astype(b_dtype)
    if special and a.size and a.dtype.kind == "f":
        a.flat[0] = np.nan
    a = a.T if turned else a
    tensors = [fnn.tensor(value) if value.flags.c_contiguous else fnn.from_numpy(value) for value in (a, b)]
    for tensor in tensors:
        if tensor.is_floating_point():
            tensor.requires_grad_()
    try:
        result = FUNCTIONS[name](*tensors, n)
        if isinstance(result, fnn.Tensor) and result.requires_grad:
            result.sum().backward()
    except (ValueError, TypeError, IndexError, RuntimeError):
        pass
