"""Numbers that an argument cannot be: which error says so, and what it names."""

# ruff: noqa: PLW0108  (one form for all rows)

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
import fastnn.nn.functional as F
from fastnn import _core, _types

X = fnn.ones(2, 3)
IMAGE = fnn.ones(1, 1, 4, 4)
KERNEL = fnn.ones(1, 1, 2, 2)
LABELS = fnn.tensor([0, 1])
INT = "an int in [-9223372036854775808, 9223372036854775807]"
INTS = "ints in [-9223372036854775808, 9223372036854775807]"
DIM = f"an int or {INTS}"
SIZE = "an int in [0, 9223372036854775807]"
SIZES = "ints in [0, 9223372036854775807]"
NUMBER = "a number that float64 can hold"
SCALAR = f"a float or {INT}"

# Function, argument, what is expected, and the call with a value of it.
ROWS: list[tuple[str, str, str, Callable[[Any], Any]]] = [
    ("softmax", "dim", INT, lambda v: fnn.softmax(X, v)),
    ("softmax", "dim", INT, lambda v: X.softmax(v)),
    ("log_softmax", "dim", INT, lambda v: fnn.log_softmax(X, v)),
    ("logsumexp", "dim", INT, lambda v: X.logsumexp(v)),
    ("cat", "dim", INT, lambda v: fnn.cat([X, X], v)),
    ("stack", "dim", INT, lambda v: fnn.stack([X, X], v)),
    ("size", "dim", INT, lambda v: X.size(v)),
    ("sum", "dim", DIM, lambda v: X.sum(v)),
    ("mean", "dim", DIM, lambda v: X.mean(v)),
    ("prod", "dim", DIM, lambda v: X.prod(v)),
    ("amax", "dim", DIM, lambda v: X.amax(v)),
    ("amin", "dim", DIM, lambda v: X.amin(v)),
    ("any", "dim", DIM, lambda v: X.any(v)),
    ("all", "dim", DIM, lambda v: X.all(v)),
    ("var", "dim", DIM, lambda v: X.var(v)),
    ("std", "dim", DIM, lambda v: X.std(v)),
    ("std", "correction", NUMBER, lambda v: X.std(correction=v)),
    ("norm", "dim", DIM, lambda v: X.norm(2, v)),
    ("max", "dim", INT, lambda v: X.max(v)),
    ("min", "dim", INT, lambda v: X.min(v)),
    ("argmax", "dim", INT, lambda v: X.argmax(v)),
    ("argmin", "dim", INT, lambda v: X.argmin(v)),
    ("squeeze", "dim", DIM, lambda v: X.squeeze(v)),
    ("unsqueeze", "dim", INT, lambda v: X.unsqueeze(v)),
    ("transpose", "dim1", INT, lambda v: X.transpose(0, v)),
    ("flatten", "end_dim", INT, lambda v: X.flatten(0, v)),
    ("gather", "dim", INT, lambda v: X.gather(v, LABELS)),
    ("scatter_add", "dim", INT, lambda v: X.scatter_add(v, LABELS, X)),
    ("index_select", "dim", INT, lambda v: X.index_select(v, LABELS)),
    ("select", "index", INT, lambda v: X.select(0, v)),
    ("narrow", "start", INT, lambda v: X.narrow(0, v, 1)),
    ("narrow", "length", SIZE, lambda v: X.narrow(0, 0, v)),
    ("split", "split_size", SIZE, lambda v: X.split(v)),
    ("split", "split_size", SIZES, lambda v: X.split([v])),
    ("chunk", "chunks", SIZE, lambda v: X.chunk(v)),
    ("unbind", "dim", INT, lambda v: X.unbind(v)),
    ("reshape", "shape", INTS, lambda v: X.reshape(2, v)),
    ("view", "shape", INTS, lambda v: X.view([v])),
    ("permute", "dims", INTS, lambda v: X.permute(0, v)),
    ("expand", "sizes", INTS, lambda v: X.expand(v, 3)),
    ("zeros", "size", INTS, lambda v: fnn.zeros(2, v)),
    ("full", "size", INTS, lambda v: fnn.full((2, v), 0)),
    ("eye", "m", SIZE, lambda v: fnn.eye(2, v)),
    ("linspace", "steps", SIZE, lambda v: fnn.linspace(0, 1, v)),
    ("randint", "low", INT, lambda v: fnn.randint(v, 3, (2,))),
    ("randint", "high", INT, lambda v: fnn.randint(v, (2,))),
    ("randperm", "n", SIZE, lambda v: fnn.randperm(v)),
    ("one_hot", "num_classes", INT, lambda v: _core.one_hot(LABELS, v)),
    ("set_num_threads", "n", INT, lambda v: fnn.set_num_threads(v)),
    ("uniform_", "b", NUMBER, lambda v: fnn.ones(2).uniform_(0, v)),
    ("normal_", "std", NUMBER, lambda v: fnn.ones(2).normal_(0, v)),
    ("bernoulli_", "p", NUMBER, lambda v: fnn.ones(2).bernoulli_(v)),
    ("elu", "alpha", NUMBER, lambda v: F.elu(X, v)),
    ("leaky_relu", "negative_slope", NUMBER, lambda v: F.leaky_relu(X, v)),
    ("softplus", "threshold", NUMBER, lambda v: F.softplus(X, 1, v)),
    ("cross_entropy", "ignore_index", INT, lambda v: F.cross_entropy(X, LABELS, ignore_index=v)),
    ("nll_loss", "ignore_index", INT, lambda v: F.nll_loss(X, LABELS, ignore_index=v)),
    ("huber_loss", "delta", NUMBER, lambda v: F.huber_loss(X, X, delta=v)),
    ("layer_norm", "normalized_shape", SIZES, lambda v: _core.layer_norm(X, [v], None, None, 1e-5)),
    ("group_norm", "num_groups", SIZE, lambda v: _core.group_norm(X, v, None, None, 1e-5)),
    ("batch_norm", "momentum", NUMBER, lambda v: _core.batch_norm(X, None, None, None, None, True, v, 1e-5)),
    ("conv", "stride", SIZES, lambda v: _core.conv(IMAGE, KERNEL, None, [1, v], [(0, 0)] * 2, [1, 1], 1)),
    ("conv", "groups", SIZE, lambda v: _core.conv(IMAGE, KERNEL, None, [1, 1], [(0, 0)] * 2, [1, 1], v)),
    ("conv", "padding", f"pairs of {SIZES}", lambda v: _core.conv(IMAGE, KERNEL, None, [1], [(0, v)], [1], 1)),
    ("max_pool", "kernel_size", SIZES, lambda v: _core.max_pool(IMAGE, [v, 1], [1, 1], [0, 0], [1, 1], False)),
    ("avg_pool", "divisor_override", INT, lambda v: _core.avg_pool(IMAGE, [1], [1], [0], False, False, v)),
    ("adaptive_avg_pool", "output_size", SIZES, lambda v: _core.adaptive_avg_pool(IMAGE, [v, 2])),
    ("interpolate", "scales", "numbers that float64 can hold", lambda v: _core.interpolate(IMAGE, [2], [v], "", False)),
    ("pad", "pad", f"pairs of {INTS}", lambda v: _core.pad(X, [(v, 1)], "constant", 0)),
    ("pad", "value", SCALAR, lambda v: F.pad(X, (1, 1), value=v)),
    ("linspace", "start", SCALAR, lambda v: fnn.linspace(v, 1, 3)),
    ("linspace", "end", SCALAR, lambda v: fnn.linspace(0, v, 3)),
    ("arange", "end", SCALAR, lambda v: fnn.arange(0, v)),
    ("arange", "step", SCALAR, lambda v: fnn.arange(0, 1, v)),
    ("full", "fill_value", SCALAR, lambda v: fnn.full((2,), v)),
    ("full_like", "fill_value", SCALAR, lambda v: fnn.full_like(X, v)),
    ("add", "alpha", SCALAR, lambda v: X.add(X, alpha=v)),
    ("sub", "alpha", SCALAR, lambda v: X.sub(X, alpha=v)),
    ("add_", "alpha", SCALAR, lambda v: X.clone().add_(X, alpha=v)),
    ("sub_", "alpha", SCALAR, lambda v: X.clone().sub_(X, alpha=v)),
    ("clamp", "min", SCALAR, lambda v: X.clamp(v)),
    ("clamp", "max", SCALAR, lambda v: X.clip(max=v)),
    ("clamp_", "max", SCALAR, lambda v: X.clone().clamp_(max=v)),
    ("masked_fill", "value", SCALAR, lambda v: X.masked_fill(X > 0, v)),
    ("fill_", "value", SCALAR, lambda v: X.clone().fill_(v)),
]  # fmt: skip
NAMES = [f"{op}-{name}-{i}" for i, (op, name, _, _) in enumerate(ROWS)]


@pytest.mark.parametrize(("op", "name", "expected", "call"), ROWS, ids=NAMES)
@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**80, 10**400], ids=["2**63", "-2**63-1", "2**80", "10**400"])
def test_out_of_range_is_a_value_error(op: str, name: str, expected: str, call: Any, value: int) -> None:
    if "number" in expected and value != 10**400:
        return
    with pytest.raises(ValueError, match=rf"^{op}: expected {name} to be {re.escape(expected)}; got .*") as caught:
        call(value)
    assert str(value)[:70] in str(caught.value)


@pytest.mark.parametrize(("op", "name", "expected", "call"), ROWS, ids=NAMES)
@pytest.mark.parametrize("value", ["a", 1j, object(), np.ones(2, np.float32)], ids=["text", "complex", "object", "array"])  # fmt: skip
def test_no_number_is_a_type_error(op: str, name: str, expected: str, call: Any, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{op}: expected {name} to be {re.escape(expected)}; got .*"):
        call(value)


@pytest.mark.parametrize("value", [1, True, np.int8(1), np.uint64(1), np.array(1), fnn.tensor(1), fnn.tensor([1])])
def test_whatever_is_an_index_is_an_int(value: Any) -> None:
    assert X.softmax(value).shape == (2, 3)
    assert X.sum(value).shape == (2,)
    assert fnn.zeros(2, value).shape == (2, 1)
    assert X.narrow(0, 0, value).shape == (1, 3)


def test_negative_sizes_are_value_errors() -> None:
    with pytest.raises(
        ValueError, match=r"^narrow: expected length to be an int in \[0, 9223372036854775807\]; got -1$"
    ):
        X.narrow(0, 0, -1)


def test_a_number_that_no_element_can_hold() -> None:
    text = r"^expected integers that int64 can hold; got 1000000000"
    for call in (
        lambda: X + 10**400,
        lambda: 10**400 * X,
        lambda: X.pow(10**400),
        lambda: X == 10**400,
        lambda: fnn.ones(2).mul_(10**400),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_slices_end_where_the_dimension_does() -> None:
    assert X[-(2**70) : 2**70].shape == (2, 3)
    assert X[2**70 :].shape == (0, 3)
    with pytest.raises(IndexError, match=r"^index 1180591620717411303424 is out of bounds of any dimension$"):
        X[2**70]


def test_integers_too_long_to_write() -> None:
    with pytest.raises(ValueError, match=r"; got int too long to show$"):
        X.softmax(1 << 100_000)


WORDS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("cross_entropy", "reduction", lambda v: F.cross_entropy(X, LABELS, reduction=v)),
    ("nll_loss", "reduction", lambda v: F.nll_loss(X, LABELS, reduction=v)),
    ("mse_loss", "reduction", lambda v: F.mse_loss(X, X, reduction=v)),
    ("huber_loss", "reduction", lambda v: F.huber_loss(X, X, reduction=v)),
    ("binary_cross_entropy", "reduction", lambda v: F.binary_cross_entropy(X, X, reduction=v)),
    ("kl_div", "reduction", lambda v: F.kl_div(X, X, reduction=v)),
    ("gelu", "approximate", lambda v: F.gelu(X, v)),
]


@pytest.mark.parametrize(("op", "name", "call"), WORDS, ids=[row[0] for row in WORDS])
def test_what_is_no_word_is_named(op: str, name: str, call: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{op}: expected {name} to be text; got None$"):
        call(None)
    with pytest.raises(ValueError, match=rf"^{op}: expected {name} to be text; got '\\ud800'$"):
        call("\ud800")


class Lies:
    """Claims to be a number, and is none."""

    def __index__(self) -> int:
        raise TypeError

    __float__ = __index__


@pytest.mark.parametrize("value", ["3", None, [1], 1j, Lies(), Lies, np.ones(2, int), fnn.ones(2), True])
def test_checks_of_settings_name_what_is_no_number(value: Any) -> None:
    got = re.escape(_types.shown(value))
    with pytest.raises(TypeError, match=rf"^Layer: expected size to be an int; got {got}$"):
        _types.check_at_least("Layer", "size", value, 1)
    with pytest.raises(TypeError, match=rf"^Layer: expected size to be a number; got {got}$"):
        _types.check_number("Layer", "size", value)


@pytest.mark.parametrize("value", [3, np.int8(3), np.array(3), fnn.tensor(3), fnn.tensor([3])])
def test_checks_of_settings_take_whatever_is_a_number(value: Any) -> None:
    assert _types.check_integer("Layer", "size", value) == 3
    assert _types.check_number("Layer", "size", value) == 3.0
    _types.check_at_least("Layer", "size", value, 3)
    with pytest.raises(ValueError, match=r"^Layer: expected size of at least 4; got "):
        _types.check_at_least("Layer", "size", value, 4)


def test_a_setting_beyond_float64_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^Layer: expected p to be a number that float64 can hold; got 1000"):
        _types.check_number("Layer", "p", 10**400)


def test_checks_of_tensors_and_sequences_say_what_came() -> None:
    x = fnn.ones(2)
    assert _types.check_tensors("f", "inputs", x) == [x]
    assert _types.check_tensors("f", "inputs", iter([x, x])) == [x, x]
    for value, got in ((3, "3"), ([x, "a"], "'a'"), ([x, None], "None")):
        with pytest.raises(TypeError, match=rf"^f: expected inputs to be (a Tensor or several|Tensors); got {got}$"):
            _types.check_tensors("f", "inputs", value)
    with pytest.raises(TypeError, match=r"^f: expected data to have a length; got generator$"):
        _types.check_length("f", "data", (i for i in ()))
    with pytest.raises(TypeError, match=r"^f: expected hook to be a function; got 'a'$"):
        _types.check_callable("f", "hook", "a")
    for value in ("c", None, ["a"], 1.5):
        with pytest.raises(ValueError, match=rf"^f: expected mode to be 'a' or 'b'; got {re.escape(repr(value))}$"):
            _types.check_choice("f", "mode", value, ("a", "b"))
