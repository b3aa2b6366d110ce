"""Memory that runs out: a MemoryError that names the op and the bytes, and a process that goes on."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, augment, data, nn, optim, unsupervised
from tests.limits.process import Verdict, memory_used, outcomes
from tests.ops.table import OPS, Op

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")

BATCHES = 3
KIB, MIB = 1 << 10, 1 << 20
# Bytes of large blocks that are kept for later, and elements of those that come from the system.
KEPT, LEAST = 64 * MIB, 1 << 14


@contextlib.contextmanager
def little(more: int) -> Iterator[None]:
    """Within it, the process may take only so many more bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_used() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _starved(work: Callable[[], Any], mores: tuple[int, ...]) -> Verdict:
    """Run work with ever less memory; say how often it was refused some. Then a small op must work."""
    refused = 0
    for more in mores:
        try:
            with little(more):
                work()
        except MemoryError:
            refused += 1
        if (fnn.ones(3) + 1).tolist() != [2.0, 2.0, 2.0]:
            return Verdict("a small op is wrong afterwards")
    return Verdict(f"refused {refused} times")


def _of_op(op: Op) -> Verdict:
    case = max(range(len(op.shapes)), key=lambda i: sum(map(np.prod, op.shapes[i])))
    arrays = op.inputs(case)

    def work() -> fnn.Tensor:
        result = op.run(*(fnn.tensor(array, requires_grad=op.grad) for array in arrays))
        if op.grad:
            result.sum().backward()
        return result  # type: ignore[no-any-return]

    # All blocks of these sizes that are kept for later are taken, so that others are asked for.
    sizes = {array.size for array in arrays} | {work().numel()}
    taken = [
        fnn.empty(size, dtype=fnn.float64) for size in sizes for _ in range(KEPT // (8 * size + 1)) if size > LEAST
    ]
    outcome = _starved(work, (1 * MIB, 128 * KIB, 32 * KIB, 0))
    del taken
    return outcome


# Numbers that take 256 MiB and more, of which there are 100.
N, SIDE = 1 << 26, 1 << 13


def _training() -> Any:
    model = nn.Linear(SIDE, SIDE)
    trainer = fnn.Trainer(model, fnn.nn.MSELoss(), optim.Adam(model.parameters()))
    return trainer.fit(np.ones((2, SIDE), np.float32), np.ones((2, SIDE), np.float32), epochs=1, verbose=0)


LARGE: dict[str, Callable[[], Any]] = {
    **{f"{name}({N})": partial(getattr(fnn, name), N) for name in ("zeros", "ones", "empty", "rand", "randn")},
    "full": lambda: fnn.full((N,), 1.5),
    "arange": lambda: fnn.arange(N),
    "linspace": lambda: fnn.linspace(0.0, 1.0, N),
    "eye": lambda: fnn.eye(SIDE),
    "randint": lambda: fnn.randint(0, 5, (N,)),
    "randperm": lambda: fnn.randperm(N),
    "one_hot": lambda: _core.one_hot(fnn.zeros(SIDE, dtype=fnn.int64), SIDE),
    "expand and copy": lambda: fnn.ones(1).expand(N).contiguous(),
    "nonzero": lambda: fnn.ones(1).expand(N // 8).nonzero(),
    "tolist": lambda: fnn.ones(1).expand(N).tolist(),
    "cat": lambda: fnn.cat([fnn.ones(1).expand(N // 4)] * 4),
    "cast": lambda: fnn.ones(1).expand(N).double(),
    "matmul": lambda: fnn.ones(SIDE, 1) @ fnn.ones(1, SIDE),
    "sort of batches": lambda: list(data.RandomSampler(range(10), num_samples=N)),
    "conv2d": lambda: nn.functional.conv2d(fnn.ones(1, 1, 9, 9), fnn.ones(64, 1, 3, 3), padding=SIDE // 4),
    "adaptive_avg_pool2d": lambda: nn.functional.adaptive_avg_pool2d(fnn.ones(1, 1, 9, 9), SIDE),
    "adaptive_max_pool2d": lambda: nn.functional.adaptive_max_pool2d(fnn.ones(1, 1, 9, 9), SIDE),
    "interpolate": lambda: nn.functional.interpolate(fnn.ones(1, 1, 9), size=N, mode="linear"),
    "pad": lambda: nn.functional.pad(fnn.ones(1, 1, 9), (N, 0)),
    "replicate": lambda: nn.functional.pad(fnn.ones(1, 1, 9), (N, 0), mode="replicate"),
    "Linear": lambda: nn.Linear(SIDE, SIDE),
    "training": _training,
    "crop": lambda: augment.RandomCrop(SIDE, pad_if_needed=True)(np.ones((1, 1, 9, 9), np.float32)),
    "elastic": lambda: augment.ElasticTransform()(np.ones((1, 1, SIDE, SIDE), np.float32)),
    "RBM": lambda: unsupervised.RBM(SIDE, SIDE).fit(np.ones((2, SIDE), np.float32), epochs=1, verbose=0),
}


def cases() -> list[tuple[str, Callable[[], Any]]]:
    """Return every op of the table, and what makes much of little."""
    ops = [(op.name, partial(_of_op, op)) for op in OPS]
    return ops + [(f"large {name}", partial(_starved, work, (100 * MIB,))) for name, work in LARGE.items()]


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_memory_is_a_memory_error(batch: int) -> None:
    found = outcomes("tests.limits.test_memory:cases", batch, BATCHES)
    wrong = {case: how for case, how in found.items() if not how.startswith("refused")}
    assert not wrong, "\n".join(f"{case}: {how}" for case, how in wrong.items())
    # Requests larger than all memory are refused for certain.
    assert all(how == "refused 1 times" for case, how in found.items() if case.startswith("large "))
    assert sum(how != "refused 0 times" for how in found.values()) > len(found) / 3


def test_the_error_names_the_op_and_the_bytes() -> None:
    with pytest.raises(MemoryError, match=r"^zeros: can't allocate memory: you tried to allocate 4503599627370496 "):
        fnn.zeros(1 << 50)
    with pytest.raises(MemoryError, match=r"^conv2d: can't allocate memory: you tried to allocate 1125899907366912 "):
        nn.functional.conv1d(fnn.ones(1, 1, 4), fnn.ones(1 << 16, 1, 1), padding=(1 << 31) - 1)
