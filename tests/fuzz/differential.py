"""Random programs of views, in-place changes and arithmetic, with a reference of their gradients.

A program is a list of steps over numbered slots; slot numbers and arguments are fixed when it is generated, so that one
program runs on tensors of any library with PyTorch's names, and on NumPy arrays, whose views share memory as tensors do.
The reference gradient is the complex-step derivative of the NumPy run: exact to rounding.

Source: Squire & Trapp 1998, "Using Complex Variables to Estimate Derivatives of Real Functions".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
H = 1e-30


@dataclass(frozen=True)
class Step:
    """One call: ``slots`` are its operands; its results go to new slots."""

    name: str
    slots: tuple[int, ...]
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join([*(f's{s}' for s in self.slots), *map(repr, self.args)])})"


@dataclass
class Program:
    """Leaf shapes, and the steps over slots 0 … n-1 (the leaves) and those that the steps make."""

    seed: int
    leaves: list[Array] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"program {self.seed}: leaves {[x.shape for x in self.leaves]}", *map(str, self.steps)])


@dataclass(frozen=True)
class Call:
    """A row of the table.

    Args:
        tensor: The call on tensors; returns a result or a tuple of them. ``None`` for a change in place.
        array: The same on arrays; views share memory.
        sample: Arguments for operands of these shapes, or None if there are none.
        operands: How many slots it takes.
        in_place: Whether it changes its first operand.
        view: Whether its results share the operand's memory.
    """

    tensor: Callable[..., Any]
    array: Callable[..., Any]
    sample: Callable[..., tuple[Any, ...] | None] = lambda rng, *shapes: ()
    operands: int = 1
    in_place: bool = False
    view: bool = False


def _dim(rng: np.random.Generator, x: Array) -> int | None:
    return int(rng.integers(-x.ndim, x.ndim)) if x.ndim else None


def _with_dim(rng: np.random.Generator, x: Array) -> tuple[Any, ...] | None:
    d = _dim(rng, x)
    return None if d is None or x.shape[d] == 0 else (d,)


def _shape(rng: np.random.Generator, x: Array) -> tuple[Any, ...]:
    n = x.size
    if n == 0:
        return (x.shape,)
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    a = int(rng.choice(divisors))
    return (((n,), (a, n // a), (1, n // a, a), (a, -1))[int(rng.integers(4))],)


def _slice(rng: np.random.Generator, x: Array) -> tuple[Any, ...] | None:
    if not x.ndim:
        return None
    items: list[Any] = []
    for n in x.shape[: int(rng.integers(1, x.ndim + 1))]:
        start = int(rng.integers(0, n + 1))
        items.append(
            [
                slice(start, None),
                slice(None, start),
                slice(None, None, int(rng.integers(1, 3))),
                int(rng.integers(-n, n)) if n else slice(None),
            ][int(rng.integers(4))]
        )
    if rng.random() < 0.2:
        items.append(None)
    if rng.random() < 0.2:
        # In front only where every dimension has an item, which keeps its place then.
        items.insert(0, Ellipsis) if sum(item is not None for item in items) == x.ndim else items.append(Ellipsis)
    return (tuple(items),)


def _narrow(rng: np.random.Generator, x: Array) -> tuple[Any, ...] | None:
    d = _dim(rng, x)
    if d is None:
        return None
    start = int(rng.integers(0, x.shape[d] + 1))
    return (d, start, int(rng.integers(0, x.shape[d] - start + 1)))


def _select(rng: np.random.Generator, x: Array) -> tuple[Any, ...] | None:
    d = _dim(rng, x)
    return None if d is None or not x.shape[d] else (d, int(rng.integers(-x.shape[d], x.shape[d])))


def _expand(rng: np.random.Generator, x: Array) -> tuple[Any, ...]:
    shape = tuple(int(rng.integers(1, 4)) if n == 1 else n for n in x.shape)
    return ((int(rng.integers(1, 3)), *shape) if rng.random() < 0.5 else shape,)


def _split(rng: np.random.Generator, x: Array) -> tuple[Any, ...] | None:
    d = _dim(rng, x)
    return None if d is None or not x.shape[d] else (int(rng.integers(1, x.shape[d] + 1)), d)


def _broadcasts(rng: np.random.Generator, x: Array, y: Array) -> tuple[Any, ...] | None:
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return None
    return () if np.prod(shape) <= 64 else None


def _fits(rng: np.random.Generator, x: Array, y: Array) -> tuple[Any, ...] | None:
    try:
        return () if np.broadcast_shapes(x.shape, y.shape) == x.shape else None
    except ValueError:
        return None


def _divides(rng: np.random.Generator, x: Array, y: Array) -> tuple[Any, ...] | None:
    return None if np.abs(y).min(initial=1) < 0.1 else _fits(rng, x, y)


def _number(rng: np.random.Generator, *_: Array) -> tuple[Any, ...]:
    return (round(float(rng.uniform(0.5, 1.5) * rng.choice([-1, 1])), 3),)


def _both(*samples: Callable[..., tuple[Any, ...] | None]) -> Callable[..., tuple[Any, ...] | None]:
    def sample(rng: np.random.Generator, *operands: Array) -> tuple[Any, ...] | None:
        found = [s(rng, *operands) for s in samples]
        return None if any(f is None for f in found) else tuple(a for f in found if f is not None for a in f)

    return sample


def _mask(rng: np.random.Generator, x: Array) -> tuple[Any, ...] | None:
    return (rng.random(x.shape) < 0.5,) if x.ndim else None


def _positions(rng: np.random.Generator, x: Array) -> tuple[Any, ...] | None:
    if not x.ndim or not x.shape[0]:
        return None
    return (rng.permutation(x.shape[0])[: int(rng.integers(1, x.shape[0] + 1))],)


def _item(rng: np.random.Generator, x: Array, y: Array) -> tuple[Any, ...] | None:
    found = _slice(rng, x)
    return None if found is None or _fits(rng, x[found[0]], y) is None else found


def _masked(rng: np.random.Generator, x: Array, y: Array) -> tuple[Any, ...] | None:
    return _mask(rng, x) if y.size == 1 and y.ndim == 0 else None


def _placed(rng: np.random.Generator, x: Array, y: Array) -> tuple[Any, ...] | None:
    found = _positions(rng, x)
    return None if found is None or _fits(rng, x[found[0]], y) is None else found


def _pairs(rng: np.random.Generator, x: Array) -> tuple[Any, ...]:
    return (tuple(int(d) for d in rng.permutation(x.ndim)),)


def _transposes(rng: np.random.Generator, x: Array) -> tuple[Any, ...] | None:
    return None if not x.ndim else (int(rng.integers(x.ndim)), int(rng.integers(x.ndim)))


def _new(x: Array) -> Array:
    """A result of its own, row-major as a tensor's."""
    return np.array(x, order="C")


def _copied(x: Array, y: Array, change: Callable[[Array, Array], Any]) -> None:
    change(x, y.copy())


def _set(x: Any, item: Any, value: Any) -> None:
    x[item] = value


def _operator(name: str) -> Callable[..., Any]:
    def call(x: Any, y: Any) -> Any:
        changed = getattr(x, name)(y)
        assert changed is x

    return call


def _squeeze_array(x: Array, d: int) -> Array:
    return np.squeeze(x, d) if x.shape[d] == 1 else x[...]


def _flatten_array(x: Array) -> Array:
    return x.reshape(-1)


VIEWS: dict[str, Call] = {
    "view": Call(lambda x, s: x.view(s), lambda x, s: x.reshape(s), _shape, view=True),
    "reshape": Call(lambda x, s: x.reshape(s), lambda x, s: x.reshape(s), _shape),
    "view_as": Call(lambda x, s: x.view(s).view_as(x), lambda x, s: x[...], lambda rng, x: (x.shape,), view=True),
    "flatten": Call(lambda x: x.flatten(), _flatten_array),
    "t": Call(lambda x: x.t(), lambda x: x.T, lambda rng, x: () if x.ndim <= 2 else None, view=True),
    "mT": Call(
        lambda x: x.transpose(-1, -2),
        lambda x: x.swapaxes(-1, -2),
        lambda rng, x: () if x.ndim > 1 else None,
        view=True,
    ),
    "transpose": Call(lambda x, a, b: x.transpose(a, b), lambda x, a, b: x.swapaxes(a, b), _transposes, view=True),
    "permute": Call(lambda x, order: x.permute(order), lambda x, order: x.transpose(order), _pairs, view=True),
    "squeeze": Call(lambda x, d: x.squeeze(d), _squeeze_array, _with_dim, view=True),
    "unsqueeze": Call(
        lambda x, d: x.unsqueeze(d),
        np.expand_dims,
        lambda rng, x: (int(rng.integers(-x.ndim - 1, x.ndim + 1)),),
        view=True,
    ),
    "expand": Call(
        lambda x, s: x.expand(s), lambda x, s: x[...] if x.shape == s else np.broadcast_to(x, s), _expand, view=True
    ),
    "narrow": Call(
        lambda x, d, a, n: x.narrow(d, a, n),
        lambda x, d, a, n: np.moveaxis(np.moveaxis(x, d, 0)[a : a + n], 0, d),
        _narrow,
        view=True,
    ),
    "select": Call(lambda x, d, i: x.select(d, i), lambda x, d, i: np.moveaxis(x, d, 0)[i, ...], _select, view=True),
    "index": Call(
        lambda x, item: x[item],
        lambda x, item: x[item] if any(i is Ellipsis for i in item) else x[(*item, ...)],
        _slice,
        view=True,
    ),
    "split": Call(
        lambda x, n, d: x.split(n, d),
        lambda x, n, d: tuple(np.split(x, range(n, x.shape[d], n), d)),
        _split,
        view=True,
    ),
    "chunk": Call(
        lambda x, n, d: x.chunk(n, d),
        lambda x, n, d: tuple(np.split(x, range(-(-x.shape[d] // n), x.shape[d], -(-x.shape[d] // n)), d)),
        _split,
        view=True,
    ),
    "unbind": Call(
        lambda x, d: x.unbind(d),
        lambda x, d: tuple(np.moveaxis(x, d, 0)[i, ...] for i in range(x.shape[d])),
        _with_dim,
        view=True,
    ),
    "iter": Call(
        tuple,
        lambda x: tuple(x[i, ...] for i in range(len(x))),
        lambda rng, x: () if x.ndim else None,
        view=True,
    ),
}
SEVERAL = {"split", "chunk", "unbind", "iter"}

IN_PLACE: dict[str, Call] = {
    "add_": Call(lambda x, y: x.add_(y), lambda x, y: _copied(x, y, np.ndarray.__iadd__), _fits, 2, in_place=True),
    "sub_": Call(lambda x, y: x.sub_(y), lambda x, y: _copied(x, y, np.ndarray.__isub__), _fits, 2, in_place=True),
    "mul_": Call(lambda x, y: x.mul_(y), lambda x, y: _copied(x, y, np.ndarray.__imul__), _fits, 2, in_place=True),
    "div_": Call(
        lambda x, y: x.div_(y), lambda x, y: _copied(x, y, np.ndarray.__itruediv__), _divides, 2, in_place=True
    ),
    "copy_": Call(lambda x, y: x.copy_(y), lambda x, y: _set(x, ..., y.copy()), _fits, 2, in_place=True),
    "+=": Call(_operator("__iadd__"), lambda x, y: _copied(x, y, np.ndarray.__iadd__), _fits, 2, in_place=True),
    "*=": Call(_operator("__imul__"), lambda x, y: _copied(x, y, np.ndarray.__imul__), _fits, 2, in_place=True),
    "add_ number": Call(lambda x, a: x.add_(a), lambda x, a: _set(x, ..., x + a), _number, in_place=True),
    "mul_ number": Call(lambda x, a: x.mul_(a), lambda x, a: _set(x, ..., x * a), _number, in_place=True),
    "/= number": Call(_operator("__itruediv__"), lambda x, a: _set(x, ..., x / a), _number, in_place=True),
    "**= 2": Call(lambda x: _operator("__ipow__")(x, 2), lambda x: _set(x, ..., x * x), in_place=True),
    "zero_": Call(lambda x: x.zero_(), lambda x: _set(x, ..., 0), in_place=True),
    "fill_": Call(lambda x, a: x.fill_(a), lambda x, a: _set(x, ..., a), _number, in_place=True),
    "x[item] = number": Call(_set, _set, _both(_slice, _number), in_place=True),
    "x[mask] = number": Call(_set, _set, _both(_mask, _number), in_place=True),
    "x[positions] = number": Call(_set, _set, _both(_positions, _number), in_place=True),
    "x[item] = y": Call(lambda x, y, i: _set(x, i, y), lambda x, y, i: _set(x, i, y.copy()), _item, 2, in_place=True),
    "x[mask] = y": Call(lambda x, y, i: _set(x, i, y), lambda x, y, i: _set(x, i, y.copy()), _masked, 2, in_place=True),
    "x[positions] = y": Call(
        lambda x, y, i: _set(x, i, y), lambda x, y, i: _set(x, i, y.copy()), _placed, 2, in_place=True
    ),
}

FRESH: dict[str, Call] = {
    "add": Call(lambda x, y: x + y, lambda x, y: _new(x + y), _broadcasts, 2),
    "mul": Call(lambda x, y: x * y, lambda x, y: _new(x * y), _broadcasts, 2),
    "div": Call(lambda x, y: x / (y * y + 1), lambda x, y: _new(x / (y * y + 1)), _broadcasts, 2),
    "scale": Call(lambda x, a: x * a, lambda x, a: _new(x * a), _number),
    "sin": Call(lambda x: x.sin(), lambda x: _new(np.sin(x))),
    "tanh": Call(lambda x: x.tanh(), lambda x: _new(np.tanh(x))),
    "exp": Call(lambda x: (x * 0.1).exp(), lambda x: _new(np.exp(x * 0.1))),
    "square": Call(lambda x: x * x * 0.1, lambda x: _new(x * x * 0.1)),
    "sum": Call(lambda x, d: x.sum(d), lambda x, d: _new(x.sum(d)), _with_dim),
    "mean": Call(lambda x, d: x.mean(d, keepdim=True), lambda x, d: _new(x.mean(d, keepdims=True)), _with_dim),
    "clone": Call(lambda x: x.clone(), _new),
    "pick": Call(lambda x, i: x[i], lambda x, i: _new(x[i]), _positions),
}
CALLS = VIEWS | IN_PLACE | FRESH


def generate(seed: int) -> Program:
    """A program of 2 to 12 steps, each of which runs on arrays."""
    rng = np.random.default_rng(seed)
    program = Program(seed)
    for _ in range(int(rng.integers(1, 4))):
        shape = tuple(int(n) for n in rng.choice([1, 2, 3, 4], int(rng.integers(0, 4)), p=[0.2, 0.35, 0.3, 0.15]))
        program.leaves.append(rng.uniform(0.5, 1.5, shape))
    slots: list[Array] = [x.copy() for x in program.leaves]
    # A change of a leaf is refused: nearly all programs begin with results.
    if rng.random() < 0.95:
        for i in range(len(program.leaves)):
            step = Step("scale", (i,), _number(rng))
            program.steps.append(step)
            slots.extend(_run_array(step, slots))
    least = len(program.steps)
    tables = [list(VIEWS), list(IN_PLACE), list(FRESH)]
    wanted = least + int(rng.integers(2, 13))
    for _ in range(200):
        if len(program.steps) >= wanted:
            break
        name = str(rng.choice(tables[int(rng.choice(3, p=[0.4, 0.35, 0.25]))]))
        if name in SEVERAL and rng.random() < 0.7:
            continue  # what changes their memory is refused, which most programs are to do without
        call = CALLS[name]
        operands = tuple(
            int(rng.integers(len(program.leaves) if least else 0, len(slots))) for _ in range(call.operands)
        )
        if rng.random() < 0.1:
            operands = (*operands[:-1], int(rng.integers(len(slots)))) if call.operands > 1 else operands
        shown = [slots[i] for i in operands]
        args = call.sample(rng, *shown)
        if args is None or (call.in_place and not shown[0].flags.writeable):
            continue
        step = Step(name, operands, args)
        # NumPy may copy where a view cannot be: such a step is none.
        made = _run_array(step, slots)
        if call.view and any(m.size and not np.shares_memory(m, shown[0]) for m in made):
            continue
        program.steps.append(step)
        slots.extend(made)
    return program


def _results(made: Any) -> list[Any]:
    return list(made) if isinstance(made, (tuple, list)) else [made]


def _run_array(step: Step, slots: list[Array]) -> list[Array]:
    call = CALLS[step.name]
    made = call.array(*(slots[i] for i in step.slots), *step.args)
    return [] if call.in_place else _results(made)


def _weights(seed: int, slot: int, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng([seed, slot]).uniform(-1, 1, shape)


def _total(program: Program, slots: list[Any], convert: Callable[[Array], Any]) -> Any:
    """A weighted sum of all slots: every one of them takes part."""
    total: Any = 0.0
    for i, slot in enumerate(slots):
        total = total + (slot * convert(_weights(program.seed, i, tuple(slot.shape)))).sum()
    return total


def run_arrays(program: Program, leaves: list[Array]) -> Any:
    """The weighted sum, computed by NumPy."""
    slots = [x.copy() for x in leaves]
    for step in program.steps:
        slots.extend(_run_array(step, slots))
    return _total(program, slots, lambda w: w)


def reference(program: Program) -> tuple[float, list[Array]]:
    """The weighted sum and its gradients with respect to the leaves."""
    value = run_arrays(program, program.leaves)
    grads = []
    for number, leaf in enumerate(program.leaves):
        grad = np.zeros(leaf.shape)
        for place in np.ndindex(leaf.shape):
            leaves = [x.astype(np.complex128) for x in program.leaves]
            leaves[number][place] += 1j * H
            grad[place] = np.imag(run_arrays(program, leaves)) / H
        grads.append(grad)
    return float(value), grads


def run_tensors(program: Program, lib: Any) -> tuple[float, list[Array]]:
    """The same on tensors of ``lib``, by ``backward``. Raises what the library raises."""
    leaves = [lib.tensor(x, dtype=lib.float64, requires_grad=True) for x in program.leaves]
    slots: list[Any] = list(leaves)
    for step in program.steps:
        call = CALLS[step.name]
        args = tuple(lib.tensor(a) if isinstance(a, np.ndarray) else a for a in step.args)
        made = call.tensor(*(slots[i] for i in step.slots), *args)
        if not call.in_place:
            slots.extend(_results(made))
    total = _total(program, slots, lambda w: lib.tensor(w, dtype=lib.float64))
    total.backward()
    return float(total.detach()), [np.zeros(x.shape) if x.grad is None else np.asarray(x.grad) for x in leaves]


REFUSED = (
    "has been modified by an inplace operation",
    "one of several views that one call",
    "leaf tensor that requires grad is changed in place",
)


def check(program: Program, lib: Any) -> str | None:
    """Compare ``lib`` with the reference; returns what it refused, or None. Raises AssertionError where they differ."""
    value, grads = reference(program)
    refused = None
    try:
        got, got_grads = run_tensors(program, lib)
    except RuntimeError as error:
        refused = str(error)
    if refused is not None:
        assert any(part in refused for part in REFUSED), f"{program}\n{refused}"
        assert any(CALLS[step.name].in_place for step in program.steps), f"{program}\n{refused}"
        return refused
    np.testing.assert_allclose(got, value, rtol=1e-9, atol=1e-9, err_msg=str(program))
    for mine, expected in zip(got_grads, grads, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-8, atol=1e-8, err_msg=str(program))
    return None


def main() -> None:
    """Check programs ``first`` to ``first + n``: ``python -m tests.fuzz.differential --programs n --first seed``."""
    import argparse
    from collections import Counter

    import fastnn

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differential", description=main.__doc__)
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    answers: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.programs):
        try:
            refused = check(generate(seed), fastnn)
            answers["refused" if refused else "agrees"] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            answers["differs"] += 1
            print(f"{type(error).__name__}: {error}")
    print(", ".join(f"{n} {answer}" for answer, n in answers.items()))
    raise SystemExit(1 if answers["differs"] else 0)


if __name__ == "__main__":
    main()
