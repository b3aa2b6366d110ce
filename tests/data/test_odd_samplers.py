"""Samplers of what is no sequence, and batches that hold nothing."""

import pytest

import fastnn as fnn
from fastnn import nn
from fastnn.data import SubsetRandomSampler
from fastnn.optim import swa_utils


@pytest.mark.parametrize("indices", [{3, 5, 8}, {"a": 1, "b": 2}, frozenset({1})], ids=repr)
def test_a_subset_that_is_no_sequence_is_named(indices: object) -> None:
    kind = type(indices).__name__
    with pytest.raises(TypeError, match=rf"^SubsetRandomSampler: expected indices to be a sequence; got {kind}: "):
        list(SubsetRandomSampler(indices))  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [1, -2, 2**40, 2**80])
def test_a_subset_of_a_list_names_an_index_that_is_none(index: int) -> None:
    with pytest.raises(IndexError, match=rf"^Subset: expected an index below 1; got {index}$"):
        fnn.data.Subset([7], [index])[0]


@pytest.mark.parametrize("sequence", ["text", b"bytes", range(4), (1, 2), [1, 2]], ids=repr)
def test_a_subset_of_a_sequence_names_an_index_of_another_type(sequence: object) -> None:
    with pytest.raises(TypeError, match=r"^Subset: expected an index to be an int; got "):
        fnn.data.Subset(sequence, [None])[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [(), []], ids=repr)
def test_update_bn_names_an_empty_batch(batch: object) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"^update_bn: expected batches that begin with the inputs; got "):
        swa_utils.update_bn([fnn.ones(5, 3), batch], model)
    assert all((value == before[name]).all() for name, value in model.state_dict().items())
