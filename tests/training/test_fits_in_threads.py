"""Fits in several threads at once: each has the bits that it has alone after the same seeding."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import nn, optim
from fastnn.data import DataLoader, TensorDataset
from fastnn.ensemble import BaggingEnsemble, DeepEnsemble
from fastnn.unsupervised import DBN, RBM

ROWS, WIDTH, REPEATS = 70, 6, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
Y = RNG.normal(size=(ROWS, 2)).astype(np.float32)
BITS = (X > 0).astype(np.float32)

Job = Callable[[], object]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 9), nn.ReLU(), nn.Dropout(0.4), nn.Linear(9, 2))


def sgd(parameters: Any) -> optim.Optimizer:
    return optim.SGD(parameters, lr=0.05, momentum=0.9)


def weights(*models: nn.Module) -> str:
    """A hash of all numbers of models."""
    bits = b"".join(value.detach().numpy().tobytes() for model in models for value in model.state_dict().values())
    return hashlib.sha256(bits).hexdigest()


def of_fit(**options: Any) -> Job:
    trainer = fnn.Trainer(model := net(), nn.MSELoss(), sgd(model.parameters()), grad_noise=0.01)

    def fit() -> object:
        trainer.fit(X, Y, epochs=6, batch_size=16, verbose=False, **options)
        trainer.fit(X, Y, epochs=2, batch_size=16, verbose=False, **options)
        return weights(model)

    return fit


def of_loader() -> Job:
    trainer = fnn.Trainer(model := net(), nn.MSELoss(), sgd(model.parameters()))
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True, num_workers=2)

    def fit() -> object:
        trainer.fit(loader, epochs=4, verbose=False)
        return weights(model)

    return fit


def of_steps(*, eager: bool = False, loader: bool = False) -> Job:
    model = net()
    loss = (lambda output, y: nn.functional.mse_loss(output, y) * (1 + 0 * output.sum().item())) if eager else None
    step = fnn.TrainStep(model, loss or nn.MSELoss(), sgd(model.parameters()))
    batches = DataLoader(TensorDataset(X, Y), batch_size=14, shuffle=True)

    def train() -> object:
        for _ in range(8):
            if loader:
                for x, y in batches:
                    step(x, y)
            else:
                step.run_batches(X, Y, np.arange(ROWS), 0, 5, 14)
                step(X, Y)
        assert (step.reason is not None) == eager
        return weights(model)

    return train


def of_rbm() -> Job:
    rbm = RBM(WIDTH, 5)

    def fit() -> object:
        rbm.fit(BITS, epochs=6, batch_size=16, verbose=False)
        return weights(rbm)

    return fit


def of_dbn() -> Job:
    dbn = DBN([WIDTH, 5, 3])

    def fit() -> object:
        dbn.pretrain(BITS, epochs=3, batch_size=16, verbose=False)
        return weights(dbn)

    return fit


def of_ensemble(kind: Any) -> Job:
    ensemble = kind(lambda i=None: net(), 2, nn.MSELoss(), sgd)

    def fit() -> object:
        ensemble.fit(X, Y, epochs=2, batch_size=16, verbose=False)
        return weights(*ensemble.members)

    return fit


JOBS: dict[str, Callable[[], Job]] = {
    "fit": of_fit,
    "fit of a function": lambda: of_fit(augment=lambda x, y: (x + fnn.randn(*x.shape).numpy(), y)),
    "fit of a loader": of_loader,
    "TrainStep": of_steps,
    "eager TrainStep": lambda: of_steps(eager=True),
    "TrainStep on a loader": lambda: of_steps(loader=True),
    "RBM": of_rbm,
    "DBN": of_dbn,
    "DeepEnsemble": lambda: of_ensemble(DeepEnsemble),
    "BaggingEnsemble": lambda: of_ensemble(BaggingEnsemble),
}


def at_once(*jobs: Job) -> list[object]:
    """Run jobs in as many threads, which begin together."""
    results: list[Any] = [None] * len(jobs)
    start = threading.Barrier(len(jobs))

    def run(i: int) -> None:
        start.wait()
        try:
            results[i] = jobs[i]()
        except BaseException as error:  # noqa: BLE001
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("make", JOBS.values(), ids=JOBS)
def test_two_at_once_have_the_bits_of_each_alone(make: Callable[[], Job]) -> None:
    """The process is seeded, and models are made, by the main thread."""

    def jobs() -> tuple[Job, Job]:
        fnn.manual_seed(5)
        return make(), make()

    alone = [jobs()[0](), jobs()[1]()]
    assert alone[0] != alone[1]
    for _ in range(REPEATS):
        assert at_once(*jobs()) == alone
    # One after another makes no difference either.
    first, second = jobs()
    assert at_once(first) + at_once(second) == alone


@pytest.mark.parametrize("make", JOBS.values(), ids=JOBS)
def test_a_thread_that_is_seeded_has_the_bits_of_the_main_thread(make: Callable[[], Job]) -> None:
    """Each thread seeds, makes its model and trains it."""

    def job(seed: int) -> Job:
        def seeded() -> object:
            fnn.manual_seed(seed)
            trained = make()()
            return trained, fnn.rand(2).tolist(), fnn.get_rng_state()

        return seeded

    alone = [job(1)(), job(2)()]
    fnn.manual_seed(77)
    for _ in range(REPEATS):
        assert at_once(job(1), job(2)) == alone
    assert fnn.get_rng_state() == (77, 0)


@pytest.mark.parametrize("make", JOBS.values(), ids=JOBS)
def test_one_in_a_thread_beside_a_fit_in_the_main_thread(make: Callable[[], Job]) -> None:
    class Begin(fnn.callbacks.Callback):
        """Begin the other job, and end it, while the fit is on."""

        def __init__(self, job: Job) -> None:
            self.found: list[object] = []
            self.thread = threading.Thread(target=lambda: self.found.append(self.job()))
            self.job = job

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            if epoch == 1 and self.thread.ident is None:
                self.thread.start()
            elif epoch == 5:
                self.thread.join()

    def jobs(*callbacks: Any) -> tuple[Job, Job]:
        fnn.manual_seed(5)
        return of_fit(callbacks=callbacks), make()

    alone_in_main, after = jobs()[0](), fnn.get_rng_state()
    alone = jobs()[1]()
    for _ in range(REPEATS):
        callback = Begin(lambda: None)
        main, callback.job = jobs(callback)
        assert main() == alone_in_main
        assert callback.found == [alone]
        assert fnn.get_rng_state() == after


def test_a_pool_with_fewer_threads_than_fits() -> None:
    def jobs() -> list[Job]:
        fnn.manual_seed(5)
        return [of_fit() for _ in range(5)]

    alone = [jobs()[i]() for i in range(5)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(REPEATS):
            assert [future.result() for future in [pool.submit(job) for job in jobs()]] == alone


def test_threads_that_train_nothing_draw_from_the_process() -> None:
    fnn.manual_seed(3)
    expected = sorted(fnn.rand(1).item() for _ in range(20))
    fnn.manual_seed(3)
    drawn = at_once(*[lambda: [fnn.rand(1).item() for _ in range(10)]] * 2)
    assert sorted(drawn[0] + drawn[1]) == expected  # type: ignore[operator]
    assert fnn.get_rng_state() == (3, 20)


def test_other_threads_draw_beside_a_fit_and_leave_its_numbers_alone() -> None:
    def trained(callback: Callable[[], object]) -> tuple[object, tuple[int, int]]:
        class Draw(fnn.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any) -> None:
                callback()

        fnn.manual_seed(4)
        fit = of_fit(callbacks=[Draw()])
        return fit(), fnn.get_rng_state()

    drawn: list[float] = []

    def draw_in_a_thread() -> None:
        drawn.extend(at_once(lambda: fnn.rand(1).item()))  # type: ignore[arg-type]

    expected = trained(lambda: None)
    assert trained(draw_in_a_thread) == expected
    assert len(set(drawn)) == len(drawn) == 8
    # The thread of the fit itself draws as it always did.
    assert trained(lambda: fnn.rand(1))[1][1] == expected[1][1] + 8


def test_the_generator_comes_back_when_a_fit_fails() -> None:
    fnn.manual_seed(4)
    trainer = fnn.Trainer(model := net(), nn.MSELoss(), sgd(model.parameters()))
    bad = Y.copy()
    bad[40] = np.nan
    with pytest.raises(ValueError, match="the loss is nan"):
        trainer.fit(X, bad, epochs=2, batch_size=16, verbose=False)
    state = fnn.get_rng_state()
    assert state[1] > 4
    assert at_once(fnn.get_rng_state) == [state]
    assert fnn.rand(1) is not None
    assert at_once(fnn.get_rng_state) == [(state[0], state[1] + 1)]
