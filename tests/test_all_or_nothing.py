"""Calls that change several things change all of them, or none: every optimizer, loader, clipper and collection."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn, optim
from fastnn.optim import lr_scheduler, swa_utils

SHAPES = [(3, 2), (2, 5), (4, 3), (1, 2)]
BY_GRADIENT = sorted(
    name
    for name in optim.__all__
    if isinstance(getattr(optim, name), type)
    and issubclass(getattr(optim, name), optim.Optimizer)
    and name not in {"Optimizer", "SAM", "LBFGS", "Nesterov"}
)


def read_only(value: np.ndarray) -> fnn.Tensor:
    value = value.copy()
    value.flags.writeable = False
    return _core.from_numpy(value)


def parameters() -> list[fnn.Tensor]:
    rng = np.random.default_rng(3)
    return [fnn.tensor(rng.normal(size=shape), dtype=fnn.float32, requires_grad=True) for shape in SHAPES]


def give_gradients(params: list[fnn.Tensor], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = fnn.tensor(rng.normal(size=tuple(p.shape)), dtype=fnn.float32)


def stepped(name: str, steps: int) -> tuple[list[fnn.Tensor], Any]:
    """Two groups of two parameters, and an optimizer that has taken some steps."""
    params = parameters()
    optimizer = getattr(optim, name)([{"params": params[:2]}, {"params": params[2:]}])
    for seed in range(steps):
        give_gradients(params, seed)
        optimizer.step()
    give_gradients(params, 99)
    return params, optimizer


def frozen(value: Any) -> Any:
    """A copy that compares bit for bit."""
    if isinstance(value, fnn.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: frozen(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(one) for one in value]
    return repr(value)


def image(params: list[fnn.Tensor], optimizer: Any) -> Any:
    return frozen([[(p, p.grad) for p in params], optimizer.state_dict()["state"]])


def a_read_only_parameter(params: list[fnn.Tensor], optimizer: Any) -> dict[str, Any]:
    grad = params[3].grad
    params[3].data = read_only(params[3].detach().numpy())
    params[3].grad = grad
    return {}


def a_setting_of_another_type(params: list[fnn.Tensor], optimizer: Any) -> dict[str, Any]:
    optimizer.param_groups[1]["lr"] = "x"
    return {}


def a_setting_that_is_nan(params: list[fnn.Tensor], optimizer: Any) -> dict[str, Any]:
    optimizer.param_groups[1]["lr"] = float("nan")
    return {}


def a_gradient_of_another_shape(params: list[fnn.Tensor], optimizer: Any) -> dict[str, Any]:
    return {"grads": [*(p.grad for p in params[:3]), fnn.zeros(5, 5)]}


def a_gradient_of_another_dtype(params: list[fnn.Tensor], optimizer: Any) -> dict[str, Any]:
    return {"grads": [*(p.grad for p in params[:3]), fnn.zeros(1, 2, dtype=fnn.float64)]}


def too_few_gradients(params: list[fnn.Tensor], optimizer: Any) -> dict[str, Any]:
    return {"grads": [p.grad for p in params[:3]]}


FAULTS = {
    a_read_only_parameter: (ValueError, "parameter 1"),
    a_setting_of_another_type: (TypeError, "lr"),
    a_setting_that_is_nan: (ValueError, "lr"),
    a_gradient_of_another_shape: (ValueError, "gradient 1"),
    a_gradient_of_another_dtype: (TypeError, "gradient 1"),
    too_few_gradients: (ValueError, "expected 4 gradients; got 3"),
}


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", BY_GRADIENT)
def test_when_the_second_group_refuses_the_first_has_not_moved(
    name: str, fault: Callable[..., Any], steps: int
) -> None:
    params, optimizer = stepped(name, steps)
    arguments = fault(params, optimizer)
    before = image(params, optimizer)
    error, named = FAULTS[fault]
    with pytest.raises(error) as caught:
        optimizer.step(**arguments)
    assert named in str(caught.value)
    if "grads" not in arguments or len(arguments["grads"]) == 4:
        assert "group 1" in str(caught.value)
    assert image(params, optimizer) == before


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_it_goes_on_as_if_the_refused_step_had_not_been(name: str) -> None:
    runs = []
    for refused in (False, True):
        params, optimizer = stepped(name, 2)
        rate = optimizer.param_groups[1]["lr"]
        if refused:
            optimizer.param_groups[1]["lr"] = float("nan")
            with pytest.raises(ValueError, match="lr"):
                optimizer.step()
            optimizer.param_groups[1]["lr"] = rate
        optimizer.step()
        runs.append(image(params, optimizer))
    assert runs[0] == runs[1]


def closure_of(optimizer: Any, params: list[fnn.Tensor]) -> Callable[[], fnn.Tensor]:
    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = sum((p * p).sum() for p in params)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize(
    "make",
    [
        lambda params: optim.SAM(optim.Adam([{"params": params[:2]}, {"params": params[2:]}])),
        lambda params: optim.Nesterov([{"params": params[:2]}, {"params": params[2:]}], lr=0.1),
        lambda params: optim.LBFGS(params, lr=0.1),
    ],
    ids=["SAM", "Nesterov", "LBFGS"],
)
@pytest.mark.parametrize("fault", [a_read_only_parameter, a_setting_that_is_nan], ids=lambda fault: fault.__name__)
def test_optimizers_with_closures(make: Callable[..., Any], fault: Callable[..., Any]) -> None:
    params = parameters()
    optimizer = make(params)
    closure = closure_of(optimizer, params)
    optimizer.step(closure)
    give_gradients(params)
    if fault is a_read_only_parameter:
        fault(params, optimizer)
    else:
        optimizer.param_groups[-1]["lr"] = float("nan")
    values, state = frozen([p.detach() for p in params]), frozen(optimizer.state_dict()["state"])
    with pytest.raises(ValueError, match=r"parameter 3|parameter 1|lr"):
        optimizer.step(closure)
    assert frozen([p.detach() for p in params]) == values
    assert frozen(optimizer.state_dict()["state"]) == state


def test_newton_stays_where_it_is() -> None:
    params = parameters()[:2]
    optimizer = optim.Newton(params)
    params[1].data = read_only(params[1].detach().numpy())
    before = frozen([[p.detach() for p in params], optimizer.state_dict()["state"]])
    with pytest.raises(ValueError, match=r"^Newton\.step: expected parameter 1 to be writable; got a read-only array$"):
        optimizer.step(lambda: sum((p * p).sum() for p in params))
    assert frozen([[p.detach() for p in params], optimizer.state_dict()["state"]]) == before


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none: bool) -> None:
    params, optimizer = stepped("SGD", 0)
    params[3].grad = read_only(np.ones((1, 2), np.float32))
    before = frozen([p.grad for p in params])
    if set_to_none:
        optimizer.zero_grad()
        assert all(p.grad is None for p in params)
        return
    with pytest.raises(ValueError, match=r"^zero_grad: expected the gradient of parameter 3 to be writable"):
        optimizer.zero_grad(set_to_none=False)
    assert frozen([p.grad for p in params]) == before


def grads_of(params: list[fnn.Tensor]) -> Any:
    return [p.grad for p in params]


@pytest.mark.parametrize(
    "change",
    [
        lambda params: nn.utils.clip_grad_norm_(params, 0.1),
        lambda params: nn.utils.clip_grad_value_(params, 0.1),
        lambda params: nn.utils.add_grad_noise_(params, 0.1),
    ],
)
def test_gradients_are_changed_all_or_none(change: Callable[..., Any]) -> None:
    params = parameters()
    give_gradients(params)
    before = frozen(grads_of(params))
    change(params)
    assert frozen(grads_of(params)) != before
    params[2].grad = read_only(np.ones(SHAPES[2], np.float32))
    before = frozen(grads_of(params))
    with pytest.raises(ValueError, match=r"expected gradient 2 to be writable; got a read-only array$"):
        change(params)
    with pytest.raises(TypeError, match=r"expected parameters to be Tensors; got 'x'$"):
        change([*params[:2], "x"])
    assert frozen(grads_of(params)) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda params: nn.utils.max_norm_(params, 0.1),
        lambda params: nn.utils.vector_to_parameters(fnn.zeros(sum(p.numel() for p in params)), params),
    ],
)
def test_parameters_are_changed_all_or_none(change: Callable[..., Any]) -> None:
    params = parameters()
    before = frozen(params)
    change(params)
    assert frozen(params) != before
    params[2].data = read_only(np.ones(SHAPES[2], np.float32))
    before = frozen(params)
    with pytest.raises(ValueError, match=r"expected parameter 2 to be writable; got a read-only array$"):
        change(params)
    assert frozen(params) == before


def net() -> nn.Sequential:
    fnn.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


# Faults of the state, beside a model whose last bias is read-only.
STATES = {
    "a read-only parameter": lambda state: state,
    "another shape": lambda state: {**state, "2.bias": np.zeros(7)},
    "no array": lambda state: {**state, "2.bias": "x"},
    "an object array": lambda state: {**state, "2.bias": np.array([None, 1])},
    "no name": lambda state: {**state, 3: np.zeros(2)},
    "a key too few": lambda state: {name: value for name, value in state.items() if name != "2.bias"},
}


@pytest.mark.parametrize("what", STATES)
@pytest.mark.parametrize(
    "load",
    [
        lambda model, state: model.load_state_dict(state),
        lambda model, state: nn.utils.load_matching(model, {**state, "more": np.zeros(1)}),
    ],
    ids=["load_state_dict", "load_matching"],
)
def test_states_of_modules(load: Callable[..., Any], what: str) -> None:
    model = net()
    state = {name: value.numpy() + 1 for name, value in model.state_dict().items()}
    if what == "a read-only parameter":
        model[2].bias.data = read_only(np.zeros(2, np.float32))
    before = frozen(dict(model.state_dict()))
    state = STATES[what](state)
    try:
        load(model, state)
    except (ValueError, TypeError):
        assert frozen(dict(model.state_dict())) == before
    else:
        assert what in {"a key too few", "another shape", "no array"}  # what does not fit is left alone, and named
        assert frozen(dict(model.state_dict())) != before


@pytest.mark.parametrize("name", [*BY_GRADIENT, "LBFGS"])
def test_states_of_optimizers(name: str) -> None:
    if name == "LBFGS":
        params = parameters()
        optimizer: Any = optim.LBFGS(params)
        optimizer.step(closure_of(optimizer, params))
    else:
        params, optimizer = stepped(name, 2)
    good = copy.deepcopy(optimizer.state_dict())
    groups, state = frozen(optimizer.state_dict()["param_groups"]), frozen(optimizer.state_dict()["state"])

    def damaged() -> list[Any]:
        yield {key: value for key, value in good.items() if key != "state"}
        yield {**good, "param_groups": good["param_groups"][:-1]}
        yield {**good, "param_groups": [*good["param_groups"][:-1], {**good["param_groups"][-1], "lr": "x"}]}
        yield {**good, "param_groups": [*good["param_groups"][:-1], {**good["param_groups"][-1], "lr": float("nan")}]}
        yield {**good, "param_groups": 3}
        yield {**good, "state": 3}
        yield 3
        last = max(good["state"], default=None)
        if last is not None:
            for key, value in good["state"][last].items():
                if isinstance(value, fnn.Tensor) and value.ndim:
                    yield {**good, "state": {**good["state"], last: {**good["state"][last], key: fnn.zeros(7, 7)}}}
            yield {**good, "state": {**good["state"], last: 3}}

    for bad in damaged():
        with pytest.raises((ValueError, TypeError)) as caught:
            optimizer.load_state_dict(bad)
        assert "object has no attribute" not in str(caught.value)
        assert "not iterable" not in str(caught.value)
        assert "not subscriptable" not in str(caught.value)
        assert frozen(optimizer.state_dict()["param_groups"]) == groups
        assert frozen(optimizer.state_dict()["state"]) == state
    optimizer.load_state_dict(good)


def on_the_second_group(step: int, fails: int) -> Callable[[int], float]:
    def rate(epoch: int) -> float:
        if epoch == fails:
            raise ArithmeticError("no rate")
        return 0.5**epoch

    return rate


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, [lambda epoch: 0.5**epoch, on_the_second_group(1, 2)]),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, [lambda epoch: 0.5, on_the_second_group(1, 2)]),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(
        o, 0.1, 0.2, 3, scale_fn=on_the_second_group(0, 2), scale_mode="iterations"
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.LambdaLR(o, on_the_second_group(1, 2))]
    ),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.LambdaLR(o, on_the_second_group(1, 1))], [1]
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_fails_changes_no_group(name: str) -> None:
    params = parameters()
    optimizer = optim.SGD([{"params": params[:2]}, {"params": params[2:]}], lr=0.3, momentum=0.5)
    schedule = SCHEDULES[name](optimizer)
    schedule.step()
    settings = [{key: value for key, value in g.items() if key != "params"} for g in optimizer.param_groups]
    state = repr(schedule.state_dict())
    with pytest.raises(ArithmeticError, match="no rate"):
        schedule.step()
    assert [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups] == settings
    assert repr(schedule.state_dict()) == state


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.StepLR(o, 2),
        lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1.0),
        lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, cycle_momentum=False),
        lr_scheduler.ReduceLROnPlateau,
        lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 2)]),
        lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 2)], [3]),
        lambda o: swa_utils.SWALR(o, 0.1),
    ],
)
def test_states_of_schedules(make: Callable[..., Any]) -> None:
    schedule = make(optim.SGD(parameters(), lr=0.3))
    good = copy.deepcopy(schedule.state_dict())
    before = repr(schedule.state_dict())
    inner = good.get("_schedulers")
    bad: list[Any] = [3, {}, {key: value for key, value in good.items() if key != "last_epoch"}]
    if "base_lrs" in good:
        bad.append({**good, "base_lrs": [0.1] * 7})
    if inner:
        bad += [{**good, "_schedulers": inner[:1]}, {**good, "last_epoch": 9, "_schedulers": [inner[0], {}]}]
        bad.append({**good, "_schedulers": 3})
        bad[2] = {}
    for state in bad:
        with pytest.raises((ValueError, TypeError), match="load_state_dict"):
            schedule.load_state_dict(state)
        assert repr(schedule.state_dict()) == before
    schedule.load_state_dict(good)


def test_averages() -> None:
    model = net()
    for average in (
        swa_utils.AveragedModel(model),
        swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5)),
        swa_utils.AveragedModel(model, avg_fn=swa_utils.get_ema_avg_fn(0.5), use_buffers=True),
    ):
        average.update_parameters(model)
        average.module[2].bias.data = read_only(np.zeros(2, np.float32))
        with fnn.no_grad():
            model[0].weight.add_(1.0)
        before = frozen(dict(average.state_dict()))
        with pytest.raises(ValueError, match="writable"):
            average.update_parameters(model)
        assert frozen(dict(average.state_dict())) == before


def test_statistics_are_measured_whole_or_not() -> None:
    model = net()
    model(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    before = frozen(dict(model.state_dict()))

    def batches() -> Any:
        yield np.ones((4, 3), np.float32)
        raise ArithmeticError("no more")

    with pytest.raises(ArithmeticError, match="no more"):
        swa_utils.update_bn(batches(), model)
    assert frozen(dict(model.state_dict())) == before
    assert model[1].momentum == 0.1


@pytest.mark.parametrize("planned", [True, False])
def test_running_statistics_stay_when_the_optimizer_refuses(planned: bool) -> None:
    x, y = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), np.zeros(6, np.int64)
    model = net()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters()}]
    optimizer = (optim.Adam if planned else optim.Adafactor)(groups)
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
    for number in range(3):  # eager, traced and planned
        optimizer.param_groups[1]["lr"] = "x"
        before = frozen([dict(model.state_dict()), optimizer.state_dict()["state"]])
        with pytest.raises(TypeError, match="lr"):
            step(x, y)
        assert frozen([dict(model.state_dict()), optimizer.state_dict()["state"]]) == before
        optimizer.param_groups[1]["lr"] = 0.1
        step(x, y)
        assert model[1].num_batches_tracked.item() == number + 1


@pytest.mark.parametrize(
    ("container", "change"),
    [
        (nn.Sequential(nn.Linear(1, 1)), lambda c: c.extend([nn.Linear(1, 1), 3])),
        (nn.ModuleList([nn.Linear(1, 1)]), lambda c: c.extend([nn.Linear(1, 1), 3])),
        (nn.ModuleList([nn.Linear(1, 1)]), lambda c: c.__iadd__([nn.Linear(1, 1), None, 3])),
        (nn.ModuleList([nn.Linear(1, 1)]), lambda c: c.insert(0, 3)),
        (nn.ModuleDict({"a": nn.Linear(1, 1)}), lambda c: c.update({"b": nn.Linear(1, 1), "c": 3})),
        (nn.ModuleDict({"a": nn.Linear(1, 1)}), lambda c: c.update([("b", nn.Linear(1, 1)), "x"])),
        (nn.ModuleDict({"a": nn.Linear(1, 1)}), lambda c: c.update([("b", nn.Linear(1, 1)), ("a.b", nn.ReLU())])),
        (nn.ModuleDict({"a": nn.Linear(1, 1)}), lambda c: c.update({"b": nn.Linear(1, 1), "keys": nn.ReLU()})),
    ],
)
def test_containers(container: Any, change: Callable[..., Any]) -> None:
    before = list(container._modules.items())
    with pytest.raises((TypeError, KeyError)):
        change(container)
    assert list(container._modules.items()) == before


def test_names_lose_their_prefix_all_or_none() -> None:
    state: dict[Any, Any] = {"module.a": 1, 3: 2, "module.b": 3}
    with pytest.raises(TypeError, match=r"expected names to be str; got 3$"):
        nn.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == ["module.a", 3, "module.b"]


def test_a_group_that_is_refused_is_not_added() -> None:
    params, optimizer = stepped("Adam", 1)
    before = frozen(optimizer.state_dict())
    for bad in ({"params": [fnn.ones(2, requires_grad=True)], "lr": "x"}, {"params": [params[0]]}, {"params": [3]}):
        with pytest.raises((ValueError, TypeError)):
            optimizer.add_param_group(bad)
        assert frozen(optimizer.state_dict()) == before


def test_lsuv_leaves_a_model_that_it_can_not_scale() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    before = frozen(dict(model.state_dict()))
    with pytest.raises(ValueError, match="outputs that vary"):
        nn.init.lsuv_(nn.Sequential(model, nn.Linear(2, 1)), x * 0)
    assert frozen(dict(model.state_dict())) == before


def test_statistics_of_a_scaler() -> None:
    scaler = nn.StandardScaler(2).fit(np.arange(6.0).reshape(3, 2))
    before = frozen(dict(scaler.state_dict()))
    scaler.n_samples_seen.data = read_only(np.array(3))
    with pytest.raises(ValueError, match="expected n_samples_seen to be writable"):
        scaler.fit(np.ones((4, 2)))
    assert frozen(dict(scaler.state_dict())) == before
