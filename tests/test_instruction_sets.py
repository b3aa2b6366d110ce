"""Instruction sets: the same weights on each that the machine has, and the warning where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings

import pytest

import fastnn._core
from fastnn import _processor
from tests import bits

LEVELS = ("portable", "avx2", "avx512")


def run(*command: str, **environment: str) -> str:
    env = {**os.environ, **environment}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_weights_have_the_same_bits_on_every_instruction_set() -> None:
    expected = bits.digests()
    seen = set()
    for level in LEVELS:
        script = (
            "import json, fastnn._core as c; from tests.bits import digests; print(json.dumps([c.isa(), digests()]))"
        )
        isa, found = json.loads(run(sys.executable, "-c", script, FASTNN_ISA=level))
        seen.add(isa)
        assert found == expected, isa
    # A machine that has less ran a level more than once.
    assert "portable" in seen
    assert fastnn._core.isa() in seen


def test_a_forced_level_does_not_warn() -> None:
    run(sys.executable, "-W", "error", "-c", "import fastnn", FASTNN_ISA="portable")


def test_nothing_lacking_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _processor.warn_if_slow([])


def test_the_warning_names_what_is_lacking() -> None:
    message = (
        r"^fastnn: this processor, or virtual machine, has no avx2, fma: training takes 3 to 30 times as long as with it\. "
        r"Results are the same bits$"
    )
    with pytest.warns(RuntimeWarning, match=message):
        _processor.warn_if_slow(["avx2", "fma"])


@pytest.mark.skipif(shutil.which("qemu-x86_64-static") is None, reason="no emulator of a processor without AVX2")
def test_an_old_processor_warns_once_at_import() -> None:
    script = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import fastnn\n"
        "    import fastnn.training\n"
        "import fastnn._core as c\n"
        "print(c.isa(), [str(w.message).split(':')[1] for w in caught if 'fastnn' in str(w.message)])\n"
    )
    # NumPy asks for the instructions of 2009.
    found = run("qemu-x86_64-static", "-cpu", "Nehalem", sys.executable, "-c", script)
    assert found == "portable [' this processor, or virtual machine, has no avx2, fma, bmi2']\n"
