"""The public surface, found by introspection: what each kind of program may call."""

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import fastnn as fnn
import fastnn.nn.functional as F
from fastnn import augment, autograd, callbacks, data, diagnostics, ensemble, models, nn, optim, unsupervised
from fastnn.nn import init, penalties, utils
from fastnn.optim import lr_scheduler, swa_utils
from fastnn.training import metrics
from fastnn.visualize import arrays

# Functions that change the process for later calls in a way that is not reset after each.
LEFT_OUT = {"set_rng_state", "set_own_rng_state", "load", "save"}

# Methods that `dir` has and that have a program of their own, or give away memory as it is.
OWN_PROGRAM = {"backward", "__getitem__", "__setitem__", "__delitem__", "__class__", "__init__", "__new__"}

# Calls of a second or so: less of them.
SLOW = {
    *("models.resnet20", "models.ResNet", "models.vgg_small", "models.VGG", "fnn.diagnose", "fnn.bias_variance"),
    *("diagnostics.diagnose", "diagnostics.bias_variance", "models.resnet8"),
}


def _named(module: Any, names: Iterable[str], keep: Callable[[Any], bool]) -> list[tuple[str, Any]]:
    return [(name, getattr(module, name)) for name in sorted(names) if keep(getattr(module, name))]


def signature(function: Any) -> bool:
    """Say whether a callable tells its parameters."""
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return False
    return True


def _function(value: Any) -> bool:
    return callable(value) and not inspect.isclass(value) and signature(value)


def _class_of(base: type) -> Callable[[Any], bool]:
    return lambda value: inspect.isclass(value) and issubclass(value, base) and signature(value)


def _delegating(name: str, function: Any) -> Any:
    """Return the method of a function that only passes its arguments on: the method tells what they are."""
    parameters = inspect.signature(function).parameters.values()
    generic = any(p.kind is p.VAR_POSITIONAL for p in parameters) and any(p.kind is p.VAR_KEYWORD for p in parameters)
    return getattr(fnn.Tensor, name, function) if generic else function


@cache
def functions() -> list[tuple[str, Any]]:
    """Functions of ``fastnn`` and ``nn.functional``, as (path, what has the signature)."""
    top = _named(fnn, set(fnn.__all__) - LEFT_OUT, _function)
    top = [
        (f"fnn.{name}", _delegating(name, f)) for name, f in top if getattr(f, "__module__", "") != "fastnn.training"
    ]
    return top + [(f"F.{name}", f) for name, f in _named(F, F.__all__, _function)]


@cache
def methods() -> list[tuple[str, Any]]:
    """Methods of tensors."""
    names = {name for name in dir(fnn.Tensor) if not name.startswith("_")} - OWN_PROGRAM
    return _named(fnn.Tensor, names, _function)


@cache
def layers() -> list[tuple[str, Any]]:
    """Layers and losses."""
    left_out = {"Module", "Parameter", "Residual"}
    found = _named(nn, set(nn.__all__) - left_out, _class_of(nn.Module))
    found += [(f"penalties.{name}", c) for name, c in _named(penalties, penalties.__all__, _class_of(nn.Module))]
    return [(name if "." in name else f"nn.{name}", c) for name, c in found]


@cache
def classes(module: Any, base: type) -> list[tuple[str, Any]]:
    """Public classes of a module."""
    return _named(module, module.__all__, _class_of(base))


@cache
def optimizers() -> list[tuple[str, Any]]:
    """Optimizers."""
    return classes(optim, optim.Optimizer)


@cache
def schedules() -> list[tuple[str, Any]]:
    """Learning-rate schedules."""
    return [*classes(lr_scheduler, lr_scheduler.LRScheduler), ("ReduceLROnPlateau", lr_scheduler.ReduceLROnPlateau)]


@cache
def transforms() -> list[tuple[str, Any]]:
    """Transforms of images."""
    return classes(augment, augment.Transform)


@cache
def data_classes() -> list[tuple[str, Any]]:
    """Data sets, loaders and samplers."""
    return [(n, c) for n, c in classes(data, object) if n != "WorkerInfo"]


@cache
def others() -> list[tuple[str, Any]]:
    """Functions and classes that are only called: initialization, utilities, metrics, callbacks, models, derivatives."""
    modules = [("init", init), ("nn.utils", utils), ("metrics", metrics), ("callbacks", callbacks), ("models", models),
               ("data", data), ("autograd.functional", autograd.functional), ("swa_utils", swa_utils),
               ("unsupervised", unsupervised), ("ensemble", ensemble), ("diagnostics", diagnostics), ("visualize.arrays", arrays)]  # fmt: skip
    found = []
    for path, module in modules:
        listed = hasattr(module, "__all__")
        for name in module.__all__ if listed else [n for n in dir(module) if not n.startswith("_")]:
            value = getattr(module, name)
            home = getattr(value, "__module__", "")
            public = home.startswith("fastnn") if listed else home == module.__name__
            public = public and callable(value) and signature(value)
            if public and not (path == "data" and inspect.isclass(value)):
                found.append((f"{path}.{name}", value))
    return found
