"""Layers, losses and what they are made of, under PyTorch's names."""

from fastnn.nn import functional, init, penalties, utils
from fastnn.nn.activation import (
    ELU,
    GELU,
    SELU,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from fastnn.nn.batchnorm import BatchNorm1d
from fastnn.nn.container import ModuleDict, ModuleList, Sequential
from fastnn.nn.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from fastnn.nn.dropconnect import DropConnect
from fastnn.nn.dropout import AlphaDropout, Dropout, FeatureAlphaDropout
from fastnn.nn.flatten import Flatten
from fastnn.nn.gated import GLU, GatedLinear, Highway
from fastnn.nn.instancenorm import InstanceNorm1d
from fastnn.nn.linear import Bilinear, Identity, Linear
from fastnn.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from fastnn.nn.module import Module
from fastnn.nn.multiplicative import FactorizationMachine, LowRankBilinear
from fastnn.nn.noise import GaussianNoise, MaskingNoise, WeightNoise
from fastnn.nn.normalization import GroupNorm, LayerNorm, RMSNorm
from fastnn.nn.parameter import Parameter
from fastnn.nn.residual import Residual, linear_survival
from fastnn.nn.scaler import MinMaxScaler, StandardScaler

__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "AlphaDropout",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "Bilinear",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "DropConnect",
    "Dropout",
    "FactorizationMachine",
    "FeatureAlphaDropout",
    "Flatten",
    "GatedLinear",
    "GaussianNoise",
    "GroupNorm",
    "Hardtanh",
    "Highway",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "LowRankBilinear",
    "MSELoss",
    "MaskingNoise",
    "MinMaxScaler",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "StandardScaler",
    "Tanh",
    "WeightNoise",
    "functional",
    "init",
    "linear_survival",
    "penalties",
    "utils",
]
