"""Nets of 3×3 convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence

from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_items
from fastnn.nn import BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, Module, ReLU, Sequential, init
from fastnn.nn.dropout import check_probability


class VGG(Module):
    """Stages of two 3×3 convolutions and a pooling, then two fully connected layers; see :func:`vgg_small`.

    Args:
        widths: Channels of the stages, from input to output.
        num_classes: Width of the output, at least 1.
        in_channels: Channels of the images, at least 1.
        image_size: Their height and width, at least 2 to the number of stages.
        batch_norm: Whether every convolution is followed by batch norm.
        dropout: Probability of a zero ahead of the last layer, in [0, 1].
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        batch_norm: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_at_least("VGG", "num_classes", num_classes, 1)
        check_at_least("VGG", "in_channels", in_channels, 1)
        widths = check_items("VGG", "widths", widths)
        check_at_least("VGG", "image_size", image_size, 2 ** len(widths))
        check_probability("VGG", "dropout", dropout)
        layers: list[Module] = []
        channels = in_channels
        for width in widths:
            check_at_least("VGG", "widths", width, 1)
            for _ in range(2):
                layers.append(Conv2d(channels, width, 3, padding=1))
                if batch_norm:
                    layers.append(BatchNorm2d(width))
                layers.append(ReLU())
                channels = width
            layers.append(MaxPool2d(2, 2))
        self.features = Sequential(*layers)
        side = image_size // 2 ** len(widths)
        self.classifier = Sequential(
            Linear(channels * side * side, channels), ReLU(), Dropout(dropout), Linear(channels, num_classes)
        )
        for layer in layers:
            if isinstance(layer, Conv2d):
                init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    init.zeros_(layer.bias)

    def forward(self, x: TensorLike) -> Tensor:
        """Return the logits of ``(n, in_channels, image_size, image_size)``."""
        features: Tensor = self.features(x)
        logits: Tensor = self.classifier(features.flatten(1))
        return logits


def vgg_small(
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    *,
    batch_norm: bool = True,
    dropout: float = 0.5,
) -> VGG:
    """Return a small net in the manner of VGG, with 551,466 parameters::

        twice conv 3×3, 32 → pool 2 → twice conv 3×3, 64 → pool 2 → twice conv 3×3, 128 → pool 2
        → Linear 128 → ReLU → Dropout → Linear num_classes

    with batch norm and ReLU after every convolution.

    Args:
        num_classes: Width of the output, at least 1.
        in_channels: Channels of the images, at least 1.
        image_size: Their height and width, at least 8.
        batch_norm: Whether there is batch norm; without, there are 896 parameters fewer.
        dropout: Probability of a zero ahead of the last layer, in [0, 1].

    Shapes:
        x: ``(n, in_channels, image_size, image_size)``.
        y: ``(n, num_classes)``: logits.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556, whose nets have 64 to 512 channels and three fully
        connected layers; names are torchvision's, and so is the start of the convolutions.
    """
    return VGG((32, 64, 128), num_classes, in_channels, image_size, batch_norm, dropout)
