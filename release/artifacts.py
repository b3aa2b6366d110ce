"""The files of a release: which are built on this machine, and how."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from release.prepare import ROOT

# Newest glibc (2.17) and musl (1.2) whose symbols a wheel may use.
MANYLINUX, MUSLLINUX = "manylinux2014", "musllinux_1_2"
# Folder of the tools that build and run programs for ARM.
ARM = ROOT / "target" / "arm"
MUSL_TARGET = "x86_64-unknown-linux-musl"


@dataclass(frozen=True)
class Artifact:
    """A wheel or a source distribution."""

    path: Path

    @property
    def is_wheel(self) -> bool:
        return self.path.suffix == ".whl"

    @property
    def is_musl(self) -> bool:
        return "musllinux" in self.path.name

    @property
    def machine(self) -> str:
        """Processor architecture that the file is for; that of this machine for sources."""
        match = re.search(r"_(x86_64|aarch64|arm64|amd64)\.whl$", self.path.name)
        return match[1] if match else platform.machine()


def found(dist: Path) -> list[Artifact]:
    return [Artifact(path) for path in sorted([*dist.glob("*.whl"), *dist.glob("*.tar.gz")])]


def build_all(tree: Path, dist: Path) -> list[str]:
    """Build what this machine can build, and return what it cannot.

    Raises:
        subprocess.CalledProcessError: A build failed.
    """
    skipped = []
    _maturin(tree, "sdist", "--out", str(dist))
    wheel = ("build", "--release", "--locked", "--compression-level", "9", "--out", str(dist))
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        _maturin(tree, *wheel, "--zig", "--compatibility", MANYLINUX)
        if _has_target(MUSL_TARGET):
            # Any interpreter will do: the wheel is for the stable ABI.
            musl = ("--zig", "--target", MUSL_TARGET, "--compatibility", MUSLLINUX, "--interpreter", sys.executable)
            _maturin(tree, *wheel, *musl)
        else:
            skipped.append(f"musllinux wheel; `rustup target add {MUSL_TARGET}` brings what it needs")
    else:
        _maturin(tree, *wheel)
    skipped += _build_arm(tree, dist)
    return skipped


def _build_arm(tree: Path, dist: Path) -> list[str]:
    """Build the ARM wheel as `make wheel-arm` does, but from the tree."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return []
    script = tree / "tests" / "arm" / "run.sh"
    if not script.is_file():
        return ["manylinux wheel for aarch64"]
    subprocess.run([str(script), str(ARM), "wheel"], check=True, stdout=sys.stderr)
    for wheel in (ARM / "dist").glob("*.whl"):
        shutil.copy(wheel, dist)
    return []


def _has_target(target: str) -> bool:
    command = ["rustc", "--print", "target-libdir", "--target", target]
    libdir = subprocess.run(command, capture_output=True, text=True, check=False)
    return libdir.returncode == 0 and any(Path(libdir.stdout.strip()).glob("libstd-*.rlib"))


def _maturin(tree: Path, *arguments: str) -> None:
    # It looks for zig by the first Python of `PATH`. Standard output is for the report.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "maturin", *arguments]
    subprocess.run(command, cwd=tree, check=True, stdout=sys.stderr, env={**os.environ, "PATH": path})
