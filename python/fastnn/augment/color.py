"""Colors: of three channels red, green and blue, or of one, gray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn._core import Tensor
from fastnn._types import check_array
from fastnn.augment import _settings as settings
from fastnn.augment.transform import Spec, Transform

if TYPE_CHECKING:
    from typing_extensions import Self


class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue, in random order::

        brightness:  x' = f * x                           gray = 0.2989 r + 0.587 g + 0.114 b
        contrast:    x' = f * x + (1 - f) * mean(gray)    all held between 0 and white
        saturation:  x' = f * x + (1 - f) * gray
        hue:         h' = h + f mod 1, h being the hue of HSV, in turns

    Each f is drawn evenly from a range of its own. Saturation and hue leave images of one channel as they are.

    Args:
        brightness: A number b of at least 0 for f from max(0, 1 - b) to 1 + b; or the pair (least, greatest), at
            least 0.
        contrast: The same.
        saturation: The same.
        hue: A number b of [0, 0.5] for f from -b to b; or a pair, from -0.5 to 0.5.
        p: The probability that an image is changed, in [0, 1].

    Raises:
        ValueError: A setting is out of range; or, when it is called, images have neither 1 nor 3 channels.
        TypeError: A setting is of another type.

    Source:
        As in torchvision, which has no ``p`` and cuts uint8 images to integers after each of the four.
    """

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
        hue: float | Sequence[float] = 0,
        *,
        p: float = 1.0,
    ) -> None:
        super().__init__(p)
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self._specs()

    def _factors(self, name: str, value: Any) -> settings.Pair | None:
        if settings.is_sequence(value):
            low, high = settings.pair(self._name, name, value)
            if low < 0:
                raise ValueError(f"{self._name}: expected {name} of at least 0; got {value!r}")
        else:
            change = settings.not_negative(self._name, name, value)
            low, high = max(0.0, 1 - change), 1 + change
        return None if low == high == 1 else (low, high)

    def _turns(self, value: Any) -> settings.Pair | None:
        low, high = settings.around_zero(self._name, "hue", value)
        if low < -0.5 or high > 0.5:
            raise ValueError(f"{self._name}: expected hue from -0.5 to 0.5; got {value!r}")
        return None if low == high == 0 else (low, high)

    def _specs(self) -> list[Spec]:
        spec = self._spec(
            "color_jitter",
            brightness=self._factors("brightness", self.brightness),
            contrast=self._factors("contrast", self.contrast),
            saturation=self._factors("saturation", self.saturation),
            hue=self._turns(self.hue),
        )
        return [spec]


class PCANoise(Transform):
    """Add multiples of the principal components of the data's colors, one color for the whole image::

        x'[:, i, j] = x[:, i, j] + sum over k of a_k * eigenvalues[k] * eigenvectors[:, k],    a_k ~ N(0, std²)

    :meth:`fit` finds the components of given images. Results are not held between black and white, but in uint8.

    Args:
        std: Standard deviation of the multiples, at least 0; the paper has 0.1.
        eigenvalues: Of the colors' covariance, ``(c,)``, white being 1.
        eigenvectors: Its eigenvectors, ``(c, c)``, a column each.
        p: The probability that an image is changed, in [0, 1].

    Raises:
        ValueError: A setting is out of range; or, when it is called, images do not have c channels.
        TypeError: A setting is of another type.

    Source:
        Krizhevsky et al. 2012, https://doi.org/10.1145/3065386, section 4.1.
    """

    def __init__(self, std: float, eigenvalues: Any, eigenvectors: Any, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.std = settings.not_negative(self._name, "std", std)
        self.eigenvalues: NDArray[np.float64] = check_array("PCANoise", "eigenvalues", eigenvalues)
        self.eigenvectors: NDArray[np.float64] = check_array("PCANoise", "eigenvectors", eigenvectors)
        c = len(self.eigenvalues) if self.eigenvalues.ndim == 1 else 0
        if not c or self.eigenvectors.shape != (c, c):
            raise ValueError(
                f"{self._name}: expected eigenvalues (c,) and eigenvectors (c, c); "
                f"got shapes {self.eigenvalues.shape} and {self.eigenvectors.shape}"
            )
        if not (np.isfinite(self.eigenvalues).all() and np.isfinite(self.eigenvectors).all()):
            raise ValueError(f"{self._name}: expected eigenvalues and eigenvectors to be finite; got {eigenvalues!r}")

    @classmethod
    def fit(cls, x: Any, std: float = 0.1, *, p: float = 1.0) -> Self:
        """Return the noise of these images' colors.

        Args:
            x: Images, ``(n, c, h, w)``, at least two pixels in all; uint8 counts with white as 1.
            std: Standard deviation of the multiples, at least 0.
            p: The probability that an image is changed, in [0, 1].

        Raises:
            ValueError: The shape is another, or a setting out of range.
        """
        images = np.asarray(x.detach() if isinstance(x, Tensor) else x)
        if images.ndim != 4 or images.size < 2 * images.shape[1]:
            raise ValueError(f"{cls.__name__}.fit: expected images of shape (n, c, h, w); got shape {images.shape}")
        white = 255.0 if images.dtype == np.uint8 else 1.0
        colors = images.astype(np.float64).transpose(1, 0, 2, 3).reshape(images.shape[1], -1) / white
        eigenvalues, eigenvectors = np.linalg.eigh(np.atleast_2d(np.cov(colors)))
        return cls(std, eigenvalues, eigenvectors, p=p)

    def _specs(self) -> list[Spec]:
        return [self._spec("pca_noise", std=self.std, components=(self.eigenvectors * self.eigenvalues).T.tolist())]


class Normalize(Transform):
    """Subtract a mean from every channel, and divide by a standard deviation::

        x'[c] = (x[c] - mean[c]) / std[c]

    Validation and test data need the same: call it on them.

    Args:
        mean: One for each channel, or one for all.
        std: The same, other than 0.
        inplace: Only ``False``: images that are given stay as they are.

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type; or images are uint8, which cannot hold the result.

    Source:
        As in torchvision.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        settings.fill(self._name, "mean", mean)
        if 0 in settings.fill(self._name, "std", std):
            raise ValueError(f"{self._name}: expected std other than 0; got {std!r}")
        if inplace:
            raise ValueError(f"{self._name}: expected inplace False; got {inplace!r}")
        self.mean = mean
        self.std = std

    def _specs(self) -> list[Spec]:
        mean, std = settings.fill(self._name, "mean", self.mean), settings.fill(self._name, "std", self.std)
        return [self._spec("normalize", mean=mean, std=std)]

    def _floats_only(self) -> str | None:
        return self._name
