"""One row an op: what every op test reads.

A row names the op, calls it on tensors, calls its float64 reference on arrays, and makes inputs. Sizes are awkward: one
element, widths that are no multiple of 8 or 16, sizes that fill more than one vector and are worth two threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastnn as fnn
from fastnn.nn import functional as F
from tests.reference import conv as convs, ops as ref, pooling as pools

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Op:
    """A row of the table.

    Args:
        name: What the test is called.
        run: The op on tensors.
        reference: The same on float64 arrays.
        shapes: Shapes of the float inputs, a tuple a case.
        low, high: Range of the inputs.
        smooth: Whether finite differences make sense everywhere in that range.
        grad: Whether gradients flow.
        apart: Least distance between elements (and from ``kinks``), for ops that compare them.
        kinks: Values that inputs keep away from.
        bad: Shapes that do not fit, and the whole message.
    """

    name: str
    run: Callable[..., Any]
    reference: Callable[..., Any]
    shapes: tuple[tuple[tuple[int, ...], ...], ...]
    low: float = -2.0
    high: float = 2.0
    grad: bool = True
    apart: float = 0.0
    kinks: tuple[float, ...] = ()
    bad: tuple[tuple[tuple[tuple[int, ...], ...], str], ...] = ()
    f32_tolerance: float = 2e-5
    tags: frozenset[str] = field(default_factory=frozenset)

    def inputs(self, case: int, dtype: Any = np.float64) -> list[Array]:
        rng = np.random.default_rng(1000 * case + len(self.name))
        out = []
        for shape in self.shapes[case]:
            n = int(np.prod(shape))
            if self.apart:
                x = (rng.permutation(n) - n / 2 + 0.25) * self.apart
                x = x.reshape(shape)
            else:
                x = rng.uniform(self.low, self.high, shape)
            for kink in self.kinks:
                x = np.where(np.abs(x - kink) < 0.05, kink + 0.1, x)
            out.append(x.astype(dtype))
        return out


ONE = (((1,),), ((5, 3),), ((2, 33, 17),), ((300, 130),))
PAIR = (
    ((1,), (1,)),
    ((5, 3), (5, 3)),
    ((4, 1, 3), (2, 1)),
    ((), (3,)),
    ((7, 33), (33,)),
    ((257, 129), (257, 1)),
)
SMALL_MATRIX = (((2, 1),), ((5, 3),), ((33, 17),), ((65, 130),))


def _elementwise(name: str, run: Any, reference: Any, **kw: Any) -> Op:
    return Op(name, run, reference, ONE, **kw)


def _labels(*shape: int) -> Array:
    """Class indices for logits (n, c), (n, c, *) or (c,)."""
    kept = (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
    return np.arange(int(np.prod(kept))).reshape(kept) * 7 % shape[len(shape) > 1]


def _class_weights(*shape: int) -> Array:
    return np.linspace(0.5, 2.0, shape[len(shape) > 1])


_CONSTANTS: dict[Any, Any] = {}


def _constant(values: Array, dtype: Any = None) -> Any:
    """The same tensor each time: one made while a step is traced would be an obstacle to its plan."""
    key = (values.tobytes(), values.shape, str(values.dtype), str(dtype))
    if key not in _CONSTANTS:
        _CONSTANTS[key] = fnn.tensor(values, dtype=dtype)
    return _CONSTANTS[key]


def _as(like: Any, values: Array) -> Any:
    return _constant(values, like.dtype)


ELEMENTWISE = [
    _elementwise("neg", lambda x: -x, np.negative),
    _elementwise("exp", lambda x: x.exp(), np.exp),
    _elementwise("log", lambda x: x.log(), np.log, low=0.1, high=3.0),
    _elementwise("sqrt", lambda x: x.sqrt(), np.sqrt, low=0.1, high=3.0),
    _elementwise("abs", lambda x: x.abs(), np.abs, kinks=(0.0,)),
    _elementwise("pow 3", lambda x: x**3, lambda x: x**3),
    _elementwise("pow 2.5", lambda x: x.pow(2.5), lambda x: x**2.5, low=0.1),
    _elementwise("2 ** x", lambda x: 2.0**x, lambda x: 2.0**x),
    _elementwise("clamp", lambda x: x.clamp(-0.5, 1.0), lambda x: np.clip(x, -0.5, 1.0), kinks=(-0.5, 1.0)),
    _elementwise("x * 3 + 1", lambda x: x * 3 + 1, lambda x: x * 3 + 1),
    _elementwise("1 - x", lambda x: 1 - x, lambda x: 1 - x),
    _elementwise("2 / x", lambda x: 2 / x, lambda x: 2 / x, low=0.3),
    _elementwise("where", lambda x: fnn.where(x > 0.3, x * x, -x), lambda x: np.where(x > 0.3, x * x, -x), kinks=(0.3,)),
    _elementwise("relu", F.relu, ref.relu, kinks=(0.0,)),
    _elementwise("leaky_relu", lambda x: F.leaky_relu(x, 0.2), lambda x: ref.leaky_relu(x, 0.2), kinks=(0.0,)),
    _elementwise("elu", lambda x: F.elu(x, 0.7), lambda x: ref.elu(x, 0.7), kinks=(0.0,)),
    _elementwise("selu", F.selu, ref.selu, kinks=(0.0,)),
    _elementwise("gelu", F.gelu, ref.gelu_erf),
    _elementwise("gelu tanh", lambda x: F.gelu(x, approximate="tanh"), ref.gelu_tanh),
    _elementwise("silu", F.silu, ref.silu),
    _elementwise("hardswish", F.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6, kinks=(-3.0, 3.0)),
    _elementwise("mish", F.mish, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    _elementwise("sigmoid", F.sigmoid, ref.sigmoid),
    _elementwise("tanh", F.tanh, np.tanh),
    _elementwise("softplus", lambda x: F.softplus(x, 2.0, 3.0), lambda x: ref.softplus(x, 2.0, 3.0), kinks=(1.5,)),
    _elementwise("hardtanh", lambda x: F.hardtanh(x, -0.5, 0.8), lambda x: np.clip(x, -0.5, 0.8), kinks=(-0.5, 0.8)),
    _elementwise("relu6", F.relu6, lambda x: np.clip(x, 0, 6), low=-3, high=9, kinks=(0.0, 6.0)),
]

BINARY = [
    Op("add", lambda a, b: a + b, np.add, PAIR,
       bad=((((3,), (2, 4)), "add: expected shapes that broadcast together; got (3,) and (2, 4)"),)),
    Op("sub", lambda a, b: a - b, np.subtract, PAIR),
    Op("mul", lambda a, b: a * b, np.multiply, PAIR),
    Op("div", lambda a, b: a / b, np.divide, PAIR, low=0.4),
    Op("pow", lambda a, b: a**b, np.power, PAIR, low=0.4),
    Op("maximum", fnn.maximum, np.maximum, (((5, 3), (5, 3)),), apart=0.01),
    Op("minimum", fnn.minimum, np.minimum, (((5, 3), (5, 3)),), apart=0.01),
    Op("matmul", lambda a, b: a @ b, np.matmul,
       (((1, 1), (1, 1)), ((5, 3), (3, 2)), ((17,), (17,)), ((4, 5), (5,)), ((3,), (3, 4)), ((2, 1, 5, 3), (4, 3, 6)),
        ((65, 33), (33, 130))),
       bad=((((2, 3), (4, 5)), "matmul: expected shapes (*, k) and (*, k, n); got (2, 3) and (4, 5)"),)),
]

REDUCTIONS = [
    Op("sum", lambda x: x.sum(), np.sum, ONE),
    Op("sum dim", lambda x: x.sum(1), lambda x: x.sum(1), SMALL_MATRIX),
    Op("sum dims keepdim", lambda x: x.sum((0, 2), keepdim=True), lambda x: x.sum((0, 2), keepdims=True),
       (((2, 3, 4),), ((5, 1, 33),))),
    Op("mean", lambda x: x.mean(), np.mean, ONE),
    Op("mean dim", lambda x: x.mean(0), lambda x: x.mean(0), SMALL_MATRIX),
    Op("max", lambda x: x.max(), np.max, SMALL_MATRIX, apart=0.01),
    Op("min", lambda x: x.min(), np.min, SMALL_MATRIX, apart=0.01),
    Op("max dim", lambda x: x.max(1).values, lambda x: x.max(1), SMALL_MATRIX, apart=0.01),
    Op("min dim", lambda x: x.min(0).values, lambda x: x.min(0), SMALL_MATRIX, apart=0.01),
    Op("argmax", lambda x: x.argmax(1), lambda x: x.argmax(1), SMALL_MATRIX, apart=0.01, grad=False),
    Op("argmin", lambda x: x.argmin(), np.argmin, SMALL_MATRIX, apart=0.01, grad=False),
    Op("var", lambda x: x.var(1), lambda x: x.var(1, ddof=1), (((5, 3),), ((33, 17),)), low=99, high=101,
       f32_tolerance=2e-3),
    Op("var correction 0", lambda x: x.var(0, correction=0), lambda x: x.var(0), (((5, 3),), ((33, 17),))),
    Op("std", lambda x: x.std(), lambda x: x.std(ddof=1), (((5, 3),), ((33, 17),))),
    Op("softmax", lambda x: F.softmax(x, dim=1), lambda x: ref.softmax(x, 1), SMALL_MATRIX),
    Op("softmax dim 0", lambda x: F.softmax(x, dim=0), lambda x: ref.softmax(x, 0), SMALL_MATRIX),
    Op("log_softmax", lambda x: F.log_softmax(x, dim=-1), lambda x: ref.log_softmax(x, -1), SMALL_MATRIX),
    Op("logsumexp", lambda x: x.logsumexp(1), lambda x: ref.logsumexp(x, 1), SMALL_MATRIX),
]

SHAPES = [
    Op("reshape", lambda x: x.reshape(-1, 2) * 1, lambda x: x.reshape(-1, 2), (((4, 3),), ((2, 33),))),
    Op("transpose", lambda x: x.transpose(0, 1) * 1, lambda x: x.T, SMALL_MATRIX),
    Op("permute", lambda x: x.permute(2, 0, 1) * 1, lambda x: x.transpose(2, 0, 1), (((2, 3, 4),), ((1, 5, 33),))),
    Op("permute then view", lambda x: x.permute(1, 0).reshape(-1), lambda x: x.T.reshape(-1), SMALL_MATRIX),
    Op("flatten", lambda x: x.flatten(1) * 1, lambda x: x.reshape(x.shape[0], -1), (((2, 3, 4),),)),
    Op("squeeze unsqueeze", lambda x: x.unsqueeze(1).squeeze(1) * 1, lambda x: x, SMALL_MATRIX),
    Op("slice", lambda x: x[1:, ::2] * 1, lambda x: x[1:, ::2], (((5, 3),), ((33, 17),))),
    Op("row", lambda x: x[-1] * 1, lambda x: x[-1], (((5, 3),), ((33, 17),))),
    Op("gather", lambda x: x.gather(1, _constant(np.array([[0, 2], [1, 1]]))),
       lambda x: np.take_along_axis(x[:2], np.array([[0, 2], [1, 1]]), 1), (((2, 3),),)),
    Op("index_select", lambda x: x.index_select(0, _constant(np.array([3, 0, 3]))), lambda x: x[[3, 0, 3]],
       (((5, 3),), ((33, 17),))),
    Op("cat", lambda a, b: fnn.cat([a, b], dim=1), lambda a, b: np.concatenate([a, b], 1), (((3, 2), (3, 5)),)),
    Op("stack", lambda a, b: fnn.stack([a, b], dim=1), lambda a, b: np.stack([a, b], 1), (((3, 5), (3, 5)),)),
]

LAYERS = [
    Op("linear", F.linear, lambda x, w, b: x @ w.T + b,
       (((1, 1), (1, 1), (1,)), ((5, 3), (2, 3), (2,)), ((2, 7, 33), (17, 33), (17,)), ((65, 130), (46, 130), (46,))),
       bad=((((32, 783), (10, 784), (10,)), "linear: expected input of shape (*, 784); got (32, 783)"),)),
    Op("linear without bias", F.linear, lambda x, w: x @ w.T, (((5, 3), (2, 3)), ((33, 65), (46, 65)))),
    Op("glu", F.glu, lambda x: ref.glu(x, -1), (((1, 2),), ((5, 6),), ((2, 33, 18),), ((300, 130),)),
       bad=((((2, 3),), "glu: expected an even size in dimension -1; got (2, 3)"),)),
    Op("glu dim=0", lambda x: F.glu(x, 0), lambda x: ref.glu(x, 0), (((2, 1),), ((6, 5),), ((34, 17),))),
    Op("bilinear", F.bilinear, lambda a, b, w, c: np.einsum("ni,oij,nj->no", a, w, b) + c,
       (((5, 3), (5, 4), (2, 3, 4), (2,)),)),
    Op("prelu", F.prelu, ref.prelu, (((5, 3), (3,)), ((5, 3), (1,)), ((2, 3, 4), (3,))), kinks=(0.0,)),
    Op("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=0.5),
       lambda x, w, b: ref.batch_norm(x, w, b, 0.5),
       (((2, 1), (1,), (1,)), ((5, 3), (3,), (3,)), ((33, 17), (17,), (17,)), ((4, 3, 5), (3,), (3,)),
        ((256, 65), (65,), (65,)), ((30, 11, 70), (11,), (11,))),
       low=98, high=102, f32_tolerance=2e-3),
    Op("batch_norm images", lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=0.5),
       lambda x, w, b: ref.batch_norm(x, w, b, 0.5),
       (((1, 1, 1, 2), (1,), (1,)), ((2, 3, 5, 7), (3,), (3,)), ((70, 2, 7, 7), (2,), (2,)), ((3, 1, 65, 67), (1,), (1,)),
        ((2, 70, 3, 11), (70,), (70,)), ((2, 3, 2, 3, 5), (3,), (3,))),
       low=98, high=102, f32_tolerance=2e-3,
       bad=((((2, 3, 4, 4), (4,), (4,)), "batch_norm: expected input of shape (n, 4, *); got (2, 3, 4, 4)"),
            (((1, 3, 1, 1), (3,), (3,)),
             "batch_norm: expected more than 1 value per channel when training; got input of shape (1, 3, 1, 1)"))),
    Op("batch_norm given", lambda x, w, b: F.batch_norm(x, fnn.full_like(w, 0.5).detach(), fnn.full_like(b, 2.0).detach(), w, b, eps=0.5),
       lambda x, w, b: w.reshape(-1, 1, 1) * (x - 0.5) / np.sqrt(2.5) + b.reshape(-1, 1, 1),
       (((2, 1, 2, 3), (1,), (1,)), ((2, 3, 5, 7), (3,), (3,)), ((70, 2, 7, 7), (2,), (2,)))),
    Op("layer_norm", lambda x, w, b: F.layer_norm(x, w.shape, w, b, 0.5), lambda x, w, b: ref.layer_norm(x, w.ndim, w, b, 0.5),
       (((1, 2), (2,), (2,)), ((5, 3), (3,), (3,)), ((2, 3, 7), (3, 7), (3, 7)), ((33, 17), (17,), (17,)),
        ((256, 65), (65,), (65,))),
       low=98, high=102, f32_tolerance=2e-3,
       bad=((((5, 3), (4,), (4,)), "layer_norm: expected input of shape (*, 4); got (5, 3)"),
            (((5, 3), (2, 3), (2, 3)), "layer_norm: expected input of shape (*, 2, 3); got (5, 3)"))),
    Op("layer_norm weight", lambda x, w: F.layer_norm(x, w.shape, w, None, 0.5), lambda x, w: ref.layer_norm(x, 1, w, 0, 0.5),
       (((5, 3), (3,)), ((33, 17), (17,)))),
    Op("layer_norm bias", lambda x, b: F.layer_norm(x, b.shape, None, b, 0.5), lambda x, b: ref.layer_norm(x, 1, 1, b, 0.5),
       (((5, 3), (3,)), ((33, 17), (17,)))),
    Op("layer_norm plain", lambda x: F.layer_norm(x, x.shape[1:], eps=0.5), lambda x: ref.layer_norm(x, x.ndim - 1, 1, 0, 0.5),
       (((5, 1),), ((5, 3),), ((2, 3, 7),), ((256, 65),))),
    Op("rms_norm", lambda x, w: F.rms_norm(x, w.shape, w, 0.5), lambda x, w: ref.rms_norm(x, w.ndim, w, 0.5),
       (((1, 1), (1,)), ((5, 3), (3,)), ((2, 3, 7), (3, 7)), ((256, 65), (65,))),
       bad=((((5, 3), (4,)), "rms_norm: expected input of shape (*, 4); got (5, 3)"),)),
    Op("rms_norm plain", lambda x: F.rms_norm(x, x.shape[1:], eps=0.5), lambda x: ref.rms_norm(x, 1, 1, 0.5), SMALL_MATRIX),
    Op("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b, 0.5), lambda x, w, b: ref.group_norm(x, 2, w, b, 0.5),
       (((2, 2), (2,), (2,)), ((5, 6), (6,), (6,)), ((3, 4, 5), (4,), (4,)), ((2, 4, 3, 2), (4,), (4,)),
        ((33, 4, 130), (4,), (4,)), ((256, 66), (66,), (66,))),
       low=98, high=102, f32_tolerance=2e-3,
       bad=((((5, 3), (3,), (3,)), "group_norm: expected input of shape (n, c, *) with c a multiple of 2; got (5, 3)"),
            (((5, 4), (2,), (2,)), "group_norm: expected weight of shape (4,); got (2,)"),
            (((1, 2), (2,), (2,)), "group_norm: expected more than 1 value per channel; got input of shape (1, 2)"))),
    Op("group_norm plain", lambda x: F.group_norm(x, 3, eps=0.5), lambda x: ref.group_norm(x, 3, np.ones(6), np.zeros(6), 0.5),
       (((5, 6),), ((3, 6, 7),))),
    Op("instance_norm", lambda x, w, b: F.instance_norm(x, None, None, w, b, eps=0.5),
       lambda x, w, b: ref.instance_norm(x, w, b, 0.5),
       (((2, 3, 2), (3,), (3,)), ((3, 17), (3,), (3,)), ((5, 3, 33), (3,), (3,)), ((2, 3, 5, 7), (3,), (3,)),
        ((2, 3, 2, 3, 5), (3,), (3,))),
       low=98, high=102, f32_tolerance=2e-3,
       bad=((((2, 3, 1), (3,), (3,)), "instance_norm: expected more than 1 spatial element; got input of shape (2, 3, 1)"),
            (((3,), (3,), (3,)), "instance_norm: expected input of shape (n, c, *) or (c, l); got (3,)"))),
    Op("local_response_norm", lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 2.0), lambda x: ref.local_response_norm(x, 3, 0.5, 0.75, 2.0),
       (((1, 1, 1),), ((2, 5, 3),), ((2, 7, 3, 5),), ((3, 40, 9, 11),)),
       bad=((((2, 3),), "local_response_norm: expected input of shape (n, c, *) with 3 or more dimensions; got (2, 3)"),)),
    Op("local_response_norm even", lambda x: F.local_response_norm(x, 4, 0.5, 1.5), lambda x: ref.local_response_norm(x, 4, 0.5, 1.5, 1.0),
       (((1, 1, 2),), ((2, 5, 3),))),
    Op("local_response_norm wide", lambda x: F.local_response_norm(x, 9, 0.5, 0.5), lambda x: ref.local_response_norm(x, 9, 0.5, 0.5, 1.0),
       (((2, 3, 3),),)),
    Op("normalize", lambda x: F.normalize(x, eps=0.1), lambda x: ref.normalize(x, 2, 1, 0.1), SMALL_MATRIX),
    Op("normalize 3 dim 0", lambda x: F.normalize(x, 3, 0, 0.1), lambda x: ref.normalize(x, 3, 0, 0.1), SMALL_MATRIX,
       kinks=(0.0,)),
    Op("normalize inf", lambda x: F.normalize(x, np.inf), lambda x: ref.normalize(x, np.inf, 1, 1e-12), SMALL_MATRIX, apart=0.01),
]


def _loss(name: str, run: Any, reference: Any, shapes: Any, **kw: Any) -> list[Op]:
    """A row for each reduction; 'none' is summed with uneven weights so that its gradient is checked element by element."""
    reductions = kw.pop("reductions", ("mean", "sum", "none"))
    return [
        Op(f"{name} {r}", lambda *a, r=r: run(*a, r), lambda *a, r=r: reference(*a, r), shapes, **kw) for r in reductions
    ]


LOGITS = (((1, 2),), ((5, 3),), ((33, 17),), ((130, 10),), ((4,),), ((3, 5, 7),), ((2, 3, 4, 5),), ((2, 3, 2, 1, 3),))
PROBABILITIES = tuple(shapes * 2 for shapes in LOGITS[1:])
SAME = (((1,), (1,)), ((5, 3), (5, 3)), ((33, 17), (33, 17)))

LOSSES = [
    *_loss("cross_entropy",
           lambda x, r: F.cross_entropy(x, _constant(_labels(*x.shape)), reduction=r),
           lambda x, r: ref.cross_entropy(x, _labels(*x.shape), reduction=r), LOGITS),
    *_loss("cross_entropy weight smoothing",
           lambda x, r: F.cross_entropy(x, _constant(_labels(*x.shape)), weight=_as(x, _class_weights(*x.shape)),
                                        ignore_index=1, reduction=r, label_smoothing=0.3),
           lambda x, r: ref.cross_entropy(x, _labels(*x.shape), _class_weights(*x.shape), 1, r, 0.3), LOGITS),
    *_loss("cross_entropy probabilities",
           lambda x, t, r: F.cross_entropy(x, t, reduction=r, label_smoothing=0.2),
           lambda x, t, r: ref.cross_entropy(x, t, reduction=r, label_smoothing=0.2), PROBABILITIES, low=0.1, high=1.0),
    *_loss("cross_entropy probabilities weight",
           lambda x, t, r: F.cross_entropy(x, t, weight=_as(x, _class_weights(*x.shape)), reduction=r),
           lambda x, t, r: ref.cross_entropy(x, t, _class_weights(*x.shape), reduction=r), PROBABILITIES, low=0.1, high=1.0),
    *_loss("nll_loss",
           lambda x, r: F.nll_loss(x, _constant(_labels(*x.shape)), weight=_as(x, _class_weights(*x.shape)), reduction=r),
           lambda x, r: ref.nll_loss(x, _labels(*x.shape), _class_weights(*x.shape), r), LOGITS),
    *_loss("mse_loss", lambda x, t, r: F.mse_loss(x, t, reduction=r), ref.mse_loss, SAME),
    *_loss("l1_loss", lambda x, t, r: F.l1_loss(x, t, reduction=r), ref.l1_loss, SAME, apart=0.03),
    *_loss("smooth_l1_loss", lambda x, t, r: F.smooth_l1_loss(x, t, reduction=r, beta=0.4),
           lambda x, t, r: ref.smooth_l1_loss(x, t, 0.4, r), SAME),
    *_loss("huber_loss", lambda x, t, r: F.huber_loss(x, t, reduction=r, delta=0.4),
           lambda x, t, r: ref.huber_loss(x, t, 0.4, r), SAME),
    *_loss("binary_cross_entropy", lambda x, t, r: F.binary_cross_entropy(x, t, reduction=r),
           lambda x, t, r: ref.bce(x, t, None, r), SAME, low=0.05, high=0.95),
    *_loss("binary_cross_entropy_with_logits",
           lambda x, t, r: F.binary_cross_entropy_with_logits(x, t, pos_weight=_as(x, np.array([1.7])), reduction=r),
           lambda x, t, r: ref.bce_with_logits(x, t, None, np.array([1.7]), r), SAME),
    *_loss("kl_div", lambda x, t, r: F.kl_div(x, t, reduction=r), lambda x, t, r: ref.kl_div(x, t, False, r), SAME[1:],
           low=0.1, high=1.0, reductions=("mean", "sum", "none", "batchmean")),
    *_loss("kl_div log_target", lambda x, t, r: F.kl_div(x, t, reduction=r, log_target=True),
           lambda x, t, r: ref.kl_div(x, t, True, r), SAME[1:]),
]

IMAGES = (((1, 1, 3, 3),), ((1, 2, 5, 7),), ((2, 3, 9, 11),), ((3, 17, 12, 35),))
SERIES = (((1, 4),), ((2, 3, 9),), ((5, 11, 37),))


def _reference_samples(x: Array) -> Array:
    """Return samples of fractional windows: different for each plane and axis."""
    return np.linspace(0, 0.99, x.shape[0] * x.shape[1] * 2).reshape(*x.shape[:2], 2)


POOLS = [
    Op("max_pool2d", lambda x: F.max_pool2d(x, 2), lambda x: pools.max_pool(x, (2, 2), (2, 2), (0, 0), (1, 1)), IMAGES, apart=0.01,
       bad=((((3, 3),), "max_pool2d: expected input of shape (n, c, h, w) or (c, h, w); got (3, 3)"),
            (((2, 3, 1, 4),), "max_pool2d: expected input of at least (2, 2) with padding (0, 0) in its last 2 dimensions; got (2, 3, 1, 4)"),
            (((2, 0, 4, 4),), "max_pool2d: expected input of shape (n, c, h, w) or (c, h, w), where only n may be 0; got (2, 0, 4, 4)"))),
    Op("max_pool2d 3 2 1", lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: pools.max_pool(x, (3, 3), (2, 2), (1, 1), (1, 1)), IMAGES, apart=0.01),
    Op("max_pool2d uneven", lambda x: F.max_pool2d(x, (2, 3), (1, 4), (1, 0), (2, 1), True),
       lambda x: pools.max_pool(x, (2, 3), (1, 4), (1, 0), (2, 1), True), IMAGES, apart=0.01),
    Op("max_pool2d large", lambda x: F.max_pool2d(x, 17, 3, 8), lambda x: pools.max_pool(x, (17, 17), (3, 3), (8, 8), (1, 1)), IMAGES, apart=0.01),
    Op("max_pool2d indices", lambda x: F.max_pool2d(x, 3, 2, return_indices=True)[0],
       lambda x: pools.max_pool(x, (3, 3), (2, 2), (0, 0), (1, 1)), IMAGES, apart=0.01),
    Op("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1), lambda x: pools.max_pool(x, (3,), (2,), (1,), (1,)), SERIES, apart=0.01,
       bad=((((3,),), "max_pool1d: expected input of shape (n, c, l) or (c, l); got (3,)"),)),
    Op("avg_pool2d", lambda x: F.avg_pool2d(x, 2), lambda x: pools.avg_pool(x, (2, 2), (2, 2), (0, 0)), IMAGES,
       bad=((((3, 1, 3),), "avg_pool2d: expected input of at least (2, 2) with padding (0, 0) in its last 2 dimensions; got (3, 1, 3)"),)),
    Op("avg_pool2d 3 2 1", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
       lambda x: pools.avg_pool(x, (3, 3), (2, 2), (1, 1), include=False), IMAGES),
    Op("avg_pool2d uneven", lambda x: F.avg_pool2d(x, (2, 3), (1, 3), (1, 1), True),
       lambda x: pools.avg_pool(x, (2, 3), (1, 3), (1, 1), True), IMAGES),
    Op("avg_pool2d divisor", lambda x: F.avg_pool2d(x, 3, 1, 1, divisor_override=-2),
       lambda x: pools.avg_pool(x, (3, 3), (1, 1), (1, 1), divisor=-2), IMAGES),
    Op("avg_pool1d", lambda x: F.avg_pool1d(x, 4, 3, 2, True), lambda x: pools.avg_pool(x, (4,), (3,), (2,), True), SERIES),
    Op("adaptive_avg_pool2d 1", lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: x.mean((-2, -1), keepdims=True), IMAGES),
    Op("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (2, 5)), lambda x: pools.adaptive_pool(x, (2, 5), np.mean), IMAGES),
    Op("adaptive_avg_pool1d", lambda x: F.adaptive_avg_pool1d(x, 3), lambda x: pools.adaptive_pool(x, (3,), np.mean), SERIES),
    Op("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, (None, 2)), lambda x: pools.adaptive_pool(x, (x.shape[2], 2), np.max), IMAGES,
       apart=0.01),
    Op("adaptive_max_pool1d", lambda x: F.adaptive_max_pool1d(x, 3), lambda x: pools.adaptive_pool(x, (3,), np.max), SERIES, apart=0.01),
    Op("lp_pool2d", lambda x: F.lp_pool2d(x, 3, 2, (1, 2)), lambda x: pools.lp_pool(x, 3, (2, 2), (1, 2)), IMAGES, low=0.3),
    Op("lp_pool1d", lambda x: F.lp_pool1d(x, 2, 3), lambda x: pools.lp_pool(x, 2, (3,), (3,)), SERIES, low=0.3),
    Op("fractional_max_pool2d",
       lambda x: F.fractional_max_pool2d(x, (2, 1), (2, 3), _random_samples=_as(x, _reference_samples(x))),
       lambda x: pools.fractional_max_pool2d(x, (2, 1), (2, 3), _reference_samples(x)), IMAGES, apart=0.01,
       bad=((((1, 2, 2, 3),), "fractional_max_pool2d: expected input of at least kernel_size (2, 1) + output_size (2, 3) - 1 in its last 2 dimensions; got (1, 2, 2, 3)"),)),
    Op("nearest", lambda x: F.interpolate(x, scale_factor=2), lambda x: x.repeat(2, 2).repeat(2, 3), IMAGES,
       bad=((((3, 3),), "interpolate: expected input of shape (n, c, l) or (n, c, h, w) for mode 'nearest'; got (3, 3)"),)),
    Op("nearest smaller", lambda x: F.interpolate(x, (2, 4)), lambda x: pools.nearest(x, (2, 4)), IMAGES),
    Op("bilinear", lambda x: F.interpolate(x, (6, 4), mode="bilinear"), lambda x: pools.bilinear(x, (6, 4), False), IMAGES),
    Op("bilinear twice", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
       lambda x: pools.bilinear(x, (2 * x.shape[2], 2 * x.shape[3]), False), IMAGES),
    Op("bilinear corners", lambda x: F.interpolate(x, (6, 1), mode="bilinear", align_corners=True),
       lambda x: pools.bilinear(x, (6, 1), True), IMAGES),
    Op("pad", lambda x: F.pad(x, (1, 2, 0, 3, -1, 1), value=0.5),
       lambda x: pools.pad(x, ((0, 1), (0, 3), (1, 2)), "constant", constant_values=0.5)[:, 1:], (((2, 2, 1, 3),), ((2, 3, 9, 5),)),
       bad=((((2, 1),), "pad: expected pairs for at most 2 dimensions; got 3"),)),
    Op("pad reflect", lambda x: F.pad(x, (1, 2, 2, 0), "reflect"), lambda x: pools.pad(x, ((2, 0), (1, 2)), "reflect"), IMAGES,
       bad=((((2, 2, 5),), "pad: expected padding of less than the input, which is (2, 2, 5); got 2"),)),
    Op("pad replicate", lambda x: F.pad(x, (9, 1), "replicate"), lambda x: pools.pad(x, ((9, 1),), "edge"), SERIES),
    Op("pad circular", lambda x: F.pad(x, (3, 1, 0, 2), "circular"), lambda x: pools.pad(x, ((0, 2), (3, 1)), "wrap"), IMAGES),
    Op("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2) * 1, lambda x: pools.pixel_shuffle(x, 2), (((1, 4, 2, 3),), ((2, 12, 5, 3),)),
       bad=((((1, 6, 2, 2),), "pixel_shuffle: expected channels that 4 divides; got (1, 6, 2, 2)"),)),
]

CONVOLUTIONS = [
    Op("conv2d", F.conv2d, convs.conv,
       (((1, 1, 1, 1), (1, 1, 1, 1), (1,)), ((2, 2, 3, 4), (3, 2, 2, 3), (3,)), ((1, 3, 7, 5), (4, 3, 3, 3), (4,)),
        ((2, 17, 12, 35), (19, 17, 5, 5), (19,))), f32_tolerance=1e-4,
       bad=((((2, 3, 4, 9), (8, 3, 5, 5)), "conv2d: expected a padded image at least as large as the kernel, (5, 5); got (4, 9)"),
            (((2, 3, 9, 9), (8, 2, 3, 3)), "conv2d: expected input of shape (n, 2, h, w); got (2, 3, 9, 9)"),
            (((9, 9), (8, 3, 3, 3)), "conv2d: expected input of shape (n, 3, h, w); got (9, 9)"),
            (((2, 3, 9, 9), (8, 3, 3)), "conv2d: expected weight of shape (out, in, kh, kw) without empty dimensions; got (8, 3, 3)"),
            (((2, 3, 9, 9), (8, 3, 3, 3), (7,)), "conv2d: expected bias of shape (8,); got (7,)"))),
    # With 8 channels and 16 tiles of 4 × 4 pixels and more, these go by Winograd's algorithm.
    Op("conv2d 3x3 padding 1", lambda x, w, b: F.conv2d(x, w, b, padding=1),
       lambda x, w, b: convs.conv(x, w, b, padding=((1, 1), (1, 1))),
       (((1, 1, 2, 3), (2, 1, 3, 3), (2,)), ((1, 8, 2, 2), (8, 8, 3, 3), (8,)), ((3, 8, 5, 7), (9, 8, 3, 3), (9,)),
        ((2, 17, 12, 35), (34, 17, 3, 3), (34,)), ((70, 11, 3, 1), (8, 11, 3, 3), (8,))), f32_tolerance=1e-4),
    Op("conv2d 3x3 padding 2 0", lambda x, w: F.conv2d(x, w, padding=(2, 0)),
       lambda x, w: convs.conv(x, w, padding=((2, 2), (0, 0))),
       (((1, 1, 1, 3), (2, 1, 3, 3)), ((1, 8, 1, 3), (8, 8, 3, 3)), ((17, 8, 1, 3), (8, 8, 3, 3)), ((3, 33, 7, 9), (8, 33, 3, 3))), f32_tolerance=1e-4),
    Op("conv2d stride dilation", lambda x, w, b: F.conv2d(x, w, b, (2, 3), (2, 1), (1, 2)),
       lambda x, w, b: convs.conv(x, w, b, (2, 3), ((2, 2), (1, 1)), (1, 2)),
       (((1, 1, 1, 3), (1, 1, 3, 2), (1,)), ((1, 2, 5, 6), (2, 2, 3, 2), (2,)), ((3, 10, 13, 17), (11, 10, 2, 3), (11,))), f32_tolerance=1e-4),
    Op("conv2d same", lambda x, w: F.conv2d(x, w, padding="same", dilation=(1, 3)),
       lambda x, w: convs.conv(x, w, padding=((0, 1), (3, 3)), dilation=(1, 3)),
       (((1, 1, 1, 1), (1, 1, 2, 3)), ((2, 2, 3, 5), (2, 2, 2, 3)), ((3, 9, 11, 18), (10, 9, 2, 3))), f32_tolerance=1e-4),
    Op("conv2d valid 1x1", lambda x, w, b: F.conv2d(x, w, b, 2, "valid"), lambda x, w, b: convs.conv(x, w, b, (2, 2)),
       (((2, 3, 3, 4), (2, 3, 1, 1), (2,)), ((3, 16, 9, 10), (33, 16, 1, 1), (33,))), f32_tolerance=1e-4),
    Op("conv2d groups", lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2),
       lambda x, w, b: convs.conv(x, w, b, padding=((1, 1), (1, 1)), groups=2),
       (((1, 2, 2, 3), (4, 1, 3, 3), (4,)), ((2, 6, 4, 5), (4, 3, 3, 3), (4,)), ((2, 18, 8, 7), (20, 9, 3, 3), (20,))), f32_tolerance=1e-4,
       bad=((((1, 2, 5, 5), (3, 1, 3, 3), (3,)), "conv2d: expected output channels that groups divide; got 3 and 2"),)),
    Op("conv2d depthwise", lambda x, w, b: F.conv2d(x, w, b, 2, 1, groups=x.shape[1]),
       lambda x, w, b: convs.conv(x, w, b, (2, 2), ((1, 1), (1, 1)), groups=x.shape[1]),
       (((1, 2, 3, 4), (2, 1, 3, 3), (2,)), ((2, 3, 4, 5), (6, 1, 3, 3), (6,)), ((3, 17, 9, 11), (17, 1, 5, 3), (17,))), f32_tolerance=1e-4),
    Op("conv1d", lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2, 2),
       lambda x, w, b: convs.conv(x, w, b, (2,), ((1, 1),), (2,), 2),
       (((1, 2, 4), (2, 1, 2), (2,)), ((2, 4, 9), (6, 2, 3), (6,)), ((5, 34, 37), (38, 17, 4), (38,))), f32_tolerance=1e-4,
       bad=((((2, 2, 1), (4, 1, 3), (4,)), "conv1d: expected a padded image at least as large as the kernel, (5,); got (3,)"),
            (((2, 3, 9), (4, 1, 3), (4,)), "conv1d: expected input of shape (n, 2, l); got (2, 3, 9)"))),
    Op("conv1d same", lambda x, w: F.conv1d(x, w, padding="same"), lambda x, w: convs.conv(x, w, None, (1,), ((1, 2),), (1,)),
       (((1, 2, 3), (2, 2, 4)), ((3, 8, 33), (9, 8, 4))), f32_tolerance=1e-4),
    Op("conv_transpose2d", F.conv_transpose2d, convs.conv_transpose,
       (((1, 1, 1, 1), (1, 1, 1, 1), (1,)), ((2, 2, 3, 2), (2, 3, 2, 3), (3,)), ((1, 8, 2, 2), (8, 8, 3, 3), (8,)),
        ((2, 17, 12, 15), (17, 19, 3, 3), (19,))), f32_tolerance=1e-4,
       bad=((((2, 3, 9, 9), (4, 8, 3, 3)), "conv_transpose2d: expected input of shape (n, 4, h, w); got (2, 3, 9, 9)"),)),
    Op("conv_transpose2d uneven", lambda x, w, b: F.conv_transpose2d(x, w, b, (3, 2), (1, 0), (2, 1), 2, (1, 2)),
       lambda x, w, b: convs.conv_transpose(x, w, b, (3, 2), (1, 0), (2, 1), 2, (1, 2)),
       (((1, 2, 1, 2), (2, 1, 2, 2), (2,)), ((2, 4, 3, 2), (4, 2, 3, 2), (4,)), ((3, 18, 5, 7), (18, 10, 4, 3), (20,))), f32_tolerance=1e-4,
       bad=((((1, 3, 2, 2), (3, 1, 2, 2), (2,)), "conv_transpose2d: expected input channels that groups divide; got 3 and 2"),)),
    Op("conv_transpose1d", lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1, 2, 3),
       lambda x, w, b: convs.conv_transpose(x, w, b, (2,), (1,), (1,), 2, (3,)),
       (((1, 2, 3), (2, 1, 2), (2,)), ((2, 4, 5), (4, 3, 3), (6,)), ((5, 34, 37), (34, 9, 4), (18,))), f32_tolerance=1e-4),
]

OPS = [*ELEMENTWISE, *BINARY, *REDUCTIONS, *SHAPES, *LAYERS, *LOSSES, *POOLS, *CONVOLUTIONS]
CASES = [(op, case) for op in OPS for case in range(len(op.shapes))]
IDS = [f"{op.name}-{case}" for op, case in CASES]
