"""Datasets, samplers and loaders, with the names of ``torch.utils.data``; folders of images."""

from fastnn._exports import exported as _exported
from fastnn.data.collate import (
    default_collate as default_collate,
    default_convert as default_convert,
)
from fastnn.data.dataset import (
    ChainDataset as ChainDataset,
    ConcatDataset as ConcatDataset,
    Dataset as Dataset,
    IterableDataset as IterableDataset,
    Subset as Subset,
    TensorDataset as TensorDataset,
    random_split as random_split,
)
from fastnn.data.generator import Generator as Generator
from fastnn.data.image_folder import ImageFolder as ImageFolder
from fastnn.data.loader import (
    DataLoader as DataLoader,
    WorkerInfo as WorkerInfo,
    get_worker_info as get_worker_info,
)
from fastnn.data.sampler import (
    BatchSampler as BatchSampler,
    RandomSampler as RandomSampler,
    Sampler as Sampler,
    SequentialSampler as SequentialSampler,
    SubsetRandomSampler as SubsetRandomSampler,
    WeightedRandomSampler as WeightedRandomSampler,
)

__all__ = [*_exported(globals())]
