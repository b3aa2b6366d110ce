"""Smoke suite for an installed wheel: short training runs and a touch of every part of the API, in some seconds.

``python -I tests/smoke.py`` needs the wheel and NumPy only. It prints one line of JSON: versions, instruction set, and
the SHA-256 of the weights after each run, which must be the same on every platform. ``--same-as FILE`` compares them with
those of such a line, printed elsewhere. A failed check ends it with a traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastnn as fnn
from fastnn import augment as A, nn, optim

DISTRIBUTION = "fastnn-cpu"


def check(condition: Any, what: str) -> None:
    """Raise if the condition does not hold; unlike `assert`, with ``-O`` too."""
    if not condition:
        raise RuntimeError(f"smoke test: {what}")


def numbers(*shape: int, start: int = 0) -> np.ndarray:
    """Numbers in [-1, 1) that depend on no generator and no function of the system's."""
    index = np.arange(start, start + int(np.prod(shape)), dtype=np.int64)
    return ((index * 48271 % 2147483647 * 16807 % 2147483647) / 2147483647 * 2 - 1).astype(np.float32).reshape(shape)


def digest(state: dict[str, Any]) -> str:
    total = hashlib.sha256()
    for value in state.values():
        total.update(np.ascontiguousarray(value.numpy()).tobytes())
    return total.hexdigest()


def same_for_all_threads(run: Callable[[], str]) -> str:
    """Return the digest of a run, which must not depend on the number of threads."""
    before = fnn.get_num_threads()
    found = {}
    try:
        for threads in (1, 2, 3):
            fnn.set_num_threads(threads)
            found[threads] = run()
    finally:
        fnn.set_num_threads(before)
    check(len(set(found.values())) == 1, f"expected one digest for all numbers of threads; got {found}")
    return found[1]


def classify(planned: bool) -> str:
    """An MLP with batch norm and dropout, 40 steps of Adam."""
    fnn.manual_seed(3)
    model = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 5))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    x = numbers(320, 20)
    y = (x[:, :5] + 0.2 * x[:, 5:10]).argmax(1)
    step = fnn.TrainStep(model, loss_fn, optimizer)
    for i in range(40):
        rows = slice(i % 5 * 64, i % 5 * 64 + 64)
        if planned:
            step(x[rows], y[rows])
        else:
            loss = loss_fn(model(fnn.as_tensor(x[rows])), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if planned:
        check(step.reason is None, f"expected a planned step; got {step.reason}")
    model.eval()
    accuracy = float((model(fnn.as_tensor(x)).detach().numpy().argmax(1) == y).mean())
    check(accuracy > 0.6, f"expected the net to learn; got an accuracy of {accuracy}")
    return digest(model.state_dict())


def classify_both_ways() -> str:
    eager, planned = classify(planned=False), classify(planned=True)
    check(eager == planned, f"expected the same weights eager and planned; got {eager} and {planned}")
    return planned


def images() -> str:
    """A small convolutional net on augmented images: 3×3 kernels by Winograd's algorithm, stride, groups, pooling."""
    fnn.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 12, 3, 2, padding=1, groups=4), nn.Dropout2d(0.1),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 3),
    )  # fmt: skip
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    x = numbers(96, 1, 16, 16) * 0.1
    y = np.arange(96) % 3
    x[np.arange(96), 0, :, 4] += (y == 1)[:, None]
    x[np.arange(96), 0, 8, :] += (y == 2)[:, None]
    trainer = fnn.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    augment = A.Compose([A.RandomShift(1), A.CutOut(3), A.RandomRotation(5, "bilinear")])
    history = trainer.fit(x, y, epochs=4, batch_size=16, augment=augment, verbose=False)
    check(history["loss"][-1] < history["loss"][0], f"expected the loss to fall; got {history['loss']}")
    check(trainer.predict(x[:7]).shape == (7, 3), "expected predictions of shape (7, 3)")
    return digest(model.state_dict())


def regress() -> str:
    """tanh layers, Huber loss, a schedule, clipping, an average of the weights."""
    fnn.manual_seed(7)
    model = nn.Sequential(nn.Linear(17, 64), nn.Tanh(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 6))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    x = numbers(256, 17, start=9)
    y = np.stack([x[:, i] * x[:, i + 6] for i in range(6)], 1)
    trainer = fnn.Trainer(model, nn.HuberLoss(), optimizer, clip_grad_norm=1.0)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    callback = fnn.callbacks.LearningRateScheduler(scheduler)
    history = trainer.fit(x, y, epochs=6, batch_size=64, callbacks=[callback], verbose=False)
    check(history["loss"][-1] < history["loss"][0], f"expected the loss to fall; got {history['loss']}")
    return digest(model.state_dict())


def boltzmann() -> str:
    fnn.manual_seed(11)
    rbm = fnn.unsupervised.RBM(36, 12)
    rbm.fit((numbers(128, 36) > 0).astype(np.float32), epochs=2, batch_size=16, verbose=False)
    return digest(rbm.state_dict())


RUNS: dict[str, Callable[[], str]] = {
    "classify": classify_both_ways,
    "images": images,
    "regress": regress,
    "boltzmann": boltzmann,
}


def elements() -> str:
    """Digest of every elementwise function, on numbers from all of their domains, and of the generator."""
    x = fnn.as_tensor(np.concatenate([numbers(4099), numbers(4099) * 30, numbers(61) * 1e-30]))
    positive = fnn.abs(x) + 1e-20
    results = [fnn.exp(x), fnn.tanh(x), fnn.sigmoid(x), fnn.sin(x), fnn.cos(x), fnn.erf(x), fnn.expm1(x)]
    results += [fnn.log(positive), fnn.log1p(positive), fnn.rsqrt(positive), fnn.pow(positive, 1.7)]
    results += [nn.functional.gelu(x), nn.functional.softplus(x), fnn.softmax(x.reshape(3, -1), 1)]
    fnn.manual_seed(1)
    results += [fnn.randn(1001), fnn.rand(1001), fnn.randperm(1001)]
    return digest({str(i): result for i, result in enumerate(results)})


def gradients() -> None:
    def f(x: Any) -> Any:
        return (x**3).sum()

    hessian = fnn.autograd.functional.hessian(f, fnn.tensor([1.0, 2.0, -3.0])).numpy()
    check(
        np.array_equal(hessian, np.diag([6.0, 12.0, -18.0])), f"expected the Hessian of a sum of cubes; got {hessian}"
    )


def files() -> None:
    """Save twice to one path (a file that is replaced), and load it, read and mapped."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.safetensors")
        for value in (1.0, 2.0):
            fnn.save({"a": fnn.full((3, 5), value), "b": fnn.arange(4)}, path)
        for mmap in (False, True):
            state = fnn.load(path, mmap=mmap)
            check(state["a"].numpy().tolist() == [[2.0] * 5] * 3, "expected the values of the second file")
            check(state["b"].numpy().tolist() == [0, 1, 2, 3], "expected the integers that were saved")
            del state  # a file that is mapped cannot be removed on Windows
        check([found.name for found in Path(folder).iterdir()] == [path.name], "expected no file beside the saved one")


def loading() -> None:
    data = fnn.data.TensorDataset(fnn.as_tensor(numbers(50, 3)), fnn.arange(50))
    seen = [int(i) for _, label in fnn.data.DataLoader(data, 8, shuffle=True, num_workers=2) for i in label.numpy()]
    check(sorted(seen) == list(range(50)), "expected every row once")


def messages() -> None:
    try:
        nn.Linear(3, 2)(fnn.zeros(4, 5))
    except ValueError as error:
        check("Linear(3, 2)" in str(error) and "(4, 5)" in str(error), f"expected layer and shape; got {error}")
    else:
        raise RuntimeError("smoke test: expected a ValueError for a wrong width")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same-as", type=Path, help="file with the line of another run")
    other = parser.parse_args().same_as
    began = time.perf_counter()
    version = importlib.metadata.version(DISTRIBUTION)
    check(version == fnn.__version__, f"expected one version; got {version} and {fnn.__version__}")
    for touch in (gradients, files, loading, messages):
        touch()
    hashes = {name: same_for_all_threads(run) for name, run in {"elements": elements, **RUNS}.items()}
    facts = {
        "version": version,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "isa": fnn._core.isa(),
        "from": str(Path(fnn.__file__).parent),
        "seconds": round(time.perf_counter() - began, 1),
        "hashes": hashes,
    }
    sys.stdout.write(json.dumps(facts) + "\n")
    if other is not None:
        expected = json.loads(other.read_text(encoding="utf-8"))["hashes"]
        check(hashes == expected, f"expected the weights of {other}, {expected}")


if __name__ == "__main__":
    main()
