"""Neural networks on CPUs, with PyTorch's names.

``import fastnn as torch`` runs a PyTorch script whose names are covered.
"""

from importlib import import_module
from math import (
    inf as inf,
    nan as nan,
    pi as pi,
)
from typing import TYPE_CHECKING, Any

from fastnn import (
    _processor,
    autograd as autograd,
    nn as nn,
    optim as optim,
)
from fastnn._core import (
    Tensor as Tensor,
    __version__ as __version__,
    abs as abs,
    add as add,
    all as all,
    amax as amax,
    amin as amin,
    any as any,
    arange as arange,
    argmax as argmax,
    argmin as argmin,
    as_tensor as as_tensor,
    bernoulli as bernoulli,
    bool as bool,
    cat as cat,
    ceil as ceil,
    chunk as chunk,
    clamp as clamp,
    clone as clone,
    cos as cos,
    div as div,
    dtype as dtype,
    empty as empty,
    empty_like as empty_like,
    eq as eq,
    equal as equal,
    erf as erf,
    exp as exp,
    expm1 as expm1,
    eye as eye,
    flatten as flatten,
    float32 as float32,
    float64 as float64,
    floor as floor,
    floor_divide as floor_divide,
    from_numpy as from_numpy,
    full as full,
    full_like as full_like,
    gather as gather,
    ge as ge,
    get_num_threads as get_num_threads,
    get_rng_state as get_rng_state,
    gt as gt,
    index_select as index_select,
    int64 as int64,
    is_anomaly_enabled as is_anomaly_enabled,
    is_grad_enabled as is_grad_enabled,
    isfinite as isfinite,
    isinf as isinf,
    isnan as isnan,
    le as le,
    linspace as linspace,
    log as log,
    log1p as log1p,
    log_softmax as log_softmax,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    logsumexp as logsumexp,
    lt as lt,
    manual_seed as manual_seed,
    masked_fill as masked_fill,
    matmul as matmul,
    max as max,
    maximum as maximum,
    mean as mean,
    min as min,
    minimum as minimum,
    mm as mm,
    mul as mul,
    narrow as narrow,
    ne as ne,
    neg as neg,
    nonzero as nonzero,
    norm as norm,
    ones as ones,
    ones_like as ones_like,
    permute as permute,
    pow as pow,
    prod as prod,
    rand as rand,
    rand_like as rand_like,
    randint as randint,
    randn as randn,
    randn_like as randn_like,
    randperm as randperm,
    reciprocal as reciprocal,
    relu as relu,
    remainder as remainder,
    reshape as reshape,
    round as round,
    rsqrt as rsqrt,
    scatter_add as scatter_add,
    set_num_threads as set_num_threads,
    set_rng_state as set_rng_state,
    sigmoid as sigmoid,
    sign as sign,
    sin as sin,
    softmax as softmax,
    split as split,
    sqrt as sqrt,
    square as square,
    squeeze as squeeze,
    stack as stack,
    std as std,
    sub as sub,
    sum as sum,
    t as t,
    tanh as tanh,
    tensor as tensor,
    transpose as transpose,
    trunc as trunc,
    unbind as unbind,
    unsqueeze as unsqueeze,
    var as var,
    where as where,
    zeros as zeros,
    zeros_like as zeros_like,
)
from fastnn._exports import exported as _exported
from fastnn._grad_mode import (
    enable_grad as enable_grad,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from fastnn._threadpool import register as _register_threads
from fastnn._threads import (
    num_threads as num_threads,
    thread_report as thread_report,
)
from fastnn.nn.utils import (
    freeze as freeze,
    unfreeze as unfreeze,
)

if TYPE_CHECKING:
    from fastnn import (
        augment as augment,
        callbacks as callbacks,
        data as data,
        diagnostics as diagnostics,
        ensemble as ensemble,
        models as models,
        training as training,
        unsupervised as unsupervised,
        utils as utils,
        visualize as visualize,
    )
    from fastnn.augment import (
        mixup as mixup,
    )
    from fastnn.data import (
        Generator as Generator,
    )
    from fastnn.diagnostics import (
        bias_variance as bias_variance,
        diagnose as diagnose,
        loss_along as loss_along,
        sharpness as sharpness,
    )
    from fastnn.serialization import (
        load as load,
        save as save,
    )
    from fastnn.training import (
        History as History,
        LRRangeTest as LRRangeTest,
        Trainer as Trainer,
        TrainStep as TrainStep,
        features as features,
        lr_range_test as lr_range_test,
        mc_predict as mc_predict,
        tta as tta,
    )

_register_threads()

float = float32
double = float64
long = int64

_processor.warn_if_slow(_processor.lacking_instructions())

# Imported when first used, so that `import fastnn` is quick.
_LAZY = {
    "augment": ("fastnn.augment", None),
    "callbacks": ("fastnn.callbacks", None),
    "data": ("fastnn.data", None),
    "tta": ("fastnn.training.tta", None),
    "utils": ("fastnn.utils", None),
    "visualize": ("fastnn.visualize", None),
    "Generator": ("fastnn.data", "Generator"),
    "ensemble": ("fastnn.ensemble", None),
    "diagnostics": ("fastnn.diagnostics", None),
    "bias_variance": ("fastnn.diagnostics", "bias_variance"),
    "diagnose": ("fastnn.diagnostics", "diagnose"),
    "loss_along": ("fastnn.diagnostics", "loss_along"),
    "sharpness": ("fastnn.diagnostics", "sharpness"),
    "models": ("fastnn.models", None),
    "training": ("fastnn.training", None),
    "features": ("fastnn.training", "features"),
    "mc_predict": ("fastnn.training", "mc_predict"),
    "mixup": ("fastnn.augment", "mixup"),
    "unsupervised": ("fastnn.unsupervised", None),
    "load": ("fastnn.serialization", "load"),
    "save": ("fastnn.serialization", "save"),
    "History": ("fastnn.training", "History"),
    "LRRangeTest": ("fastnn.training", "LRRangeTest"),
    "TrainStep": ("fastnn.training", "TrainStep"),
    "Trainer": ("fastnn.training", "Trainer"),
    "lr_range_test": ("fastnn.training", "lr_range_test"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    path, attribute = _LAZY[name]
    module = import_module(path)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [*_exported(globals(), "__version__", "autograd", "nn", "optim", *_LAZY)]
