import signal
import subprocess
import sys
import time

import pytest

# An epoch takes long, so that an interrupt that waits for its end shows, however busy the machine is.
FIT = """
import sys, time
import numpy as np
import fastnn as fnn
from fastnn import nn, optim

x, y = np.ones((300_000, 16), np.float32), np.zeros(300_000, np.int64)
model = nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))
trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1e-3))
begin = time.time()
trainer.fit(x, y, verbose=False)
print(time.time() - begin)
ready = fnn.callbacks.LambdaCallback(on_epoch_begin=lambda epoch: print("ready", flush=True))
history = trainer.fit(x, y, epochs=100, callbacks=[ready], verbose=sys.argv[1] == "bar")
print(time.time())
print(history.interrupted, history.stop_reason, history.epochs)
print(trainer.fit(x[:64], y[:64], verbose=False).epochs)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGINT there")
@pytest.mark.parametrize("progress", ["bar", "none"])
def test_ctrl_c_while_batches_run(progress):
    command = [sys.executable, "-c", FIT, progress]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        epoch = float(child.stdout.readline())
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.1 * epoch)
        sent = time.time()
        child.send_signal(signal.SIGINT)
        ended, result, again = child.communicate(timeout=60)[0].splitlines()
    assert child.returncode == 0
    assert (result, again) == ("True interrupted []", "[0]")
    assert float(ended) - sent < 0.6 * epoch  # 0.03 s where the machine is idle


# The batch after the third takes half a minute to make.
LOADED = """
import sys, threading, time
import numpy as np
import fastnn as fnn
from fastnn import nn, optim

class Slow(fnn.data.Dataset):
    def __len__(self):
        return 9

    def __getitem__(self, index):
        if index == 3:
            print("ready", flush=True)
            time.sleep(30)
        return np.ones((5, 16), np.float32), np.zeros(5, np.int64)

model = nn.Linear(16, 4)
trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1e-3))
in_step = lambda batch, logs: time.sleep(20) if sys.argv[1] == "step" and batch == 1 else None
pause = fnn.callbacks.LambdaCallback(on_batch_end=in_step)
loader = fnn.data.DataLoader(Slow(), batch_size=None, num_workers=int(sys.argv[2]))
history = trainer.fit(loader, epochs=2, callbacks=[pause], verbose=False)
print(time.time())
print(history.interrupted, history.stop_reason, history.epochs)
print(trainer.fit([(np.ones((5, 16), np.float32), np.zeros(5, np.int64))], verbose=False).epochs, flush=True)
import os; os._exit(0)  # not before the half minute is over, otherwise
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGINT there")
@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("during", ["step", "wait"])
def test_ctrl_c_beside_a_loader(during, workers):
    command = [sys.executable, "-c", LOADED, during, workers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.time()
        child.send_signal(signal.SIGINT)
        ended, result, again = child.communicate(timeout=60)[0].splitlines()
    assert (result, again) == ("True interrupted []", "[0]")
    assert float(ended) - sent < 10  # and not the rest of half a minute
