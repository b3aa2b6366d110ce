"""Small nets that are found in every lecture, with the names of torchvision's parts.

========================================  ===========  ==========================================
model                                     parameters   input
========================================  ===========  ==========================================
``mlp(784, (256, 128), 10)``              235,146      (n, 784)
``lenet5()``                              61,706       (n, 1, 28, 28)
``resnet8()``                             75,290       (n, 3, 32, 32), or any other size
``resnet20()``                            269,722      (n, 3, 32, 32), or any other size
``vgg_small()``                           551,466      (n, 3, 32, 32)
========================================  ===========  ==========================================
"""

from fastnn.models.lenet import LeNet5, lenet5
from fastnn.models.mlp import mlp
from fastnn.models.resnet import BasicBlock, PadShortcut, ResNet, resnet8, resnet20
from fastnn.models.vgg import VGG, vgg_small

__all__ = [
    "VGG",
    "BasicBlock",
    "LeNet5",
    "PadShortcut",
    "ResNet",
    "lenet5",
    "mlp",
    "resnet8",
    "resnet20",
    "vgg_small",
]
