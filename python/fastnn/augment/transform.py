"""Base class of transforms, and compositions of several."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn import _core
from fastnn._core import Tensor
from fastnn._types import TensorLike
from fastnn.augment import _settings as settings

if TYPE_CHECKING:
    from typing_extensions import Self

Spec = dict[str, Any]
"""A transform's settings, as the engine takes them."""


class Transform:
    """Something that is done at random to every image of a batch: ``transform(x)``, or ``transform(x, y)``.

    x is ``(n, c, h, w)``, float32, float64 or uint8; or one image ``(c, h, w)``. ``GaussianNoise``, ``BinomialNoise``
    and ``MixUp`` take rows of any shape ``(n, *)``. It returns new images of the same kind: an array for an array, a
    tensor for a tensor. White is 1 in floating point and 255 in uint8, whose results are rounded to the nearest integer
    once, at the end of all transforms. Targets y are returned as they are, but by ``MixUp`` and ``CutMix``. Every call
    draws anew from the generator that ``fastnn.manual_seed`` sets.

    In a ``fit`` on uint8 data, which become floating point, white is 255 too, and nothing is rounded. Other images
    from 0 to 255 are to be divided by 255 first, as for torchvision.

    Args:
        p: The probability that it is done to an image, in [0, 1].

    Raises:
        ValueError: A setting is out of range, or images have a shape that it does not take.
        TypeError: A setting, or the images, are of another type.
    """

    _white: float | None = None

    def __init__(self, p: float = 1.0) -> None:
        self.p = settings.probability(self._name, "p", p)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _specs(self) -> list[Spec]:
        """Return what is done to an image, in this order."""
        raise NotImplementedError(f"{self._name}: expected a subclass to define _specs; it does not")

    def _mix(self) -> Spec | None:
        """Return how the images of a batch are mixed then."""
        return None

    def _floats_only(self) -> str | None:
        """Return the name of what cannot be done to uint8 images, if anything."""
        return None

    def _spec(self, kind: str, **values: Any) -> Spec:
        return {"kind": kind, "name": self._name, "p": self.p, **values}

    def _pipeline(self, *, mixing: bool = True) -> _core.Augment:
        return _core.Augment(self._specs(), self._mix() if mixing else None, self._white)

    def _for(self, dtype: np.dtype[Any]) -> Self:
        """Return the same transform for images that were of this type before they were converted."""
        same = copy.copy(self)
        same._white = 255.0 if dtype == np.uint8 else None
        return same

    def _resizes(self, shape: tuple[int, ...]) -> bool:
        """Return whether images of batches of this shape get another size."""
        return len(shape) == 4 and self._pipeline().shape((shape[1], shape[2], shape[3])) != shape[1:]

    def _unmixed(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the images of a batch, changed one by one."""
        return self._run(self._pipeline(mixing=False), np.ascontiguousarray(x))

    def _run(self, pipeline: _core.Augment, x: NDArray[Any], *targets: NDArray[Any] | None) -> NDArray[Any]:
        image = _image(self._name, x.shape, needed=pipeline.needs_images)
        out = np.empty((len(x), *pipeline.shape(image)) if x.ndim == 4 else x.shape, x.dtype)
        pipeline.run(len(x), image, x, out, *(targets or (None, None, None, None)))
        return out

    def __call__(self, x: TensorLike, y: TensorLike | None = None) -> Any:
        """Return x, changed; the pair of x and y, if there is a y."""
        images, targets, _ = self._apply(x, y, None)
        return images if y is None else (images, targets)

    def params(self, shape: Sequence[int]) -> list[list[tuple[str, dict[str, float]]]]:
        """Return what the next call will draw for a batch, without drawing it.

        Args:
            shape: Of the batch, ``(n, c, h, w)``.

        Returns:
            For every image the transforms that will be done to it, in their order: the name, and the numbers by name.

        Raises:
            ValueError: The shape is not one of images that it takes.
        """
        image = _image(self._name, tuple(shape), needed=True)
        drawn = self._pipeline().drawn(shape[0], image)
        return [[(name, values) for name, _, values in one] for one in drawn]

    def __repr__(self) -> str:
        given = {name: value for name, value in vars(self).items() if name not in {"p", "_white"}}
        given["p"] = self.p
        return f"{self._name}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def _check(self, x: NDArray[Any], y: NDArray[Any] | None, where: str | None = None) -> None:
        """Refuse a batch, or all rows of a fit, that it cannot change."""
        where = where or self._name
        if x.dtype not in (np.float32, np.float64, np.uint8):
            raise TypeError(f"{where}: expected x of float32, float64 or uint8; got dtype {x.dtype}")
        name = self._floats_only()
        if x.dtype == np.uint8 and name is not None:
            raise TypeError(f"{name}: expected x of float32 or float64; got dtype uint8")
        pipeline = self._pipeline()
        pipeline.shape(_image(where, x.shape, needed=pipeline.needs_images))
        mix = self._mix()
        if mix is None:
            return
        if not len(x):
            raise ValueError(f"{where}: expected at least one row in x; got shape {x.shape}")
        if y is None:
            raise ValueError(f"{where}: expected targets y to mix; got None")
        _check_targets(where, x, y, mix["num_classes"])

    def _apply(
        self, x: TensorLike, y: TensorLike | None, sample_weight: NDArray[Any] | None, where: str | None = None
    ) -> tuple[Any, Any, Any]:
        """Return images, targets and weights, changed."""
        is_tensor = isinstance(x, Tensor)
        images = _array(x)
        pipeline = self._pipeline()
        single = images.ndim == 3 and pipeline.needs_images
        if single:
            images = images[None]
        mix = self._mix()
        targets = _array(y) if y is not None and mix is not None else None
        self._check(images, targets, where)
        images = np.ascontiguousarray(images)
        if mix is None or targets is None:
            out = self._run(pipeline, images)
            return _like(out[0] if single else out, tensor=is_tensor), y, sample_weight
        if targets.dtype.kind == "f":
            targets = np.ascontiguousarray(targets)
            soft = np.empty_like(targets)
        else:
            targets = np.ascontiguousarray(targets, dtype=np.int64)
            soft = np.empty((len(images), mix["num_classes"]), np.float32 if images.dtype == np.uint8 else images.dtype)
        weights = None if sample_weight is None else np.empty_like(sample_weight)
        out = self._run(pipeline, images, targets, soft, sample_weight, weights)
        return _like(out, tensor=is_tensor), _like(soft, tensor=is_tensor), weights


def _array(value: TensorLike) -> NDArray[Any]:
    return np.asarray(value.detach() if isinstance(value, Tensor) else value)


def _like(array: NDArray[Any], *, tensor: bool) -> Any:
    return _core.as_tensor(array) if tensor else array


def _image(where: str, shape: tuple[int, ...], *, needed: bool) -> tuple[int, int, int]:
    """Return channels, height and width of the images of a batch."""
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    if needed or not shape:
        expected = "images of shape (n, c, h, w)" if needed else "rows"
        raise ValueError(f"{where}: expected {expected}; got shape {shape}")
    return 1, 1, int(np.prod(shape[1:], dtype=np.int64))


def _check_targets(where: str, x: NDArray[Any], y: NDArray[Any], num_classes: int | None) -> None:
    if y.ndim == 0 or len(y) != len(x):
        raise ValueError(f"{where}: expected x and y of one length; got shapes {x.shape} and {y.shape}")
    if y.dtype in (np.float32, np.float64):
        return
    if y.dtype.kind not in "iu":
        raise TypeError(f"{where}: expected targets of int64, float32 or float64; got dtype {y.dtype}")
    if num_classes is None:
        raise ValueError(f"{where}: expected num_classes to go with integer targets; got None")
    if y.ndim != 1:
        raise ValueError(f"{where}: expected integer targets of shape (n,); got {y.shape}")
    if y.min() < 0 or y.max() >= num_classes:
        wrong = y.min() if y.min() < 0 else y.max()
        raise ValueError(f"{where}: expected targets in [0, {num_classes}); got {wrong}")


def _checked(where: str, transforms: Sequence[Transform]) -> list[Transform]:
    if isinstance(transforms, Transform) or not hasattr(transforms, "__iter__"):
        raise TypeError(f"{where}: expected a list of transforms; got {type(transforms).__name__}")
    checked = list(transforms)
    for transform in checked:
        if not isinstance(transform, Transform):
            raise TypeError(f"{where}: expected transforms of fastnn.augment; got {transform!r}")
    return checked


def _first_float(transforms: Sequence[Transform]) -> str | None:
    return next((name for name in (t._floats_only() for t in transforms) if name is not None), None)


class Compose(Transform):
    """Do several things, one after another.

    Those that move pixels and follow each other (flips, shifts, affine maps, crops with constant padding), with one
    ``fill`` and one ``interpolation``, become one map: the image is read once, loses less sharpness, and what one
    moves out another can move back in.

    Args:
        transforms: In this order. ``MixUp``, ``CutMix``, or ``OneOf`` these, at the end only.
        p: The probability that an image goes through them, in [0, 1]; 1 with ``MixUp`` and ``CutMix``.

    Raises:
        ValueError: ``p`` is out of range, or something follows what mixes.
        TypeError: One is not a transform.

    Source:
        torchvision's ``Compose`` reads the image anew for every transform, and has no ``p``.
    """

    def __init__(self, transforms: Sequence[Transform], *, p: float = 1.0) -> None:
        super().__init__(p)
        self.transforms = _checked("Compose", transforms)
        mixing = next((i for i, t in enumerate(self.transforms) if t._mix() is not None), None)
        if mixing is None:
            return
        if mixing + 1 < len(self.transforms):
            raise ValueError(
                f"Compose: expected what mixes images to be last; got {self.transforms[mixing + 1]._name} "
                f"after {self.transforms[mixing]._name}"
            )
        if self.p < 1:
            raise ValueError(f"Compose: expected p of 1 with {self.transforms[mixing]._name}; got {p}")

    def _specs(self) -> list[Spec]:
        specs = [spec for transform in self.transforms for spec in transform._specs()]
        return specs if self.p == 1 else [{"kind": "all", "p": self.p, "of": specs}]

    def _mix(self) -> Spec | None:
        return self.transforms[-1]._mix() if self.transforms else None

    def _floats_only(self) -> str | None:
        return _first_float(self.transforms)


class OneOf(Transform):
    """Do one of several things, which one being drawn for every image; for every batch with ``MixUp`` and ``CutMix``.

    Args:
        transforms: At least one; either all of images, or all of batches.
        weights: How likely each is, at least 0, in proportion; ``None`` if all are equally likely.
        p: The probability that anything is done, in [0, 1].

    Raises:
        ValueError: A setting is out of range, there is no transform, or some are of images and some of batches.
        TypeError: One is not a transform.

    Source:
        torchvision's ``RandomChoice``, whose ``p`` are our ``weights``.
    """

    def __init__(
        self, transforms: Sequence[Transform], weights: Sequence[float] | None = None, *, p: float = 1.0
    ) -> None:
        super().__init__(p)
        self.transforms = _checked("OneOf", transforms)
        if not self.transforms:
            raise ValueError("OneOf: expected at least one transform; got none")
        self.weights = settings.weights("OneOf", weights, len(self.transforms))
        mixes = [t._mix() for t in self.transforms]
        mixing = [mix for mix in mixes if mix is not None]
        if not mixing:
            return
        if len(mixing) < len(mixes) or any(t._specs() or isinstance(t, OneOf) for t in self.transforms):
            raise ValueError("OneOf: expected transforms of images only, or MixUp and CutMix only; got both")
        classes = {mix["num_classes"] for mix in mixing}
        if len(classes) > 1:
            got = " and ".join(sorted(map(str, classes)))
            raise ValueError(f"OneOf: expected one num_classes; got {got}")

    def _specs(self) -> list[Spec]:
        if self._mix() is not None:
            return []
        of = []
        for transform in self.transforms:
            specs = transform._specs()
            of.append(specs[0] if len(specs) == 1 else {"kind": "all", "p": 1.0, "of": specs})
        return [{"kind": "any", "p": self.p, "weights": self.weights, "of": of}]

    def _mix(self) -> Spec | None:
        mixing = [mix for mix in (t._mix() for t in self.transforms) if mix is not None]
        if not mixing:
            return None
        ways = [way for mix in mixing for way in mix["ways"]]
        return {"p": self.p, "weights": self.weights, "ways": ways, "num_classes": mixing[0]["num_classes"]}

    def _floats_only(self) -> str | None:
        return _first_float(self.transforms)
