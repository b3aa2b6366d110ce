"""Memory that a step shares: with batches, other parameters, other plans, arrays that are read-only or become so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fastnn as fnn
from fastnn import Tensor, nn, optim
from fastnn.nn import functional as F

WIDTH, HIDDEN = 16, 64
N = 64


def net() -> nn.Sequential:
    fnn.manual_seed(3)
    return nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))


def loss(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    squares = (output - target).square()
    return squares.mean() if weight is None else (squares.mean(1) * weight).mean()


def step_of(model: nn.Module, *, eager: bool) -> fnn.TrainStep:
    if eager:
        # No plan takes a model with hooks.
        model.register_forward_hook(lambda *_: None)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    return fnn.TrainStep(model, loss, optimizer, ema=0.75)


def bits(step: fnn.TrainStep) -> dict[str, bytes]:
    state = {**step.model.state_dict(), **{f"average of {name}": t for name, t in step.averages().items()}}
    for number, kept in step.optimizer.state_dict()["state"].items():
        state |= {f"state {number} {name}": tensor for name, tensor in kept.items()}
    return {name: tensor.detach().numpy().tobytes() for name, tensor in state.items()}


Source = Callable[[fnn.TrainStep], Tensor]

SOURCES: dict[str, Source] = {
    "weight": lambda step: step.model[0].weight,
    "last weight": lambda step: step.model[3].weight,
    "scale": lambda step: step.model[1].weight,
    "running mean": lambda step: step.model[1].running_mean,
    "running variance": lambda step: step.model[1].running_var,
    "momentum": lambda step: step.optimizer.state[step.model[3].weight]["momentum_buffer"],
    "average": lambda step: step.averages()["0.weight"],
}


def rows_of(tensor: Tensor) -> Tensor:
    """A view of all the memory as a batch of rows."""
    return tensor.detach().view(-1, WIDTH)


def other(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, WIDTH)).astype(np.float32)


def inputs(step: fnn.TrainStep, source: Source) -> tuple[object, ...]:
    x = rows_of(source(step))
    return x, other(len(x))


def targets(step: fnn.TrainStep, source: Source) -> tuple[object, ...]:
    y = rows_of(source(step))
    return other(len(y)), y


def both(step: fnn.TrainStep, source: Source) -> tuple[object, ...]:
    return rows_of(source(step)).numpy(), rows_of(source(step)).numpy()


def weights(step: fnn.TrainStep, source: Source) -> tuple[object, ...]:
    return other(7), other(8)[:7], source(step).detach().view(-1)[5:12]


@pytest.mark.parametrize("place", [inputs, targets, both, weights])
@pytest.mark.parametrize("source", SOURCES)
def test_a_batch_that_lies_where_the_step_writes(source: str, place: Callable[..., tuple[object, ...]]) -> None:
    before = fnn.get_num_threads()
    results = []
    try:
        for eager, threads in [(True, 1), (False, 1), (False, 2), (False, 2)]:
            fnn.set_num_threads(threads)
            step = step_of(net(), eager=eager)
            step(other(N), other(N + 1)[:N])
            losses = [step(*place(step, SOURCES[source])) for _ in range(5)]
            assert (step.reason is None) != eager
            results.append((losses, bits(step)))
    finally:
        fnn.set_num_threads(before)
    for result in results[1:]:
        assert result == results[0]


@pytest.mark.parametrize("source", ["weight", "running mean", "momentum", "average"])
def test_rows_of_an_array_that_lies_where_steps_write(source: str) -> None:
    results = []
    for planned in [False, True]:
        step = step_of(net(), eager=not planned)
        step(other(N), other(N + 1)[:N])
        x = rows_of(SOURCES[source](step)).numpy()
        y, order, rows = other(len(x)), np.arange(len(x)), len(x) // 2
        if planned:
            step(other(rows), other(rows))
            step(other(rows), other(rows))
            assert step.run_batches(x, y, np.concatenate([order, order]), 0, 4, rows).shape == (4,)
        else:
            step(other(rows), other(rows))
            step(other(rows), other(rows))
            for start in [0, rows, 0, rows]:
                step(x[start : start + rows], y[start : start + rows])
        results.append(bits(step))
    assert results[0] == results[1]


# Parameters that share memory


def test_parameters_that_share_memory_are_named() -> None:
    array = np.zeros((6, 8), np.float32)
    given = {
        "overlap": ([array[:4], array[5:], array[3:6]], "parameters 0 and 2"),
        "strided": ([array[:, ::2], array[:, 1::2], array[:, ::3]], "parameters 0 and 2"),
        "transposed": ([array, array.T], "parameters 0 and 1"),
    }
    for params, which in given.values():
        for make in (optim.SGD, optim.Muon if all(p.ndim == 2 for p in params) else optim.SGD):
            tensors = [nn.Parameter(fnn.from_numpy(p)) for p in params]
            with pytest.raises(
                ValueError, match=rf"^{make.__name__}: expected parameters that share no memory; {which} do$"
            ):
                make(tensors, lr=0.1)
    optim.SGD([array[:, ::2], array[:, 1::2], array[6:]])
    groups = [{"params": [array[:2]]}, {"params": [array[5:], array[1:3]]}]
    expected = "SGD: expected parameters that share no memory; parameter 0 of one group and 1 of another do"
    with pytest.raises(ValueError, match=f"^{expected}$"):
        optim.SGD(groups)


@pytest.mark.parametrize("trained", [False, True])
def test_parameters_that_come_to_share_memory(trained: bool) -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH))
    step = fnn.TrainStep(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
    x, y = other(9), other(10)[:9]
    if trained:
        step(x, y)
        step(x, y)
    model[1].weight.data = model[0].weight.data
    before = model[0].weight.detach().numpy().tobytes()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^SGD\.step: expected .* share no memory; parameters 0 and 2 do$"):
            step(x, y)
    assert model[0].weight.detach().numpy().tobytes() == before


def test_a_statistic_that_shares_memory_with_a_parameter_is_not_planned() -> None:
    results = []
    for eager in [True, False]:
        array = np.zeros(3 * HIDDEN, np.float32)
        array[HIDDEN:] = 1
        model = net()
        model[1].running_mean = fnn.from_numpy(array[:HIDDEN])
        model[1].bias = nn.Parameter(fnn.from_numpy(array[1 : HIDDEN + 1]))
        step = step_of(model, eager=eager)
        losses = [step(other(N), other(N + 1)[:N]) for _ in range(3)]
        assert step.reason is not None
        assert eager or step.reason == "memory that a step writes is part of two tensors"
        results.append((losses, bits(step)))
    assert results[0] == results[1]


def test_running_statistics_that_share_memory_are_refused() -> None:
    both = fnn.ones(5)
    message = r"^batch_norm: expected running_mean and running_var to share no memory; got two that do$"
    with pytest.raises(ValueError, match=message):
        F.batch_norm(fnn.randn(4, 5), both, both, training=True)
    F.batch_norm(fnn.randn(4, 5), both, both)


def test_a_norm_of_its_own_statistics_reads_them_first() -> None:
    mean, var = fnn.arange(0.0, 4.0), fnn.ones(4)
    x = mean.expand(3, 4)
    expected = F.batch_norm(x.clone(), fnn.zeros(4), fnn.ones(4), training=True, momentum=0.5)
    got = F.batch_norm(mean.view(1, 4).expand(3, 4), mean, var, weight=None, training=True, momentum=0.5)
    np.testing.assert_array_equal(got.numpy(), expected.numpy())
    statistics = fnn.stack([fnn.arange(0.0, 4.0), fnn.full((4,), 2.0)])
    expected = F.batch_norm(statistics.clone(), fnn.zeros(4), fnn.ones(4), training=True, momentum=0.5)
    got = F.batch_norm(statistics, statistics[0], statistics[1], training=True, momentum=0.5)
    np.testing.assert_array_equal(got.numpy(), expected.numpy())


# Gradients that share memory with what an optimizer writes

RULES = [
    name
    for name in optim.__all__
    if isinstance(getattr(optim, name), type)
    and issubclass(getattr(optim, name), optim.Optimizer)
    and name not in ("Optimizer", "LBFGS", "SAM", "Nesterov")
]


def make(name: str, params: list[np.ndarray] | list[Tensor]) -> optim.Optimizer:
    settings = {"SGD": {"momentum": 0.5}, "RMSprop": {"momentum": 0.5}}.get(name, {})
    return getattr(optim, name)(params, lr=0.01, **settings)


@pytest.mark.parametrize("name", RULES)
def test_gradients_are_read_before_anything_is_written(name: str) -> None:
    # Large enough for several threads.
    shape = (512, 300)
    results = []
    before = fnn.get_num_threads()
    try:
        fnn.set_num_threads(2)
        for copied in [True, False, False]:
            rng = np.random.default_rng(1)
            a, b = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
            optimizer = make(name, [a, b])
            optimizer.step(grads=[np.ones(shape, np.float32), b.copy()])
            state = list(optimizer.state_dict()["state"].get(1, {}).values())
            kept = [t.numpy() for t in state if isinstance(t, Tensor) and t.shape == shape]
            for grads in [[b, a], [a[::-1], b], [kept[0] if kept else b, a]]:
                optimizer.step(grads=[g.copy() for g in grads] if copied else grads)
            results.append((a.tobytes(), b.tobytes()))
    finally:
        fnn.set_num_threads(before)
    assert results[0] == results[1] == results[2]


# Read-only memory


def read_only(shape: tuple[int, ...], folder: Path, how: str) -> np.ndarray:
    values = np.full(shape, 0.5, np.float32)
    if how == "mapped":
        path = folder / f"{len(list(folder.iterdir()))}.npy"
        np.save(path, values)
        return np.load(path, mmap_mode="r")
    if how == "flag":
        values.flags.writeable = False
        return values
    return np.broadcast_to(np.float32(0.5), shape)


@pytest.mark.parametrize("how", ["mapped", "flag", "broadcast"])
@pytest.mark.parametrize("name", [*RULES, "LBFGS", "SAM", "Nesterov"])
def test_a_read_only_parameter_is_refused_before_anything_changes(name: str, how: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[2].weight = nn.Parameter(fnn.from_numpy(read_only((2, 4), tmp_path, how)))
    params = [p for p in model.parameters() if name != "Muon" or p.ndim == 2]
    where = [p is model[2].weight for p in params].index(True)
    optimizer = optim.SAM(optim.SGD(params, lr=0.1)) if name == "SAM" else make(name, params)
    step = fnn.TrainStep(model, nn.MSELoss(), optimizer)
    before = {key: value.clone().numpy().tobytes() for key, value in model.state_dict().items()}
    x, y = other(5)[:, :3], other(5)[:, :2]
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"expected parameter {where} to be writable; got a read-only array$"):
            step(x, y)
        assert {key: value.numpy().tobytes() for key, value in model.state_dict().items()} == before
    if name != "LBFGS":  # which moves all parameters as one vector
        model[2].weight.requires_grad_(False)
        step(x, y)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("which", ["parameter", "statistic"])
def test_memory_that_becomes_read_only(which: str, eager: bool) -> None:
    model, array = net(), np.full(HIDDEN, 0.25, np.float32)
    if which == "parameter":
        model[1].weight = nn.Parameter(fnn.from_numpy(array))
    else:
        model[1].running_mean = fnn.from_numpy(array)
    step = step_of(model, eager=eager)
    x, y = other(N), other(N + 1)[:N]
    for _ in range(3):
        step(x, y)
    before = bits(step)
    array.flags.writeable = False
    with pytest.raises(ValueError, match=r"writable"):
        step(x, y)
    if not eager:
        with pytest.raises(ValueError, match=r"read-only array of shape \(64,\)$"):
            step.run_batches(x, y, np.arange(N), 0, 1, N)
    assert bits(step) == before
    array.flags.writeable = True
    step(x, y)
    assert bits(step) != before


IN_PLACE = {
    "add_": (1.0,),
    "sub_": (1.0,),
    "mul_": (2.0,),
    "div_": (2.0,),
    "floor_divide_": (2.0,),
    "remainder_": (2.0,),
    "copy_": (0.0,),
    "fill_": (3.0,),
    "zero_": (),
    "clamp_": (0.0, 0.1),
    "uniform_": (),
    "normal_": (),
    "bernoulli_": (),
}
_NO_VALUES = {"requires_grad_", "retain_grad_", "detach_"}


def in_place_methods() -> list[str]:
    return [name for name in dir(Tensor) if name.endswith("_") and not name.endswith("__") and name not in _NO_VALUES]


@pytest.mark.parametrize("how", ["mapped", "flag", "broadcast"])
@pytest.mark.parametrize("name", in_place_methods())
def test_no_method_writes_a_read_only_array(name: str, how: str, tmp_path: Path) -> None:
    array = read_only((3, 4), tmp_path, how)
    tensor, state = fnn.from_numpy(array), fnn.get_rng_state()
    for target in (tensor, tensor[1:]):
        with pytest.raises((ValueError, RuntimeError), match=r"writable tensor; got a read-only|places of their own"):
            getattr(target, name)(*IN_PLACE[name])
    assert (array == 0.5).all()
    np.testing.assert_array_equal(fnn.get_rng_state(), state)


@pytest.mark.parametrize("name", [name for name in in_place_methods() if name not in ("fill_", "zero_")])
def test_no_method_writes_one_element_twice(name: str) -> None:
    base = np.zeros(8, np.float32)
    windows = np.lib.stride_tricks.as_strided(base, (5, 4), (4, 4))
    for tensor in (fnn.from_numpy(windows), fnn.zeros(4).expand(3, 4)):
        with pytest.raises((ValueError, RuntimeError), match="places of their own"):
            getattr(tensor, name)(*IN_PLACE[name])
    # Steps that pass each other, and meet nowhere.
    apart = fnn.from_numpy(np.lib.stride_tricks.as_strided(base, (2, 3), (12, 8)))
    getattr(apart, name)(*IN_PLACE[name])


@pytest.mark.parametrize("name", [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")])
def test_no_initializer_writes_a_read_only_array(name: str, tmp_path: Path) -> None:
    initialize = getattr(nn.init, name)
    shape = (4, 4, 3) if name == "dirac_" else (4, 4)
    settings = {"constant_": (2.0,), "sparse_": (0.5,)}.get(name, ())
    if name in ("bias_prior_", "lsuv_"):
        pytest.skip("takes a layer or a model")
    array = read_only(shape, tmp_path, "mapped")
    with pytest.raises(ValueError, match="writable"):
        initialize(fnn.from_numpy(array), *settings)
    assert (array == 0.5).all()


@pytest.mark.parametrize("name", RULES)
def test_a_parameter_with_elements_in_one_place_is_refused(name: str) -> None:
    base = np.zeros(8, np.float32)
    windows = nn.Parameter(fnn.from_numpy(np.lib.stride_tricks.as_strided(base, (5, 4), (4, 4))))
    expanded = nn.Parameter(fnn.zeros(4).expand(3, 4))
    for param in (windows, expanded):
        first = nn.Parameter(fnn.ones(2, 2))
        optimizer = make(name, [first, param])
        first.grad, param.grad = fnn.ones(2, 2), fnn.ones(*param.shape)
        with pytest.raises(ValueError, match=rf"^{name}\.step: expected parameter 1 to have a place for each element"):
            optimizer.step()
        assert (first.detach().numpy() == 1).all()
        assert optimizer.state_dict()["state"].get(0, {}) == {}


# An optimizer that refuses


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("eager", [False, True])
def test_settings_that_are_refused_leave_the_statistics_alone(eager: bool, planned: bool) -> None:
    step = step_of(net(), eager=eager)
    x, y = other(N), other(N + 1)[:N]
    for _ in range(2 if planned else 0):
        step(x, y)
    before = bits(step)
    step.optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match=r"^SGD: expected lr of at least 0; got -1$"):
        step(x, y)
    assert bits(step) == before


def test_a_step_that_raises_leaves_the_statistics_alone() -> None:
    class Refusing(optim.SGD):
        def step(self, *args: object, **kwargs: object) -> None:
            raise ArithmeticError

    model = net()
    step = fnn.TrainStep(model, loss, Refusing(model.parameters(), lr=0.1))
    before = bits_of(model)
    with pytest.raises(ArithmeticError):
        step(other(N), other(N + 1)[:N])
    assert bits_of(model) == before


def bits_of(model: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


# Growth


def test_plans_share_their_memory_and_the_oldest_go() -> None:
    model = net()
    step = fnn.TrainStep(model, loss, optim.SGD(model.parameters(), lr=0.01))

    def train(n: int) -> None:
        for _ in range(2):
            step(other(n), other(n + 1)[:n])
        step.run_batches(other(2 * n), other(2 * n + 1)[: 2 * n], np.arange(2 * n)[::-1].copy(), 0, 2, n)

    train(96)
    plans, size = step._planner.size()
    assert plans == 1
    assert size > 96 * HIDDEN * 4
    for n in range(40, 52):
        train(n)
    assert step._planner.size() == (13, size)
    for n in range(52, 96):
        train(n)
    assert step._planner.size() == (32, size)
    assert step.reason is None
    # Traced again, with the same bits as a model that never had another batch.
    train(96)
    assert step._planner.size() == (32, size)


def test_plans_that_were_forgotten_are_made_again() -> None:
    results = []
    for eager in [True, False]:
        step = step_of(net(), eager=eager)
        sizes = [*range(2, 40), 2, 3, 39, 40, 2]
        losses = [step(other(n), other(n + 1)[:n]) for n in sizes for _ in range(3)]
        results.append((losses, bits(step)))
    assert results[0] == results[1]


def test_plans_of_states_that_are_gone_are_forgotten() -> None:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    step = fnn.TrainStep(model, loss, optimizer)
    for n in [5, 6, 7]:
        step(other(n), other(n))
        step(other(n), other(n))
    assert step._planner.size()[0] == 3
    optimizer.load_state_dict(optimizer.state_dict())
    step(other(5), other(5))
    step(other(5), other(5))
    assert step._planner.size()[0] == 1
