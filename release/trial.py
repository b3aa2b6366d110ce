"""Trials: a file of the release installed in a fresh environment, where the smoke suite runs.

``python -m release.trial FILE…`` compares what the suite printed on several machines.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from release.artifacts import ARM, Artifact
from release.prepare import ROOT

PYTHONS = tuple(f"python3.{minor}" for minor in range(10, 16))
# The instruction sets of x86 processors, of which each has those before it.
LEVELS = ("portable", "avx2", "avx512")
# Wheels for systems that are not this one: the variable that names an interpreter, that which `make wheel-arm` has
# set up, and the platforms whose wheels it takes.
FOREIGN = {
    "musl": ("MUSL_PYTHON", "", ("musllinux_1_2_x86_64",)),
    "arm": (
        "ARM_PYTHON",
        str(ARM / "tools" / "bin" / "python-arm"),
        ("manylinux2014_aarch64", "manylinux_2_28_aarch64"),
    ),
}


@dataclass(frozen=True)
class Trial:
    """Output of the smoke suite."""

    name: str
    facts: dict[str, Any]

    def describe(self) -> str:
        facts = self.facts
        versions = f"Python {facts['python']}, NumPy {facts['numpy']}, {facts['system']}, {facts['isa']}"
        digests = ", ".join(f"{name} {digest[:8]}" for name, digest in facts["hashes"].items())
        return f"{self.name}: {versions}, {facts['seconds']} s: {digests}"


def differences(trials: Sequence[Trial]) -> list[str]:
    """One line for each run of the smoke suite whose weights are not the same in all trials."""
    found = []
    for run in trials[0].facts["hashes"] if trials else ():
        digests = {trial.facts["hashes"][run]: trial.name for trial in trials}
        if len(digests) > 1:
            found.append(f"{run}: expected the same weights everywhere; got {digests}")
    return found


@dataclass
class Results:
    """All trials, what could not be tried here, and what went wrong."""

    trials: list[Trial] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self, what: str, trial: Callable[[], list[Trial]]) -> None:
        try:
            self.trials += trial()
        except (OSError, subprocess.CalledProcessError) as error:
            self.failures.append(f"{what}: {error}")


def run_all(made: Sequence[Artifact], folder: Path) -> Results:
    """Try every file.

    A wheel for this system is tried with every CPython of ``PATH``, the sources with the one that runs this. For the
    musl and the ARM wheel, ``MUSL_PYTHON`` and ``ARM_PYTHON`` name interpreters that run here.
    """
    results = Results()
    for artifact in made:
        name = artifact.path.name
        if artifact.is_musl or artifact.machine != platform.machine():
            variable, default, _ = FOREIGN["musl" if artifact.is_musl else "arm"]
            python = os.environ.get(variable, "") or shutil.which(default)
            if python:
                results.run(name, partial(_try_foreign, artifact, python, folder))
            else:
                results.skipped.append(f"smoke suite for {name}; {variable} names no interpreter")
            continue
        results.run(name, partial(_try, artifact, sys.executable, folder, levels=artifact.is_wheel))
        for python in _others() if artifact.is_wheel else ():
            results.run(f"{name} with {python}", partial(_try, artifact, python, folder, levels=False))
    return results


def _others() -> list[str]:
    """Interpreters of other versions on ``PATH`` that start and can make environments."""
    found = []
    for name in PYTHONS:
        path = shutil.which(name)
        if path is None or name == f"python3.{sys.version_info.minor}":
            continue
        command = [path, "-c", "import ensurepip, venv"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            found.append(path)
    return found


def _try(artifact: Artifact, python: str, folder: Path, *, levels: bool) -> list[Trial]:
    """Run the smoke suite in a new environment; with ``levels``, on each instruction set that the machine has."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inside = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    pip = [inside, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", str(artifact.path)], check=True)
    subprocess.run([*pip, "check"], check=True, stdout=sys.stderr)
    # `-I`: neither the checkout nor the user's packages are seen.
    best = _smoke(artifact, [inside, "-I"], {})
    lower = LEVELS[: LEVELS.index(best.facts["isa"])] if levels and best.facts["isa"] in LEVELS else ()
    return [best, *(_smoke(artifact, [inside, "-I"], {"FASTNN_ISA": level}) for level in lower)]


def _try_foreign(artifact: Artifact, python: str, folder: Path) -> list[Trial]:
    """Have this machine's pip unpack what the other one's would, and run the smoke suite with that on the path."""
    shutil.rmtree(folder, ignore_errors=True)
    print_version = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", print_version], capture_output=True, text=True, check=True)
    *_, platforms = FOREIGN["musl" if artifact.is_musl else "arm"]
    command = [sys.executable, "-m", "pip", "--quiet", "install", "--target", str(folder), "--only-binary", ":all:"]
    command += ["--python-version", done.stdout.strip(), *(f"--platform={name}" for name in platforms)]
    subprocess.run([*command, str(artifact.path)], check=True)
    return [_smoke(artifact, [python, "-P"], {"PYTHONPATH": str(folder)})]


def _smoke(artifact: Artifact, python: Sequence[str], environment: dict[str, str]) -> Trial:
    command = [*python, str(ROOT / "tests" / "smoke.py")]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, cwd="/", env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Trial(artifact.path.name, json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Compare what the smoke suite printed on several machines, one file each."""
    trials = [Trial(name, json.loads(Path(name).read_text(encoding="utf-8"))) for name in sys.argv[1:]]
    sys.stdout.write("".join(f"{trial.describe()}\n" for trial in trials))
    if len(trials) < 2:
        sys.exit("expected the output of two runs of the smoke suite or more")
    if found := differences(trials):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
