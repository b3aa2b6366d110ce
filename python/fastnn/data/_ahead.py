"""Work that threads do before it is asked for."""

from __future__ import annotations

import _thread
import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

from fastnn._core import Undo

Task: TypeAlias = Callable[[], Any]

END: Final = object()
"""Result of a task after which there are no more."""

# Seconds to wait for threads to end, and after a Ctrl-C. A thread that runs a task ends with the task.
_PATIENCE = 1.0
_HURRY = 0.05
# Python looks for Ctrl-C between waits.
_LOOK = 0.1


class _Work:
    """State shared by consumer and workers; nothing in it refers to the consumer, so that it may be garbage-collected.

    Queues of the compiled kind: Ctrl-C never finds a lock of theirs held, as it would that of a ``Condition``.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[int, Task] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()
        self._outcomes: dict[int, tuple[Any, BaseException | None]] = {}
        self._stopped = False
        self._process = os.getpid()
        self.threads: list[threading.Thread] = []
        self.patience = _PATIENCE

    def start(self) -> None:
        """Start the threads, from another one: a Ctrl-C within ``Thread.start`` can leave a lock held for ever."""
        started: SimpleQueue[BaseException | None] = SimpleQueue()
        _thread.start_new_thread(self._start_all, (started,))
        error = started.get()
        if error is not None:
            raise error

    def _start_all(self, started: SimpleQueue[BaseException | None]) -> None:
        try:
            for thread in self.threads:
                thread.start()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            started.put(error)
        else:
            started.put(None)

    def ask(self, number: int, task: Task) -> None:
        """Have a task done."""
        self._tasks.put((number, task))

    def take(self, number: int, timeout: float | None) -> Any:
        """Wait for the outcome of a task, and return or raise it."""
        if os.getpid() != self._process:
            raise RuntimeError("DataLoader: expected to go on in the process that began; got a fork of it")
        last = None if timeout is None else time.monotonic() + timeout
        while number not in self._outcomes:
            left = _LOOK if last is None else min(_LOOK, last - time.monotonic())
            if left <= 0:
                raise RuntimeError(f"DataLoader: expected a batch within {timeout} s; got none")
            with suppress(Empty):
                done, value, error = self._done.get(timeout=left)
                self._outcomes[done] = value, error
        value, error = self._outcomes.pop(number)
        if error is not None:
            try:
                raise error
            finally:
                del error
        return value

    def run(self, begin: Callable[[], None] | None) -> None:
        """Do tasks, in a thread of one's own, until stopped."""
        refused: BaseException | None = None
        try:
            if begin is not None:
                begin()
        except BaseException as error:  # noqa: BLE001
            refused = error
        while True:
            asked = self._tasks.get()
            if asked is None or self._stopped:
                return
            number, task = asked
            outcome: tuple[int, Any, BaseException | None]
            try:
                outcome = (number, None, refused) if refused is not None else (number, task(), None)
            except BaseException as error:  # noqa: BLE001
                outcome = (number, None, error)
            self._done.put(outcome)
            # While this waits it is to keep nothing alive.
            del asked, task, outcome

    def stop(self) -> None:
        """End the threads, each after the task that it is doing."""
        # In a forked child there are no threads.
        if os.getpid() != self._process:
            return
        self._stopped = True
        for _ in self.threads:
            self._tasks.put(None)
        last = time.monotonic() + self.patience
        for thread in self.threads:
            # One that has not started by now will find that there is nothing to do.
            with suppress(RuntimeError):
                thread.join(max(0.0, last - time.monotonic()))


_running: weakref.WeakSet[_Work] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """A thread that runs while the interpreter goes away would crash it."""
    for work in list(_running):
        work.stop()


def in_order(
    tasks: Iterable[Task],
    workers: int,
    ahead: int,
    *,
    begin: Callable[[int], None] | None = None,
    timeout: float | None = None,
) -> Generator[Any, None, None]:
    """Yield what tasks return, in their order; threads do them before they are asked for.

    The tasks themselves are taken by the caller's thread. An exception of a task is raised where its value would have
    been yielded. The threads end when the iterator does, or is closed or forgotten.

    Args:
        tasks: Functions of nothing; one that returns :data:`END` is the last.
        workers: Number of threads, at least 1.
        ahead: How many tasks are done or being done while the caller is busy, at least 1.
        begin: Called in every thread, with its number, before its first task.
        timeout: Seconds that the caller waits for a value; ``None`` for any time.

    Raises:
        RuntimeError: A value did not come in time, or the process has forked since.
    """
    work = _Work()
    source = iter(tasks)
    for number in range(workers):
        first = None if begin is None else _bound(begin, number)
        name = f"fastnn-data-{number}"
        # Daemons: one that waits for a forgotten iterator is not to keep the interpreter from going.
        work.threads.append(threading.Thread(target=work.run, args=(first,), name=name, daemon=True))
    _running.add(work)
    with Undo() as undo:
        undo.call(work.stop)
        try:
            work.start()
            asked = 0
            exhausted = False
            taken = 0
            value: Any = None
            while True:
                while not exhausted and asked - taken < ahead:
                    task = _next_task(source)
                    exhausted = task is None
                    if task is not None:
                        work.ask(asked, task)
                        asked += 1
                if taken:
                    # Handed out only now, when the threads have something to do meanwhile.
                    yield value
                if taken == asked:
                    return
                value = work.take(taken, timeout)
                if value is END:
                    return
                taken += 1
        except BaseException as error:
            if _interrupted(error):
                work.patience = _HURRY
            raise


def _interrupted(error: BaseException | None) -> bool:
    """Return whether this is a Ctrl-C, or what closes an iterator on account of one."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _bound(begin: Callable[[int], None], number: int) -> Callable[[], None]:
    return lambda: begin(number)


def _next_task(source: Iterator[Task]) -> Task | None:
    """Return the next task, or one that raises what the source has raised, for it to be raised in its turn."""
    try:
        return next(source, None)
    except Exception as error:  # noqa: BLE001
        return _Raise(error)


class _Raise:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self) -> Any:
        raise self._error


class Reader:
    """Takes the items of an iterator, from one thread at a time, and none after its end or an exception."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source: Iterator[Any] | None = source

    def __call__(self) -> Any:
        """Return the next item, or :data:`END`."""
        if self._source is None:
            return END
        try:
            return next(self._source)
        except StopIteration:
            self._source = None
            return END
        except BaseException:
            self._source = None
            raise
