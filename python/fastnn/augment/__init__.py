"""Batches that are changed at random before a step: for ``Trainer.fit(augment=…)`` and for loops of one's own.

All of it runs in the engine: inside a fit while the batch is gathered, without the GIL; elsewhere in one call a batch.
What is done to image i of a batch is a function of the seed, of how much was drawn before, and of i, so that results
are the same for any number of threads, and inside a fit what they are in a loop.
"""

from fastnn._exports import exported as _exported
from fastnn.augment.color import (
    ColorJitter as ColorJitter,
    Normalize as Normalize,
    PCANoise as PCANoise,
)
from fastnn.augment.crop import (
    RandomCrop as RandomCrop,
    RandomResizedCrop as RandomResizedCrop,
)
from fastnn.augment.erasing import (
    CutOut as CutOut,
    RandomErasing as RandomErasing,
)
from fastnn.augment.geometry import (
    ElasticTransform as ElasticTransform,
    RandomAffine as RandomAffine,
    RandomHorizontalFlip as RandomHorizontalFlip,
    RandomRotation as RandomRotation,
    RandomShear as RandomShear,
    RandomShift as RandomShift,
    RandomVerticalFlip as RandomVerticalFlip,
    RandomZoom as RandomZoom,
)
from fastnn.augment.mixing import (
    CutMix as CutMix,
    MixUp as MixUp,
    mixup as mixup,
)
from fastnn.augment.noise import (
    BinomialNoise as BinomialNoise,
    GaussianNoise as GaussianNoise,
    SaltAndPepper as SaltAndPepper,
)
from fastnn.augment.transform import (
    Compose as Compose,
    OneOf as OneOf,
    Transform as Transform,
)

__all__ = [*_exported(globals())]
