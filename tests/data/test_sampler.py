import numpy as np
import pytest

import fastnn as fnn
from fastnn.data import (
    BatchSampler,
    Generator,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def test_in_turn():
    assert list(SequentialSampler("abcd")) == [0, 1, 2, 3]
    assert len(SequentialSampler("abcd")) == 4


def test_random_order_has_every_index_once():
    fnn.manual_seed(2)
    sampler = RandomSampler(range(31))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(31))
    assert first != second
    assert all(type(index) is int for index in first)
    more = list(RandomSampler(range(5), num_samples=13))
    assert sorted(more[:5]) == sorted(more[5:10]) == list(range(5))
    assert len(set(more[10:])) == 3
    assert len(RandomSampler(range(5), num_samples=13)) == len(more) == 13


def test_replacement_is_even():
    fnn.manual_seed(3)
    drawn = np.array(list(RandomSampler(range(7), replacement=True, num_samples=14_000)))
    counts = np.bincount(drawn, minlength=7)
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)
    assert len(set(drawn[:7])) < 7 or len(set(drawn[7:14])) < 7


def test_subset_in_random_order():
    fnn.manual_seed(4)
    sampler = SubsetRandomSampler([10, 30, 20, 40, 0])
    orders = [list(sampler) for _ in range(6)]
    assert all(sorted(order) == [0, 10, 20, 30, 40] for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert len(sampler) == 5


def test_weights_with_replacement():
    fnn.manual_seed(5)
    weights = np.array([0.0, 3.0, 1.0, 0.0, 6.0, 0.0])
    drawn = np.array(list(WeightedRandomSampler(weights, 20_000)))
    share = np.bincount(drawn, minlength=6) / 20_000
    expected = weights / weights.sum()
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.25 / 20_000)
    assert not share[weights == 0].any()


def test_weights_without_replacement():
    fnn.manual_seed(6)
    weights = [1.0, 0.0, 2.0, 5.0]
    sampler = WeightedRandomSampler(weights, 2, replacement=False)
    pairs = np.array([list(sampler) for _ in range(8000)])
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert not (pairs == 1).any()
    # The first by the weights; the second by those that are left.
    first = np.bincount(pairs[:, 0], minlength=4) / 8000
    np.testing.assert_allclose(first, np.array(weights) / 8, atol=0.03)
    after_3 = pairs[pairs[:, 0] == 3, 1]
    assert np.mean(after_3 == 2) == pytest.approx(2 / 3, abs=0.04)
    assert sorted(WeightedRandomSampler(weights, 3, replacement=False)) == [0, 2, 3]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n", [0, 1, 9, 10, 11])
def test_batches(n, drop_last):
    sampler = BatchSampler(SequentialSampler(range(n)), 5, drop_last)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    expected = list(range(n - n % 5 if drop_last else n))
    assert [i for batch in batches for i in batch] == expected
    assert all(len(batch) == 5 for batch in batches[:-1])
    assert all(batches)


def test_generators_decide():
    makers = (
        lambda g: RandomSampler(range(40), generator=g),
        lambda g: RandomSampler(range(40), replacement=True, generator=g),
        lambda g: SubsetRandomSampler(range(40), generator=g),
        lambda g: WeightedRandomSampler(np.arange(40), 9, generator=g),
        lambda g: WeightedRandomSampler(np.arange(40), 9, False, generator=g),
    )
    fnn.manual_seed(0)
    before = fnn.get_rng_state()
    for make in makers:
        first, second, other = (list(make(Generator().manual_seed(seed))) for seed in (1, 1, 2))
        assert first == second != other
    assert fnn.get_rng_state() == before


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RandomSampler([]), ValueError, "RandomSampler: expected a data_source with samples; got none"),
        (lambda: RandomSampler([1], num_samples=0), ValueError, "RandomSampler: expected num_samples of at least 1; got 0"),
        (lambda: RandomSampler([1], replacement=1), TypeError, "RandomSampler: expected replacement to be a bool; got 1"),
        (lambda: RandomSampler([1], generator=3), TypeError, "RandomSampler: expected generator to be a fastnn.Generator; got int"),
        (lambda: SubsetRandomSampler([1], 3), TypeError, "SubsetRandomSampler: expected generator to be a fastnn.Generator; got int"),
        (lambda: WeightedRandomSampler([1.0], 0), ValueError, "WeightedRandomSampler: expected num_samples of at least 1; got 0"),
        (lambda: WeightedRandomSampler([1.0], 2.5), TypeError, "WeightedRandomSampler: expected num_samples to be an int; got 2.5"),
        (lambda: WeightedRandomSampler([[1.0]], 1), ValueError, "WeightedRandomSampler: expected weights of shape (n,); got (1, 1)"),
        (lambda: WeightedRandomSampler([1.0, -2.0], 1), ValueError, "WeightedRandomSampler: expected weights of at least 0; got -2.0 at 1"),
        (lambda: WeightedRandomSampler([0.0, 0.0], 1), ValueError, "WeightedRandomSampler: expected a weight above 0; got none"),
        (lambda: WeightedRandomSampler([1.0, 0.0], 2, False), ValueError, "WeightedRandomSampler: expected num_samples of at most 1, as many as have a weight, without replacement; got 2"),
        (lambda: WeightedRandomSampler([1.0], 1, "no"), TypeError, "WeightedRandomSampler: expected replacement to be a bool; got 'no'"),
        (lambda: BatchSampler([1], 0, False), ValueError, "BatchSampler: expected batch_size of at least 1; got 0"),
        (lambda: BatchSampler([1], 1, None), TypeError, "BatchSampler: expected drop_last to be a bool; got None"),
        (lambda: iter(Sampler()), NotImplementedError, "Sampler: expected a subclass to define __iter__"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
