import inspect
import threading
import time
import traceback

import numpy as np
import pytest

import fastnn as fnn
from fastnn.data import (
    DataLoader,
    Dataset,
    Generator,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    get_worker_info,
)

X = np.arange(66, dtype=np.float32).reshape(33, 2)
Y = np.arange(33)
WORKERS = [0, 1, 3]


class Slow(Dataset):
    """Later samples are ready sooner, and all of them draw."""

    def __len__(self):
        return 17

    def __getitem__(self, index):
        time.sleep(0.0005 * (17 - index))
        return index, fnn.rand(2)


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        for i in range(self.n):
            yield i, fnn.rand(2)

    def __len__(self):
        return self.n


def numbers(loader):
    """Return the batches of a pass, tensors as lists."""

    def plain(value):
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        return value.tolist() if isinstance(value, fnn.Tensor) else value

    return [plain(batch) for batch in loader]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastnn-data")]


def none_left():
    """Return whether all threads end; after a Ctrl-C nobody waits for them."""
    deadline = time.monotonic() + 20
    while threads() and time.monotonic() < deadline:
        time.sleep(0.001)
    return not threads()


@pytest.mark.parametrize("workers", WORKERS)
def test_batches_are_rows(workers):
    loader = DataLoader(TensorDataset(X, Y), batch_size=8, num_workers=workers)
    batches = list(loader)
    assert len(loader) == len(batches) == 5
    assert all(isinstance(part, fnn.Tensor) for batch in batches for part in batch)
    np.testing.assert_array_equal(np.concatenate([x.numpy() for x, _ in batches]), X)
    assert [len(y) for _, y in batches] == [8, 8, 8, 8, 1]
    assert numbers(DataLoader(TensorDataset(X, Y), batch_size=8, drop_last=True)) == numbers(batches[:4])


@pytest.mark.parametrize("dataset", [Slow(), Stream(17)], ids=["map", "stream"])
@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_nothing_depends_on_the_number_of_workers(dataset, batch_size):
    passes = []
    for workers in [*WORKERS, 2]:
        fnn.manual_seed(7)
        loader = DataLoader(
            dataset,
            batch_size,
            shuffle=not isinstance(dataset, Stream),
            num_workers=workers,
            prefetch_factor=3 if workers == 2 else None,
        )
        first = []
        for batch in loader:
            fnn.rand(3)  # is drawn beside the workers
            first.append(batch)
        passes.append((numbers(first), numbers(loader), fnn.get_rng_state()))
    first, second, _ = passes[0]
    assert all(one == passes[0] for one in passes)
    assert first != second  # a new order, and new draws, in every pass


def test_the_generator_decides():
    def one_pass(seed):
        return numbers(DataLoader(Slow(), 4, shuffle=True, generator=Generator().manual_seed(seed)))

    fnn.manual_seed(0)
    state = fnn.get_rng_state()
    assert one_pass(1) == one_pass(1) != one_pass(2)
    assert fnn.get_rng_state() == state


@pytest.mark.parametrize("workers", WORKERS)
def test_what_a_sampler_draws_depends_on_the_seed_alone(workers):
    class Lazy(Sampler):
        def __iter__(self):
            while True:
                index = int(fnn.randint(0, 33, (1,)).item())
                if index == 32:
                    return
                yield index

    def one_pass(n):
        fnn.manual_seed(3)
        out = []
        for batch in DataLoader(TensorDataset(Y), batch_size=3, sampler=Lazy(), num_workers=n):
            fnn.rand(2)
            out.append(batch[0].tolist())
        return out

    assert one_pass(workers) == one_pass(0)
    assert len(one_pass(0)) > 1


def test_datasets_of_any_kind():
    assert numbers(DataLoader([1.5, 2.5, 3.5], 2)) == [[1.5, 2.5], [3.5]]
    assert numbers(DataLoader(X, 2))[1] == X[2:4].tolist()
    assert numbers(DataLoader(Subset(TensorDataset(Y), [5, 4, 3]), 2, num_workers=2)) == [[[5, 4]], [[3]]]
    assert list(DataLoader("abc", 2)) == [["a", "b"], ["c"]]
    assert list(DataLoader("abc", None)) == ["a", "b", "c"]
    assert list(DataLoader([], 2)) == list(DataLoader([], 2, shuffle=True)) == []
    assert len(DataLoader("abc", None)) == 3


def test_rows_taken_at_once_are_those_taken_singly():
    class Single(TensorDataset):
        pass

    weights = fnn.tensor(X[:, :1], requires_grad=True)
    for tensors in ((X, Y), (fnn.tensor(X), Y > 4), (X.astype(np.uint8), X.astype(np.float64)), (weights,)):
        at_once = list(DataLoader(TensorDataset(*tensors), 5, sampler=[3, 1, 1, 32, 0, 7]))
        singly = list(DataLoader(Single(*tensors), 5, sampler=[3, 1, 1, 32, 0, 7]))
        assert numbers(at_once) == numbers(singly)
        assert [[part.dtype for part in batch] for batch in at_once] == [[p.dtype for p in batch] for batch in singly]
    assert at_once[0][0].requires_grad


def test_get_items_is_called():
    asked = []

    class AtOnce(Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            raise AssertionError("one by one")

        def __getitems__(self, indices):
            asked.append(indices)
            return [index * 10 for index in indices]

    assert numbers(DataLoader(AtOnce(), 3)) == [[0, 10, 20], [30, 40]]
    assert asked == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("workers", WORKERS)
def test_samplers_and_collate_functions(workers):
    loader = DataLoader(Y, batch_size=2, sampler=[4, 2, 9], collate_fn=tuple, num_workers=workers)
    assert list(loader) == [(4, 2), (9,)]
    loader = DataLoader(Y, batch_sampler=[[4, 2, 9], [1]], collate_fn=sum, num_workers=workers)
    assert list(loader) == [15, 1]
    assert len(loader) == 2
    assert loader.batch_size is None
    assert isinstance(DataLoader(Y).sampler, SequentialSampler)
    assert isinstance(DataLoader(Y, shuffle=True).sampler, RandomSampler)


def test_streams_have_lengths():
    assert len(DataLoader(Stream(10), 4)) == 3
    assert len(DataLoader(Stream(10), 4, drop_last=True)) == 2
    assert len(list(DataLoader(Stream(10), 4, drop_last=True, num_workers=1))) == 2


def test_streams_are_read_once_by_one_thread():
    class Where(IterableDataset):
        def __iter__(self):
            info = get_worker_info()
            for i in range(6):
                yield i, -1 if info is None else info.num_workers, threading.get_ident()

    for workers, seen in ((0, -1), (1, 1), (3, 1)):
        batches = numbers(DataLoader(Where(), 4, num_workers=workers))
        assert [batch[0] for batch in batches] == [[0, 1, 2, 3], [4, 5]]
        assert {number for batch in batches for number in batch[1]} == {seen}
        assert len({ident for batch in batches for ident in batch[2]}) == 1


def test_workers_know_themselves():
    begun = []

    class Who(Dataset):
        def __len__(self):
            return 30

        def __getitem__(self, index):
            info = get_worker_info()
            assert info.dataset is self
            assert info.num_workers == 3
            assert info.seed >= 0
            time.sleep(0.002)
            return info.id

    seen = {int(batch) for batch in DataLoader(Who(), num_workers=3, worker_init_fn=begun.append)}
    assert sorted(begun) == [0, 1, 2]
    assert seen <= {0, 1, 2}
    assert len(seen) > 1
    assert get_worker_info() is None


class Failing(Slow):
    def __getitem__(self, index):
        if index == 9:
            raise KeyError("the ninth")
        return index


@pytest.mark.parametrize("workers", WORKERS)
def test_exceptions_come_in_their_turn_with_their_traceback(workers):
    seen = []
    with pytest.raises(KeyError, match="the ninth") as caught:
        seen.extend(batch.tolist() for batch in DataLoader(Failing(), 4, num_workers=workers))
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert 'raise KeyError("the ninth")' in "".join(traceback.format_tb(caught.value.__traceback__))
    assert none_left()


@pytest.mark.parametrize("workers", [1, 3])
def test_exceptions_of_samplers_workers_and_streams(workers):
    def order():
        yield from range(4)
        raise OSError("no more")

    class Broken(Stream):
        def __iter__(self):
            yield from range(5)
            raise OSError("no more")

    seen = []
    for loader in (DataLoader(Y, sampler=order(), num_workers=workers), DataLoader(Broken(9), num_workers=workers)):
        with pytest.raises(OSError, match="no more"):
            seen.extend(int(batch) for batch in loader)
    assert seen == [0, 1, 2, 3, 0, 1, 2, 3, 4]

    def refuse(number):
        raise OSError(f"not {number}")

    with pytest.raises(OSError, match=r"not \d"):
        list(DataLoader(Y, num_workers=workers, worker_init_fn=refuse))
    assert none_left()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("dataset", [Slow(), Stream(1000)], ids=["map", "stream"])
def test_leaving_early_leaves_no_threads(dataset, workers):
    for _ in DataLoader(dataset, num_workers=workers):
        assert len(threads()) == (1 if isinstance(dataset, Stream) else workers)
        break
    assert none_left()
    iterator = iter(DataLoader(dataset, num_workers=workers))
    next(iterator)
    del iterator
    assert none_left()
    assert not list(zip(DataLoader([], num_workers=workers), [1], strict=False))
    assert none_left()


def test_workers_are_ahead_by_so_much():
    asked = []

    class Asked(Slow):
        def __getitem__(self, index):
            asked.append(index)
            return index

    iterator = iter(DataLoader(Asked(), num_workers=2, prefetch_factor=3))
    assert not asked  # nothing before the first batch is asked for
    assert int(next(iterator)) == 0
    deadline = time.monotonic() + 20
    while len(asked) < 7 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert sorted(asked) == list(range(7))  # the one that came, and six more
    assert [int(batch) for batch in iterator] == list(range(1, 17))


def test_a_batch_that_does_not_come():
    release = threading.Event()

    class Stuck(Slow):
        def __getitem__(self, index):
            if index == 1:
                release.wait()
            return index

    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(Stuck(), num_workers=1, timeout=0.05))
    release.set()
    assert str(caught.value) == "DataLoader: expected a batch within 0.05 s; got none"


def test_the_path_of_pytorch():
    import fastnn as torch
    from fastnn.utils.data import DataLoader as Another

    assert torch.utils.data.DataLoader is Another is DataLoader
    assert torch.utils.data.__all__ == torch.data.__all__


@pytest.mark.parametrize(
    "settings", [{}, {"batch_size": 5}, {"batch_size": 5, "drop_last": True}, {"batch_size": None}]
)
def test_lengths_and_batches_are_those_of_pytorch(settings):
    data = pytest.importorskip("torch.utils.data")
    ours, theirs = DataLoader(Y, **settings), data.DataLoader(Y, **settings)
    assert len(ours) == len(theirs)
    assert [np.asarray(batch).tolist() for batch in ours] == [np.asarray(batch).tolist() for batch in theirs]
    assert ours.batch_size == theirs.batch_size


STREAM = Stream(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DataLoader(3), TypeError, "DataLoader: expected dataset to have __getitem__; got int"),
        (lambda: DataLoader(Y, 0), ValueError, "DataLoader: expected batch_size of at least 1; got 0"),
        (lambda: DataLoader(Y, 2.5), TypeError, "DataLoader: expected batch_size to be an int; got 2.5"),
        (lambda: DataLoader(Y, num_workers=-1), ValueError, "DataLoader: expected num_workers of at least 0; got -1"),
        (lambda: DataLoader(Y, timeout=-1), ValueError, "DataLoader: expected timeout of at least 0; got -1"),
        (lambda: DataLoader(Y, prefetch_factor=2), ValueError, "DataLoader: expected num_workers of at least 1 with prefetch_factor; got 0"),
        (lambda: DataLoader(Y, persistent_workers=True), ValueError, "DataLoader: expected num_workers of at least 1 with persistent_workers; got 0"),
        (lambda: DataLoader(Y, num_workers=1, prefetch_factor=0), ValueError, "DataLoader: expected prefetch_factor of at least 1; got 0"),
        (lambda: DataLoader(Y, multiprocessing_context="fork"), ValueError, "DataLoader: expected multiprocessing_context None, as workers are threads; got 'fork'"),
        (lambda: DataLoader(Y, in_order=False), ValueError, "DataLoader: expected in_order True, the only order that can be repeated; got False"),
        (lambda: DataLoader(Y, collate_fn=3), TypeError, "DataLoader: expected collate_fn to be a function; got int"),
        (lambda: DataLoader(Y, worker_init_fn=3), TypeError, "DataLoader: expected worker_init_fn to be a function; got int"),
        (lambda: DataLoader(Y, generator=3), TypeError, "DataLoader: expected generator to be a fastnn.Generator; got int"),
        (lambda: DataLoader(Y, shuffle=True, sampler=[1]), ValueError, "DataLoader: expected shuffle or sampler; got both"),
        (lambda: DataLoader(Y, 2, batch_sampler=[[1]]), ValueError, "DataLoader: expected no batch_size with batch_sampler; got 2"),
        (lambda: DataLoader(Y, drop_last=True, batch_sampler=[[1]]), ValueError, "DataLoader: expected no drop_last with batch_sampler; got True"),
        (lambda: DataLoader(Y, shuffle=True, batch_sampler=[[1]]), ValueError, "DataLoader: expected no shuffle with batch_sampler; got True"),
        (lambda: DataLoader(Y, sampler=[1], batch_sampler=[[1]]), ValueError, "DataLoader: expected no sampler with batch_sampler; got [1]"),
        (lambda: DataLoader(Y, None, drop_last=True), ValueError, "DataLoader: expected batch_size with drop_last; got None"),
        (lambda: DataLoader(STREAM, shuffle=True), ValueError, "DataLoader: expected no shuffle with an IterableDataset; got True"),
        (lambda: DataLoader(STREAM, sampler=[1]), ValueError, "DataLoader: expected no sampler with an IterableDataset; got [1]"),
        (lambda: DataLoader(STREAM, batch_sampler=[[1]]), ValueError, "DataLoader: expected no batch_sampler with an IterableDataset; got [[1]]"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "name",
    ["DataLoader", "RandomSampler", "WeightedRandomSampler", "SubsetRandomSampler", "BatchSampler", "SequentialSampler", "Subset", "TensorDataset", "ConcatDataset", "random_split", "default_collate"],
)  # fmt: skip
def test_arguments_are_those_of_pytorch(name):
    theirs = pytest.importorskip("torch.utils.data")

    def arguments(module):
        parameters = inspect.signature(getattr(module, name)).parameters.values()
        # The default generator is another object, and collating has a registry in PyTorch.
        return [
            (p.name, p.kind, None if p.name == "generator" else p.default)
            for p in parameters
            if p.name != "collate_fn_map"
        ]

    assert arguments(fnn.data) == arguments(theirs)
