"""LeNet-5."""

from __future__ import annotations

from collections.abc import Callable

from fastnn._core import Tensor
from fastnn._types import TensorLike, check_at_least, check_callable
from fastnn.nn import Conv2d, Linear, MaxPool2d, Module, ReLU


class LeNet5(Module):
    """Two convolutions, each followed by a pooling, and three fully connected layers; see :func:`lenet5`."""

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 28,
        activation: Callable[[], Module] = ReLU,
        pool: Callable[[int], Module] = MaxPool2d,
    ) -> None:
        super().__init__()
        check_at_least("LeNet5", "num_classes", num_classes, 1)
        check_at_least("LeNet5", "in_channels", in_channels, 1)
        check_callable("LeNet5", "activation", activation, "a class of layers")
        check_callable("LeNet5", "pool", pool, "a class of layers")
        if image_size not in (28, 32):
            raise ValueError(f"LeNet5: expected image_size to be 28 or 32; got {image_size!r}")
        self.conv1 = Conv2d(in_channels, 6, 5, padding=2 if image_size == 28 else 0)
        self.conv2 = Conv2d(6, 16, 5)
        self.pool = pool(2)
        self.activation = activation()
        self.fc1 = Linear(16 * 5 * 5, 120)
        self.fc2 = Linear(120, 84)
        self.fc3 = Linear(84, num_classes)

    def forward(self, x: TensorLike) -> Tensor:
        """Return the logits of ``(n, in_channels, image_size, image_size)``."""
        h: Tensor = self.pool(self.activation(self.conv1(x)))
        h = self.pool(self.activation(self.conv2(h)))
        h = self.activation(self.fc1(h.flatten(1)))
        logits: Tensor = self.fc3(self.activation(self.fc2(h)))
        return logits


def lenet5(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
    *,
    activation: Callable[[], Module] = ReLU,
    pool: Callable[[int], Module] = MaxPool2d,
) -> LeNet5:
    """Return LeNet-5, with its 61,706 parameters::

        conv 5×5, 6 → activation → pool 2 → conv 5×5, 16 → activation → pool 2
        → Linear 120 → activation → Linear 84 → activation → Linear num_classes

    Args:
        num_classes: Width of the output, at least 1.
        in_channels: Channels of the images, at least 1.
        image_size: 28, which the first convolution pads to 32, or 32.
        activation: Called once.
        pool: Called with the window, 2.

    Shapes:
        x: ``(n, in_channels, image_size, image_size)``.
        y: ``(n, num_classes)``: logits.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        LeCun et al. 1998, https://doi.org/10.1109/5.726791, section II.B. There the activation is a scaled tanh, the
        pooling an average with a learned scale and bias, the second convolution connects only some channels, and the
        last layer is made of radial basis functions; ``activation=nn.Tanh, pool=nn.AvgPool2d`` comes nearest. Names
        are those of PyTorch's tutorials.
    """
    return LeNet5(num_classes, in_channels, image_size, activation, pool)
