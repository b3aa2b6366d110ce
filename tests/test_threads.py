"""Numbers of threads, whoever sets them; a report of them; and the same results beside busy neighbors."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import fastnn as fnn
from fastnn import _core

LINUX = sys.platform == "linux"


def in_process(code: str, **environment: str) -> str:
    """Run a program in a process of its own, and return what it prints."""
    kept = {k: v for k, v in os.environ.items() if k not in {"FASTNN_NUM_THREADS", "OMP_NUM_THREADS"}}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def _same_number() -> Any:
    before = _core.get_requested_threads()
    yield
    _core.set_requested_threads(before)


class TestNumThreads:
    def test_within_a_block_and_restored_after_it(self) -> None:
        fnn.set_num_threads(5)
        with fnn.num_threads(3) as block:
            assert (block.n, fnn.get_num_threads()) == (3, 3)
            with fnn.num_threads(1):
                assert fnn.get_num_threads() == 1
            with block:
                assert fnn.get_num_threads() == 3
            assert fnn.get_num_threads() == 3
        assert fnn.get_num_threads() == 5

    def test_nobody_has_set_a_number_before(self) -> None:
        _core.set_requested_threads(0)
        before = fnn.get_num_threads()
        within = []

        @fnn.num_threads(before + 1)
        def fail() -> None:
            within.append(fnn.get_num_threads())
            raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert within == [before + 1]
        assert (_core.get_requested_threads(), fnn.get_num_threads()) == (0, before)

    def test_decorates(self) -> None:
        @fnn.num_threads(2)
        def f() -> int:
            return fnn.get_num_threads()

        fnn.set_num_threads(4)
        assert (f(), f(), fnn.get_num_threads()) == (2, 2, 4)

    @pytest.mark.parametrize("n", [0, -1, 1025, 2**70])
    def test_out_of_range(self, n: int) -> None:
        with pytest.raises(ValueError, match=r"^num_threads: expected n .*; got "):
            fnn.num_threads(n)

    @pytest.mark.parametrize("n", [1.5, "2", None])
    def test_no_int(self, n: Any) -> None:
        with pytest.raises(TypeError, match=r"^num_threads: expected n .*; got "):
            fnn.num_threads(n)


class TestSettings:
    @pytest.mark.parametrize(
        ("ours", "omp", "expected"), [("3", "2", 3), ("", "2,4", 2), ("many", "7", 7), ("0", "5", 5)]
    )
    def test_environment_at_import(self, ours: str, omp: str, expected: int) -> None:
        code = "import fastnn; print(fastnn.get_num_threads(), fastnn.thread_report(0).decided_by)"
        name = "FASTNN_NUM_THREADS" if ours == "3" else "OMP_NUM_THREADS"
        assert in_process(code, FASTNN_NUM_THREADS=ours, OMP_NUM_THREADS=omp) == f"{expected} {name}"

    def test_environment_set_later(self) -> None:
        code = """
import os, fastnn
os.environ["OMP_NUM_THREADS"] = "6"
print(fastnn.get_num_threads())
os.environ["FASTNN_NUM_THREADS"] = "4"
print(fastnn.get_num_threads())
fastnn.set_num_threads(2)
print(fastnn.get_num_threads())
"""
        assert in_process(code).split() == ["6", "4", "2"]

    @pytest.mark.skipif(not LINUX, reason="only Linux lets a process choose its cores")
    def test_affinity_set_later(self) -> None:
        code = """
import os, fastnn as fnn, numpy as np
x = fnn.ones(400, 400)
for _ in range(50):
    x @ x
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
report = fnn.thread_report(0)
before = report.teams
for _ in range(50):
    x @ x
print(fnn.get_num_threads(), report.cores, report.affinity, report.team, fnn.thread_report(0).teams - before)
"""
        assert in_process(code) == "1 1 1 1 0"

    def test_more_threads_than_cores_are_not_used(self) -> None:
        code = """
import fastnn as fnn
fnn.set_num_threads(16)
x = fnn.ones(700, 700)
for _ in range(50):
    x @ x
report = fnn.thread_report(0)
print(fnn._core.team_counts()["workers"] < max(2, report.cores), report.team <= report.cores, report.threads)
"""
        assert in_process(code) == "True True 16"


class TestReport:
    def test_numbers_and_text(self) -> None:
        fnn.set_num_threads(3)
        report = fnn.thread_report(0)
        assert (report.threads, report.decided_by, report.isa) == (3, "set_num_threads", _core.isa())
        assert 1 <= report.cores <= report.machine
        assert report.team == min(3, report.cores)
        assert (report.processes, report.own_threads) == ((), ())
        assert f"threads: at most 3 (decided by set_num_threads), in teams of at most {report.team}" in str(report)

    @pytest.mark.skipif(not LINUX, reason="only Linux tells who is busy")
    def test_names_who_is_busy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # However many others there are.
        monkeypatch.setattr("fastnn._threads._BUSY", 0.02)
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
            try:
                reports = (fnn.thread_report(0.3) for _ in range(50))
                found = next((r for r in reports if busy.pid in [n.pid for n in r.processes]), None)
                assert found is not None
                assert f"busy process: {busy.pid} " in str(found)
            finally:
                busy.kill()

    @pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
    def test_out_of_range(self, seconds: float) -> None:
        with pytest.raises(ValueError, match=r"^thread_report: expected "):
            fnn.thread_report(seconds)

    def test_no_number(self) -> None:
        with pytest.raises(TypeError, match=r"^thread_report: expected "):
            fnn.thread_report("1")  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["fastnn", "threadpoolctl"])
def test_threadpoolctl_limits_us(first: str) -> None:
    pytest.importorskip("threadpoolctl")
    second = "threadpoolctl" if first == "fastnn" else "fastnn"
    code = f"""
import {first}, {second}
import sys
fastnn.set_num_threads(5)
ours = [i for i in threadpoolctl.threadpool_info() if i["internal_api"] == "fastnn"]
print(len(ours), ours[0]["num_threads"], ours[0]["version"] == fastnn.__version__)
with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
    print(fastnn.get_num_threads())
print(fastnn.get_num_threads())
"""
    assert in_process(code).split() == ["1", "5", "True", "1", "5"]


def test_importing_does_not_import_threadpoolctl() -> None:
    assert in_process("import sys, fastnn; print('threadpoolctl' in sys.modules)") == "False"


HASH = """
import hashlib, sys, threading
import numpy as np
import fastnn as fnn

def weights():
    fnn.manual_seed(3)
    model = fnn.nn.Sequential(fnn.nn.Linear(30, 130), fnn.nn.ReLU(), fnn.nn.BatchNorm1d(130), fnn.nn.Linear(130, 7))
    optimizer = fnn.optim.Adam(model.parameters(), lr=0.01)
    loss_fn = fnn.nn.CrossEntropyLoss()
    step = fnn.TrainStep(model, loss_fn, optimizer)
    rng = np.random.default_rng(0)
    for i in range(60):
        x, y = rng.normal(size=(257, 30)).astype(np.float32), rng.integers(0, 7, 257)
        if i % 2:
            step(x, y)
            continue
        loss = loss_fn(model(fnn.tensor(x)), fnn.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
"""


def test_same_bits_with_whoever_comes() -> None:
    """Teams of 1 to 16, formed by themselves beside spinning threads, and whole ones."""
    code = f"""{HASH}
stop = False
def spin():
    while not stop:
        sum(range(1000))
expected = None
for whole in (False, True):
    fnn._core.set_whole_teams(whole)
    for n in (1, 2, 4, 16) if not whole else (1, 2, 4, 5):
        fnn.set_num_threads(n)
        thread = threading.Thread(target=spin)
        stop = False
        thread.start()
        got = weights()
        stop = True
        thread.join()
        expected = expected or got
        assert got == expected, (whole, n)
print("same")
"""
    assert in_process(code) == "same"


def test_two_threads_that_train_at_once() -> None:
    """A thread that does not get the workers goes on alone."""
    rng = np.random.default_rng(0)
    x = fnn.tensor(rng.normal(size=(300, 300)).astype(np.float32))
    expected = (x @ x).numpy()
    results: list[bool] = []

    def work() -> None:
        results.append(all(np.array_equal((x @ x).numpy(), expected) for _ in range(100)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3
