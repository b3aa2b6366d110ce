import itertools
from typing import NamedTuple

import numpy as np
import pytest

import fastnn as fnn
from fastnn.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    Generator,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
    random_split,
)

X = np.arange(21, dtype=np.float32).reshape(7, 3)
Y = np.arange(7)


class Stream(IterableDataset):
    def __init__(self, *values):
        self.values = values

    def __iter__(self):
        return iter(self.values)

    def __len__(self):
        return len(self.values)


def test_tensor_dataset():
    dataset = TensorDataset(X, fnn.tensor(Y), X.tolist())
    assert len(dataset) == 7
    x, y, rows = dataset[5]
    assert x.tolist() == X[5].tolist()
    assert y.item() == 5
    assert isinstance(y, fnn.Tensor)
    assert rows.tolist() == X[5].tolist()


def test_concat_is_one_after_another():
    dataset = TensorDataset(X) + Subset(TensorDataset(X), [6, 0]) + TensorDataset(X[:1])
    assert isinstance(dataset, ConcatDataset)
    assert len(dataset) == 10
    assert [int(dataset[i][0][0]) for i in range(10)] == [0, 3, 6, 9, 12, 15, 18, 18, 0, 0]
    assert [int(dataset[i][0][0]) for i in (-1, -3, -10)] == [0, 18, 0]
    assert ConcatDataset([[], [1, 2], [], [3]]).cumulative_sizes == [0, 2, 2, 3]
    assert [ConcatDataset([[], [1, 2], [], [3]])[i] for i in range(3)] == [1, 2, 3]


def test_chain_is_one_after_another():
    chain = Stream(1, 2) + Stream() + Stream(3)
    assert list(chain) == list(chain) == [1, 2, 3]
    assert len(chain) == 3


def test_subset_of_a_subset():
    subset = Subset(Subset(TensorDataset(Y), [6, 4, 2, 0]), [3, 1])
    assert len(subset) == 2
    assert [int(subset[i][0]) for i in range(2)] == [0, 4]
    assert [int(sample[0]) for sample in subset.__getitems__([1, 0, 1])] == [4, 0, 4]
    assert Subset(Y, [5, 3, 1])[[0, 2]].tolist() == [5, 1]


def test_a_subset_with_samples_of_its_own_is_heard():
    class Negated(Subset):
        def __getitem__(self, index):
            return -super().__getitem__(index)

    assert Negated(Y, [5, 3]).__getitems__([0, 1]) == [-5, -3]


@pytest.mark.parametrize(
    ("n", "lengths", "expected"),
    [
        (10, [3, 7], [3, 7]),
        (10, [0.5, 0.25, 0.25], [6, 2, 2]),  # 5, 2, 2, and the one that is left
        (11, [0.7, 0.2, 0.1], [8, 2, 1]),
        (1, [1], [1]),
        (1, [0.5, 0.5], [1, 0]),
        (5, [0, 5], [0, 5]),
    ],
)
def test_random_split_deals_all_out(n, lengths, expected):
    fnn.manual_seed(1)
    parts = random_split(range(n), lengths)
    assert [len(part) for part in parts] == expected
    assert sorted(itertools.chain(*parts)) == list(range(n))


def test_random_split_is_that_of_pytorch_in_lengths():
    torch = pytest.importorskip("torch")
    for n in (1, 7, 10, 101):
        for lengths in ([0.8, 0.2], [0.3, 0.3, 0.4], [0.1] * 10, [1.0]):
            if sum(lengths) > 1:
                continue
            ours = [len(part) for part in random_split(range(n), lengths)]
            if 0 not in ours:  # PyTorch warns
                assert ours == [len(part) for part in torch.utils.data.random_split(range(n), lengths)]


def test_random_split_takes_a_generator():
    parts = [random_split(range(50), [20, 30], Generator().manual_seed(42))[0].indices for _ in range(2)]
    other = random_split(range(50), [20, 30], Generator().manual_seed(43))[0].indices
    assert parts[0] == parts[1] != other
    assert parts[0] != sorted(parts[0])


def test_generator():
    fnn.manual_seed(5)
    state = fnn.get_rng_state()
    generator = fnn.Generator()
    assert generator.initial_seed() == 67280421310721
    assert generator.manual_seed(7) is generator
    assert generator.initial_seed() == 7
    first = random_split(range(50), [25, 25], generator)[0].indices
    kept = generator.get_state()
    second = random_split(range(50), [25, 25], generator)[0].indices
    assert first != second  # it has gone on
    generator.set_state(kept)
    assert random_split(range(50), [25, 25], generator)[0].indices == second
    assert fnn.get_rng_state() == state  # the other one has not
    seed = generator.seed()
    assert generator.initial_seed() == seed != 7
    assert fnn.get_rng_state() != state
    generator.manual_seed(-1)
    assert generator.initial_seed() == 2**64 - 1


def test_generator_draws_what_the_process_would():
    fnn.manual_seed(9)
    expected = fnn.randperm(20).tolist()
    assert list(fnn.data.RandomSampler(range(20), generator=Generator().manual_seed(9))) == expected


def assert_same(ours, theirs):
    """Compare with PyTorch's, tensors by value and type."""
    if hasattr(theirs, "dtype"):
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            assert_same(ours[key], value)
    elif isinstance(theirs, (list, tuple)) and not isinstance(theirs, str):
        assert type(ours) is type(theirs)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert ours == theirs


SAMPLES = [
    [(X[0], 3, 0.5), (X[1], 4, 1.5)],
    [[X[0].astype(np.float64), True], [X[1].astype(np.float64), False]],
    [{"a": np.int64(3), "b": ["x", 2]}, {"a": np.int64(4), "b": ["y", 5]}],
    [np.float32(1.5), np.float32(2.5)],
    [1, 2, 3],
    [b"a", b"b"],
    [np.zeros((0, 2), np.float32)] * 2,
]


@pytest.mark.parametrize("samples", SAMPLES)
def test_default_collate_is_that_of_pytorch(samples):
    torch = pytest.importorskip("torch")
    assert_same(default_collate(samples), torch.utils.data.default_collate(samples))
    assert_same(default_convert(samples[0]), torch.utils.data.default_convert(samples[0]))


class Point(NamedTuple):
    a: object
    b: object


def test_default_collate():
    x, y = default_collate([(X[0], 3), (X[1], 4)])
    assert x.numpy().tolist() == X[:2].tolist()
    assert x.dtype == fnn.float32
    assert y.tolist() == [3, 4]
    assert y.dtype == fnn.int64
    assert default_collate([0.5, 1.5]).dtype == fnn.float64
    assert default_collate([np.uint8(3)]).dtype == fnn.int64
    assert default_collate([np.ones(2, np.float16)]).dtype == fnn.float32
    assert default_collate([fnn.tensor([1.0]), fnn.tensor([2.0])]).shape == (2, 1)
    assert default_collate([Point(1, "u"), Point(2, "v")]).b == ("u", "v")
    assert isinstance(default_collate([Point(1, 2)]), Point)
    assert isinstance(default_convert(Point(X, 1)).a, fnn.Tensor)
    assert default_convert("text") == "text"


def test_collated_tensors_keep_their_gradients():
    values = [fnn.tensor([1.0, 2.0], requires_grad=True), fnn.tensor([3.0, 4.0], requires_grad=True)]
    default_collate(values).sum().backward()
    assert values[1].grad.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (TensorDataset, ValueError, "TensorDataset: expected at least one tensor; got none"),
        (lambda: TensorDataset(X, Y[:6]), ValueError, "TensorDataset: expected tensors of one length; got lengths [7, 6]"),
        (lambda: TensorDataset(np.float32(3)), ValueError, "TensorDataset: expected tensors of one length; got lengths [None]"),
        (lambda: ConcatDataset([]), ValueError, "ConcatDataset: expected at least one dataset; got none"),
        (lambda: ConcatDataset([[1], Stream(1)]), TypeError, "ConcatDataset: expected datasets with lengths; got Stream, an IterableDataset"),
        (lambda: ConcatDataset([[1], [2]])[2], IndexError, "ConcatDataset: expected an index below 2; got 2"),
        (lambda: ConcatDataset([[1], [2]])[-3], IndexError, "ConcatDataset: expected an index below 2; got -3"),
        (lambda: ChainDataset([[1]]), TypeError, "ChainDataset: expected IterableDatasets; got list"),
        (lambda: Dataset()[0], NotImplementedError, "Dataset: expected a subclass to define __getitem__"),
        (lambda: iter(IterableDataset()), NotImplementedError, "IterableDataset: expected a subclass to define __iter__"),
        (lambda: random_split(range(5), [2, 2]), ValueError, "random_split: expected lengths that add up to 5, or shares to 1; got [2, 2]"),
        (lambda: random_split(range(5), [2.5, 2.5]), ValueError, "random_split: expected lengths that add up to 5, or shares to 1; got [2.5, 2.5]"),
        (lambda: random_split(range(5), [-1, 6]), ValueError, "random_split: expected lengths of at least 0; got [-1, 6]"),
        (lambda: random_split(range(5), [5], 42), TypeError, "random_split: expected generator to be a fastnn.Generator; got int"),
        (lambda: Generator("cuda"), ValueError, "Generator: expected device 'cpu', the only one fastnn has; got 'cuda'"),
        (lambda: Generator().manual_seed("x"), TypeError, "manual_seed: expected an int; got str"),
        (lambda: default_collate([]), ValueError, "default_collate: expected at least one sample; got none"),
        (lambda: default_collate([X, X[:2]]), ValueError, "default_collate: expected samples of one shape; got (7, 3) and (2, 3)"),
        (lambda: default_collate([(1, 2), (1,)]), ValueError, "default_collate: expected samples of one length; got lengths [1, 2]"),
        (lambda: default_collate([np.array(["a"])]), TypeError, "default_collate: expected arrays of real numbers; got dtype <U1"),
        (lambda: default_collate([{1, 2}]), TypeError, "default_collate: expected samples of tensors, arrays, numbers, strings, mappings or sequences; got set"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
