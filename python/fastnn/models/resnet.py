"""Residual nets for small images."""

from __future__ import annotations

from typing import Literal

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_choice, shape_of
from fastnn.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Linear,
    Module,
    ReLU,
    Sequential,
    StochasticDepth,
    init,
    stochastic_depth_,
)
from fastnn.nn.dropout import check_probability


class PadShortcut(Module):
    """Take every ``stride``-th pixel, and add channels of zeros on both sides; it has no parameters.

    Args:
        in_planes: Channels of the input, at least 1.
        planes: Channels of the output, an even number more.
        stride: At least 1.

    Shapes:
        x: ``(n, in_planes, h, w)``.
        y: ``(n, planes, ceil(h / stride), ceil(w / stride))``.

    Raises:
        ValueError: A setting is out of range.

    Source:
        He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2, option A.
    """

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        check_at_least("PadShortcut", "in_planes", in_planes, 1)
        check_at_least("PadShortcut", "planes", planes, in_planes)
        check_at_least("PadShortcut", "stride", stride, 1)
        if (planes - in_planes) % 2:
            raise ValueError(f"PadShortcut: expected planes an even number above {in_planes}; got {planes}")
        self.in_planes = in_planes
        self.planes = planes
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if len(shape_of(x)) != 4:
            raise ValueError(f"PadShortcut: expected input of shape (n, c, h, w); got {shape_of(x)}")
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.planes == self.in_planes:
            return x
        n, _, h, w = x.shape
        zeros = _core.zeros((n, (self.planes - self.in_planes) // 2, h, w), dtype=x.dtype)
        return _core.cat([zeros, x, zeros], 1)

    def extra_repr(self) -> str:
        return f"{self.in_planes}, {self.planes}, stride={self.stride}"


class BasicBlock(Module):
    """Two 3×3 convolutions, each with batch norm, and a shortcut past both::

        y = relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x))))))

    Args:
        in_planes: Channels of the input.
        planes: Channels of the output.
        stride: Of the first convolution, and of the shortcut.
        shortcut: Where the shape changes: ``"A"``, :class:`PadShortcut`, or ``"B"``, a 1×1 convolution and batch norm.

    Shapes:
        x: ``(n, in_planes, h, w)``.
        y: ``(n, planes, ceil(h / stride), ceil(w / stride))``.

    Raises:
        ValueError: A setting is out of range.

    Source:
        He et al. 2016, https://arxiv.org/abs/1512.03385, figure 2; names are torchvision's. ``drop`` is what
        :func:`fastnn.nn.stochastic_depth_` sets: the paper's, by batch and scaled while evaluating.
    """

    _folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_planes: int, planes: int, stride: int = 1, shortcut: Literal["A", "B"] = "A") -> None:
        super().__init__()
        check_choice("BasicBlock", "shortcut", shortcut, ("A", "B"))
        self.conv1 = Conv2d(in_planes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(planes)
        self.relu = ReLU()
        self.conv2 = Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(planes)
        self.drop = StochasticDepth(0.0, "batch", "evaluation")
        downsample: Module | None = None
        if stride != 1 or in_planes != planes:
            if shortcut == "A":
                downsample = PadShortcut(in_planes, planes, stride)
            else:
                downsample = Sequential(Conv2d(in_planes, planes, 1, stride, bias=False), BatchNorm2d(planes))
        self.add_module("downsample", downsample)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        base: Tensor = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.drop(h) + base)
        return y


class ResNet(Module):
    """A residual net of 6 blocks + 2 layers: three stages of 16, 32 and 64 channels; see :func:`resnet20`.

    Args:
        blocks: Of each stage, at least 1.
        num_classes: Width of the output, at least 1.
        in_channels: Channels of the images, at least 1.
        shortcut: ``"A"`` or ``"B"``; see :class:`BasicBlock`.
        survival: Probability that the last block survives a batch; see :func:`fastnn.nn.stochastic_depth_`.
    """

    _folds = (("conv1", "bn1"),)

    def __init__(
        self,
        blocks: int,
        num_classes: int = 10,
        in_channels: int = 3,
        shortcut: Literal["A", "B"] = "A",
        survival: float = 1.0,
    ) -> None:
        super().__init__()
        check_at_least("ResNet", "blocks", blocks, 1)
        check_at_least("ResNet", "num_classes", num_classes, 1)
        check_at_least("ResNet", "in_channels", in_channels, 1)
        check_choice("ResNet", "shortcut", shortcut, ("A", "B"))
        check_probability("ResNet", "survival", survival)
        self.conv1 = Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = BatchNorm2d(16)
        self.relu = ReLU()
        self.layer1 = _stage(16, 16, blocks, 1, shortcut)
        self.layer2 = _stage(16, 32, blocks, 2, shortcut)
        self.layer3 = _stage(32, 64, blocks, 2, shortcut)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        stochastic_depth_(self, survival)

    def forward(self, x: TensorLike) -> Tensor:
        """Return the logits of ``(n, in_channels, h, w)``."""
        h: Tensor = self.relu(self.bn1(self.conv1(x)))
        h = self.layer3(self.layer2(self.layer1(h)))
        h = self.avgpool(h)
        logits: Tensor = self.fc(h.flatten(1))
        return logits


def _stage(in_planes: int, planes: int, blocks: int, stride: int, shortcut: Literal["A", "B"]) -> Sequential:
    first = BasicBlock(in_planes, planes, stride, shortcut)
    return Sequential(first, *(BasicBlock(planes, planes) for _ in range(blocks - 1)))


def resnet8(
    num_classes: int = 10, in_channels: int = 3, *, shortcut: Literal["A", "B"] = "A", survival: float = 1.0
) -> ResNet:
    """Return :func:`resnet20` with one block a stage: 75,290 parameters, 78,042 with ``shortcut="B"``.

    Args:
        num_classes: Width of the output, at least 1.
        in_channels: Channels of the images, at least 1.
        shortcut: ``"A"`` or ``"B"``.
        survival: Probability that the last block survives a batch, in [0, 1].
    """
    return ResNet(1, num_classes, in_channels, shortcut, survival)


def resnet20(
    num_classes: int = 10, in_channels: int = 3, *, shortcut: Literal["A", "B"] = "A", survival: float = 1.0
) -> ResNet:
    """Return the residual net of 20 layers for 32×32 images: 269,722 parameters, 272,474 with ``shortcut="B"``::

        conv 3×3, 16 → 3 blocks of 16 channels → 3 of 32, half the size → 3 of 64, a quarter → mean of pixels → Linear

    Args:
        num_classes: Width of the output, at least 1.
        in_channels: Channels of the images, at least 1.
        shortcut: Where the number of channels doubles: ``"A"``, zeros for the new ones, as in the paper's experiments
            with small images, or ``"B"``, a 1×1 convolution with batch norm, as in torchvision's nets.
        survival: Probability that the last block survives a batch, in [0, 1]; below 1, stochastic depth falls to it
            linearly.

    Shapes:
        x: ``(n, in_channels, h, w)``.
        y: ``(n, num_classes)``: logits.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2, with its start for convolutions (by fan out, as
        in torchvision). Huang et al. 2016, https://arxiv.org/abs/1603.09382, for ``survival``.
    """
    return ResNet(3, num_classes, in_channels, shortcut, survival)
