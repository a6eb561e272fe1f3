"""Name damaged tables and indexes by what pg_amcheck prints, without what it says of their rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups.drills.outcomes import Outcome
from backups.drills.postgresql.amcheck import check_for_damage

PRINTED = """\
btree index "vigie_drill_00.public.a_pkey":
    ERROR:  line pointer points past end of tuple space in index "a_pkey"
heap table "vigie_drill_00.public.b c", block 0, offset 1:
    line pointer redirection to item at offset 21000 exceeds maximum
heap table "vigie_drill_00.public.b c", block 0, offset 2, attribute 3:
    attribute with value 'secret' is odd
"""


def write_program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def check(program: Path, seconds: float = 60) -> Outcome:
    outcome = Outcome()
    check_for_damage(outcome, program, ["--host", "/x"], ["vigie_drill_00"], seconds)
    return outcome


def test_damaged_tables_and_indexes_are_named_once(tmp_path: Path) -> None:
    outcome = check(write_program(tmp_path / "pg_amcheck", f"cat <<'END'\n{PRINTED}END\nexit 2"))
    assert (outcome.warnings, outcome.errors) == (
        [],
        [
            {"line": None, "code": "object_damaged", "kind": "btree index", "name": "public.a_pkey"},
            {"line": None, "code": "object_damaged", "kind": "heap table", "name": "public.b c"},
        ],
    )


@pytest.mark.parametrize(("script", "seconds"), [("exit 1", 60), ("kill -9 $$", 60), ("exec sleep 60", 0)])
def test_check_that_fails_or_takes_too_long_is_a_warning(tmp_path: Path, script: str, seconds: float) -> None:
    outcome = check(write_program(tmp_path / "pg_amcheck", script), seconds)
    assert ([warning["code"] for warning in outcome.warnings], outcome.errors) == (["damage_not_checked"], [])


def test_nothing_is_found_without_the_program(tmp_path: Path) -> None:
    outcome = check(tmp_path / "pg_amcheck")
    assert (outcome.warnings, outcome.errors) == ([], [])
