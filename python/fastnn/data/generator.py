"""Generators beside that of the process."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from fastnn import _core
from fastnn._core import Undo
from fastnn._types import check_device

_DEFAULT_SEED = 67280421310721
_Function = TypeVar("_Function", bound=Callable[..., Any])
# Final states of the last fits in threads other than the main one, by the fitted object.
_ended: WeakKeyDictionary[Any, _core.FitDraws] = WeakKeyDictionary()


class Generator:
    """A generator of its own: what draws from it neither disturbs that of the process nor depends on it.

    It goes where there is an argument ``generator``: ``random_split(data, [0.8, 0.2], Generator().manual_seed(42))``.

    Args:
        device: ``"cpu"``.

    Raises:
        ValueError: ``device`` is another one.

    Source:
        Names and the seed of a new one are PyTorch's; the numbers are those of ``fastnn.manual_seed``, and its states
        are those of ``fastnn.get_rng_state``.
    """

    def __init__(self, device: object = "cpu") -> None:
        check_device("Generator", device)
        self._state: tuple[int, int] = (_DEFAULT_SEED, 0)

    def manual_seed(self, seed: int) -> Generator:
        """Begin again from a seed, an int of 64 bits, and return the generator itself."""
        with drawing_from(self):
            _core.manual_seed(seed)
        return self

    def seed(self) -> int:
        """Begin again from a seed that the generator of the process draws; return it."""
        seed = draw_seed(None)
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """Return the seed that it began from."""
        return self._state[0]

    def get_state(self) -> tuple[int, int]:
        """Return where its draws stand: the seed, and how many there were."""
        return self._state

    def set_state(self, new_state: tuple[int, int]) -> Generator:
        """Go on from where draws stood, and return the generator itself."""
        with Undo() as undo:
            undo.own_rng_state(new_state, self)
        return self


def own_state(state: tuple[int, int]) -> Undo:
    """Let this thread draw from a generator that stands at ``state``, within a ``with`` block."""
    return Undo(lambda undo: undo.own_rng_state(state))


def drawing_from(generator: Generator | None) -> Undo:
    """Let this thread draw from a generator, within a ``with`` block; from that of the process, if ``None``."""
    if generator is None:
        return Undo()
    return Undo(lambda undo: undo.own_rng_state(generator._state, generator))


# True if a fit of this thread runs, in which others may run.
_fit = threading.local()


def _end_fit(fitted: Any) -> None:
    _fit.runs = False
    ended = _core.end_fit_draws()
    if ended is not None:
        _ended[fitted] = ended


def draws_alone(fit: _Function) -> _Function:
    """Let a fit, a function whose first argument is what it fits, draw from a generator of its own.

    It begins where the thread's generator stands, so that the numbers do not depend on what other threads draw
    meanwhile. In the main thread it is the generator of the process, which goes on from there after the fit.
    """

    @functools.wraps(fit)
    def fit_alone(fitted: Any, /, *args: Any, **kwargs: Any) -> Any:
        if getattr(_fit, "runs", False):
            return fit(fitted, *args, **kwargs)
        with Undo() as undo:
            # Noted first, so that a Ctrl-C right after the beginning ends it too; nothing begun is nothing to end.
            undo.call(_end_fit, fitted)
            _fit.runs = True
            _core.begin_fit_draws(_ended.get(fitted))
            return fit(fitted, *args, **kwargs)

    return fit_alone  # type: ignore[return-value]


def check_generator(where: str, generator: Any) -> Generator | None:
    """Accept ``None`` and a :class:`Generator`.

    Raises:
        TypeError: Anything else.
    """
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"{where}: expected generator to be a fastnn.Generator; got {type(generator).__name__}")
    return generator


def draw_seed(generator: Generator | None) -> int:
    """Draw a seed of 62 bits."""
    with drawing_from(generator):
        high, low = _core.randint(0, 1 << 31, (2,)).tolist()
    return int(high) << 31 | int(low)


class Drawn:
    """An iterator whose source draws from a generator of its own.

    Args:
        source: Its items.
        state: Where that generator stands at first.
    """

    def __init__(self, source: Iterator[Any], state: tuple[int, int]) -> None:
        self._source = source
        self._generator = Generator().set_state(state)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with drawing_from(self._generator):
            return next(self._source)
