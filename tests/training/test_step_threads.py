"""Planned steps beside other threads, forks and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from tests.training.steps import BATCH, CLASSES, ROWS, WIDTH, X, Y, planned, run, state

import fastnn as fnn
from fastnn import nn


def test_two_threads_in_one_step_are_an_error() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, CLASSES))
    step = planned(model)
    x, y = np.tile(X, (8, 1)), np.tile(Y, 8)
    step(x, y)
    refused: list[str] = []
    stop = time.monotonic() + 5

    def train() -> None:
        while not refused and time.monotonic() < stop:
            try:
                step(x, y)
            except RuntimeError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused
    assert set(refused) == {"TrainStep: expected one thread at a time; it is running in another"}
    assert np.isfinite(step(x, y))


def test_two_models_at_the_same_time() -> None:
    expected = run(200)[0]
    results: list[dict[str, bytes]] = []

    def weights(threads: int) -> list[dict[str, bytes]]:
        models = [nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, CLASSES)) for _ in range(2)]
        for i, model in enumerate(models):
            fnn.manual_seed(i)
            model.apply(lambda m: m.reset_parameters() if isinstance(m, nn.Linear) else None)
        steps = [planned(model) for model in models]

        def train(step: fnn.TrainStep) -> None:
            for _ in range(50):
                step.run_batches(X, Y, np.arange(ROWS), 0, 4, BATCH)

        if threads == 1:
            for step in steps:
                train(step)
        else:
            workers = [threading.Thread(target=train, args=(step,)) for step in steps]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        return [state(model) for model in models]

    results = weights(1)
    assert weights(2) == results
    assert run(200)[0] == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_after_fork_can_train() -> None:
    code = """
        import os, sys, time
        import numpy as np
        import fastnn as fnn
        from fastnn import nn, optim
        fnn.set_num_threads(2)
        fnn.manual_seed(1)
        x = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
        y = np.arange(256) % 10
        model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10))
        step = fnn.TrainStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()))
        for _ in range(3):
            step(x, y)
        child = os.fork()
        losses = [step(x, y) for _ in range(3)]
        other = nn.functional.linear(fnn.randn(300, 300), fnn.ones(300, 300)).sum().item()
        if child == 0:
            os._exit(0 if losses[2] < losses[0] else 1)
        begin = time.monotonic()
        while time.monotonic() - begin < 20:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                sys.exit(os.waitstatus_to_exitcode(status))
            time.sleep(0.01)
        os.kill(child, 9)
        sys.exit("the child hangs")
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], timeout=60, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("kind", ["narrow", "wide"])
def test_ctrl_c_ends_a_fit_at_once_and_leaves_the_model(kind: str) -> None:
    code = f"""
        import sys, time
        import numpy as np
        import fastnn as fnn
        from fastnn import nn, optim
        width, rows = {(8, 4000) if kind == "narrow" else (512, 4096)}
        x = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
        y = np.arange(rows) % 10
        model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
        trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()))
        trainer.fit(x[:64], y[:64], epochs=1, verbose=False)
        print("ready", flush=True)
        history = trainer.fit(x, y, epochs=10**6, verbose=False)
        print(time.time(), history.interrupted, history.stop_reason, flush=True)
        assert np.isfinite(trainer.predict(x[:9])).all()
        trainer.fit(x[:64], y[:64], epochs=1, verbose=False)
        print("usable", flush=True)
    """
    took = []
    for _ in range(3):  # the machine may be busy with something else
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.time()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        ended, interrupted, reason = out.splitlines()[0].split()
        assert (interrupted, reason) == ("True", "interrupted")
        assert out.splitlines()[1] == "usable", err
        took.append(float(ended) - sent)
        if took[-1] < 0.1:
            break
    assert min(took) < 0.3
