"""Python state that `forward` or the loss reads: a step is the eager one, or says why it is not planned."""

from __future__ import annotations

import collections
import functools
import itertools
import math
import random
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.nn import functional as F

ROWS, WIDTH, STEPS = 11, 5, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
Y = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)

Apply = Callable[[fnn.Tensor], fnn.Tensor]
COUNTER = 0
SCALE = 1.0
SETTINGS = {"scale": 1.0, "nested": {"list": [1.0, 2.0]}}


MINE = types.ModuleType("mine")
MINE.scale = 1.0  # type: ignore[attr-defined]


class Config:
    scale = 1.0


class Net(nn.Module):
    """Calls `function` with itself and the hidden values."""

    rate = 1.0

    def __init__(self, function: Callable[[Any, fnn.Tensor], fnn.Tensor]) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, WIDTH)
        self.function = function
        self.scale = 1.0
        self.calls = 0
        self.counts = [0]
        self.options = {"scale": 1.0}
        self.config = SimpleNamespace(scale=1.0)
        self.plain = Plain()
        self.rng = random.Random(3)
        self.array = np.ones(3)
        self.teacher = [nn.Dropout(0.5)]

    def forward(self, x: fnn.Tensor) -> fnn.Tensor:
        return self.last(self.function(self, self.first(x)))


class Plain:
    def __init__(self) -> None:
        self.scale = 1.0
        self.other = 0.0

    def __call__(self, h: fnn.Tensor) -> fnn.Tensor:
        return h * self.scale

    @property
    def doubled(self) -> float:
        return 2 * self.scale

    def count(self, h: fnn.Tensor) -> fnn.Tensor:
        self.scale += 0.25
        return h * self.scale


def run(function: Any, change: Callable[[Any, int], object] | None, how: str, where: str) -> tuple[Any, str | None]:
    """Losses and weights of some steps; `change` is called before each with the model and the step's number."""
    global COUNTER, SCALE
    COUNTER, SCALE, Config.scale, Net.rate, MINE.scale = 0, 1.0, 1.0, 1.0, 1.0  # type: ignore[attr-defined]
    SETTINGS["scale"], SETTINGS["nested"]["list"][1] = 1.0, 2.0  # type: ignore[index]
    random.seed(5)
    np.random.seed(5)
    fnn.manual_seed(3)
    bound: Any = function()
    in_forward = where == "forward"
    model = Net(bound if in_forward else lambda self, h: h)
    loss = F.mse_loss if in_forward else (lambda output, y: F.mse_loss(bound(model, output), y))
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    step = fnn.TrainStep(model, loss, optimizer)
    losses = []
    for i in range(STEPS):
        if change is not None:
            change(model, i)
        if how == "planned":
            losses.append(step(X, Y))
        elif how == "batches":
            losses += step.run_batches(X, Y, np.arange(ROWS), 0, 1, ROWS).tolist()
        else:
            value = loss(model(fnn.tensor(X)), fnn.tensor(Y))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
    return (losses, {name: value.numpy().tobytes() for name, value in model.state_dict().items()}), step.reason


def global_counter() -> Any:
    def count(self: Net, h: fnn.Tensor) -> fnn.Tensor:
        global COUNTER  # noqa: PLW0603
        COUNTER += 1
        return h * COUNTER

    return count


def closure_counter() -> Any:
    calls = 0

    def count(self: Net, h: fnn.Tensor) -> fnn.Tensor:
        nonlocal calls
        calls += 1
        return h * (1 + calls / 8)

    return count


def list_counter() -> Any:
    calls: list[int] = []

    def count(self: Net, h: fnn.Tensor) -> fnn.Tensor:
        calls.append(1)
        return h if len(calls) < 6 else -h

    return count


def attribute_counter() -> Any:
    def count(self: Net, h: fnn.Tensor) -> fnn.Tensor:
        self.calls += 1
        return h if self.calls < 6 else -h

    return count


def attribute_list_counter() -> Any:
    def count(self: Net, h: fnn.Tensor) -> fnn.Tensor:
        self.counts[0] += 1
        return h if self.counts[0] < 6 else -h

    return count


def default_counter() -> Any:
    def count(self: Net, h: fnn.Tensor, seen: dict[str, int] = collections.defaultdict(int)) -> fnn.Tensor:  # noqa: B006
        seen["n"] += 1
        return h if seen["n"] % 8 < 6 else -h

    return count


def function_counter() -> Any:
    def count(self: Net, h: fnn.Tensor) -> fnn.Tensor:
        return helper(h)

    inner = itertools.count(1)

    def helper(h: fnn.Tensor) -> fnn.Tensor:
        return h if next(inner) < 6 else -h

    return count


def generator_counter() -> Any:
    def numbers() -> Any:
        yield from [1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]

    running = numbers()
    return lambda self, h: h * next(running)


def queue() -> Any:
    rest = collections.deque([1.0] * 5 + [2.0] * 50)
    return lambda self, h: h * rest.popleft()


def running_mean() -> Any:
    last: dict[str, fnn.Tensor] = {}

    def change(self: Net, h: fnn.Tensor) -> fnn.Tensor:
        last["h"] = h.detach() * 0.5 + last.get("h", 0.0) * 0.5
        return h - last["h"]

    return change


def with_rng(draw: Callable[[Any], float]) -> Callable[[], Any]:
    return lambda: lambda self, h: h * draw(self)


def rarely() -> Any:
    """Traces that are alike do not show it."""
    return lambda self, h: -h if random.random() < 0.2 else h


def own_generator() -> Any:
    rng = np.random.default_rng(1)
    return lambda self, h: h if rng.random() < 0.7 else -h


def legacy_generator() -> Any:
    rng = np.random.RandomState(1)
    return lambda self, h: h if rng.rand() < 0.7 else -h


def read_clock() -> Any:
    # As a clock does, it shows nothing of its state; but it is the same in every run.
    clock = map(float, range(100))
    return lambda self, h: h + fnn.full((WIDTH,), next(clock) / 9)


def read_clock_as_number() -> Any:
    clock = map(float, range(100))
    return lambda self, h: h * (next(clock) / 9)


# Forwards that change what they read, or draw from Python: eager, with a reason.
CHANGING = {
    "a global": (global_counter, "COUNTER"),
    "a variable": (closure_counter, "calls"),
    "a list": (list_counter, "calls"),
    "an attribute": (attribute_counter, "attributes of a module"),
    "a list in an attribute": (attribute_list_counter, "counts"),
    "a default": (default_counter, "seen"),
    "a counter in another function": (function_counter, "inner"),
    "a generator": (generator_counter, "running"),
    "a deque": (queue, "rest"),
    "tensors of the step before": (running_mean, "last"),
    "an object": (lambda: lambda self, h: self.plain.count(h), "Plain"),
    "random": (with_rng(lambda self: random.random()), "Python or NumPy"),
    "random.gauss": (with_rng(functools.partial(lambda gauss, self: gauss(1.0, 0.1), random.gauss)), "Python or NumPy"),
    "random.choice": (with_rng(lambda self: random.choice([1.0, 1.5])), "Python or NumPy"),
    "an own Random": (with_rng(lambda self: self.rng.random()), "Python or NumPy"),
    "np.random": (with_rng(lambda self: np.random.rand()), "Python or NumPy"),
    "a Generator": (own_generator, "Python or NumPy"),
    "a RandomState": (legacy_generator, "Python or NumPy"),
    "random, rarely": (rarely, "Python or NumPy"),
    "a clock": (read_clock, "at every step"),
    "a clock as a number": (read_clock_as_number, "at every step"),
}


def _set(name: str, value: Any) -> None:
    globals()[name] = value


def anneal(i: int) -> float:
    return 1.0 + max(0, i - 3) / 4


# State that somebody changes between steps, and the forward that reads it: planned anew.
CHANGED: dict[str, tuple[Callable[[], Any], Callable[[Any, int], object]]] = {
    "a global": (lambda: lambda self, h: h * SCALE, lambda model, i: _set("SCALE", anneal(i))),
    "a global dict": (
        lambda: lambda self, h: h * SETTINGS["scale"],
        lambda model, i: SETTINGS.update(scale=anneal(i)),
    ),
    "a nested list": (
        lambda: lambda self, h: h * SETTINGS["nested"]["list"][1],  # type: ignore[index]
        lambda model, i: SETTINGS["nested"]["list"].__setitem__(1, anneal(i)),  # type: ignore[index]
    ),
    "a class": (lambda: lambda self, h: h * Config.scale, lambda model, i: setattr(Config, "scale", anneal(i))),
    "the model's class": (lambda: lambda self, h: h * self.rate, lambda model, i: setattr(Net, "rate", anneal(i))),
    "an attribute": (lambda: lambda self, h: h * self.scale, lambda model, i: setattr(model, "scale", anneal(i))),
    "a dict in an attribute": (
        lambda: lambda self, h: h * self.options["scale"],
        lambda model, i: model.options.update(scale=anneal(i)),
    ),
    "a namespace": (
        lambda: lambda self, h: h * self.config.scale,
        lambda model, i: setattr(model.config, "scale", anneal(i)),
    ),
    "an object": (lambda: lambda self, h: self.plain(h), lambda model, i: setattr(model.plain, "scale", anneal(i))),
    "an array": (
        lambda: lambda self, h: h * float(self.array[1]),
        lambda model, i: model.array.__setitem__(1, anneal(i)),
    ),
    "a module in a list": (
        lambda: lambda self, h: self.teacher[0](h),
        lambda model, i: model.teacher[0].train(i > 4),
    ),
    "an imported module": (
        lambda: lambda self, h: h * MINE.scale,
        lambda model, i: setattr(MINE, "scale", anneal(i)),
    ),
    "a name worked out": (
        lambda: lambda self, h: h * getattr(self.config, "sc" + "ale"),
        lambda model, i: setattr(model.config, "scale", anneal(i)),
    ),
    "a property": (
        lambda: lambda self, h: h * self.plain.doubled,
        lambda model, i: setattr(model.plain, "scale", anneal(i)),
    ),
    "zeros of either sign": (
        lambda: lambda self, h: h * math.copysign(1.0, self.options["scale"]),
        lambda model, i: model.options.update(scale=-0.0 if i > 4 else 0.0),
    ),
    "another type of number": (
        lambda: lambda self, h: h * (fnn.ones(WIDTH, dtype=fnn.int64) * self.options["scale"] / 2).floor(),
        lambda model, i: model.options.update(scale=1 if i > 4 else 1.0),
    ),
}


@pytest.mark.parametrize("where", ["forward", "loss"])
@pytest.mark.parametrize(("function", "reason"), CHANGING.values(), ids=CHANGING)
def test_what_a_step_changes_or_draws_is_noticed(function: Any, reason: str, where: str) -> None:
    expected, _ = run(function, None, "eager", where)
    for how in ("planned", "batches"):
        got, why = run(function, None, how, where)
        assert got == expected
        assert why is not None
        assert reason in why


@pytest.mark.parametrize("where", ["forward", "loss"])
@pytest.mark.parametrize(("function", "change"), CHANGED.values(), ids=CHANGED)
def test_what_others_change_is_noticed(function: Any, change: Any, where: str) -> None:
    expected, _ = run(function, change, "eager", where)
    for how in ("planned", "batches"):
        got, why = run(function, change, how, where)
        assert got == expected
        assert why is None


def test_a_first_step_that_sets_something_up_is_planned_later() -> None:
    kept: dict[str, Any] = {}

    def masked(self: Net, h: fnn.Tensor) -> fnn.Tensor:
        if "mask" not in kept:
            kept["mask"] = fnn.linspace(0.0, 1.0, WIDTH)
        if not hasattr(self, "ready"):
            self.ready = True
        return h * kept["mask"]

    expected, _ = run(lambda: masked, None, "eager", "forward")
    kept.clear()
    assert run(lambda: masked, None, "planned", "forward") == (expected, None)


def test_a_partial_and_a_callable_object_as_losses() -> None:
    scales = [1.0]
    losses = {
        "partial": functools.partial(lambda factors, output, y: F.mse_loss(output, y) * factors[0], scales),
        "object": type("L", (), {"__module__": "mine", "__call__": lambda self, o, y: F.mse_loss(o, y) * scales[0]})(),
    }
    for loss in losses.values():
        scales[0] = 1.0
        step = fnn.TrainStep(model := nn.Linear(WIDTH, WIDTH), loss, optim.SGD(model.parameters(), lr=0.0))
        first = [step(X, Y) for _ in range(4)]
        scales[0] = 2.0
        assert [step(X, Y) for _ in range(4)] == [2 * value for value in first]
        assert step.reason is None


def test_a_step_inside_a_loss_is_not_frozen() -> None:
    def losses(how: str) -> tuple[list[float], str | None]:
        fnn.manual_seed(1)
        inner, outer = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        inner_step = fnn.TrainStep(inner, nn.MSELoss(), optim.SGD(inner.parameters(), lr=0.1))

        def loss(output: fnn.Tensor, y: fnn.Tensor) -> fnn.Tensor:
            inner_step(X, Y)
            return F.mse_loss(output + inner(output).detach(), y)

        optimizer = optim.SGD(outer.parameters(), lr=0.1)
        step = fnn.TrainStep(outer, loss, optimizer)
        found = []
        for _ in range(STEPS):
            if how == "planned":
                found.append(step(X, Y))
            else:
                value = loss(outer(fnn.tensor(X)), fnn.tensor(Y))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                found.append(value.item())
        return found, step.reason

    expected, _ = losses("eager")
    got, reason = losses("planned")
    assert got == expected
    assert reason == "forward or loss takes a step of another TrainStep"


def test_an_optimizer_inside_a_loss_is_not_frozen() -> None:
    def losses(how: str) -> tuple[list[float], str | None]:
        fnn.manual_seed(1)
        critic, outer = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, WIDTH)
        of_critic = optim.SGD(critic.parameters(), lr=0.1)

        def loss(output: fnn.Tensor, y: fnn.Tensor) -> fnn.Tensor:
            of_critic.zero_grad()
            (critic(output.detach()).mean() - critic(y).mean()).backward()
            of_critic.step()
            return F.mse_loss(output, y) - critic(output).mean()

        optimizer = optim.SGD(outer.parameters(), lr=0.1)
        step = fnn.TrainStep(outer, loss, optimizer)
        found = []
        for _ in range(STEPS):
            if how == "planned":
                found.append(step(X, Y))
            else:
                value = loss(outer(fnn.tensor(X)), fnn.tensor(Y))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                found.append(value.item())
        return found, step.reason

    expected, _ = losses("eager")
    got, reason = losses("planned")
    assert got == expected
    assert reason == "forward or loss takes a step of an optimizer"


def test_what_the_code_does_not_refer_to_is_not_watched() -> None:
    """A script's loop changes variables of its own at every step, and attributes that have a method's name."""
    scope: dict[str, Any] = {"F": F}
    exec("def loss(output, y):\n    return F.mse_loss(output, y) * y.mean().abs()", scope)
    holder = Plain()
    holder.loss = scope["loss"]  # type: ignore[attr-defined]
    step = fnn.TrainStep(
        model := nn.Linear(WIDTH, WIDTH),
        lambda output, y: holder.loss(output, y),  # type: ignore[attr-defined]
        optim.SGD(model.parameters(), lr=0.1),
    )
    for i in range(4):
        scope["mean"], scope["abs"], holder.other = i, [i], i
        step(X, Y)
    assert step.reason is None
    # It is planned, so the code is not run.
    scope["F"] = F
    names = [key for get, key, *_ in step._watch.places]
    assert "mean" not in names
    assert "abs" not in names


def test_objects_in_long_chains_and_circles_are_looked_at() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    circle: dict[str, Any] = {"scale": 2.0}
    circle["itself"] = circle

    def loss(output: fnn.Tensor, y: fnn.Tensor) -> fnn.Tensor:
        return F.mse_loss(output, y) * (circle["itself"]["scale"] if deep else 1.0)

    step = fnn.TrainStep(model := nn.Linear(WIDTH, WIDTH), loss, optim.SGD(model.parameters(), lr=0.0))
    first = [step(X, Y) for _ in range(3)]
    circle["scale"] = 4.0
    assert [step(X, Y) for _ in range(3)] == [2 * value for value in first]
    assert step.reason is None
