"""Noise, drawn for every pixel."""

from __future__ import annotations

from fastnn.augment import _settings as settings
from fastnn.augment.transform import Spec, Transform


class GaussianNoise(Transform):
    """Add normal noise, also to rows ``(n, *)`` that are no images::

        x' = x + mean + sigma * z,    z ~ N(0, 1) for each number

    Args:
        mean: Of the noise, white being 1.
        sigma: Its standard deviation, white being 1; at least 0.
        clip: Whether results are held between black and white; not for what is no image.
        p: The probability that it is done to an image, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        As in torchvision, which has no ``p``.
    """

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.mean = settings.finite(self._name, "mean", mean)
        self.sigma = settings.not_negative(self._name, "sigma", sigma)
        self.clip = bool(clip)

    def _specs(self) -> list[Spec]:
        return [self._spec("gaussian_noise", mean=self.mean, sigma=self.sigma, clip=self.clip)]


class BinomialNoise(Transform):
    """Set numbers to 0 at random, also of rows ``(n, *)`` that are no images::

        x' = m * x,    m = 0 with probability ``rate``, else 1, for each number

    What is left is not scaled up, as it is by dropout.

    Args:
        rate: The probability, in [0, 1].
        p: The probability that it is done to an image, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Vincent et al. 2010, https://jmlr.org/papers/v11/vincent10a.html, section 3.3, "masking noise".
    """

    def __init__(self, rate: float = 0.1, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.rate = settings.probability(self._name, "rate", rate)

    def _specs(self) -> list[Spec]:
        return [self._spec("binomial_noise", rate=self.rate)]


class SaltAndPepper(Transform):
    """Make pixels white or black at random, all channels alike::

        x' = white with probability rate * salt,  0 with probability rate * (1 - salt),  else x

    Args:
        rate: The probability that a pixel is changed, in [0, 1].
        salt: The share of white among the changed ones, in [0, 1].
        p: The probability that it is done to an image, in [0, 1].

    Raises:
        ValueError: A setting is out of range.
        TypeError: A setting is of another type.

    Source:
        Vincent et al. 2010, https://jmlr.org/papers/v11/vincent10a.html, section 3.3, where salt is 0.5.
    """

    def __init__(self, rate: float = 0.05, salt: float = 0.5, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.rate = settings.probability(self._name, "rate", rate)
        self.salt = settings.probability(self._name, "salt", salt)

    def _specs(self) -> list[Spec]:
        return [self._spec("salt_and_pepper", rate=self.rate, salt=self.salt)]
