"""The code is written in plain technical English: what CONTRIBUTING.md asks of names, docstrings and documents."""

import ast
import collections
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
SOURCES = [
    name
    for name in TRACKED
    if name.endswith(".py") and "/migrations/" not in name and not re.search(r"(^|/)tests/", name)
]
# A docstring begins with a verb or with the noun that is returned, so none of these is its first word.
FUNCTION_WORDS = """
of what whether where as by in with without none nothing those whose who whoever how to at from on for that which
under among between until after before above below up if because since never nobody no so such
"""
# First words that are a function word for a reason: `module.function: reason`.
EXCEPTIONS: dict[str, str] = {}
MOST_MODULES = 3
# Names that stand in more modules, because they are one interface.
INTERFACES = {
    "Command": "Django's management commands",
    "Meta": "Django's inner class",
    "Sandbox": "the protocol, and each engine's own",
    "main": "the entry of a program",
    "measure": "each bench's own measurement, called by `python -m bench`",
    "play": "each part of the demo plays by it",
    "send": "each kind of channel sends by it",
}
LONGEST_LINE = 120


def documented(source):
    """Yield the name and docstring of a module and of everything in it."""
    for node in ast.walk(ast.parse((ROOT / source).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", "module"), text


def begins_with_function_word(docstring):
    return docstring.split()[0].strip("`,.:;\"'").lower() in FUNCTION_WORDS.split()


@pytest.mark.parametrize("first", ["Of", "whether", "`None`:", "Where,"])
def test_function_word_is_recognised_in_any_dress(first):
    assert begins_with_function_word(f"{first} the rest.")


def test_no_docstring_begins_with_a_function_word():
    found = [
        f"{source}: {name}: {text.splitlines()[0]}"
        for source in SOURCES
        for name, text in documented(source)
        if begins_with_function_word(text) and f"{source}.{name}" not in EXCEPTIONS
    ]
    assert found == []


def test_no_top_level_name_stands_in_more_than_three_modules():
    modules = collections.defaultdict(list)
    for source in SOURCES:
        for node in ast.parse((ROOT / source).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(source)
    homonyms = {name: found for name, found in modules.items() if len(found) > MOST_MODULES and name not in INTERFACES}
    assert homonyms == {}


def test_lines_of_documents_stay_short():
    documents = [name for name in TRACKED if name.endswith(".md") and "/vendor/" not in name]
    long = [
        f"{name}:{number}"
        for name in documents
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LONGEST_LINE and not line.lstrip().startswith("|")
    ]
    assert long == []
