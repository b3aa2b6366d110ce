"""Runs calls of one batch in this process, and writes what became of each as a line of JSON.

``python -m tests.fuzz.child SEED BATCH FIRST COUNT FILE [KIND]``. The line of a call begins before it runs, so that the parent
knows where a process died.
"""

import faulthandler
import gc
import json
import os
import resource
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import fastnn as fnn
from tests.fuzz import judge, values
from tests.fuzz.programs import program

# Bytes of address space, and seconds a call may take.
MEMORY = int(os.environ.get("FUZZ_MEMORY", str(3 << 30)))
PATIENCE = float(os.environ.get("FUZZ_PATIENCE", "30"))


def reset() -> None:
    """Undo what a call may have changed for all later ones."""
    fnn.set_grad_enabled(True)
    fnn.autograd.set_detect_anomaly(False)
    fnn.set_num_threads(2)
    fnn._core.set_own_rng_state(None)
    fnn.manual_seed(0)
    np.random.seed(0)


def run(lines: list[str]) -> judge.Verdict:
    """Run a program."""
    names: dict[str, Any] = {name: getattr(values, name) for name in values.__all__}
    loose: list[BaseException] = []
    sys.unraisablehook = lambda args: loose.append(args.exc_value or RuntimeError("unraisable"))
    threading.excepthook = lambda args: loose.append(args.exc_value or RuntimeError("in a thread"))
    detail = ""
    try:
        exec(compile("\n".join(lines), judge.PROGRAM, "exec"), names)
        verdict = judge.Verdict("returned")
    except BaseException as error:  # noqa: BLE001
        verdict = judge.judge(error)
        detail = judge.explain(error) if verdict.wrong else ""
        error.__traceback__ = None
    names.clear()
    reset()
    if loose and not verdict.wrong:
        verdict = judge.Verdict("unraisable", f"{type(loose[0]).__name__}: raised where nobody catches it", "")
        detail = judge.explain(loose[0])
    return verdict._replace(place=f"{verdict.place}\n{detail}" if verdict.wrong else "")


def main() -> None:
    """Run the calls that the command line names."""
    seed, batch, first, count = (int(word) for word in sys.argv[1:5])
    out = os.open(sys.argv[5], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    kind = sys.argv[6] if len(sys.argv) > 6 else ""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory() as folder:
        values.FOLDER = Path(folder)
        os.chdir(folder)
        reset()
        for index in range(first, first + count):
            lines = program(seed, batch, index, kind)
            os.write(out, f"\n{index} ".encode())
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            began = time.perf_counter()
            verdict = run(lines)
            took = time.perf_counter() - began
            faulthandler.cancel_dump_traceback_later()
            os.write(
                out,
                json.dumps([lines[-2][:100] if len(lines) > 1 else lines[0][:100], *verdict, round(took, 6)]).encode(),
            )
            if index % 50 == 0:
                gc.collect()
        os.write(out, b"\nend")


if __name__ == "__main__":
    main()
