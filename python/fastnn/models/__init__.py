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

from fastnn._exports import exported as _exported
from fastnn.models.lenet import (
    LeNet5 as LeNet5,
    lenet5 as lenet5,
)
from fastnn.models.mlp import mlp as mlp
from fastnn.models.resnet import (
    BasicBlock as BasicBlock,
    PadShortcut as PadShortcut,
    ResNet as ResNet,
    resnet8 as resnet8,
    resnet20 as resnet20,
)
from fastnn.models.vgg import (
    VGG as VGG,
    vgg_small as vgg_small,
)

__all__ = [*_exported(globals())]
