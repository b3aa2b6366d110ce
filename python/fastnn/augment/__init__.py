"""Batches that are changed at random before a step: for ``Trainer.fit(augment=…)`` and for loops of one's own.

All of it runs in the engine: inside a fit while the batch is gathered, without the GIL; elsewhere in one call a batch.
What is done to image i of a batch is a function of the seed, of how much was drawn before, and of i, so that results
are the same for any number of threads, and inside a fit what they are in a loop.
"""

from fastnn.augment.color import ColorJitter, Normalize, PCANoise
from fastnn.augment.crop import RandomCrop, RandomResizedCrop
from fastnn.augment.erasing import CutOut, RandomErasing
from fastnn.augment.geometry import (
    ElasticTransform,
    RandomAffine,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShear,
    RandomShift,
    RandomVerticalFlip,
    RandomZoom,
)
from fastnn.augment.mixing import CutMix, MixUp, mixup
from fastnn.augment.noise import BinomialNoise, GaussianNoise, SaltAndPepper
from fastnn.augment.transform import Compose, OneOf, Transform

__all__ = [
    "BinomialNoise",
    "ColorJitter",
    "Compose",
    "CutMix",
    "CutOut",
    "ElasticTransform",
    "GaussianNoise",
    "MixUp",
    "Normalize",
    "OneOf",
    "PCANoise",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomShear",
    "RandomShift",
    "RandomVerticalFlip",
    "RandomZoom",
    "SaltAndPepper",
    "Transform",
    "mixup",
]
