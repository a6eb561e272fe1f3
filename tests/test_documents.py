"""Documents agree with each other: links lead somewhere, and no decision is missing from the series or the index."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRACKED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
DOCUMENTS = [name for name in TRACKED.split() if "/vendor/" not in name]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(document: Path) -> set[str]:
    """Return the fragments that headings of the document have on GitHub."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_relative_links_lead_to_files_and_headings(name: str) -> None:
    document = ROOT / name
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))


def test_index_lists_every_decision_with_its_title() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \|$", index, re.MULTILINE))
    titles = {path: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in DECISIONS}
    assert listed == {(path.name[:4], path.name, title) for path, title in titles.items()}


def glossary() -> list[tuple[str, str]]:
    """Return each term of the glossary with its modules."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^\| (?!term )([^|]+?) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)


def test_glossary_lists_each_term_once_in_order() -> None:
    terms = [term.lower() for term, _ in glossary()]
    assert terms == sorted(set(terms))


def is_module(name: str) -> bool:
    path = name.replace(".", "/")
    return any((ROOT / folder / f"{path}{end}").exists() for folder in ("", "client/src") for end in ("", ".py"))


def test_glossary_names_modules_that_exist() -> None:
    names = [name for _, modules in glossary() for name in re.findall(r"`([\w.]+)`", modules)]
    assert names
    assert [name for name in names if not is_module(name)] == []


def test_architecture_names_modules_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = re.findall(r"`((?:portal|agents|usage|backups|monitoring|beta)(?:\.[a-z_]+)+)`", text)
    assert names
    assert [name for name in names if not is_module(name) and not is_module(name.rpartition(".")[0])] == []
