"""No value of a row reaches the record of a drill, the command's output, logs, messages or the audit."""

from __future__ import annotations

from bisect import bisect_right
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from backups.drills.tests import mysql_factories, test_hostile_sqlite, test_postgresql
from backups.drills.tests.dumps import store
from backups.models import DrillAssertion, RestoreDrill
from tests.canaries import CANARY, everything_kept, everything_logged

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have databases of their own")]
# A word of the schema, which is kept, but is in no error.
LABEL = "L4BEL"
WORDS = {b"CANARY": CANARY.encode(), b"LABEL": LABEL.encode()}

# The statements of a dump after the table `a`, and whether they fail. A quote that isn't closed is in the last one.
SQLITE: list[tuple[bytes, bool]] = [
    (b"INSERT INTO a VALUES(2,'CANARY'),(3,'CANARY');", False),
    (b"-- CANARY\n/* CANARY */ INSERT INTO a VALUES(4,'CANARY');", False),
    (b"INSERT INTO a VALUES(1,'CANARY');", True),
    (b"INSERT INTO a VALUES('CANARY',1);", True),
    (b"INSERT INTO a VALUES(5,'CANARY','CANARY');", True),
    (b"INSERT INTO a VALUES(5,CANARY);", True),
    (b"INSERT INTO a VALUES(5,'CANARY\xff');", False),
    (b"INSERT INTO a VALUES(5,json('CANARY'));", True),
    (b"CREATE TABLE c(t CHECK(length(t) < 3)); INSERT INTO c VALUES('CANARY');", True),
    (b"CREATE TABLE d(i INTEGER DEFAULT 'LABEL') STRICT; INSERT INTO d VALUES('CANARY');", True),
    (b"INSERT INTO d DEFAULT VALUES;", True),
    (b"CREATE TABLE g(t, u AS (json_extract(t, '$')) STORED); INSERT INTO g VALUES('CANARY');", True),
    (b"CREATE TRIGGER r BEFORE INSERT ON a WHEN NEW.i = 6 BEGIN SELECT RAISE(ABORT, 'LABEL'); END;", False),
    (b"INSERT INTO a VALUES(6,'CANARY');", True),
    (b"CREATE INDEX e ON a(json_extract(t, '$'));", True),
    (b"CREATE UNIQUE INDEX u ON a(t);", True),
    (b"CREATE TABLE m AS SELECT json(t) FROM a;", True),
    (b"UPDATE a SET t = json(t);", True),
    (b"'CANARY', 5);", True),
    (b"CANARY 5;", True),
]  # fmt: skip
POSTGRESQL: list[tuple[bytes, bool]] = [
    (b"COPY a FROM stdin;\n2\tCANARY\n3\tCANARY\n\\.\n", False),
    (b"-- CANARY\nINSERT /* CANARY */ INTO a VALUES (4, 'CANARY');", False),
    (b"COMMENT ON TABLE a IS 'LABEL';", False),
    (b"COPY a FROM stdin;\n1\tx\n1\tCANARY\n\\.\n", True),
    (b"COPY a FROM stdin;\nCANARY\tx\n\\.\n", True),
    (b"COPY a FROM stdin;\n5\tCANARY\tCANARY\n\\.\n", True),
    (b"COPY a FROM stdin;\n5\n\\.\n", True),
    (b"COPY a FROM stdin;\n5\tCANARY\xff\n\\.\n", True),
    (b"COPY canary FROM stdin;\n5\tCANARY\n\\.\n", True),
    (b"INSERT INTO a VALUES (1, 'CANARY');", True),
    (b"INSERT INTO a VALUES ('CANARY', 'x');", True),
    (b"INSERT INTO a VALUES (5, CANARY);", True),
    (b"INSERT INTO a VALUES (5, \"CANARY\");", True),
    (b"INSERT INTO a VALUES (5, 'CANARY\xff');", True),
    (b"INSERT INTO a VALUES (5, 'CANARY'::json);", True),
    (b"CREATE TABLE c (t text CHECK (length(t) < 3), v varchar(3), d date);", False),
    (b"INSERT INTO c VALUES ('CANARY');", True),
    (b"INSERT INTO c (v) VALUES ('CANARY');", True),
    (b"INSERT INTO c (d) VALUES ('CANARY');", True),
    (b"CREATE TABLE d (i integer DEFAULT 'LABEL');", True),
    (b"CREATE TYPE e AS ENUM ('LABEL');", False),
    (b"SELECT 'CANARY'::e;", True),
    (b"CREATE TABLE g (t text, u integer GENERATED ALWAYS AS (t::integer) STORED);", False),
    (b"INSERT INTO g VALUES ('CANARY');", True),
    (b"CREATE FUNCTION r() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', NEW.name USING"
     b" DETAIL = NEW.name, HINT = NEW.name, COLUMN = NEW.name, CONSTRAINT = NEW.name, DATATYPE = NEW.name,"
     b" TABLE = NEW.name, SCHEMA = NEW.name; END $$;", False),
    (b"CREATE TRIGGER r BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION r();", False),
    (b"UPDATE a SET name = 'CANARY';", True),
    (b"CREATE FUNCTION f(s text) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING"
     b" ERRCODE = '42P01', MESSAGE = s; END $$;", False),
    (b"SELECT f(name) FROM a;", True),
    (b"CREATE INDEX i ON a (f(name));", True),
    (b"ALTER TABLE a ADD CHECK (f(name) > 0);", True),
    (b"CREATE MATERIALIZED VIEW m AS SELECT f(name) FROM a;", True),
    (b"CREATE TABLE t AS SELECT f(name) FROM a;", True),
    (b"ALTER TABLE a ALTER name TYPE integer USING name::integer;", True),
    (b"CREATE UNIQUE INDEX u ON a (name);", True),
    (b"ALTER TABLE a ADD CONSTRAINT k CHECK (length(name) < 3);", True),
    (b"ALTER TABLE a ADD CONSTRAINT n UNIQUE (name);", True),
    (b"CREATE TABLE b (name text REFERENCES a (id));", True),
    (b"DO $$ BEGIN RAISE NOTICE 'CANARY'; RAISE WARNING 'CANARY'; END $$;", False),
    (b"DO $$ BEGIN PERFORM 'CANARY'::integer; END $$;", True),
    (b"SELECT set_config('search_path', name, false), 1/0 FROM a;", True),
    (b"\\echo CANARY\n", True),
    (b"CANARY 5;", True),
    (b"INSERT INTO a VALUES (6, 'CANARY', 'CANARY);", True),
]  # fmt: skip
MARIADB: list[tuple[bytes, bool]] = [
    (b"DELETE FROM a WHERE id = 2; INSERT INTO a VALUES (3,'CANARY'),(4,'CANARY');", False),
    (b"-- CANARY\nINSERT INTO a /* CANARY */ VALUES (5,'CANARY');", False),
    (b"INSERT INTO a VALUES (1,'CANARY');", True),
    (b"INSERT INTO a VALUES ('CANARY','x');", True),
    (b"INSERT INTO a VALUES (6,CANARY);", True),
    (b"INSERT INTO a VALUES (6,`CANARY`);", True),
    (b"INSERT INTO a VALUES (6,'CANARY\xff');", True),
    (b"INSERT INTO a VALUES (6,'CANARY','CANARY');", True),
    (b"CREATE TABLE c (t text CHECK (length(t) < 3), v varchar(3), d date, j text CHECK (json_valid(j)));", False),
    (b"INSERT INTO c (t) VALUES ('CANARY');", True),
    (b"INSERT INTO c (v) VALUES ('CANARY');", True),
    (b"INSERT INTO c (d) VALUES ('CANARY');", True),
    (b"INSERT INTO c (j) VALUES ('CANARY');", True),
    (b"CREATE TABLE d (i int DEFAULT 'LABEL');", True),
    (b"CREATE TABLE e (e enum('LABEL') COMMENT 'LABEL'); INSERT INTO e VALUES ('CANARY');", True),
    (b"CREATE TABLE g (t text, u int AS (CAST(t AS int)) STORED); INSERT INTO g (t) VALUES ('CANARY');", True),
    (b"CREATE TRIGGER r BEFORE UPDATE ON a FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = NEW.name,"
     b" MYSQL_ERRNO = 1146, TABLE_NAME = NEW.name;", False),
    (b"UPDATE a SET name = 'CANARY';", True),
    (b"SELECT CAST(name AS date) FROM a WHERE ST_GeomFromText(name) IS NULL;", False),
    (b"SELECT EXTRACTVALUE(name, name), UPDATEXML(name, '//', name) FROM a;", True),
    (b"SET @x = (SELECT name FROM a);", True),
    (b"SET sql_mode = (SELECT MAX(name) FROM a);", True),
    (b"ALTER TABLE a ADD UNIQUE (name(9));", True),
    (b"ALTER TABLE a MODIFY name int;", True),
    (b"ALTER TABLE a ADD CHECK (length(name) < 3);", True),
    (b"ALTER TABLE a ADD k date AS (CAST(name AS date)) STORED;", True),
    (b"DELIMITER //\nCREATE FUNCTION f(s text) RETURNS int BEGIN SIGNAL SQLSTATE '42S02' SET MESSAGE_TEXT = s; RETURN 1;"
     b" END//\nDELIMITER ;", False),
    (b"SELECT f(name) FROM a;", True),
    (b"\\! CANARY\n", True),
    (b"CANARY 5;", True),
    (b"INSERT INTO a VALUES (6,'CANARY' 'CANARY;", True),
]  # fmt: skip
# Their statements, the beginning, the end, and the column of the values.
DUMPS: dict[str, tuple[list[tuple[bytes, bool]], bytes, bytes, str]] = {
    "sqlite": (SQLITE, test_hostile_sqlite.HEAD.replace(b"Anna", b"CANARY"), test_hostile_sqlite.END, "t"),
    "postgresql": (
        POSTGRESQL, test_postgresql.HEAD + test_postgresql.TABLE + b"INSERT INTO a VALUES (1, 'CANARY');\n",
        test_postgresql.END, "name",
    ),
    "mariadb": (
        MARIADB, mysql_factories.HEAD + mysql_factories.TABLE.replace(b"Anna", b"CANARY"), mysql_factories.END, "name",
    ),
}  # fmt: skip


def plant(statements: bytes) -> bytes:
    for word, planted in WORDS.items():
        statements = statements.replace(word, planted)
    return statements


def run_command(*arguments: str) -> str:
    output = StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("drill", *arguments, stdout=output, stderr=output)
    return f"{output.getvalue()}{failed.value}"


@pytest.mark.parametrize("engine", DUMPS)
def test_values_of_rows_are_neither_kept_nor_shown(
    job, request: pytest.FixtureRequest, settings, tmp_path: Path, caplog, capfd, engine: str
) -> None:
    settings.DRILL_POSTGRES_URL = request.getfixturevalue("postgres_18") if engine == "postgresql" else ""
    settings.DRILL_MYSQL_URL = request.getfixturevalue("mariadb") if engine == "mariadb" else ""
    statements, head, end, column = DUMPS[engine]
    parts = [plant(statement) + b"\n" for statement, _fails in statements]
    first_lines = [head.count(b"\n") + 1 + b"".join(parts[:number]).count(b"\n") for number in range(len(parts))]
    path = tmp_path / "dump.sql"
    path.write_bytes(plant(head) + b"".join(parts) + end)
    store(job, path.read_bytes())
    for query in (f"SELECT max({column}) FROM a", f"SELECT CAST(max({column}) AS integer) FROM a"):
        DrillAssertion.objects.create(job=job, name=query, query=query, comparison="equal", expected="1")

    shown = [
        run_command(*chosen) for chosen in ([], ["--json"], ["--file", str(path)], ["--json", "--file", str(path)])
    ]

    drill = RestoreDrill.objects.latest("pk")
    failed = {bisect_right(first_lines, error["line"]) - 1 for error in drill.errors}
    assert [statements[number][0] for number in sorted(failed)] == [
        statement for statement, fails in statements if fails
    ]
    assert [found["ok"] for found in drill.assertions] == [False, False]
    assert CANARY not in drill.schema
    assert LABEL in drill.schema
    RestoreDrill.objects.update(schema="")
    places = [*shown, *everything_kept(), *everything_logged(caplog, capfd)]
    assert [place for place in places if CANARY in place or LABEL in place] == []
