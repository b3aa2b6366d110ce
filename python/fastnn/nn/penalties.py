"""Penalties on the size of weights, to be added to the loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import check_instance, check_number, check_tensors
from fastnn.nn._state import chosen_by_patterns
from fastnn.nn.container import ModuleList
from fastnn.nn.module import Module

__all__ = ["L1", "L2", "ElasticNet", "Lp", "PerLayer"]

Target: TypeAlias = "Module | Tensor | Iterable[Tensor]"
"""The penalized tensors: the parameters of a module, or these tensors."""

_Term: TypeAlias = "tuple[str, float, float]"


def _strength(where: str, name: str, value: object) -> float:
    strength = check_number(where, name, value)
    if not 0 <= strength < float("inf"):
        raise ValueError(f"{where}: expected {name} of at least 0, and finite; got {value}")
    return strength


class _Penalty(Module):
    """A penalty of one kind on all weights that it is given."""

    def __init__(self, *, include_bias: bool) -> None:
        super().__init__()
        self.include_bias = include_bias

    def _term(self) -> _Term:
        raise NotImplementedError

    def _takes(self, tensor: Tensor) -> bool:
        return self.include_bias or tensor.dim() >= 2

    def forward(self, target: Target) -> Tensor:
        """Return the penalty of a model, of a tensor, or of several, as a scalar."""
        given = target.parameters() if isinstance(target, Module) else target
        chosen = [tensor for tensor in check_tensors(type(self).__name__, "target", given) if self._takes(tensor)]
        if not chosen:
            what = "parameter" if self.include_bias else "parameter of 2 dimensions or more"
            raise ValueError(f"{type(self).__name__}: expected at least one {what}; got none")
        return _core.penalty(chosen, [self._term()] * len(chosen))


class L1(_Penalty):
    """Add ``strength * sum(|w|)`` to the loss: small weights become 0.

    The gradient is ``strength * sign(w)``, and 0 at ``w = 0``. ``penalty(model)`` penalizes the model's weights,
    ``penalty(tensors)`` these tensors.

    Args:
        strength: The factor, at least 0.
        include_bias: Whether parameters of fewer than 2 dimensions, which are biases and those of normalization, are
            penalized too.

    Returns:
        From a call: a scalar.

    Raises:
        ValueError: ``strength`` is negative or not finite; or there is nothing to penalize.
        TypeError: ``strength`` is not a number.

    Source:
        Tibshirani 1996, https://doi.org/10.1111/j.2517-6161.1996.tb02080.x (the lasso). Keras' ``L1`` is the same.
        Subgradient steps seldom give exact zeros: weights swing around 0 within the step size.
    """

    def __init__(self, strength: float, *, include_bias: bool = False) -> None:
        super().__init__(include_bias=include_bias)
        self.strength = _strength("L1", "strength", strength)

    def _term(self) -> _Term:
        return "elastic", self.strength, 0.0

    def extra_repr(self) -> str:
        return f"{self.strength}"


class L2(_Penalty):
    """Add ``strength * sum(w**2)`` to the loss: all weights shrink.

    The gradient is ``2 * strength * w``. ``penalty(model)`` penalizes the model's weights, ``penalty(tensors)`` these
    tensors.

    Args:
        strength: The factor, at least 0.
        include_bias: Whether parameters of fewer than 2 dimensions are penalized too.

    Returns:
        From a call: a scalar.

    Raises:
        ValueError: ``strength`` is negative or not finite; or there is nothing to penalize.
        TypeError: ``strength`` is not a number.

    Source:
        Hoerl & Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634; Krogh & Hertz 1991 (weight decay).
        Keras' ``L2`` is the same. Textbooks that write ``strength / 2`` mean half of it, and so does PyTorch's
        ``weight_decay``, which is ``2 * strength`` and does not show in the loss.
    """

    def __init__(self, strength: float, *, include_bias: bool = False) -> None:
        super().__init__(include_bias=include_bias)
        self.strength = _strength("L2", "strength", strength)

    def _term(self) -> _Term:
        return "elastic", 0.0, self.strength

    def extra_repr(self) -> str:
        return f"{self.strength}"


class ElasticNet(_Penalty):
    """Add ``l1 * sum(|w|) + l2 * sum(w**2)`` to the loss.

    The gradient is ``l1 * sign(w) + 2 * l2 * w``. ``penalty(model)`` penalizes the model's weights,
    ``penalty(tensors)`` these tensors.

    Args:
        l1: The factor of the absolute values, at least 0.
        l2: The factor of the squares, at least 0.
        include_bias: Whether parameters of fewer than 2 dimensions are penalized too.

    Returns:
        From a call: a scalar.

    Raises:
        ValueError: A factor is negative or not finite; or there is nothing to penalize.
        TypeError: A factor is not a number.

    Source:
        Zou & Hastie 2005, https://doi.org/10.1111/j.1467-9868.2005.00503.x, the naive elastic net. Keras' ``L1L2`` is
        the same; scikit-learn's ``alpha`` and ``l1_ratio`` are ``l1 = alpha * l1_ratio`` and
        ``l2 = alpha * (1 - l1_ratio) / 2``.
    """

    def __init__(self, l1: float, l2: float, *, include_bias: bool = False) -> None:
        super().__init__(include_bias=include_bias)
        self.l1 = _strength("ElasticNet", "l1", l1)
        self.l2 = _strength("ElasticNet", "l2", l2)

    def _term(self) -> _Term:
        return "elastic", self.l1, self.l2

    def extra_repr(self) -> str:
        return f"{self.l1}, {self.l2}"


class Lp(_Penalty):
    """Add ``strength * sum(|w|**p)`` to the loss.

    The gradient is ``strength * p * |w|**(p - 1) * sign(w)``, and 0 at ``w = 0``. With p below 1 it grows without bound
    toward 0, so that small weights are thrown to the other side: use small strengths. ``penalty(model)`` penalizes
    the model's weights, ``penalty(tensors)`` these tensors.

    Args:
        strength: The factor, at least 0.
        p: The exponent, above 0.
        include_bias: Whether parameters of fewer than 2 dimensions are penalized too.

    Returns:
        From a call: a scalar.

    Raises:
        ValueError: ``strength`` is negative or not finite, ``p`` is not above 0; or there is nothing to penalize.
        TypeError: A setting is not a number.

    Source:
        Frank & Friedman 1993, https://doi.org/10.1080/00401706.1993.10485033 (bridge regression). It is the sum of
        powers, not the norm: no root is taken. In float32 a power is within 5e-6 of the exact one, and 0 for weights
        below 2.6e-29, unless ``p`` is 1, 2, 3 or 4.
    """

    def __init__(self, strength: float, p: float, *, include_bias: bool = False) -> None:
        super().__init__(include_bias=include_bias)
        self.strength = _strength("Lp", "strength", strength)
        self.p = check_number("Lp", "p", p)
        if not 0 < self.p < float("inf"):
            raise ValueError(f"Lp: expected p above 0, and finite; got {p}")

    def _term(self) -> _Term:
        # Without a power, these are quicker.
        if self.p == 1.0:
            return "elastic", self.strength, 0.0
        if self.p == 2.0:
            return "elastic", 0.0, self.strength
        return "power", self.strength, self.p

    def extra_repr(self) -> str:
        return f"{self.strength}, {self.p}"


class PerLayer(Module):
    """Penalize each parameter of a model by the first of several patterns that its name matches.

    ``PerLayer({"0.*": L1(1e-3), "*": L2(1e-4)})`` is a penalty of the first layer, and another one of all others. A
    parameter that no pattern matches goes free, as do biases, unless their penalty includes them. One with several
    names is penalized once, by the first pattern that matches any of them.

    Args:
        penalties: Penalties by patterns of names, with ``*``, ``?`` and ``[...]``, as in :mod:`fnmatch`.

    Returns:
        From a call with a model: a scalar.

    Raises:
        ValueError: There are no patterns; or one of them matches no parameter of the model, or none that it penalizes.
        TypeError: A value is none of the penalties, or the call is not with a model.

    Source:
        Keras' ``kernel_regularizer`` of every layer; in PyTorch, parameter groups with a ``weight_decay`` of their own.
    """

    def __init__(self, penalties: Mapping[str, Module]) -> None:
        super().__init__()
        check_instance("PerLayer", "penalties", penalties, Mapping, "a mapping")
        if not penalties:
            raise ValueError("PerLayer: expected at least one pattern; got none")
        for pattern, penalty in penalties.items():
            check_instance("PerLayer", "patterns", pattern, str, "text")
            if not isinstance(penalty, _Penalty):
                raise TypeError(
                    f"PerLayer: expected L1, L2, ElasticNet or Lp for {pattern!r}; got {type(penalty).__name__}"
                )
        self.patterns = tuple(penalties)
        self.penalties = ModuleList(penalties.values())

    def forward(self, model: Module) -> Tensor:
        """Return the penalty of a model, as a scalar."""
        if not isinstance(model, Module):
            raise TypeError(f"PerLayer: expected a module; got {type(model).__name__}")
        penalties = list(self.penalties)
        chosen = chosen_by_patterns("PerLayer", "", model, self.patterns, lambda i, p: penalties[i]._takes(p))
        if not chosen:
            raise ValueError("PerLayer: expected at least one parameter of 2 dimensions or more; got none")
        return _core.penalty([parameter for parameter, _ in chosen], [penalties[i]._term() for _, i in chosen])

    def extra_repr(self) -> str:
        return f"patterns={self.patterns}"
