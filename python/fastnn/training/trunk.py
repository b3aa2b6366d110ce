"""Features of a frozen trunk: computed once, instead of in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn.nn._hooks import attach, attach_pre
from fastnn.nn.container import Sequential
from fastnn.nn.module import Module
from fastnn.nn.utils.head import last_layer
from fastnn.training import data, evaluation
from fastnn.training.data import Types

_FIT = "Trainer.fit"
_BATCH = 256
# Rows on which a trunk is tried.
_PROBE = 32


def _evaluating(model: Module) -> Undo:
    """Do what ``evaluation.evaluating`` does, but leave the layers as they are, and so the bits."""
    return Undo(lambda undo: evaluation.as_layers_are(undo, model))


def features(model: Module, x: Any, name: str | None = None, *, batch_size: int = _BATCH) -> NDArray[Any]:
    """Return what a layer of a model is given when the model is called, in evaluation mode; the mode is restored.

    Args:
        model: The model.
        x: Inputs, ``(n, *)``; they are converted to the model's type.
        name: Path of the layer; ``None`` for the last one with a matrix of weights, as for
            :func:`fastnn.nn.utils.replace_head`.
        batch_size: Rows a batch, at least 1.

    Returns:
        The layer's inputs, ``(n, *)``: the features that the trunk below it has found.

    Raises:
        ValueError: There are no rows, or no such layer, or it is not called.
        TypeError: ``model`` is no module, or ``x`` holds no numbers.

    Source:
        Donahue et al. 2014, https://arxiv.org/abs/1310.1531.
    """
    if not isinstance(model, Module):
        raise TypeError(f"features: expected model to be an nn.Module; got {type(model).__name__}")
    batch_size = data.check_batch_size("features", batch_size)
    path = last_layer("features", model) if name is None else name
    try:
        layer = model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(f"features: expected name to be the path of a layer; got {path!r}: {error}") from None
    types = Types.of(model)
    inputs = data.features("features", x, types, whole=False)
    if not len(inputs):
        raise ValueError(f"features: expected at least one row in x; got shape {inputs.shape}")
    step = _Step(path, model, layer)
    with _evaluating(model):
        return _concatenate("features", [step], inputs, batch_size, types.features)


class _Step(NamedTuple):
    """A part of a trunk.

    Args:
        path: Where it is in the model.
        module: What is called.
        until: The module within it at whose input the trunk ends; ``None`` if all of it belongs to the trunk.
    """

    path: str
    module: Module
    until: Module | None = None

    def __call__(self, x: Tensor) -> Any:
        if self.until is None:
            return self.module(x)
        return _call_until(self.module, self.until, x)


class _Reached(Exception):  # noqa: N818  (no error)
    """Carries what a layer was given out of the model."""


def _stop(module: Module, args: tuple[Any, ...]) -> None:  # noqa: ARG001
    raise _Reached(*args)


def _call_until(model: Module, layer: Module, x: Tensor) -> Any:
    with Undo() as undo:
        attach_pre(undo, layer, _stop)
        try:
            model(x)
        except _Reached as reached:
            return reached.args[0] if len(reached.args) == 1 else reached.args
    raise ValueError(f"features: expected {type(model).__name__} to call its {type(layer).__name__}; it did not")


def _concatenate(
    where: str, trunk: list[_Step], x: NDArray[Any], batch_size: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    rows = (np.array(x[i : i + batch_size], dtype=dtype) for i in range(0, len(x), batch_size))
    return np.concatenate([_run(where, trunk, _core.as_tensor(batch)).numpy() for batch in rows])


def _run(where: str, trunk: list[_Step], x: Any) -> Tensor:
    for step in trunk:
        x = step(x)
    if not isinstance(x, Tensor):
        raise TypeError(f"{where}: expected features to be one tensor; got {type(x).__name__}")
    return x


class FrozenTrunk:
    """A model in two parts: a trunk that does not learn, and the tail behind it.

    The trunk ends where the first part that learns begins, or before a dropout ahead of it. What it returns must be
    the same in every epoch, whatever else is in the batch; this is tried out on the first rows.

    Args:
        model: The model. Its tail is the end of an ``nn.Sequential``, or a module whose output the model returns as
            its own, or both in one another.
        x: The training data.

    Attributes:
        tail: The second part, of the model's own modules.

    Raises:
        ValueError: Nothing is frozen, or everything; or the features would change.
    """

    def __init__(self, model: Module, x: NDArray[Any]) -> None:
        self._model = model
        if not any(p.requires_grad for p in model.parameters()):
            raise ValueError(
                f"{_FIT}: expected a part of the model that learns with cache_features; all of it is frozen"
            )
        self._dtype = Types.of(model).features
        probe = _core.as_tensor(np.array(x[:_PROBE], dtype=self._dtype))
        with _evaluating(model):
            trunk, tail = _divide(_Step("", model), probe)
        if not trunk:
            names = ", ".join(name for name, child in model.named_children() if _learns(child))
            raise ValueError(
                f"{_FIT}: expected a frozen trunk with cache_features, and behind it what learns as the end of an "
                f"nn.Sequential or as the one module whose output is the model's; got {type(model).__name__}, of "
                f"which {names or 'its own parameters'} learns"
            )
        self._trunk, nondeterministic = _settled(model, trunk, probe)
        self.tail = Sequential(*[step.module for step in nondeterministic], *[step.module for step in tail])
        self._compare(probe)

    def _compare(self, probe: Tensor) -> None:
        """Refuse a trunk whose output depends on the rest of the batch."""
        rows = len(probe)
        # Two rows at least, so that a norm over the batch runs at all.
        some = max(2, rows // 2) if rows > 2 else rows
        with _evaluating(self._model):
            together = _run(_FIT, self._trunk, probe).numpy()
            apart = _run(_FIT, self._trunk, probe[:some]).numpy()
        scale = float(np.abs(together).max(initial=0))
        if together.shape[:1] != (rows,) or np.abs(together[:some] - apart).max(initial=0) > 1e-3 * scale:
            raise ValueError(
                f"{_FIT}: expected a trunk that treats every row by itself with cache_features; the features of one "
                "row depend on the others, as with batch norm that has no running statistics"
            )

    def features(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what the trunk makes of ``x``."""
        with _evaluating(self._model):
            return _concatenate(_FIT, self._trunk, x, _BATCH, self._dtype)

    def check(self) -> None:
        """Refuse to go on when the trunk has begun to learn.

        Raises:
            ValueError: It has.
        """
        learning = {id(p) for p in self._model.parameters() if p.requires_grad} - {
            id(p) for p in self.tail.parameters()
        }
        if learning:
            raise ValueError(
                f"{_FIT}: expected the trunk to stay frozen during a fit with cache_features; it learns now"
            )


def _learns(module: Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_plain(module: Module) -> bool:
    """Return whether it is a Sequential that does nothing but call its children."""
    return type(module).forward is Sequential.forward and not module._forward_hooks and not module._forward_pre_hooks


def _steps(step: _Step) -> list[_Step]:
    """Return what is called one after another."""
    if not _is_plain(step.module):
        return [step]
    return [
        one
        for name, child in step.module._modules.items()
        if child
        for one in _steps(_Step(_join(step.path, name), child))
    ]


def _divide(step: _Step, x: Any) -> tuple[list[_Step], list[_Step]]:
    """Return the steps before the first that learns, and the others."""
    if _is_plain(step.module):
        steps = _steps(step)
        first = next(i for i, one in enumerate(steps) if _learns(one.module))
        before, behind = _divide(steps[first], _run(_FIT, steps[:first], x))
        return [*steps[:first], *before], [*behind, *steps[first + 1 :]]
    learning = {id(p) for p in step.module.parameters() if p.requires_grad}
    for name, child in step.module.named_children():
        if learning <= {id(p) for p in child.parameters()}:
            given = _given_to_last(step.module, child, x)
            if given is None:
                break
            before, behind = _divide(_Step(_join(step.path, name), child), given)
            return [_Step(step.path, step.module, child), *before], behind
    return [], [step]


def _given_to_last(module: Module, child: Module, x: Any) -> Tensor | None:
    """Return what a child is given, if it is called once, on one tensor, and the module returns what it returns."""
    calls: list[tuple[Any, Any]] = []

    def note(_: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls.append((args[0] if len(args) == 1 and not kwargs else None, output))

    with Undo() as undo:
        attach(undo, child, note, with_kwargs=True)
        output = module(x)
    if len(calls) != 1 or calls[0][1] is not output or not isinstance(calls[0][0], Tensor):
        return None
    return calls[0][0]


def _settled(model: Module, trunk: list[_Step], probe: Tensor) -> tuple[list[_Step], list[_Step]]:
    """Part the trunk before its first step that is not the same every time, if nothing behind it has parameters.

    Raises:
        ValueError: Something behind it has parameters, or there is nothing before it.
    """
    with _evaluating(model):
        still: Any = probe
        expected = []
        for step in trunk:
            still = step(still)
            expected.append(still)
    with Undo() as undo:
        undo.modes(list(model.modules()))
        undo.own_rng_state(_core.get_rng_state())
        undo.values(list(model.buffers()))
        undo.grad_mode(False)
        model.train()
        x: Any = probe
        for i, step in enumerate(trunk):
            changes: list[str] = []
            x = _watch(step, x, changes.append)
            if not changes and not _equal(x, expected[i]):
                changes.append(f"{_called(step.path, step.module)} does something else while evaluating")
            if changes:
                if i == 0 or step.until is not None or any(list(one.module.parameters()) for one in trunk[i:]):
                    raise ValueError(
                        f"{_FIT}: expected a trunk that returns the same features in every epoch with "
                        f"cache_features; {changes[0]}"
                    )
                return trunk[:i], trunk[i:]
    return trunk, []


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return np.array_equal(one.numpy(), other.numpy(), equal_nan=True)
    return True


def _watch(step: _Step, x: Any, tell: Callable[[str], None]) -> Any:
    """Run a step, and tell of modules that draw numbers, or change buffers of theirs, innermost first."""
    before: dict[int, tuple[Any, list[bytes]]] = {}

    def look(module: Module, args: Any) -> None:  # noqa: ARG001
        before[id(module)] = _state(module)

    def compare(path: str, module: Module) -> None:
        was, held = before[id(module)]
        generator, buffers = _state(module)
        if generator != was:
            tell(f"{_called(path, module)} draws random numbers while training")
        elif buffers != held:
            tell(f"{_called(path, module)} changes its statistics while training: freeze it with fastnn.freeze")

    with Undo() as undo:
        for name, module in step.module.named_modules(prefix=step.path):
            if module is not step.module and module is not step.until:

                def after(module: Module, args: Any, output: Any, path: str = name) -> None:  # noqa: ARG001
                    compare(path, module)

                attach_pre(undo, module, look)
                attach(undo, module, after)
        look(step.module, ())
        x = step(x)
    # Not by hooks: a call that is cut short has no end.
    compare(step.path, step.module)
    return x


def _state(module: Module) -> tuple[Any, list[bytes]]:
    return _core.get_rng_state(), [
        buffer.numpy().tobytes() for buffer in module._buffers.values() if buffer is not None
    ]


def _called(path: str, module: Module) -> str:
    return f"{path!r} ({type(module).__name__})" if path else type(module).__name__
