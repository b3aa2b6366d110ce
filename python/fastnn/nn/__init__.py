"""Layers, losses and what they are made of, under PyTorch's names."""

from fastnn.nn import functional, init, utils
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
from fastnn.nn.dropconnect import DropConnect
from fastnn.nn.dropout import AlphaDropout, Dropout, FeatureAlphaDropout
from fastnn.nn.flatten import Flatten
from fastnn.nn.gated import GLU, GatedLinear, Highway
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
from fastnn.nn.parameter import Parameter
from fastnn.nn.residual import Residual, linear_survival

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
    "CrossEntropyLoss",
    "DropConnect",
    "Dropout",
    "FactorizationMachine",
    "FeatureAlphaDropout",
    "Flatten",
    "GatedLinear",
    "GaussianNoise",
    "Hardtanh",
    "Highway",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "LowRankBilinear",
    "MSELoss",
    "MaskingNoise",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "Tanh",
    "WeightNoise",
    "functional",
    "init",
    "linear_survival",
    "utils",
]
