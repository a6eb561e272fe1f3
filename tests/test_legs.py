"""Tests that `make test` runs on each database."""

import ast
import re
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock

import pytest

from tests import legs

ROOT = Path(__file__).parent.parent
# What SQLite and PostgreSQL do differently: a test of it belongs on both.
DIFFERS = re.compile(
    r"transaction=True|transactional_db|live_server|select_for_update|atomic\(|IntegrityError|OperationalError"
    r"|connection\.|cursor\(|\.raw\(|RawSQL|explain\(|JSONField|queryset|migrat|threading|Popen|__i?contains|__regex"
)


class Marked(NamedTuple):
    """A module, class or function marked for one database, without its tests that run on each."""

    where: str
    source: str
    reason: str
    despite: tuple[str, ...]


def marks(node, name):
    """Return the calls `pytest.mark.NAME(...)`, or the bare mark, among the decorators or in a `pytestmark`."""
    within = node.decorator_list if hasattr(node, "decorator_list") else [node.value]
    return [
        each
        for part in within
        for each in ast.walk(part)
        if ast.unparse(each.func if isinstance(each, ast.Call) else each) == f"pytest.mark.{name}"
    ]


def marked_in(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    own = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"]
    not_ours = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    not_ours += [node for node in functions if marks(node, "each_database")]
    for node in [*own, *functions]:
        for mark in marks(node, "one_database"):
            if isinstance(mark, ast.Call):
                source = text if node in own else ast.get_source_segment(text, node)
                for other in not_ours:
                    source = source.replace(ast.get_source_segment(text, other), "")
                given = {word.arg: ast.literal_eval(word.value) for word in mark.keywords}
                reason = "".join(map(ast.literal_eval, mark.args))
                yield Marked(f"{path.relative_to(ROOT)}:{node.lineno}", source, reason, given.get("despite", ()))


@pytest.fixture(scope="module")
def marked():
    paths = [path for folder in legs.paths_of_tests() for path in sorted((ROOT / folder).rglob("test_*.py"))]
    return [each for path in paths if "one_database" in path.read_text(encoding="utf-8") for each in marked_in(path)]


def test_tests_for_one_database_have_a_reason(marked):
    assert len(marked) > 10
    assert [each.where for each in marked if not each.reason] == []


def test_no_test_for_one_database_touches_what_differs_between_them(marked):
    found = [
        f"{each.where}: {match}"
        for each in marked
        for match in sorted(set(DIFFERS.findall(each.source)) - {*each.despite})
    ]
    assert "\n".join(found) == ""


def test_no_test_is_skipped_for_its_database():
    skips = re.compile(r"skip\w*\([^)]*(?:vendor|SQLite|PostgreSQL)|vendor\b.*:\n\s+(?:pytest\.)?skip\(", re.IGNORECASE)
    paths = [path for folder in legs.paths_of_tests() for path in (ROOT / folder).rglob("test_*.py")]
    assert [str(path) for path in paths if skips.search(path.read_text(encoding="utf-8"))] == []


def test_tests_that_make_a_database_of_their_own_run_on_each():
    own = re.compile(r"^from portal\.tests\.helpers\.portal_process import .*\bdatabase\b", re.MULTILINE)
    paths = [path for folder in legs.paths_of_tests() for path in (ROOT / folder).rglob("test_*.py")]
    found = {path: text for path in paths if own.search(text := path.read_text(encoding="utf-8"))}
    assert len(found) > 3
    assert [
        str(path)
        for path, text in found.items()
        if not re.search(r"mark\.(each_database|one_database|postgresql)", text)
    ] == []


@pytest.mark.parametrize("given", [["agents", "-k", "replay"], ["tests/test_legs.py::test_x"]])
def test_named_paths_run_as_they_are_on_both_databases(given):
    assert legs.arguments(given, is_second=False) == legs.arguments(given, is_second=True) == given


@pytest.mark.parametrize("given", [[], ["-x"], ["-k", "replay"]])
def test_suite_runs_in_workers_and_on_postgresql_without_what_cannot_differ(given):
    first, second = (legs.arguments(given, is_second=is_second) for is_second in (False, True))
    assert "-n" in first
    assert "-n" in second
    assert "--what-databases-differ-in" not in first
    assert "--what-databases-differ-in" in second
    assert [first[-len(given) :], second[-len(given) :]] == [given, given] or not given


@pytest.mark.parametrize("is_compiled", [False, True])
def test_modules_are_compiled_by_one_process_before_the_first_run(monkeypatch, tmp_path, is_compiled):
    collecting = Mock(return_value=nullcontext(Mock()))
    monkeypatch.setattr(legs, "pytest_process", collecting)
    monkeypatch.setattr(legs, "COMPILED", tmp_path if is_compiled else tmp_path / "compiled")
    legs.compile_once()
    assert [call.args[0] for call in collecting.call_args_list] == ([] if is_compiled else [["--collect-only"]])
