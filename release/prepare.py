"""Prepare the sources for a release: fill in the project's URLs, and make the README's links absolute.

``python -m release.prepare --tag v1.2.3`` rewrites ``pyproject.toml`` and ``README.md`` in place, as the release
workflow does in its fresh checkout. It refuses if the project has no repository, or if tag, version and changelog
differ.
The version is that of ``Cargo.toml``, the repository that of ``[tool.release]`` in ``pyproject.toml``.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Relative targets of Markdown links and images; an anchor within the page is none.
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
URLS = re.compile(r"^\[project\.urls\]\n(?:[^\[\n].*\n)*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Facts:
    """Metadata of a release, known before it is built.

    Args:
        version: Version of the workspace in ``Cargo.toml``.
        repository: Address of the project, or ``""``.
        section: Heading of the newest section of the changelog, without ``##``.
    """

    version: str
    repository: str
    section: str

    @classmethod
    def read(cls, root: Path = ROOT) -> Facts:
        cargo = tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        sections = re.findall(r"^## (.*)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
        repository = project["tool"]["release"]["repository"] or os.environ.get("REPOSITORY", "")
        return cls(cargo["workspace"]["package"]["version"], repository.rstrip("/"), sections[0] if sections else "")

    def problems(self, tag: str | None = None) -> list[str]:
        """Return the obstacles to a release; of one with this tag, if there is one already."""
        found = []
        if not self.repository:
            found.append("pyproject.toml: expected the project's address as `repository` in [tool.release]; got none")
        elif not re.fullmatch(r"https://[^\s/]+/\S+", self.repository):
            found.append(f"pyproject.toml: expected `repository` to begin with https://; got {self.repository!r}")
        if not re.fullmatch(rf"\[{re.escape(self.version)}\] - (unreleased|\d{{4}}-\d\d-\d\d)", self.section):
            found.append(
                f"CHANGELOG.md: expected [{self.version}], the version of Cargo.toml, on top; got {self.section}"
            )
        if tag is not None and tag != f"v{self.version}":
            found.append(f"expected the tag v{self.version}, for the version of Cargo.toml; got {tag}")
        if tag is not None and self.section.endswith("unreleased"):
            found.append(f"CHANGELOG.md: expected the date of the release in its first section; got {self.section}")
        return found

    def urls(self) -> dict[str, str]:
        at = f"{self.repository}/blob/v{self.version}"
        return {
            "Homepage": self.repository,
            "Documentation": f"{at}/README.md",
            "Source": self.repository,
            "Issues": f"{self.repository}/issues",
            "Changelog": f"{at}/CHANGELOG.md",
        }


def absolute_links(text: str, facts: Facts) -> str:
    """Rewrite relative links and images of a Markdown page, except in fenced code."""

    def target(match: re.Match[str]) -> str:
        image, label, path = match.groups()
        kind = "raw" if image else "blob"
        return f"{image}[{label}]({facts.repository}/{kind}/v{facts.version}/{path})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(target, part) for part in parts)


def with_urls(pyproject: str, facts: Facts) -> str:
    """Give a ``pyproject.toml`` the table of URLs, in place of one that it has."""
    table = "[project.urls]\n" + "".join(f'{label} = "{url}"\n' for label, url in facts.urls().items()) + "\n"
    before, heading, after = URLS.sub("", pyproject).partition("[project.optional-dependencies]\n")
    if not heading:
        raise ValueError("pyproject.toml: expected a table [project.optional-dependencies]; got none")
    return before + table + heading + after


def prepare(root: Path, facts: Facts) -> None:
    """Rewrite the two files of the tree at ``root``; a second time changes nothing."""
    for name, change in (("pyproject.toml", with_urls), ("README.md", absolute_links)):
        path = root / name
        path.write_text(change(path.read_text(encoding="utf-8"), facts), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m release.prepare", description=__doc__)
    parser.add_argument("--tag", help="tag of the release, such as v1.2.3")
    options = parser.parse_args()
    facts = Facts.read()
    if problems := facts.problems(options.tag):
        sys.exit("\n".join(problems))
    prepare(ROOT, facts)
    sys.stdout.write(f"version {facts.version}, {facts.repository}\n")


if __name__ == "__main__":
    main()
