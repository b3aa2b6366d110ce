"""Language of docstrings, comments and pages: plain openings, American spelling, short lines."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUESTION = re.compile(r"(What|Where|Whether|How|Who|Whoever|Which|Whatever|Whose) (?!else\b)")
MARKERS = {".py": ("#",), ".pyi": ("#",), ".rs": ("///", "//!", "//")}
BRITISH = re.compile(
    r"\w*(colour|behaviour|neighbour|favour|honour|flavour|\bgrey|\bcentre|labell(ed|ing)|modell(ed|ing)|\blearnt\b|artefact|catalogue"
    r"|\btowards\b|\blicence|judgement|programme\b|whilst"
    r"|(normal|initial|optim|vector|parallel|summar|recogn|general|regular|penal|standard|minim|maxim|serial|visual"
    r"|discret|random|quant|organ|emphas|real)is(e[sdr]?|ing|ation|able)\b)\w*",
    re.IGNORECASE,
)
# Lines of British spelling that are names of others.
NAMES = re.compile(r"Greys_r")
WIDTH = 120


def tracked(*suffixes: str) -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("the list of files comes from git")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\n") if name.endswith(suffixes) and (ROOT / name).exists()]


def openings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the first line of every docstring and every block of comments."""
    before = ""
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        text = line.strip()
        for marker in MARKERS[path.suffix]:
            if text.startswith(f"{marker} "):
                if not re.match(rf"{re.escape(marker)}( |$)", before):
                    yield number, text.removeprefix(marker).strip()
                break
        if path.suffix != ".rs" and (match := re.match(r'r?"""(.+)', text)):
            yield number, match[1]
        before = text


def findings(paths: list[Path], found: Iterator[tuple[Path, int, str]]) -> list[str]:
    assert len(paths) > 20, "files to look at"
    return [f"{path.relative_to(ROOT)}:{number}: {text}" for path, number, text in found]


def test_no_text_opens_with_a_question_word() -> None:
    paths = tracked(".py", ".pyi", ".rs")
    lines = ((path, *one) for path in paths for one in openings(path))
    assert findings(paths, (line for line in lines if QUESTION.match(line[2]))) == []


def test_spelling_is_american() -> None:
    paths = [p for p in tracked(".py", ".pyi", ".rs", ".md", ".toml", "Makefile") if p != Path(__file__).resolve()]
    lines = ((p, n, line) for p in paths for n, line in enumerate(p.read_text("utf-8").split("\n"), 1))
    wrong = ((p, n, line.strip()) for p, n, line in lines if BRITISH.search(NAMES.sub("", line)) or "can not" in line)
    assert findings(paths, wrong) == []


def test_lines_of_pages_are_short() -> None:
    """Tables and code are as wide as they need to be."""
    wide: list[tuple[Path, int, str]] = []
    pages = tracked(".md")
    for page in pages:
        code = False
        for number, line in enumerate(page.read_text("utf-8").split("\n"), 1):
            code ^= line.lstrip().startswith("```")
            free = code or line.lstrip().startswith(("|", "![", "[!["))
            # An address cannot be broken.
            if not free and len(re.sub(r"\]\([^)]*\)|https?://\S+", "", line)) > WIDTH:
                wide.append((page, number, line[:60]))
    assert len(pages) > 5
    assert [f"{page.relative_to(ROOT)}:{number}: {text}" for page, number, text in wide] == []


def test_the_checks_find_what_they_look_for() -> None:
    assert QUESTION.match("What a loss is worth.")
    assert not QUESTION.match("Whatsoever")
    for word in ("colour", "Normalise", "unlabelled", "learnt", "penalised", "centre", "greyscale"):
        assert BRITISH.search(word), word
    for word in ("color", "promise", "precise", "otherwise", "revised", "exercise", "labels", "modeling", "realism"):
        assert not BRITISH.search(word), word
