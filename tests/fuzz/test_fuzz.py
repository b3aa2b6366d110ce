"""20,000 random calls; and that the fuzzer notices what it is made to find."""

import pytest

from tests.fuzz import run, surface
from tests.fuzz.programs import KINDS, program

CALLS = 20_000
SEED = 13


@pytest.mark.slow
def test_random_calls_return_or_raise_what_was_meant() -> None:
    report = run.run(CALLS, SEED, show=1)
    assert not report.failures, report.summary()
    # Fewer, and the code behind the checks of arguments would hardly be reached.
    assert report.outcomes["returned"] > 0.35 * CALLS, report.summary()


@pytest.mark.slow
def test_crashes_hangs_and_errors_of_a_wrong_kind_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUZZ_PATIENCE", "1")
    programs = {index: program(1, 0, index, "broken")[0] for index in range(5)}
    report = run.run_batch(1, 0, len(programs), "broken")
    found = {failure.index: failure.wrong.split(" ")[0] for failure in report.failures}
    expected = {"import os; os.abort()": "died", "while True: pass": "hang", "raise OverflowError": "OverflowError:",
                "nn.Linear.forward(None, 1)": "AttributeError:", "1 + 1": None}  # fmt: skip
    assert set(programs.values()) == set(expected)
    assert {index: found.get(index) for index in programs} == {i: expected[text] for i, text in programs.items()}
    assert "os.abort()" in str(next(f for f in report.failures if f.wrong.startswith("died")))


def test_programs_depend_on_their_numbers_alone() -> None:
    numbers = [(seed, batch, index) for seed in (0, 1) for batch in (0, 1) for index in range(20)]
    programs = [program(*number) for number in numbers]
    assert programs == [program(*number) for number in numbers]
    assert len({tuple(lines) for lines in programs}) == len(programs)


def test_every_part_of_the_surface_is_found() -> None:
    layers = {name for name, _ in surface.layers()}
    assert {"nn.Conv2d", "nn.BatchNorm1d", "nn.CrossEntropyLoss", "penalties.L1"} <= layers
    assert len(layers) > 80
    assert {"F.conv2d", "fnn.cat", "fnn.sum", "fnn.zeros"} <= {name for name, _ in surface.functions()}
    assert {"view", "add_", "max"} <= {name for name, _ in surface.methods()}
    assert len(surface.optimizers()) > 15
    assert len(surface.schedules()) > 15
    assert len(surface.transforms()) > 15
    assert len(surface.data_classes()) > 10
    assert {"init.normal_", "nn.utils.clip_grad_norm_", "metrics.r2"} <= {name for name, _ in surface.others()}
    assert all(weight > 0 for kind, weight in KINDS.items() if kind.__name__ != "broken")
