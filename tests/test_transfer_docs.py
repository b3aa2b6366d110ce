"""Examples of docs/transfer.md: they run as they stand there, and do as described."""

import re
import shutil
from pathlib import Path

import pytest

import fastnn as fnn

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_four_cases(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    for name in ("mnist10k.npz", "cifar10.npz"):
        shutil.copy(ROOT / "data" / name, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")
    names = {}
    for snippet in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(snippet, "transfer.md", "exec"), names)
    # Five digits, by a head on what other digits have taught, and with the layers below; ten kinds of photographs.
    assert names["little_similar"] > 0.8
    assert names["much_similar"] > 0.9
    assert names["gradual"] > 0.9
    assert names["little_different"] > 0.15
    assert names["much_different"] > 0.25
    old = fnn.load("net.safetensors")
    assert names["lowest"][0].weight.tolist() == old["0.0.weight"].tolist()
    changed = names["model"].state_dict()
    assert all(changed[name].tolist() != old[name].tolist() for name in old)
