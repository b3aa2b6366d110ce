"""Check everything that would be published: ``python -m release.check``, called by ``make release-check``.

Builds the wheels that this machine can build, and the source distribution, from a copy of the tree with the release's
metadata; installs each in a fresh environment; runs ``tests/smoke.py`` there; compares the weights' hashes; prints
sizes, and what could not be built or run here. Any difference or failure makes it fail.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from release import artifacts, prepare, trial
from release.artifacts import Artifact

WORK = prepare.ROOT / "target" / "release-check"


def copy_tree(root: Path, to: Path) -> None:
    """Copy all files that git tracks or would track, as they are now."""
    if to.exists():
        shutil.rmtree(to)
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)


def check_metadata(made: list[Artifact]) -> list[str]:
    """Check that the index would take the files and render their description."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *(str(artifact.path) for artifact in made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [] if done.returncode == 0 else [f"twine check --strict:\n{done.stdout}{done.stderr}"]
    wheels = [str(artifact.path) for artifact in made if artifact.is_wheel]
    command = [sys.executable, str(prepare.ROOT / "tests" / "check_wheel.py"), *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return found if done.returncode == 0 else [*found, done.stderr.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m release.check", description=__doc__)
    parser.add_argument("--repository", default="", help="address to put into the metadata if pyproject.toml has none")
    parser.add_argument("--dist", type=Path, help="check the files of this folder, instead of building them")
    options = parser.parse_args()
    facts = prepare.Facts.read()
    if options.repository and not facts.repository:
        facts = replace(facts, repository=options.repository.rstrip("/"))
    failures = facts.problems()

    skipped: list[str] = []
    if options.dist is None:
        tree, dist = WORK / "tree", WORK / "dist"
        copy_tree(prepare.ROOT, tree)
        if facts.repository:
            prepare.prepare(tree, facts)
        shutil.rmtree(dist, ignore_errors=True)
        # Beside the tree, which is new every time.
        os.environ["CARGO_TARGET_DIR"] = str(WORK / "build")
        skipped += artifacts.build_all(tree, dist)
    else:
        dist = options.dist
    made = artifacts.found(dist)
    if not made:
        sys.exit(f"release-check: expected wheels in {dist}; got none")

    failures += check_metadata(made)
    results = trial.run_all(made, WORK / "env")
    failures += [*results.failures, *trial.differences(results.trials)]

    rows = [f"  {artifact.path.name}: {artifact.path.stat().st_size / 1e6:.2f} MB" for artifact in made]
    rows += ["", *(f"  {one.describe()}" for one in results.trials), ""]
    rows += [f"  not built or run here: {text}" for text in [*skipped, *results.skipped]]
    sys.stdout.write("\n".join(rows) + "\n")
    if failures:
        sys.exit("release-check: not ready\n" + "\n".join(f"- {failure}" for failure in failures))
    sys.stdout.write(f"release-check: {len(made)} files, {len(results.trials)} trials, the same weights in all\n")


if __name__ == "__main__":
    main()
