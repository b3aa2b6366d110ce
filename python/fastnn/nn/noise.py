"""Noise on inputs and on weights, while training."""

from __future__ import annotations

from typing import Any

from fastnn import _core
from fastnn._core import Tensor, Undo
from fastnn._types import TensorLike, check_number, is_floating
from fastnn.nn.dropout import check_probability
from fastnn.nn.module import Module


def _check_std(layer: str, std: float) -> float:
    if not 0 <= check_number(layer, "std", std) < float("inf"):
        raise ValueError(f"{layer}: expected std of at least 0; got {std}")
    return std


def _tensor(value: TensorLike) -> Tensor:
    return value if isinstance(value, Tensor) else _core.as_tensor(value)


class GaussianNoise(Module):
    """Add noise while training, with a new draw for every element::

        y = x + ε,    ε ~ N(0, std²)

    While evaluating, do nothing.

    Args:
        std: Standard deviation, in units of the input, at least 0.

    Shapes:
        x, y: any, the same.

    Raises:
        ValueError: ``std`` is out of range.

    Source:
        Bishop 1995, https://doi.org/10.1162/neco.1995.7.1.108, where it is shown to be Tikhonov regularization. Keras
        calls the argument ``stddev``.
    """

    std: float

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        self.std = _check_std("GaussianNoise", std)

    def forward(self, input: TensorLike) -> Tensor:
        x = _tensor(input)
        return _core.gaussian_noise(x, self.std) if self.training else x

    def extra_repr(self) -> str:
        return f"std={self.std}"


class MaskingNoise(Module):
    """Zero elements of the input at random while training, and leave the others as they are (binomial noise)::

        y[i] = x[i]  with probability 1 - p,  and otherwise 0

    While evaluating, do nothing. Unlike dropout it is not scaled: it is the input that is corrupted, as in denoising
    autoencoders.

    Args:
        p: Probability of a zero, in [0, 1]; rounded to a multiple of 1/65536.

    Shapes:
        x, y: any, the same.

    Raises:
        ValueError: ``p`` is out of range.

    Source:
        Vincent et al. 2010, JMLR 11:3371, section 3.3.
    """

    p: float

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = check_probability("MaskingNoise", "p", p)

    def forward(self, input: TensorLike) -> Tensor:
        return _core.dropout(input, self.p, self.training, False)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class WeightNoise(Module):
    """Run a module with noise on its weights while training, with a new draw for every batch::

        y = module(x; θ + ε),    ε ~ N(0, std²),    ∂loss/∂θ = ∂loss/∂(θ + ε)

    While evaluating, run it as it is. The weights themselves are never noisy.

    Args:
        module: Any module, also a whole model.
        std: Standard deviation, in units of the weights, at least 0.
        biases: Whether parameters of one dimension (biases, and the scales of norms) have noise too.

    Shapes:
        x, y: the module's.

    Raises:
        ValueError: ``std`` is out of range.
        TypeError: ``module`` is no module.

    Source:
        Murray & Edwards 1994, https://doi.org/10.1109/72.317730; one draw a batch as in Graves 2011, "Practical
        variational inference for neural networks".
    """

    module: Module
    std: float
    biases: bool

    def __init__(self, module: Module, std: float = 0.01, biases: bool = False) -> None:
        super().__init__()
        if not isinstance(module, Module):
            raise TypeError(f"WeightNoise: expected module to be an nn.Module; got {type(module).__name__}")
        self.module = module
        self.std = _check_std("WeightNoise", std)
        self.biases = biases

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not (self.training and self.std):
            return self.module(*args, **kwargs)
        least = 1 if self.biases else 2
        noisy: dict[int, Tensor] = {}
        with Undo() as undo:
            for part in self.module.modules():
                registry: dict[str, Any] = part._parameters
                for name, parameter in list(registry.items()):
                    if parameter is None or parameter.ndim < least or not is_floating(parameter):
                        continue
                    # A weight that two modules share has one noise.
                    if id(parameter) not in noisy:
                        noisy[id(parameter)] = _core.gaussian_noise(parameter, self.std)
                    undo.set_item(registry, name, noisy[id(parameter)])
            return self.module(*args, **kwargs)

    def extra_repr(self) -> str:
        return f"std={self.std}, biases={self.biases}"
