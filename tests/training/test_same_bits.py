from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["regul", "images"])
def test_the_same_bits_however_it_was_trained(monkeypatch, task):
    monkeypatch.syspath_prepend(str(ROOT))
    from benches import same_bits

    task = next(one for one in same_bits.TASKS if one.name == task)
    found = same_bits.digests(task, steps=60)
    assert len(found) == len(same_bits.WAYS) * len(same_bits.THREADS)
    assert len(set(found.values())) == 1, found
    assert same_bits.digest(task, same_bits.fit, 1, steps=40) != found["fit", 1]  # it does train
