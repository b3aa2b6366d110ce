"""Grad mode as a context manager and a decorator: with and without parentheses, generators, coroutines, threads."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

import fastnn as fnn

MODES = [(fnn.no_grad, False), (fnn.enable_grad, True)]


def recording() -> bool:
    return fnn.is_grad_enabled()


@pytest.fixture(autouse=True, params=[True, False])
def outside(request: pytest.FixtureRequest) -> Any:
    with fnn.set_grad_enabled(request.param):
        yield request.param
        assert recording() == request.param


def decorators(mode: Any, on: bool) -> list[Any]:
    # The last acts from when it is made to when it decorates.
    return [mode, mode(), lambda function: fnn.set_grad_enabled(on)(function)]  # noqa: PLW0108


@pytest.mark.parametrize(("mode", "on"), MODES)
def test_functions_and_methods(mode: Any, on: bool, outside: bool) -> None:
    for decorate in decorators(mode, on):

        @decorate
        def function(a: int, *, b: int = 2) -> tuple[bool, int]:
            """A function."""
            return recording(), a + b

        assert recording() == outside
        assert function(3, b=4) == (on, 7)
        assert function.__name__ == "function"
        assert function.__doc__ == "A function."
        with pytest.raises(TypeError):
            function()
        assert recording() == outside

        class Holder:
            @decorate
            def method(self) -> bool:
                return recording()

            @staticmethod
            @decorate
            def static() -> bool:
                return recording()

            @classmethod
            @decorate
            def of_the_class(cls) -> bool:
                return recording()

        assert (Holder().method(), Holder.static(), Holder.of_the_class()) == (on, on, on)


@pytest.mark.parametrize(("mode", "on"), MODES)
def test_generators_run_in_the_mode_and_their_callers_in_their_own(mode: Any, on: bool, outside: bool) -> None:
    for decorate in decorators(mode, on):
        seen = []

        @decorate
        def generator(seen: list[Any] = seen) -> Generator[int, Any, str]:
            try:
                seen.append(("first", recording(), (yield 1)))
                try:
                    yield 2
                except KeyError as error:
                    seen.append(("thrown", recording(), error.args[0]))
                yield 3
                return "end"
            finally:
                seen.append(("closed", recording(), None))

        running = generator()
        assert next(running) == 1
        assert recording() == outside
        assert running.send("sent") == 2
        assert running.throw(KeyError("k")) == 3
        assert recording() == outside
        with pytest.raises(StopIteration) as end:
            next(running)
        assert end.value.value == "end"
        assert seen == [("first", on, "sent"), ("thrown", on, "k"), ("closed", on, None)]
        seen.clear()
        running = generator()
        next(running)
        running.close()
        assert seen == [("closed", on, None)]
        assert list(generator()) == [1, 2, 3]
        assert recording() == outside


@pytest.mark.parametrize(("mode", "on"), MODES)
def test_what_a_generator_raises_comes_out(mode: Any, on: bool, outside: bool) -> None:
    @mode
    def generator() -> Any:
        yield recording()
        raise ValueError("its own")

    running = generator()
    assert next(running) == on
    with pytest.raises(ValueError, match=r"^its own$"):
        next(running)
    assert recording() == outside


@pytest.mark.parametrize(("mode", "on"), MODES)
def test_coroutines_are_in_the_mode_each_time_they_run(mode: Any, on: bool, outside: bool) -> None:
    class Pause:
        def __await__(self) -> Any:
            return (yield "paused")

    @mode()
    async def coroutine(x: int) -> tuple[int, bool, bool, Any]:
        before = recording()
        got = await Pause()
        return x, before, recording(), got

    running = coroutine(3)
    assert running.send(None) == "paused"
    assert recording() == outside
    with pytest.raises(StopIteration) as end:
        running.send("resumed")
    assert end.value.value == (3, on, on, "resumed")
    assert recording() == outside


def test_an_object_may_be_entered_again_and_by_several_threads(outside: bool) -> None:
    mode = fnn.no_grad()
    with mode:
        with mode, fnn.enable_grad():
            assert recording()
        assert not recording()

        seen = []

        def elsewhere() -> None:
            seen.append(recording())
            with mode:
                seen.append(recording())
                ready.set()
                go_on.wait(10)
            seen.append(recording())

        ready, go_on = threading.Event(), threading.Event()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        ready.wait(10)
    assert recording() == outside
    go_on.set()
    thread.join()
    # A new thread records, whatever others do.
    assert seen == [True, False, True]


def test_set_grad_enabled_acts_at_once(outside: bool) -> None:
    fnn.set_grad_enabled(not outside)
    assert recording() != outside
    fnn.set_grad_enabled(outside)
    mode = fnn.set_grad_enabled(not outside)
    assert recording() != outside
    with mode:
        assert recording() != outside
    assert recording() == outside


def test_classes_are_decorated_with_a_warning(outside: bool) -> None:
    class Holder:
        def __init__(self) -> None:
            self.seen = recording()

    for decorate in (fnn.no_grad, fnn.no_grad()):
        with pytest.warns(FutureWarning, match=r"^Decorating classes is deprecated"):
            made = decorate(Holder)
        assert not made().seen
    assert recording() == outside


def test_errors() -> None:
    async def stream() -> Any:
        yield 1

    with pytest.raises(TypeError, match=r"^no_grad: expected a function to decorate; got int$"):
        fnn.no_grad(3)
    with pytest.raises(TypeError, match=r"^no_grad: expected a function, a generator or a coroutine; got an asynchro"):
        fnn.no_grad()(stream)
    with pytest.raises(TypeError, match=r"^set_grad_enabled: expected mode to be a bool; got 1$"):
        fnn.set_grad_enabled(1)


def test_anomaly_mode_is_restored() -> None:
    from fastnn import _core
    from fastnn.autograd import detect_anomaly, set_detect_anomaly

    mode = detect_anomaly()
    with mode:
        with mode:
            assert _core.is_anomaly_enabled()
        assert _core.is_anomaly_enabled()
        with set_detect_anomaly(False):
            assert not _core.is_anomaly_enabled()
        assert _core.is_anomaly_enabled()
    assert not _core.is_anomaly_enabled()
    with pytest.raises(ZeroDivisionError), detect_anomaly():
        1 / 0  # noqa: B018
    assert not _core.is_anomaly_enabled()
    assert not fnn.nn.Module._hooked
