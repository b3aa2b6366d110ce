"""Ctrl-C at every place where Python looks for it: modes, parameters, generators and files are as before, or as after.

Python looks for a signal where a function of its own begins, and when a call of a compiled one has returned. A profile
function is called at both, and what it raises comes out as the handler's exception would.
"""

from __future__ import annotations

import _thread
import contextlib
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core, nn, optim
from fastnn.optim import lr_scheduler, swa_utils
from fastnn.training.exclusive import _fitting
from fastnn.visualize import arrays
from tests.test_all_or_nothing import frozen

# A file that is being opened, or a generator that is being closed, may be left to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
MOST = 120
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(12, 2, 6, 6)).astype(np.float32)
ROWS = RNG.normal(size=(12, 3)).astype(np.float32)
LABELS = np.arange(12) % 2
HERE = __file__


def run(action: Callable[[], Any], at: int | None = None) -> tuple[int, bool]:
    """Run something, and raise KeyboardInterrupt at one of the places; how many there were, and whether it came out."""
    places = 0

    def look(frame: Any, event: str, _: Any) -> None:
        nonlocal places
        if event not in {"call", "c_return"} or (event == "call" and frame.f_code.co_filename == HERE):
            return
        places += 1
        if places == at:
            sys.setprofile(None)
            raise KeyboardInterrupt

    came_out = False
    sys.setprofile(look)
    try:
        action()
    except KeyboardInterrupt:
        came_out = True
    finally:
        sys.setprofile(None)
    return places, came_out


def everywhere(make: Callable[[], tuple[Callable[[], Any], Callable[[], None]]]) -> None:
    """Interrupt what ``make`` returns first, and call what it returns second, which checks the state."""
    action, check = make()
    places, _ = run(action)
    check()
    assert places
    chosen = range(1, places + 1)
    if places > MOST + 10:
        # The beginning and the end, where most is set and restored, and some between.
        inner = random.Random(1).sample(range(31, places - 30), MOST - 60)
        chosen = sorted([*range(1, 31), *inner, *range(places - 30, places + 1)])
    came_out = 0
    for at in chosen:
        action, check = make()
        came_out += run(action, at)[1]
        check()
    assert came_out


def cnn() -> nn.Sequential:
    fnn.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
        nn.Dropout2d(0.5),
        nn.Flatten(),
        nn.Linear(48, 2),
    )
    model[1].eval()
    return model


def trainer_of(model: nn.Module, **settings: Any) -> fnn.Trainer:
    return fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.01), **settings)


def untouched(model: nn.Module, trainer: Any = None, *, parameters: bool = True) -> Callable[[], None]:
    """A check that nothing but the parameters of a model has changed, and nothing hangs on to it."""

    def image() -> Any:
        modules = [
            (m.training, m._frozen_mode, sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks))
            for m in model.modules()
        ]
        own = None if trainer is None else (trainer.running, trainer.on_nonfinite, trainer.step.part is model)
        values = frozen([dict(model.state_dict()), _core.get_rng_state()]) if parameters else None
        grads = [p.requires_grad for p in model.parameters()]
        names = [list(m._parameters) for m in model.modules()]
        same = [[id(p) for p in m._parameters.values()] for m in model.modules()]
        return modules, own, values, grads, names, same, _core.is_grad_enabled(), dict(_fitting)

    before = image()

    def check() -> None:
        assert image() == before

    return check


def predicting() -> Any:
    model = cnn()
    trainer = trainer_of(model)
    return lambda: trainer.predict(IMAGES, batch_size=5), untouched(model, trainer)


def evaluating() -> Any:
    model = cnn()
    trainer = trainer_of(model, metrics=["accuracy"])
    return lambda: trainer.evaluate(IMAGES, LABELS, batch_size=5), untouched(model, trainer)


def views() -> Any:
    model = cnn()
    trainer = trainer_of(model)
    return lambda: trainer.predict(IMAGES, tta="flip"), untouched(model, trainer)


def fitting() -> Any:
    model = cnn()
    trainer = trainer_of(model)
    x = IMAGES
    return lambda: trainer.fit(x, LABELS, epochs=2, batch_size=4, verbose=False, validation_split=0.25), untouched(
        model, trainer, parameters=False
    )


def fitting_from_a_loader() -> Any:
    model = cnn()
    trainer = trainer_of(model)

    def batches() -> Any:
        for start in (0, 4, 8):
            yield IMAGES[start : start + 4], LABELS[start : start + 4]

    return lambda: trainer.fit(batches, epochs=2, verbose=False), untouched(model, trainer, parameters=False)


def fitting_a_tail() -> Any:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    fnn.freeze(model[0])
    trainer = trainer_of(model)
    return lambda: trainer.fit(ROWS, LABELS, cache_features=True, verbose=False), untouched(
        model, trainer, parameters=False
    )


def looking_for_a_nan() -> Any:
    model = cnn()
    with fnn.no_grad():
        model[3].bias.fill_(float("inf"))
    trainer = trainer_of(model, on_nonfinite="ignore")

    def action() -> None:
        with contextlib.suppress(ValueError):
            from fastnn.training import nonfinite

            nonfinite._bad_layer(model, IMAGES)

    check = untouched(model, trainer, parameters=False)
    buffers = frozen(list(model.buffers()))

    def both() -> None:
        check()
        assert frozen(list(model.buffers())) == buffers

    return action, both


def sampling() -> Any:
    model = cnn()
    state = _core.get_rng_state()

    def action() -> None:
        fnn.mc_predict(model, IMAGES, 2)

    check = untouched(model, parameters=False)
    assert state == _core.get_rng_state()
    return action, check


def features() -> Any:
    model = cnn()
    return lambda: fnn.features(model, IMAGES), untouched(model)


def maps() -> Any:
    model = cnn()
    return lambda: arrays.feature_maps(model, IMAGES, "0.0"), untouched(model)


def saliency() -> Any:
    model = cnn()
    return lambda: arrays.saliency(model, IMAGES[:2]), untouched(model)


def range_test() -> Any:
    model = cnn()
    optimizer = optim.Adam(model.parameters())
    check = untouched(model)
    groups, state = frozen(optimizer.param_groups), frozen(optimizer.state_dict())

    def both() -> None:
        check()
        assert frozen(optimizer.param_groups) == groups
        assert frozen(optimizer.state_dict()) == state

    loss = nn.CrossEntropyLoss()
    return lambda: fnn.lr_range_test(model, loss, optimizer, IMAGES, LABELS, num_iter=3, batch_size=4), both


def landscape() -> Any:
    model = cnn()
    loss = nn.CrossEntropyLoss()
    return lambda: fnn.diagnostics.loss_along(model, loss, IMAGES, LABELS, points=2), untouched(model)


def noisy_weights() -> Any:
    model = nn.WeightNoise(nn.Linear(3, 2), 0.1)
    return lambda: model(ROWS), untouched(model, parameters=False)


def anomalies() -> Any:
    model = cnn()

    def action() -> None:
        with fnn.autograd.detect_anomaly():
            model(IMAGES)

    check = untouched(model, parameters=False)

    def both() -> None:
        check()
        assert not _core.is_anomaly_enabled()
        assert not nn.Module._hooked

    return action, both


def without_gradients() -> Any:
    @fnn.no_grad()
    def generator() -> Any:
        yield fnn.ones(2) * 2
        yield fnn.ones(2) * 3

    @fnn.no_grad
    def function() -> Any:
        return [one + 1 for one in generator()]

    def action() -> None:
        function()
        with fnn.no_grad(), fnn.enable_grad():
            list(generator())

    def check() -> None:
        assert _core.is_grad_enabled()

    return action, check


def own_generators() -> Any:
    fnn.manual_seed(3)
    generator = fnn.Generator().manual_seed(5)
    before = _core.get_rng_state()

    def check() -> None:
        assert _core.get_rng_state() == before

    return lambda: fnn.data.random_split(list(range(9)), [4, 5], generator), check


STATE = {
    "predict": predicting,
    "evaluate": evaluating,
    "tta": views,
    "fit": fitting,
    "fit from a function": fitting_from_a_loader,
    "fit with cached features": fitting_a_tail,
    "explaining a NaN": looking_for_a_nan,
    "mc_predict": sampling,
    "features": features,
    "feature_maps": maps,
    "saliency": saliency,
    "lr_range_test": range_test,
    "loss_along": landscape,
    "WeightNoise": noisy_weights,
    "detect_anomaly": anomalies,
    "no_grad": without_gradients,
    "Generator": own_generators,
}


@pytest.mark.parametrize("name", STATE)
def test_state_is_restored(name: str) -> None:
    everywhere(STATE[name])


# Lasting changes: as before, or as afterwards, and nothing between.


def closed(optimizer: Any, params: list[fnn.Tensor]) -> Callable[[], fnn.Tensor]:
    def closure() -> fnn.Tensor:
        optimizer.zero_grad()
        loss = sum(((p - 0.5) ** 2).sum() for p in params)
        loss.backward()
        return loss

    return closure


def leaves() -> list[fnn.Tensor]:
    return [fnn.tensor(np.linspace(-1, 2, 6).reshape(3, 2), requires_grad=True), fnn.ones(2, 2, requires_grad=True)]


def optimizing(make: Callable[[list[fnn.Tensor]], Any]) -> Any:
    params = leaves()
    optimizer = make(params)
    if isinstance(optimizer, optim.Newton):
        loss = lambda: sum(((p - 0.5) ** 4).sum() for p in params)  # noqa: E731
        optimizer.step(loss)
        return lambda: optimizer.step(loss), lambda: frozen([[p.detach() for p in params], optimizer.state_dict()])
    closure = closed(optimizer, params)
    optimizer.step(closure)

    def image() -> Any:
        return frozen([[p.detach() for p in params], optimizer.state_dict()])

    if optimizer._needs_closure:
        return lambda: optimizer.step(closure), image
    closure()
    return optimizer.step, image


def averaging() -> Any:
    model = cnn()
    average = swa_utils.AveragedModel(model)
    average.update_parameters(model)
    with fnn.no_grad():
        for p in model.parameters():
            p.add_(1)
    return lambda: average.update_parameters(model), lambda: frozen(dict(average.state_dict()))


def measuring() -> Any:
    model = cnn()
    return lambda: swa_utils.update_bn(IMAGES, model, batch_size=4), lambda: frozen(
        [dict(model.state_dict()), model[0][1].momentum, [m.training for m in model.modules()]]
    )


def scaling() -> Any:
    fnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    return lambda: nn.init.lsuv_(model, ROWS), lambda: frozen(
        [dict(model.state_dict()), [m.training for m in model.modules()]]
    )


def loading() -> Any:
    model = cnn()
    state = {name: value.numpy() + 1 for name, value in model.state_dict().items()}
    return lambda: model.load_state_dict(state), lambda: frozen(dict(model.state_dict()))


def scheduling() -> Any:
    optimizer = optim.SGD([{"params": [p]} for p in leaves()], lr=0.3, momentum=0.5)
    schedule = lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(optimizer, 0.9), lr_scheduler.CyclicLR(optimizer, 0.1, 0.4)]
    )

    def image() -> Any:
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        return repr((groups, schedule.state_dict()))

    optimizer.step()
    return schedule.step, image


def stepping(make: Callable[[Any], Any], steps: int) -> Any:
    fnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = make(model.parameters())
    step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
    for _ in range(steps):
        step(ROWS, LABELS)
    return lambda: step(ROWS, LABELS), lambda: frozen([dict(model.state_dict()), optimizer.state_dict()["state"]])


def clipping() -> Any:
    params = leaves()
    closed(optim.SGD(params), params)()
    return lambda: nn.utils.clip_grad_norm_(params, 0.01), lambda: frozen([p.grad for p in params])


WHOLE: dict[str, Callable[[], Any]] = {
    "SAM": lambda: optimizing(lambda params: optim.SAM(optim.SGD(params, lr=0.1, momentum=0.9))),
    "Nesterov": lambda: optimizing(lambda params: optim.Nesterov(params, lr=0.1)),
    "LBFGS": lambda: optimizing(lambda params: optim.LBFGS(params, max_iter=3, line_search_fn="strong_wolfe")),
    "Newton": lambda: optimizing(optim.Newton),
    "Newton by products": lambda: optimizing(lambda params: optim.Newton(params, method="cg")),
    "Adafactor": lambda: optimizing(optim.Adafactor),
    "Muon": lambda: optimizing(optim.Muon),
    "Adam": lambda: optimizing(lambda params: optim.Adam([{"params": [p]} for p in params])),
    "AveragedModel": averaging,
    "update_bn": measuring,
    "lsuv_": scaling,
    "load_state_dict": loading,
    "schedules": scheduling,
    "clip_grad_norm_": clipping,
    "TrainStep, traced": lambda: stepping(optim.Adam, 0),
    "TrainStep, planned": lambda: stepping(optim.Adam, 2),
    "TrainStep, eager": lambda: stepping(optim.Adafactor, 1),
    "TrainStep, with a closure": lambda: stepping(lambda params: optim.SAM(optim.SGD(params, lr=0.1)), 1),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_change_is_whole_or_not_made(name: str) -> None:
    action, image = WHOLE[name]()
    before = image()
    action()
    after = image()
    assert before != after

    def make() -> Any:
        action, image = WHOLE[name]()

        def check() -> None:
            assert image() in (before, after)
            assert _core.is_grad_enabled()

        return action, check

    everywhere(make)


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    allowed = ([1.0], [2.0, 2.0])

    def make() -> Any:
        fnn.save({"a": np.ones(1)}, path)

        def check() -> None:
            assert list(tmp_path.iterdir()) == [path]
            assert fnn.load(path)["a"].tolist() in allowed

        return lambda: fnn.save({"a": np.full(2, 2.0)}, path), check

    everywhere(make)


def test_threads_that_prepare_data_end() -> None:
    loader = fnn.data.DataLoader(fnn.data.TensorDataset(fnn.tensor(ROWS)), batch_size=4, num_workers=2)

    def make() -> Any:
        def check() -> None:
            deadline = time.monotonic() + 20
            while any(thread.name.startswith("fastnn-data") for thread in threading.enumerate()):
                assert time.monotonic() < deadline
                time.sleep(0.001)

        return lambda: list(loader), check

    everywhere(make)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="sends itself a signal by a timer")
def test_a_long_backward_ends_with_no_gradient() -> None:
    weights = [fnn.eye(384).requires_grad_() for _ in range(96)]
    y = fnn.ones(384, 384)
    for weight in weights:
        y = y @ weight
    loss = y.sum()
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    previous = signal.signal(signal.SIGALRM, lambda *_: _thread.interrupt_main())
    try:
        with pytest.raises(KeyboardInterrupt):
            loss.backward()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert all(weight.grad is None for weight in weights)


@pytest.mark.parametrize("name", ["predict", "no_grad", "mc_predict", "fit from a function", "WeightNoise"])
def test_signals_that_arrive_when_they_like(name: str) -> None:
    action, check = STATE[name]()
    delays = random.Random(2)
    for _ in range(20):
        sent = threading.Event()

        def interrupt(sent: threading.Event = sent) -> None:
            sent.wait(delays.uniform(0.0, 0.004))
            _thread.interrupt_main()
            sent.set()

        thread = threading.Thread(target=interrupt)
        try:
            thread.start()
            while not sent.is_set():
                action()
            # Python may see the signal of another thread a little later.
            thread.join()
            sum(one for one in range(1000))
        except KeyboardInterrupt:
            pass
        thread.join()
        check()
