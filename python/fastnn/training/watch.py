"""The Python state that a step reads, which a trace would freeze."""

from __future__ import annotations

import dis
import functools
import math
import pickle
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import length_hint
from pathlib import PurePath
from typing import Any, Final, NamedTuple

import numpy as np

from fastnn._core import Tensor
from fastnn.nn.module import Module
from fastnn.training.assumptions import Same, attribute_state

# Code of these packages reads no state of the user's. A user's own file may well be called test.py.
_LIBRARIES: Final = {"fastnn", "numpy", *sys.stdlib_module_names} - {"test", "__main__"}
_FUNCTIONS: Final = (types.FunctionType, types.MethodType, types.BuiltinMethodType, functools.partial)
_CONTAINERS: Final = (list, tuple, dict, set, frozenset, deque)
# Kept in an attribute of a module, they may change without a word to it.
_CHANGEABLE: Final = (*_CONTAINERS, np.ndarray)
_RANDOM: Final = (random.Random, np.random.Generator, np.random.RandomState)
# Depth to which a state is compared before every step, values of a container, and values in all; beyond that an
# object equals itself alone.
_DEPTH: Final = 4
_WIDTH: Final = 64
_ROOM: Final = 256
# Values of a container that are looked at at once.
_SEARCHED: Final = 1000
_SMALL_ARRAY: Final = 4096
_MISSING: Final = object()


# Code that uses one of these may read any attribute.
_BY_ANY_NAME: Final = {"getattr", "vars", "__dict__"}
_GLOBAL: Final = {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"}


def _package(name: object) -> str:
    return name.partition(".")[0] if isinstance(name, str) else ""


def _of_library(name: object) -> bool:
    return _package(name) in _LIBRARIES


@functools.lru_cache(maxsize=1000)
def _is_installed(package: str) -> bool:
    """Return whether a package lies where pip puts packages."""
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return not {"site-packages", "dist-packages"}.isdisjoint(PurePath(file).parts)


class _Freezer:
    """Makes values that compare equal if, and only if, the code that reads them would do the same.

    Args:
        names: The attributes of objects that count.
    """

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._by_any_name = not names.isdisjoint(_BY_ANY_NAME)
        self._room = _ROOM

    def __call__(self, value: object, depth: int = _DEPTH) -> object:
        if value is None or isinstance(value, (bool, int, str, bytes, complex)):
            return type(value), value
        if isinstance(value, float):
            return type(value), math.copysign(1.0, value), "nan" if math.isnan(value) else value
        if isinstance(value, np.generic):
            return type(value), value.tobytes()
        if isinstance(value, Tensor):
            return attribute_state(value)
        self._room -= 1
        if depth == 0 or self._room < 0 or isinstance(value, (type, Module, types.ModuleType, types.FunctionType)):
            return Same(value)
        if isinstance(value, np.ndarray):
            return (value.shape, value.dtype.str, value.tobytes()) if value.nbytes <= _SMALL_ARRAY else Same(value)
        return self._inside(value, depth - 1)

    def _inside(self, value: Any, depth: int) -> object:
        if isinstance(value, _CONTAINERS):
            if len(value) > _WIDTH:
                return Same(value), len(value)
            if isinstance(value, dict):
                return Same(value), [(self._key(key), self(item, depth)) for key, item in list(value.items())]
            if isinstance(value, (set, frozenset)):
                return Same(value), frozenset(map(self._key, value))
            # A tuple is often made anew.
            return type(value) if isinstance(value, tuple) else Same(value), [self(item, depth) for item in list(value)]
        if isinstance(value, functools.partial):
            return self(value.func, depth), self(value.args, depth), self(value.keywords, depth)
        if isinstance(value, types.GeneratorType):
            frame = value.gi_frame
            inside = None if frame is None else (frame.f_lasti, self(dict(frame.f_locals), depth))
            return Same(value), inside, self(value.gi_yieldfrom, depth)
        if isinstance(value, Iterator) and _of_library(type(value).__module__):
            # Progress of an iterator: itertools.count shows it, iterators over lists have a length.
            return Same(value), repr(value), length_hint(value, -1)
        if not _is_plain(value):
            return Same(value)
        counts = [pair for pair in _attributes(value) if self._by_any_name or pair[0] in self._names]
        return Same(value), [(name, self(item, depth)) for name, item in counts]

    @staticmethod
    def _key(key: object) -> object:
        return key if isinstance(key, (int, float, str, bytes, type(None))) else Same(key)


def _attributes(value: object) -> list[tuple[str, object]]:
    found = list(getattr(value, "__dict__", {}).items())
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            found += [(name, getattr(value, name))] if hasattr(value, name) else []
    return found


class _Place(NamedTuple):
    """A place that code reads: called with its key, ``get`` returns what is there now."""

    get: Callable[[str, object], object]
    key: str
    value: object
    frozen: object
    fixed: bool


class Watch:
    """The variables, attributes and containers that the code of a step refers to, as they are now.

    The code is looked at, not run: that of ``forward`` and of the losses, and of all functions, methods and objects
    that they name, but for the libraries': Python's, fastnn, NumPy, and installed packages that define no part of the
    model.

    Args:
        roots: The models, the loss and the penalty.

    Attributes:
        modules: Models that the code refers to and that are not among the roots' own modules.
        places: Where to look for changes.
    """

    def __init__(self, roots: Iterable[object]) -> None:
        found = _Search(roots)
        self.modules = found.modules
        self._names = found.names
        self._sources = found.sources
        self._wanted = found.places
        self.places: list[_Place] = []
        self.refresh()

    def refresh(self) -> None:
        """Take everything as it is now."""
        freeze = _Freezer(self._names)
        self.places = []
        for get, key in self._wanted.values():
            value = get(key, _MISSING)
            # While the same object is there, only one that has contents can have changed.
            fixed = isinstance(value, (bool, int, float, str, bytes, complex, type, Module, *_FUNCTIONS[:3]))
            self.places.append(_Place(get, key, value, freeze(value), fixed or value is None))

    def changed(self) -> str | None:
        """Return the name of something that has changed."""
        for get, key, value, frozen, fixed in self.places:
            now = get(key, _MISSING)
            if (now is not value or not fixed) and _Freezer(self._names)(now) != frozen:
                return key
        return None

    def draws(self) -> list[object]:
        """Return the states of the generators of Python and NumPy that the code refers to."""
        return [_state_of_generator(source) for source in self._sources]


def _state_of_generator(source: Any) -> object:
    if isinstance(source, random.SystemRandom):
        return None
    if isinstance(source, random.Random):
        return source.getstate()
    state = source.get_state(legacy=False) if isinstance(source, np.random.RandomState) else source.bit_generator.state
    return pickle.dumps(state)


class _Search:
    """The variables that the code of a step refers to."""

    def __init__(self, roots: Iterable[object]) -> None:
        self.names: set[str] = set()
        self.places: dict[tuple[int, str], tuple[Callable[[str, object], object], str]] = {}
        self.sources: list[object] = []
        self.modules: list[Module] = []
        # The packages that define the model and the loss.
        self._own: set[str] = set()
        self._seen: dict[int, object] = {}
        self._owners: list[tuple[object, Mapping[str, Any]]] = []
        roots = list(roots)
        for root in roots:
            self._own |= {_package(part.__module__) for part in (root.modules() if isinstance(root, Module) else ())}
            self._own.add(_package(getattr(root, "__module__", None)))
        self._waiting = deque(roots)
        own = {module for root in roots if isinstance(root, Module) for module in root.modules()}
        self._follow_names()
        self.modules = [module for module in self.modules if module not in own]
        if "random" in self.names:
            self._waiting += (random.random.__self__, np.random.mtrand._rand)  # type: ignore[attr-defined]
            self._visit_waiting()

    def _skips(self, name: object) -> bool:
        """Return whether code of this module is that of a library."""
        package = _package(name)
        return package in _LIBRARIES or (package not in self._own and _is_installed(package))

    def _follow_names(self) -> None:
        """Visit what owners have under the names that code uses; that may bring further names and owners."""
        done: set[tuple[int, str]] = set()
        before = -1
        while before != len(done):
            before = len(done)
            self._visit_waiting()
            for owner, attributes in list(self._owners):
                for name in [name for name in attributes if name in self.names and (id(owner), name) not in done]:
                    done.add((id(owner), name))
                    self._attribute(owner, attributes, name)

    def _attribute(self, owner: object, attributes: Mapping[str, Any], name: str) -> None:
        value = attributes[name]
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, property):
            value = value.fget
        # A module's own values are part of its state, except for those inside. Objects are watched as a whole.
        whole = _is_plain(owner) or (isinstance(owner, Module) and not isinstance(value, _CHANGEABLE))
        if not whole:
            self._place(owner, attributes.get, name)
        self._visit(value)

    def _place(self, owner: object, get: Callable[[str, object], object], key: str) -> None:
        self.places.setdefault((id(owner), key), (get, key))

    def _visit_waiting(self) -> None:
        # Not by recursion: objects may refer to each other in long chains.
        while self._waiting:
            self._look_at(self._waiting.popleft())

    def _visit(self, value: object) -> None:
        self._waiting.append(value)

    def _look_at(self, value: Any) -> None:
        if id(value) in self._seen or value is None or isinstance(value, (bool, int, float, str, bytes, Tensor)):
            return
        self._seen[id(value)] = value
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.MethodType):
            self._visit(value.__func__)
            self._visit(value.__self__)
        elif isinstance(value, types.BuiltinMethodType):
            self._visit(value.__self__)
        elif isinstance(value, functools.partial):
            self._place(value, functools.partial(_itself, value), "arguments of a partial")
            for part in (value.func, *value.args, *value.keywords.values()):
                self._visit(part)
        elif isinstance(value, Module):
            self._module(value)
        elif isinstance(value, _RANDOM):
            self.sources.append(value)
        elif isinstance(value, types.ModuleType):
            if not self._skips(value.__name__):
                self._owners.append((value, vars(value)))
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, dict):
            self._waiting += list(value.values())[:_SEARCHED]
        elif isinstance(value, _CONTAINERS):
            self._waiting += list(value)[:_SEARCHED]
        elif _is_plain(value):
            self._object(value)

    def _function(self, function: types.FunctionType) -> None:
        if self._skips(function.__module__):
            return
        names, variables = _names(function.__code__)
        self.names |= names
        for name in variables & function.__globals__.keys():
            value = function.__globals__[name]
            if not isinstance(value, types.ModuleType):
                self._place(function.__globals__, function.__globals__.get, name)
            self._visit(value)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._place(cell, functools.partial(_contents, cell), name)
            self._visit(_contents(cell))
        for name, value in _defaults(function):
            if isinstance(value, _CHANGEABLE):
                self._place(value, functools.partial(_itself, value), name)
            self._visit(value)

    def _module(self, module: Module) -> None:
        self.modules.append(module)
        for part in module.modules():
            self._seen[id(part)] = part
            own = vars(part)
            if self._skips(type(part).__module__):
                lists = {name: value for name, value in own.items() if isinstance(value, list) and name[0] != "_"}
                for name in lists:
                    self._place(part, own.get, name)
            else:
                self._owners.append((part, own))
                self.names.add("forward")
                self._class(type(part))
            for value in list(own.values()):
                if isinstance(value, _FUNCTIONS):
                    self._visit(value)

    def _object(self, value: object) -> None:
        self.names.add("__call__")
        self._place(value, functools.partial(_itself, value), type(value).__name__)
        self._owners.append((value, dict(_attributes(value))))
        self._class(type(value))

    def _class(self, kind: type) -> None:
        for base in kind.__mro__:
            if not self._skips(base.__module__) and self._seen.get(-id(base)) is not base:
                self._seen[-id(base)] = base
                self._owners.append((base, base.__dict__))


def _is_plain(value: object) -> bool:
    """Return whether it is an object with attributes, of a class of the user's or one such as ``SimpleNamespace``."""
    known = (type, Module, Tensor, types.ModuleType, *_FUNCTIONS, *_RANDOM, *_CHANGEABLE)
    if isinstance(value, known) or _package(type(value).__module__) in {"fastnn", "numpy", "builtins"}:
        return False
    return hasattr(value, "__dict__") or any("__slots__" in kind.__dict__ for kind in type(value).__mro__)


@functools.lru_cache(maxsize=1000)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """Return all names that code uses, functions inside included, and those of them that are global variables."""
    names = set(code.co_names)
    variables = {str(line.argval) for line in dis.get_instructions(code) if line.opname in _GLOBAL}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = _names(constant)
            names |= inner[0]
            variables |= inner[1]
    return frozenset(names), frozenset(variables)


def _defaults(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    code = function.__code__
    defaults = function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def _contents(cell: types.CellType, key: str = "", default: object = _MISSING) -> object:  # noqa: ARG001
    try:
        return cell.cell_contents
    except ValueError:
        # It is yet to be assigned.
        return default


def _itself(value: object, key: str, default: object) -> object:  # noqa: ARG001
    return value
