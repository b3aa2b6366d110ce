"""Every integer argument, from -2**63 to 2**64: an error of the right kind, or a result; never the end of the process."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from fastnn import nn
from fastnn.nn import functional as F
from tests.limits.cases import CALLS, FUNCTIONS, LAYERS
from tests.limits.process import outcomes

# Batches, each in a process that may have so many MiB: what is absurdly large is refused, and not made.
BATCHES, MEBIBYTES = 6, 1024

# Allowed outcomes: PyTorch's kinds of errors, and IndexError for a dimension or an index.
ALLOWED = re.compile(r"^(returned|(ValueError|TypeError|MemoryError|IndexError|_ArrayMemoryError):)")


def cases() -> list[tuple[str, Callable[[], Any]]]:
    """Return every variation of every call."""

    return [(name, partial(call, **arguments)) for call in CALLS for name, arguments in call.variations()]


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_number_ends_the_process_or_raises_the_wrong_kind(batch: int) -> None:
    found = outcomes("tests.limits.test_huge_numbers:cases", batch, BATCHES, MEBIBYTES)
    assert found
    wrong = {case: how for case, how in found.items() if not ALLOWED.match(how)}
    assert not wrong, "\n".join(f"{case}: {how}" for case, how in wrong.items())


# Arguments of another kind than their annotation's int.
NOT_NUMBERS = {"data", "args", "kwargs", "output_ratio", "samples"}


@pytest.mark.parametrize(("module", "table"), [(F, FUNCTIONS), (nn, LAYERS)], ids=["functional", "nn"])
def test_every_integer_argument_is_in_the_table(module: Any, table: list[Any]) -> None:
    listed = {}
    for call in table:
        listed.setdefault(call.name.split()[0], set()).update(call.arguments)
    for name in module.__all__:
        value = getattr(module, name)
        if not callable(value):
            continue
        for parameter in inspect.signature(value).parameters.values():
            if re.search(r"\bint\b|\bSize\b|object|Any", str(parameter.annotation)) and parameter.name not in NOT_NUMBERS | {"dtype", "device"}:  # fmt: skip
                assert parameter.name in listed.get(name, ()), f"{name}({parameter.name})"
