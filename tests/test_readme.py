"""Examples of the README: they run as they stand there."""

import re
from pathlib import Path

import pytest

import fastnn as fnn

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_example_trains(monkeypatch):
    monkeypatch.chdir(ROOT)  # the example reads data/
    fnn.manual_seed(0)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["step"].reason is None
    assert names["value"] < names["loss"].item()
    assert names["history"]["val_accuracy"][-1] > 0.9
