"""Dropout of elements and of channels, and its variants for self-normalizing nets."""

from __future__ import annotations

from typing import Literal, TypeAlias

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_choice, check_number
from fastnn.nn import functional as F
from fastnn.nn.module import Module

_dropout = _core.dropout

Scaling: TypeAlias = Literal["training", "evaluation"]
"""When what is kept at random is scaled to have the mean of what there would be without chance."""


def check_probability(layer: str, name: str, value: float) -> float:
    """Return it as it is, if it is in [0, 1].

    Raises:
        ValueError: It is not.
        TypeError: It is no number.
    """
    if not 0 <= check_number(layer, name, value) <= 1:
        raise ValueError(f"{layer}: expected {name} in [0, 1]; got {value}")
    return value


def check_scaling(layer: str, scaling: Scaling) -> Scaling:
    """Return it as it is, if it is one.

    Raises:
        ValueError: It is not.
    """
    check_choice(layer, "scaling", scaling, ("training", "evaluation"))
    return scaling


class Dropout(Module):
    """Zero elements at random while training, and scale the others to keep the mean::

        y[i] = x[i] / (1 - p)  with probability 1 - p,  and otherwise 0

    While evaluating, do nothing. With ``scaling="evaluation"``, do not divide while training, and while evaluating::

        y[i] = (1 - p) * x[i]

    Args:
        p: Probability of a zero, in [0, 1]; rounded to a multiple of 1/65536. Some texts call p the probability to
            *keep*: that is ``1 - p`` here.
        inplace: Accepted for PyTorch's sake. The input is not changed.
        scaling: ``"training"``, so that evaluation needs no change ("inverted dropout", PyTorch and Keras), or
            ``"evaluation"``. With one seed, both have the same masks.

    Shapes:
        x, y: any, the same.

    Raises:
        ValueError: ``p`` or ``scaling`` is out of range.

    Source:
        Srivastava et al. 2014, JMLR 15:1929, sections 4 and 10: ``scaling="evaluation"``, with p to keep, and with the
        weights behind the layer scaled, which comes to the same.
    """

    _drops_at_random = True

    p: float
    inplace: bool
    scaling: Scaling

    def __init__(self, p: float = 0.5, inplace: bool = False, scaling: Scaling = "training") -> None:
        super().__init__()
        self.p = check_probability("Dropout", "p", p)
        self.inplace = inplace
        self.scaling = check_scaling("Dropout", scaling)

    def forward(self, input: TensorLike) -> Tensor:
        if self.scaling == "training":
            return _dropout(input, self.p, self.training)
        if self.training:
            return _dropout(input, self.p, True, False)
        return _core.mul(input, 1.0 - self.p)

    def extra_repr(self) -> str:
        scaling = "" if self.scaling == "training" else f", scaling={self.scaling!r}"
        return f"p={self.p}, inplace={self.inplace}{scaling}"


class _DropoutBase(Module):
    _drops_at_random = True

    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = check_probability(type(self).__name__, "p", p)
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(_DropoutBase):
    """Zero whole channels of series at random while training, and scale the others to keep the mean::

        y[i, c, :] = x[i, c, :] / (1 - p)  with probability 1 - p,  and otherwise 0

    While evaluating, do nothing.

    Args:
        p: Probability of a channel to be dropped, in [0, 1]; rounded to a multiple of 1/65536.
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Shapes:
        x, y: ``(n, c, l)`` or ``(c, l)``, the same.

    Raises:
        ValueError: ``p`` is out of range, or ``x`` has other dimensions.

    Source:
        Tompson et al. 2015, https://arxiv.org/abs/1411.4280, section 3.2 ("SpatialDropout", as in Keras).
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.dropout1d(input, self.p, self.training)


class Dropout2d(_DropoutBase):
    """Zero whole channels of images at random while training, and scale the others to keep the mean::

        y[i, c, :, :] = x[i, c, :, :] / (1 - p)  with probability 1 - p,  and otherwise 0

    While evaluating, do nothing.

    Args:
        p: Probability of a channel to be dropped, in [0, 1]; rounded to a multiple of 1/65536.
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Shapes:
        x, y: ``(n, c, h, w)``, the same. As in PyTorch, which warns as well, three dimensions are ``(n, c, l)``.

    Raises:
        ValueError: ``p`` is out of range, or ``x`` has fewer than two dimensions.

    Source:
        Tompson et al. 2015, https://arxiv.org/abs/1411.4280, section 3.2 ("SpatialDropout", as in Keras).
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.dropout2d(input, self.p, self.training)


class Dropout3d(_DropoutBase):
    """Zero whole channels of volumes at random while training: :class:`Dropout2d` with one dimension more.

    Args:
        p: Probability of a channel to be dropped, in [0, 1]; rounded to a multiple of 1/65536.
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Shapes:
        x, y: ``(n, c, d, h, w)`` or ``(c, d, h, w)``, the same.

    Raises:
        ValueError: ``p`` is out of range, or ``x`` has no dimension.

    Source:
        Tompson et al. 2015, https://arxiv.org/abs/1411.4280, section 3.2 ("SpatialDropout", as in Keras).
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.dropout3d(input, self.p, self.training)


class AlphaDropout(_DropoutBase):
    """Set elements at random to what SELU saturates at while training, and keep mean 0 and variance 1::

        y[i] = a * x[i] + b    with probability 1 - p,  and otherwise  a * α' + b
        α' = -1.7580993408473766,  a = 1 / √((1 - p) * (1 + p * α'²)),  b = -a * p * α'

    While evaluating, do nothing.

    Args:
        p: Probability of an element to be dropped, in [0, 1]; rounded to a multiple of 1/65536. 1 gives zeros.
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Shapes:
        x, y: any, the same.

    Raises:
        ValueError: ``p`` is out of range.

    Source:
        Klambauer et al. 2017, https://arxiv.org/abs/1706.02515, section "New dropout technique", with q = 1 - p.
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutBase):
    """Do to whole channels what :class:`AlphaDropout` does to elements: ``y[i, c, :]`` is kept or dropped as one.

    Args:
        p: Probability of a channel to be dropped, in [0, 1]; rounded to a multiple of 1/65536.
        inplace: Accepted for PyTorch's sake. The input is not changed.

    Shapes:
        x, y: ``(n, c, *)``, the same.

    Raises:
        ValueError: ``p`` is out of range, or ``x`` has fewer than two dimensions.

    Source:
        Klambauer et al. 2017, https://arxiv.org/abs/1706.02515; channels as in PyTorch.
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
