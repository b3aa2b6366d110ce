"""Images in folders, one a class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn._types import check_at_least, check_choice
from fastnn.data.dataset import Dataset

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_WHERE = "ImageFolder"


class ImageFolder(Dataset[tuple[Any, Any]]):
    """Images in a folder for each class: ``root/cat/123.png``, ``root/dog/any/where/nsdf3.png``, …

    Sample i is ``(image, class)``: the image an array ``(c, h, w)`` of float32 in [0, 1], the class its number in the
    sorted names of the folders. Images are decoded when they are asked for; several at a time by the workers of a
    :class:`DataLoader`.

    Args:
        root: Folder of the classes' folders.
        transform: Called with the image; returns what takes its place.
        target_transform: Called with the number of the class; returns what takes its place.
        loader: Called with a path; returns the image: an array, which is left as it is, or one of Pillow's. ``None``
            for Pillow.
        is_valid_file: Called with a path; says whether it is an image. ``None`` for those whose names end as images'
            do (``.jpg``, ``.jpeg``, ``.png``, ``.ppm``, ``.bmp``, ``.pgm``, ``.tif``, ``.tiff``, ``.webp``).
        allow_empty: Whether a class may be without images.
        size: Height and width in pixels that images are scaled to, bilinearly, averaging where they get smaller; one
            number for both. ``None`` for their own.
        mode: Pillow's: ``"RGB"`` for 3 channels, ``"L"`` for 1 of gray, ``"RGBA"`` for 4.

    Attributes:
        classes: Names of the folders, sorted.
        class_to_idx: Number of each class.
        samples: Pairs of path and number; also ``imgs``.
        targets: The numbers.

    Raises:
        FileNotFoundError: There is no such folder, it holds no folders, or one of them holds no images.
        ImportError: Pillow is not installed.
        ValueError: An image cannot be read, or a setting is out of range.
        TypeError: A setting is of another type.

    Source:
        ``torchvision.datasets.ImageFolder``, which hands Pillow's image to ``transform``, and has no ``size``.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        loader: Callable[[str], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
        *,
        size: int | tuple[int, int] | None = None,
        mode: str = "RGB",
    ) -> None:
        for name, function in (
            ("transform", transform),
            ("target_transform", target_transform),
            ("loader", loader),
            ("is_valid_file", is_valid_file),
        ):
            if function is not None and not callable(function):
                raise TypeError(f"{_WHERE}: expected {name} to be a function; got {type(function).__name__}")
        check_choice(_WHERE, "mode", mode, ("RGB", "L", "RGBA"))
        if loader is None:
            _pillow()
        self.root = os.fspath(root)
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        self.size = _checked_size(size)
        self.mode = mode
        self.classes = _class_names(self.root)
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        self.samples: list[tuple[str, int]] = []
        empty = []
        for number, name in enumerate(self.classes):
            paths = _images(Path(self.root) / name, is_valid_file or _looks_like_an_image)
            self.samples += [(path, number) for path in paths]
            if not paths:
                empty.append(name)
        if empty and not allow_empty:
            raise FileNotFoundError(
                f"{_WHERE}: expected images in every folder of {self.root!r}; got none in {', '.join(empty)}"
            )
        self.targets = [number for _, number in self.samples]
        self.imgs = self.samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        path, target = self.samples[index]
        image = _open(path, self.mode, self.size) if self.loader is None else self.loader(path)
        if not isinstance(image, np.ndarray) and hasattr(image, "getbands"):
            image = _array(_scaled(image, self.size))
        if self.transform is not None:
            image = self.transform(image)
        return image, target if self.target_transform is None else self.target_transform(target)

    def __repr__(self) -> str:
        return f"ImageFolder({self.root!r}: {len(self)} images of {len(self.classes)} classes)"


def _pillow() -> Any:
    try:
        from PIL import Image  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("ImageFolder needs Pillow: pip install fastnn-cpu[images]") from error
    return Image


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"{_WHERE}: expected size to be a number, or height and width; got {size!r}")
    for value in pair:
        check_at_least(_WHERE, "size", value, 1)
    return int(pair[0]), int(pair[1])


def _class_names(root: str) -> list[str]:
    if not Path(root).is_dir():
        raise FileNotFoundError(f"{_WHERE}: expected a folder; got {root!r}")
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    if not names:
        raise FileNotFoundError(f"{_WHERE}: expected a folder for each class in {root!r}; got none")
    return names


def _images(folder: Path, is_valid_file: Callable[[str], bool]) -> list[str]:
    found = []
    for directory, _, names in sorted(os.walk(folder, followlinks=True)):
        paths = [os.path.join(directory, name) for name in sorted(names)]  # noqa: PTH118
        found += [path for path in paths if is_valid_file(path)]
    return found


def _looks_like_an_image(path: str) -> bool:
    return path.lower().endswith(EXTENSIONS)


def _open(path: str, mode: str, size: tuple[int, int] | None) -> NDArray[np.float32]:
    pillow = _pillow()
    try:
        with pillow.open(path) as image:
            return _array(_scaled(image.convert(mode), size))
    # A broken file raises whatever its decoder stumbles over.
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise ValueError(f"{_WHERE}: expected an image that Pillow can read; got {path!r}: {error}") from error


def _scaled(image: Any, size: tuple[int, int] | None) -> Any:
    return image if size is None else image.resize((size[1], size[0]), _pillow().Resampling.BILINEAR)


def _array(image: Any) -> NDArray[np.float32]:
    """Return (c, h, w) in [0, 1]."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    planes: NDArray[np.float32] = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    planes /= 255
    return planes
