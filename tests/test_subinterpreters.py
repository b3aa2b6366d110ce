"""A second interpreter of a process cannot import the package, and is told so."""

import os
import subprocess
import sys

import pytest

# Path of the standard library's module, and the creation of an interpreter that shares the GIL.
MAKE = """
import os, sys
try:
    import _interpreters as interpreters  # from 3.13 on
    arguments = ("legacy",)
    keywords = {}
except ImportError:
    import _xxsubinterpreters as interpreters
    arguments = ()
    keywords = {"isolated": False}

def run(code):
    return interpreters.run_string(interpreters.create(*arguments, **keywords), code)

# `os.write`, as the standard output of another interpreter has a buffer of its own.
IMPORT = f'''
import os, sys
sys.path[:] = {sys.path!r}
try:
    import fastnn._core
except ImportError as error:
    os.write(1, (str(error) + chr(10)).encode())
else:
    os.write(1, b"imported" + chr(10).encode())
'''
"""
IN_ANOTHER_AFTER_THE_MAIN_ONE = "import fastnn\nrun(IMPORT)\nassert fastnn.ones(2).sum().item() == 2"
IN_THE_MAIN_ONE_AFTER_ANOTHER = "run(IMPORT)\nexec(IMPORT)"
TWICE_IN_ONE = "import fastnn._core\ndel sys.modules['fastnn._core']\nexec(IMPORT)"
REFUSED = (
    "fastnn: expected one interpreter of the process to import it; got interpreter {} after interpreter {}. "
    "Sub-interpreters cannot share it: use threads or processes"
)


def lines(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", MAKE + code],
        capture_output=True,
        text=True,
        check=False,
        # The package's folder does not have to be installed.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (IN_ANOTHER_AFTER_THE_MAIN_ONE, [REFUSED.format(1, 0)]),
        (IN_THE_MAIN_ONE_AFTER_ANOTHER, ["imported", REFUSED.format(0, 1)]),
        (TWICE_IN_ONE, ["imported"]),
    ],
    ids=["main first", "another first", "twice in one"],
)
def test_the_module_belongs_to_one_interpreter(code, expected):
    assert lines(code) == expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="interpreters with a GIL of their own came with Python 3.12")
def test_an_interpreter_with_its_own_gil_is_refused_by_python():
    alone = MAKE.replace('("legacy",)', '("isolated",)').replace('"isolated": False', '"isolated": True')
    assert lines(f"{alone}\nrun(IMPORT)") == ["module fastnn._core does not support loading in subinterpreters"]
