"""Name damaged tables and indexes by what pg_amcheck prints, without what it says of their rows."""

from __future__ import annotations

from pathlib import Path

from backups.drills.postgresql.amcheck import find_problems

PRINTED = """\
btree index "vigie_drill_00.public.a_pkey":
    ERROR:  line pointer points past end of tuple space in index "a_pkey"
heap table "vigie_drill_00.public.b c", block 0, offset 1:
    line pointer redirection to item at offset 21000 exceeds maximum
heap table "vigie_drill_00.public.b c", block 0, offset 2, attribute 3:
    attribute with value 'secret' is odd
"""


def test_damaged_tables_and_indexes_are_named_once(tmp_path: Path) -> None:
    program = tmp_path / "pg_amcheck"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{PRINTED}END\nexit 2\n")
    program.chmod(0o755)
    assert list(find_problems(program, ["--host", "/x"], ["vigie_drill_00"], 60)) == [
        {"code": "object_damaged", "kind": "btree index", "name": "public.a_pkey"},
        {"code": "object_damaged", "kind": "heap table", "name": "public.b c"},
    ]


def test_nothing_is_found_without_the_program(tmp_path: Path) -> None:
    assert list(find_problems(tmp_path / "pg_amcheck", [], ["x"], 60)) == []
