"""Fully connected nets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastnn._types import check_at_least, check_callable
from fastnn.nn import BatchNorm1d, Dropout, Linear, Module, ReLU, Sequential
from fastnn.nn.dropout import check_probability


def mlp(
    in_features: int,
    hidden: Iterable[int],
    num_classes: int,
    *,
    activation: Callable[[], Module] = ReLU,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> Sequential:
    """Return a fully connected net: for every hidden width, and a last ``Linear`` of ``num_classes``::

        Linear → BatchNorm1d, if batch_norm → activation → Dropout, if dropout is above 0

    It has ``(in + 1) * out`` parameters a ``Linear``, and ``2 * out`` a norm.

    Args:
        in_features: Width of the input, at least 1.
        hidden: Widths of the hidden layers, from input to output; none for a linear model.
        num_classes: Width of the output, at least 1.
        activation: Called for every hidden layer.
        batch_norm: Whether layers are normalized over the batch.
        dropout: Probability of a zero behind every hidden layer, in [0, 1].

    Shapes:
        x: ``(n, in_features)``.
        y: ``(n, num_classes)``: logits.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Rumelhart, Hinton & Williams 1986, https://doi.org/10.1038/323533a0. ``torchvision.ops.MLP`` also drops
        elements of the output.

    Example:
        >>> import fastnn as fnn
        >>> model = fnn.models.mlp(4, (16, 8), 3)
        >>> sum(p.numel() for p in model.parameters())
        243
    """
    check_at_least("mlp", "in_features", in_features, 1)
    check_at_least("mlp", "num_classes", num_classes, 1)
    check_probability("mlp", "dropout", dropout)
    check_callable("mlp", "activation", activation, "a class of layers")
    if not isinstance(hidden, Iterable):
        raise TypeError(f"mlp: expected hidden to be widths in a sequence; got {hidden!r}")
    layers: list[Module] = []
    width = in_features
    for out in hidden:
        check_at_least("mlp", "widths in hidden", out, 1)
        layers.append(Linear(width, out))
        if batch_norm:
            layers.append(BatchNorm1d(out))
        layers.append(activation())
        if dropout > 0:
            layers.append(Dropout(dropout))
        width = out
    return Sequential(*layers, Linear(width, num_classes))
