"""Metadata of a release: one version, absolute links, URLs, and no requirement that only developers have."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import fastnn as fnn

tomllib = pytest.importorskip("tomllib", reason="the release tools need Python 3.11")

from release import prepare, trial  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
FACTS = prepare.Facts("1.2.3", "https://example.org/someone/fastnn", "[1.2.3] - 2026-01-02")


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_stands_in_one_place():
    assert prepare.Facts.read().version == fnn.__version__
    assert pyproject()["project"]["dynamic"] == ["version"]
    for crate in ("core", "python"):
        cargo = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text(encoding="utf-8"))
        assert cargo["package"]["version"] == {"workspace": True}


def test_the_changelog_begins_with_the_version_at_hand():
    facts = prepare.Facts.read()
    assert replace(facts, repository="https://example.org/a/b").problems() == []


@pytest.mark.parametrize(
    ("change", "tag", "expected"),
    [
        ({}, "v1.2.3", []),
        (
            {"repository": ""},
            None,
            ["pyproject.toml: expected the project's address as `repository` in [tool.release]; got none"],
        ),
        (
            {"repository": "example.org/a/b"},
            None,
            ["pyproject.toml: expected `repository` to begin with https://; got 'example.org/a/b'"],
        ),
        ({}, "v1.2.4", ["expected the tag v1.2.3, for the version of Cargo.toml; got v1.2.4"]),
        ({"section": "[1.2.3] - unreleased"}, None, []),
        (
            {"section": "[1.2.3] - unreleased"},
            "v1.2.3",
            ["CHANGELOG.md: expected the date of the release in its first section; got [1.2.3] - unreleased"],
        ),
        (
            {"section": "[1.2.2] - 2026-01-02"},
            None,
            ["CHANGELOG.md: expected [1.2.3], the version of Cargo.toml, on top; got [1.2.2] - 2026-01-02"],
        ),
    ],
)
def test_what_stands_in_the_way_of_a_release(change, tag, expected):
    assert replace(FACTS, **change).problems(tag) == expected


def test_links_become_absolute():
    text = (
        "[a](docs/a.md#b) ![p](docs/p.png) [out](https://x.org/y) [here](#top)\n"
        "```\n[code](docs/a.md)\n```\n[end](LICENSE-MIT)\n"
    )  # fmt: skip
    at = "https://example.org/someone/fastnn"
    assert prepare.absolute_links(text, FACTS) == (
        f"[a]({at}/blob/v1.2.3/docs/a.md#b) ![p]({at}/raw/v1.2.3/docs/p.png) [out](https://x.org/y) [here](#top)\n"
        f"```\n[code](docs/a.md)\n```\n[end]({at}/blob/v1.2.3/LICENSE-MIT)\n"
    )


def test_a_prepared_tree_has_urls_and_no_relative_links(tmp_path):
    for name in ("pyproject.toml", "README.md"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    prepare.prepare(tmp_path, FACTS)
    once = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    project = tomllib.loads(once["pyproject.toml"])
    assert project["project"]["urls"] == FACTS.urls()
    without = {key: value for key, value in project["project"].items() if key != "urls"}
    assert {**project, "project": without} == pyproject()
    assert not re.findall(r"\]\((?!https://)[^)]*\)", once["README.md"])
    prepare.prepare(tmp_path, FACTS)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == once


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [path for _, _, path in prepare.LINK.findall(text)]
    assert len(links) > 4
    assert [path for path in links if not (ROOT / path.partition("#")[0]).exists()] == []


def test_tools_of_developers_are_no_extras():
    project = pyproject()
    assert set(project["project"]["optional-dependencies"]) == {"images", "plot"}
    assert set(project["dependency-groups"]) >= {"build", "peers", "release", "test"}


def test_differences_name_the_run_and_both_files():
    def made(name: str, digest: str) -> trial.Trial:
        return trial.Trial(name, {"hashes": {"images": digest, "regress": "same"}})

    assert trial.differences([made("a.whl", "1"), made("b.whl", "1")]) == []
    assert trial.differences([made("a.whl", "1"), made("b.whl", "2")]) == [
        "images: expected the same weights everywhere; got {'1': 'a.whl', '2': 'b.whl'}"
    ]
