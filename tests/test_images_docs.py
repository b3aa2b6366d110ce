"""Examples of docs/images.md: they run as they stand there, but for fewer epochs."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_images_are_learnt_from_arrays_folders_and_files(tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    pytest.importorskip("matplotlib")
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "data" / "cifar10.npz", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
    assert text.count("epochs, batch_size = 30, 64") == 1
    names = {}
    for snippet in re.findall(r"```python\n(.*?)```", text.replace("= 30, 64", "= 2, 64"), re.DOTALL):
        exec(compile(snippet, "images.md", "exec"), names)
    assert names["accuracy"] > 0.2
    assert names["flipped"] > 0.2
    np.testing.assert_allclose(names["probabilities"].sum(axis=1), 1, rtol=1e-5)
    right = (names["probabilities"].argmax(axis=1) == names["y"][names["test"]]).mean()
    assert right > 0.15
    assert names["photos"].classes == ["animal", "vehicle"]
    assert len(names["history"]["loss"]) == 2
    assert isinstance(names["mapped"], np.memmap)
    assert (tmp_path / "mistakes.png").stat().st_size > 5000
