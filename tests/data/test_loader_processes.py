"""Loaders where processes end, fork and are interrupted."""

import os
import signal
import subprocess
import sys
import time

import pytest


def run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, **options
    )


HEAD = """
import os, sys, threading, time
import numpy as np
import fastnn as fnn
from fastnn.data import DataLoader
class Slow(fnn.data.Dataset):
    def __len__(self): return 1000
    def __getitem__(self, index):
        time.sleep(0.005)
        return np.ones(300, np.float32)
"""


@pytest.mark.slow
def test_the_interpreter_ends_beside_idle_and_busy_workers():
    ended = run(
        HEAD + "iterator = iter(DataLoader(Slow(), 4, num_workers=3)); next(iterator); print('last', flush=True)"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "last\n", "")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork there")
def test_loaders_work_after_a_fork():
    code = """
loader = DataLoader(fnn.data.TensorDataset(np.arange(12)), 4, num_workers=2)
assert len(list(loader)) == 3
begun = iter(loader)
next(begun)
child = os.fork()
if not child:
    try:
        assert [b[0].tolist() for b in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        try:
            next(begun)
        except RuntimeError as error:
            print(error, flush=True)
        del begun
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(len(list(begun)))
"""
    ended = run(HEAD + code)
    message = "DataLoader: expected to go on in the process that began; got a fork of it"
    assert (ended.returncode, ended.stdout) == (0, f"{message}\n2\n"), ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGINT there")
def test_ctrl_c_ends_a_pass():
    code = """
class Long(Slow):
    def __getitem__(self, index):
        time.sleep(30 if index == 5 else 0)
        return index
try:
    for batch in DataLoader(Long(), num_workers=2):
        if int(batch) == 4: print("ready", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os._exit(0)
"""
    with subprocess.Popen([sys.executable, "-c", HEAD + code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=20)[0] == "interrupted\n"
