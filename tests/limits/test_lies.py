"""Objects that contradict themselves: an error, or what they say at last; never the end of the process."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import augment, data, nn, optim
from fastnn.nn import functional as F
from tests.limits.process import outcomes


class Sizes(list[Any]):
    """A list that says another length than it has."""

    length: Any = 0

    def __len__(self) -> int:
        return self.length  # type: ignore[no-any-return]


def lying(length: Any, *items: Any) -> Any:
    """Return a list of items that says this length."""
    made = Sizes(items)
    made.length = length
    return made


class Sequence:
    """A sequence by methods; what they do is given."""

    def __init__(self, length: Any, item: Callable[[int], Any]) -> None:
        self.length = length
        self.item = item

    def __len__(self) -> int:
        return self.length() if callable(self.length) else self.length  # type: ignore[no-any-return]

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


def failing(*_: Any) -> Any:
    """Raise what no one expects."""
    raise LookupError("a lie")


def of_three(make: Callable[[], Any]) -> Callable[[int], Any]:
    """Return an item of three for each index, as a sequence does."""

    def item(index: int) -> Any:
        if index >= 3:
            raise IndexError(index)
        return make()

    return item


class Number:
    """A number whose conversions are given."""

    def __init__(self, convert: Callable[..., Any]) -> None:
        self.convert = convert

    def __index__(self) -> int:
        return self.convert(self)  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return self.convert(self)  # type: ignore[no-any-return]


class Counting:
    """An integer that is another one every time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __index__(self) -> int:
        self.asked += 1
        return 1 if self.asked == 1 else 2**62


class Arrays:
    """Something that says that it is an array."""

    def __init__(self, array: Callable[..., Any]) -> None:
        self.array = array

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.array(*args, **kwargs)


def nested() -> list[Any]:
    """Return a list that is its own item."""
    own: list[Any] = []
    own.append(own)
    return own


def deep(depth: int) -> Any:
    """Return a list of a list of a list …"""
    value: Any = 1.0
    for _ in range(depth):
        value = [value]
    return value


LENGTHS = (0, 1, 5, 2**31, 2**62, 2**63 - 1)

# Functions of a sequence of numbers, of tensors, or of any nested data.
OF_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "tensor": fnn.tensor,
    "as_tensor": fnn.as_tensor,
    "zeros": fnn.zeros,
    "full": lambda s: fnn.full(s, 1.0),
    "reshape": lambda s: fnn.ones(6).reshape(s),
    "expand": lambda s: fnn.ones(1).expand(s),
    "permute": lambda s: fnn.ones(1, 2, 3).permute(s),
    "sum": lambda s: fnn.ones(1, 2, 3).sum(s),
    "index": lambda s: fnn.ones(6)[s],
    "split": lambda s: fnn.ones(6).split(s),
    "randint": lambda s: fnn.randint(0, 4, s),
    "conv1d": lambda s: F.conv1d(fnn.ones(1, 1, 5), fnn.ones(1, 1, 2), stride=s),
    "max_pool2d": lambda s: F.max_pool2d(fnn.ones(1, 1, 5, 5), s),
    "adaptive_avg_pool2d": lambda s: F.adaptive_avg_pool2d(fnn.ones(1, 1, 5, 5), s),
    "interpolate": lambda s: F.interpolate(fnn.ones(1, 1, 5, 5), size=s),
    "interpolate by factors": lambda s: F.interpolate(fnn.ones(1, 1, 5, 5), scale_factor=s),
    "pad": lambda s: F.pad(fnn.ones(1, 1, 5, 5), s),
    "layer_norm": lambda s: F.layer_norm(fnn.ones(2, 3), s),
    "LayerNorm": lambda s: nn.LayerNorm(s)(fnn.ones(2, 3)),
    "Conv2d": lambda s: nn.Conv2d(1, 2, s)(fnn.ones(1, 1, 5, 5)),
    "Unflatten": lambda s: nn.Unflatten(0, s)(fnn.ones(6)),
    "RandomCrop": lambda s: augment.RandomCrop(s)(np.ones((1, 1, 9, 9), np.float32)),
    "ElasticTransform": lambda s: augment.ElasticTransform(s)(np.ones((1, 1, 9, 9), np.float32)),
    "Normalize": lambda s: augment.Normalize(s, s)(np.ones((1, 3, 9, 9), np.float32)),
    "default_collate": data.default_collate,
    "default_convert": data.default_convert,
    "random_split": lambda s: data.random_split(range(6), s),
    "Subset": lambda s: list(data.DataLoader(data.Subset(range(9), s), 2)),
    "DataLoader": lambda s: list(data.DataLoader(s, 2)),
    "DataLoader in order": lambda s: list(data.DataLoader(range(9), 2, sampler=s)),
    "predict": lambda s: fnn.Trainer(nn.Linear(3, 1), nn.MSELoss(), optim.SGD([nn.Parameter(fnn.ones(1))], 0.1)).predict(s),
}  # fmt: skip
OF_TENSORS: dict[str, Callable[[Any], Any]] = {
    "cat": fnn.cat,
    "stack": fnn.stack,
    "grad": lambda s: fnn.autograd.grad(fnn.ones(3, requires_grad=True).sum(), s, allow_unused=True),
    "SGD": lambda s: optim.SGD(s, lr=0.1).step(),
    "LBFGS": optim.LBFGS,
    "TensorDataset": lambda s: data.TensorDataset(*s),
    "default_collate of tensors": data.default_collate,
}
OF_A_NUMBER: dict[str, Callable[[Any], Any]] = {
    "fill": lambda n: fnn.ones(3).fill_(n),
    "add": lambda n: fnn.ones(3) + n,
    "zeros": fnn.zeros,
    "arange": fnn.arange,
    "linspace": lambda n: fnn.linspace(0.0, 1.0, n),
    "sum": lambda n: fnn.ones(3, 3).sum(n),
    "index": lambda n: fnn.ones(3)[n],
    "chunk": lambda n: fnn.ones(3).chunk(n),
    "narrow": lambda n: fnn.ones(3).narrow(0, n, n),
    "clamp": lambda n: fnn.ones(3).clamp(n, n),
    "conv1d": lambda n: F.conv1d(fnn.ones(1, 1, 5), fnn.ones(1, 1, 2), stride=n, padding=n, dilation=n, groups=n),
    "max_pool1d": lambda n: F.max_pool1d(fnn.ones(1, 1, 5), n),
    "interpolate": lambda n: F.interpolate(fnn.ones(1, 1, 5), size=n),
    "pixel_shuffle": lambda n: F.pixel_shuffle(fnn.ones(1, 4, 2, 2), n),
    "pad": lambda n: F.pad(fnn.ones(5), [n, n]),
    "dropout": lambda n: F.dropout(fnn.ones(5), n),
    "Linear": lambda n: nn.Linear(n, n),
    "SGD": lambda n: optim.SGD([nn.Parameter(fnn.ones(1))], lr=n),
    "DataLoader": lambda n: data.DataLoader(range(4), batch_size=n),
    "manual_seed": fnn.manual_seed,
}


def cases() -> list[tuple[str, Callable[[], Any]]]:
    """Return everything that reads an object with everything that lies."""
    found: list[tuple[str, Callable[[], Any]]] = []

    def add(name: str, read: Callable[[Any], Any], what: str, make: Callable[[], Any]) -> None:
        found.append((f"{name} of {what}", lambda: read(make())))

    for table, item in ((OF_NUMBERS, lambda: 2), (OF_TENSORS, lambda: nn.Parameter(fnn.ones(3)))):
        for name, read in table.items():
            for length in LENGTHS:
                add(
                    name,
                    read,
                    f"a list that says {length}",
                    partial(lambda n, i: lying(n, i(), i(), i()), length, item),
                )
                add(
                    name,
                    read,
                    f"a sequence that says {length}",
                    partial(lambda n, i: Sequence(n, of_three(i)), length, item),
                )
            add(name, read, "a sequence of a negative length", partial(Sequence, -1, of_three(item)))
            add(name, read, "a sequence without a length", partial(Sequence, failing, of_three(item)))
            add(name, read, "a sequence without items", partial(Sequence, 3, failing))
            add(name, read, "a sequence of None", partial(Sequence, 3, of_three(lambda: None)))
            add(name, read, "a list in itself", nested)
            add(name, read, "a tuple of a list in itself", lambda: (nested(),))
            add(name, read, "deep lists", partial(deep, 200))
            add(name, read, "a dict", dict)
            add(name, read, "text", lambda: "text")
            add(name, read, "an array that fails", partial(Arrays, failing))
            add(name, read, "an array that is none", partial(Arrays, lambda *_, **__: 3))
    for name, read in OF_A_NUMBER.items():
        add(name, read, "a number that fails", partial(Number, failing))
        add(name, read, "a number that is text", partial(Number, lambda _: "3"))
        add(name, read, "a number that is huge", partial(Number, lambda _: 2**100))
        add(name, read, "a number that grows", Counting)
        add(name, read, "a list in itself", nested)
    return found


# The object's own exception is raised as it is.
ALLOWED = re.compile(
    r"^(returned|(ValueError|TypeError|MemoryError|IndexError|LookupError: 'a lie'|LookupError|RecursionError)\b)"
)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("batch", range(2))
def test_lies_are_refused_or_believed(batch: int) -> None:
    found = outcomes("tests.limits.test_lies:cases", batch, 2, 1024)
    assert found
    wrong = {case: how for case, how in found.items() if not ALLOWED.match(how)}
    assert not wrong, "\n".join(f"{case}: {how}" for case, how in wrong.items())


def test_a_setting_is_read_once() -> None:
    y = F.conv1d(fnn.ones(1, 1, 5), fnn.ones(1, 1, 2), stride=Counting())  # type: ignore[arg-type]
    assert y.shape == (1, 1, 4)
