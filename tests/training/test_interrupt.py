import signal
import subprocess
import sys
import time

import pytest

# An epoch takes seconds, so that an interrupt that waits for its end shows.
FIT = """
import sys, time
import numpy as np
import fastnn as fnn
from fastnn import nn, optim

x, y = np.ones((300_000, 16), np.float32), np.zeros(300_000, np.int64)
model = nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))
trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1e-3))
ready = fnn.callbacks.LambdaCallback(on_epoch_begin=lambda epoch: print("ready", flush=True))
history = trainer.fit(x, y, epochs=100, callbacks=[ready], verbose=sys.argv[1] == "bar")
print(time.time())
print(history.interrupted, history.stop_reason, history.epochs)
print(trainer.fit(x[:64], y[:64], verbose=False).epochs)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process can not be sent SIGINT there")
@pytest.mark.parametrize("progress", ["bar", "none"])
def test_ctrl_c_while_batches_run(progress):
    command = [sys.executable, "-c", FIT, progress]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        sent = time.time()
        child.send_signal(signal.SIGINT)
        ended, result, again = child.communicate(timeout=60)[0].splitlines()
    assert child.returncode == 0
    assert (result, again) == ("True interrupted []", "[0]")
    assert float(ended) - sent < 0.5  # 0.03 s where the machine is idle
