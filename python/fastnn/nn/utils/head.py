"""A new output layer for a model that has learned something else."""

from __future__ import annotations

from fastnn._types import check_at_least, check_instance
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module


def replace_head(model: Module, head: int | Module, name: str | None = None) -> Module:
    """Put a new last layer into a model, for other classes.

    The old one is the last layer with a matrix of weights, in the order of ``model.named_modules()``; that is the
    output layer of every model that registers its layers in the order in which it calls them.

    Args:
        model: The model, changed in place. Its optimizer is to be made anew: it holds the old layer's parameters.
        head: The number of classes, at least 1: a new :class:`~fastnn.nn.Linear` from the old one's inputs, with a
            bias if the old one has one, of its type, and in its mode. Or a module to be used as it is.
        name: Path of the layer, where it is another one.

    Returns:
        The new layer, so that an optimizer can be given its parameters.

    Raises:
        ValueError: The model has no such layer; or ``head`` is a number and the old layer no ``Linear``.
        TypeError: An argument is of another type.

    Source:
        Yosinski et al. 2014, https://arxiv.org/abs/1411.1792.
    """
    where = "replace_head"
    if not isinstance(model, Module):
        raise TypeError(f"{where}: expected model to be an nn.Module; got {type(model).__name__}")
    if not isinstance(head, Module):
        check_at_least(where, "head", head, 1)
    if name is None:
        name = last_layer(where, model)
    check_instance(where, "name", name, str, "a path")
    parent, _, child = name.rpartition(".")
    try:
        old = model.get_submodule(name)
    except AttributeError:
        old = model
    if old is model:
        raise ValueError(f"{where}: expected name to be the path of a layer of {type(model).__name__}; got {name!r}")
    if isinstance(head, Module):
        new = head
    elif isinstance(old, Linear):
        new = Linear(old.in_features, head, bias=old.bias is not None, dtype=old.weight.dtype).train(old.training)
    else:
        raise ValueError(
            f"{where}: expected a module as head, where the layer {name!r} is a {type(old).__name__} "
            f"and not a Linear; got {head}"
        )
    model.get_submodule(parent).add_module(child, new)
    return new


def last_layer(where: str, model: Module) -> str:
    """Return the path of the last layer with a matrix of weights.

    Raises:
        ValueError: There is none.
    """
    found = [
        path
        for path, module in model.named_modules()
        if path and any(p is not None and p.ndim >= 2 for p in module._parameters.values())
    ]
    if not found:
        raise ValueError(f"{where}: expected a model with a layer of weights in it; got {type(model).__name__}")
    return found[-1]
