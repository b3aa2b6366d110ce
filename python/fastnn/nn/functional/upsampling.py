"""Images and series in other sizes."""

from __future__ import annotations

import math

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import GREATEST, TensorLike, check_at_least, check_number, shape_of, shown
from fastnn.nn.functional._sizes import sizes

_MODES = ("nearest", "nearest-exact", "linear", "bilinear", "area")


def _scales(scale_factor: object, dims: int) -> list[float]:
    factors = list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [scale_factor] * dims
    if len(factors) != dims:
        raise ValueError(f"interpolate: expected scale_factor to be a number or {dims} of them; got {scale_factor}")
    numbers = [check_number("interpolate", "scale_factor", factor) for factor in factors]
    if not all(0 < number < math.inf for number in numbers):
        raise ValueError(f"interpolate: expected scale_factor above 0; got {scale_factor}")
    return numbers


def interpolate(
    input: TensorLike,
    size: object = None,
    scale_factor: object = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return an image or a series in another size.

    With scale s, that of the input over that of the output, output i is made of the input at

    - ``"nearest"``: ``floor(i * s)``; ``"nearest-exact"``: ``floor((i + 0.5) * s)``;
    - ``"linear"`` and ``"bilinear"``: the line between the two neighbors of ``max((i + 0.5) * s - 0.5, 0)``, or of
      ``i * (n_in - 1) / (n_out - 1)`` with ``align_corners``;
    - ``"area"``: the mean of :func:`adaptive_avg_pool2d`.

    Args:
        input: ``(n, c, l)`` or ``(n, c, h, w)``.
        size: Of the output, at least 1: a number, or one for each dimension.
        scale_factor: What to multiply the size with, above 0; the result is rounded down. One of the two is given.
        mode: As above; ``"linear"`` is for series, ``"bilinear"`` for images.
        align_corners: Whether the centers of the outermost elements stay where they are. Only for the linear modes.
        recompute_scale_factor: Whether s is that of the rounded sizes, even if ``scale_factor`` is given.
        antialias: Not supported; must be False.

    Raises:
        ValueError: A setting is out of range, or the input has other dimensions.
        TypeError: The input is not of floating point numbers.

    Source:
        PyTorch's ``interpolate``. Keras' ``UpSampling2D`` does not align corners either.
    """
    if not isinstance(mode, str) or mode not in _MODES:
        raise ValueError(f"interpolate: expected mode to be one of {', '.join(map(repr, _MODES))}; got {shown(mode)}")
    if antialias:
        raise ValueError("interpolate: expected antialias=False, the only one that fastnn has; got True")
    shape = shape_of(input)
    dims = len(shape) - 2
    wanted = {"linear": (1,), "bilinear": (2,)}.get(mode, (1, 2))
    if dims not in wanted:
        expected = " or ".join({1: "(n, c, l)", 2: "(n, c, h, w)"}[n] for n in wanted)
        raise ValueError(f"interpolate: expected input of shape {expected} for mode {mode!r}; got {shape}")
    if align_corners is not None and mode not in {"linear", "bilinear"}:
        raise ValueError(f"interpolate: expected no align_corners for mode {mode!r}; got {align_corners}")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate: expected size or scale_factor; got {size} and {scale_factor}")
    scales = None
    if scale_factor is None:
        if recompute_scale_factor:
            raise ValueError(f"interpolate: expected no recompute_scale_factor with a size; got {size}")
        output = sizes("interpolate", "size", size, dims)
    else:
        scales = _scales(scale_factor, dims)
        output = [math.floor(min(n * factor, 2.0**63)) for n, factor in zip(shape[2:], scales, strict=True)]
        if max(output) > GREATEST:
            raise ValueError(
                f"interpolate: expected scale_factor that makes sizes of at most {GREATEST}; "
                f"got {scale_factor} for {shape}"
            )
        if recompute_scale_factor:
            scales = None
    if mode == "area":
        return _core.adaptive_avg_pool(input, output)
    return _core.interpolate(input, output, scales, mode, bool(align_corners))


def _factor(name: str, argument: str, factor: int, input: TensorLike) -> tuple[Tensor, int]:
    factor = check_at_least(name, argument, factor, 1, GREATEST)
    x = input if isinstance(input, Tensor) else _core.as_tensor(input)
    if x.ndim < 3:
        raise ValueError(f"{name}: expected input of shape (*, c, h, w); got {tuple(x.shape)}")
    return x, factor


def pixel_shuffle(input: TensorLike, upscale_factor: int) -> Tensor:
    """Make an image r times as high and wide of r² channels.

    The formula is ``y[c, i, j] = x[c * r**2 + i % r * r + j % r, i // r, j // r]``.

    Args:
        input: ``(*, c * r**2, h, w)``.
        upscale_factor: r, at least 1.

    Returns:
        ``(*, c, h * r, w * r)``.

    Raises:
        ValueError: The channels are no multiple of r².

    Source:
        Shi et al. 2016, https://arxiv.org/abs/1609.05158, equation 4, whose channels are ordered otherwise.
    """
    x, r = _factor("pixel_shuffle", "upscale_factor", upscale_factor, input)
    *batch, c, h, w = x.shape
    if c % r**2:
        raise ValueError(f"pixel_shuffle: expected channels that {r**2} divides; got {tuple(x.shape)}")
    n, c = math.prod(batch), c // r**2
    return x.reshape(n, c, r, r, h, w).permute(0, 1, 4, 2, 5, 3).reshape(*batch, c, h * r, w * r)


def pixel_unshuffle(input: TensorLike, downscale_factor: int) -> Tensor:
    """Undo :func:`pixel_shuffle`: make r² channels of an image that is r times as high and wide.

    Args:
        input: ``(*, c, h * r, w * r)``.
        downscale_factor: r, at least 1.

    Returns:
        ``(*, c * r**2, h, w)``.

    Raises:
        ValueError: Height or width is no multiple of r.
    """
    x, r = _factor("pixel_unshuffle", "downscale_factor", downscale_factor, input)
    *batch, c, h, w = x.shape
    if h % r or w % r:
        raise ValueError(f"pixel_unshuffle: expected height and width that {r} divides; got {tuple(x.shape)}")
    n, h, w = math.prod(batch), h // r, w // r
    return x.reshape(n, c, h, r, w, r).permute(0, 1, 3, 5, 2, 4).reshape(*batch, c * r**2, h, w)
