"""Layers, losses and what they are made of, under PyTorch's names."""

from fastnn._exports import exported as _exported
from fastnn.nn import (
    functional as functional,
    init as init,
    penalties as penalties,
    utils as utils,
)
from fastnn.nn.activation import (
    ELU as ELU,
    GELU as GELU,
    SELU as SELU,
    Hardswish as Hardswish,
    Hardtanh as Hardtanh,
    LeakyReLU as LeakyReLU,
    LogSoftmax as LogSoftmax,
    Mish as Mish,
    PReLU as PReLU,
    ReLU as ReLU,
    ReLU6 as ReLU6,
    Sigmoid as Sigmoid,
    SiLU as SiLU,
    Softmax as Softmax,
    Softplus as Softplus,
    Tanh as Tanh,
)
from fastnn.nn.batchnorm import (
    BatchNorm1d as BatchNorm1d,
    BatchNorm2d as BatchNorm2d,
    BatchNorm3d as BatchNorm3d,
)
from fastnn.nn.container import (
    ModuleDict as ModuleDict,
    ModuleList as ModuleList,
    Sequential as Sequential,
)
from fastnn.nn.conv import (
    Conv1d as Conv1d,
    Conv2d as Conv2d,
    ConvTranspose1d as ConvTranspose1d,
    ConvTranspose2d as ConvTranspose2d,
)
from fastnn.nn.dropconnect import DropConnect as DropConnect
from fastnn.nn.dropout import (
    AlphaDropout as AlphaDropout,
    Dropout as Dropout,
    Dropout1d as Dropout1d,
    Dropout2d as Dropout2d,
    Dropout3d as Dropout3d,
    FeatureAlphaDropout as FeatureAlphaDropout,
)
from fastnn.nn.flatten import (
    Flatten as Flatten,
    Unflatten as Unflatten,
)
from fastnn.nn.fractional import FractionalMaxPool2d as FractionalMaxPool2d
from fastnn.nn.gated import (
    GLU as GLU,
    GatedLinear as GatedLinear,
    Highway as Highway,
)
from fastnn.nn.instancenorm import (
    InstanceNorm1d as InstanceNorm1d,
    InstanceNorm2d as InstanceNorm2d,
    InstanceNorm3d as InstanceNorm3d,
)
from fastnn.nn.linear import (
    Bilinear as Bilinear,
    Identity as Identity,
    Linear as Linear,
)
from fastnn.nn.loss import (
    BCELoss as BCELoss,
    BCEWithLogitsLoss as BCEWithLogitsLoss,
    CrossEntropyLoss as CrossEntropyLoss,
    HuberLoss as HuberLoss,
    KLDivLoss as KLDivLoss,
    L1Loss as L1Loss,
    MSELoss as MSELoss,
    NLLLoss as NLLLoss,
    SmoothL1Loss as SmoothL1Loss,
)
from fastnn.nn.module import Module as Module
from fastnn.nn.multiplicative import (
    FactorizationMachine as FactorizationMachine,
    LowRankBilinear as LowRankBilinear,
)
from fastnn.nn.noise import (
    GaussianNoise as GaussianNoise,
    MaskingNoise as MaskingNoise,
    WeightNoise as WeightNoise,
)
from fastnn.nn.normalization import (
    GroupNorm as GroupNorm,
    LayerNorm as LayerNorm,
    LocalResponseNorm as LocalResponseNorm,
    RMSNorm as RMSNorm,
)
from fastnn.nn.padding import (
    CircularPad1d as CircularPad1d,
    CircularPad2d as CircularPad2d,
    ConstantPad1d as ConstantPad1d,
    ConstantPad2d as ConstantPad2d,
    ReflectionPad1d as ReflectionPad1d,
    ReflectionPad2d as ReflectionPad2d,
    ReplicationPad1d as ReplicationPad1d,
    ReplicationPad2d as ReplicationPad2d,
    ZeroPad1d as ZeroPad1d,
    ZeroPad2d as ZeroPad2d,
)
from fastnn.nn.parameter import Parameter as Parameter
from fastnn.nn.pooling import (
    AdaptiveAvgPool1d as AdaptiveAvgPool1d,
    AdaptiveAvgPool2d as AdaptiveAvgPool2d,
    AdaptiveMaxPool1d as AdaptiveMaxPool1d,
    AdaptiveMaxPool2d as AdaptiveMaxPool2d,
    AvgPool1d as AvgPool1d,
    AvgPool2d as AvgPool2d,
    LPPool1d as LPPool1d,
    LPPool2d as LPPool2d,
    MaxPool1d as MaxPool1d,
    MaxPool2d as MaxPool2d,
)
from fastnn.nn.residual import (
    Residual as Residual,
    StochasticDepth as StochasticDepth,
    linear_survival as linear_survival,
    stochastic_depth_ as stochastic_depth_,
)
from fastnn.nn.scaler import (
    MinMaxScaler as MinMaxScaler,
    StandardScaler as StandardScaler,
)
from fastnn.nn.upsampling import (
    PixelShuffle as PixelShuffle,
    PixelUnshuffle as PixelUnshuffle,
    Upsample as Upsample,
    UpsamplingBilinear2d as UpsamplingBilinear2d,
    UpsamplingNearest2d as UpsamplingNearest2d,
)

__all__ = [*_exported(globals(), "functional", "init", "penalties", "utils")]
