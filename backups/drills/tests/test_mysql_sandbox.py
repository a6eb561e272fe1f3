"""The databases and users of a drill on a server of MariaDB, and what becomes of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count
from typing import Any

import pymysql
import pytest

from backups.drills.assertions import Assertion
from backups.drills.limits import DISK_IS_FULL, Limits
from backups.drills.mysql import errors, sandbox, server
from backups.drills.outcomes import FAILED, PROVEN, UNSUPPORTED, Outcome, QueryFailed, SandboxUnavailable
from backups.drills.recognition import DumpKind
from backups.drills.tests.mysql_factories import TABLE, ask, leftovers, make_dump
from portal.tests.helpers.waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("drills have a server of their own", despite=("OperationalError",)),
]


@pytest.fixture
def restored(restore: Callable[..., Outcome], mariadb: str) -> Callable[..., Outcome]:
    """Restore statements between the first and last lines of a dump."""

    def restored(statements: bytes, *assertions: Any, **given: Any) -> Outcome:
        return restore(make_dump(statements), *assertions, **{"DRILL_MYSQL_URL": mariadb} | given)

    return restored


def test_rows_of_each_table_are_counted_and_nothing_is_left(restored: Any, mariadb: str) -> None:
    outcome = restored(TABLE, Assertion("two", "SELECT count(*) FROM a", "equal", "2"))
    assert (outcome.status, outcome.rows, outcome.errors) == (PROVEN, {"a": 2}, [])
    assert (outcome.engine, outcome.version) == ("mariadb", "10.11.6")
    assert outcome.assertions == [{"name": "two", "ok": True, "value": 2}]
    assert leftovers(mariadb) == []


def test_error_of_a_row_names_the_table_and_no_value(restored: Any) -> None:
    outcome = restored(TABLE + b"INSERT INTO `a` VALUES (1,'secret');\n")
    assert outcome.status == FAILED
    assert outcome.errors == [{"line": 7, "message": "INSERT `a`: ER_DUP_ENTRY"}]


def test_server_that_cannot_be_reached_is_no_failure_of_the_dump(restored: Any) -> None:
    with pytest.raises(SandboxUnavailable, match="Can't connect to MySQL server on"):
        restored(TABLE, DRILL_MYSQL_URL="mysql://root:se%40cret@127.0.0.1:1")


def test_refusal_does_not_show_the_password(restored: Any, mariadb: str) -> None:
    with pytest.raises(SandboxUnavailable, match="Access denied for user 'root'") as caught:
        restored(TABLE, DRILL_MYSQL_URL=mariadb.replace("root@", "root:se%40cret@"))
    assert "cret" not in str(caught.value)


def test_without_an_address_the_dump_is_unsupported(restored: Any) -> None:
    assert restored(TABLE, DRILL_MYSQL_URL="").status == UNSUPPORTED


def test_administrator_needs_few_privileges(restored: Any, mariadb: str) -> None:
    ask(mariadb, "CREATE USER operator@localhost IDENTIFIED BY 'a:b/c%d'")
    ask(mariadb, "GRANT CREATE USER, PROCESS ON *.* TO operator@localhost")
    ask(mariadb, "GRANT ALL ON `vigie\\_drill\\_%`.* TO operator@localhost WITH GRANT OPTION")
    outcome = restored(TABLE, DRILL_MYSQL_URL=mariadb.replace("root@", "operator:a%3Ab%2Fc%25d@"))
    ask(mariadb, "DROP USER operator@localhost")
    assert (outcome.status, outcome.rows) == (PROVEN, {"a": 2})
    assert outcome.size > 0


UNSAFE: dict[str, tuple[list[str], list[str]]] = {
    "databases_open_to_all": (
        ["CREATE DATABASE open_to_all", "GRANT SELECT ON open_to_all.* TO PUBLIC"],
        ["DROP DATABASE open_to_all", "REVOKE SELECT ON open_to_all.* FROM PUBLIC"],
    ),
    "engines_reach_outside": (["INSTALL SONAME 'ha_federatedx'"], ["UNINSTALL SONAME 'ha_federatedx'"]),
    "functions_of_libraries": (
        ["INSERT INTO mysql.func VALUES ('sys_exec', 2, 'lib_mysqludf_sys.so', 'function')"], ["DELETE FROM mysql.func"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", UNSAFE)
def test_server_that_reaches_outside_the_databases_of_a_drill_is_refused(
    restored: Any, mariadb: str, code: str
) -> None:
    preparing, undoing = UNSAFE[code]
    try:
        for statement in preparing:
            ask(mariadb, statement)
        with pytest.raises(SandboxUnavailable, match=code):
            restored(TABLE)
    finally:
        for statement in undoing:
            ask(mariadb, statement)
    assert leftovers(mariadb) == []


# It runs as the user that restores.
WRITING_VIEW = b"""DELIMITER //
CREATE FUNCTION f() RETURNS int BEGIN DELETE FROM a; RETURN 1; END//
DELIMITER ;
CREATE VIEW v AS SELECT f();
"""


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("DELETE FROM a", "DELETE command denied"),
        ("INSERT INTO a VALUES (3, '')", "INSERT command denied"),
        ("CREATE TABLE b (i int)", "Cannot execute statement in a READ ONLY transaction"),
        ("SELECT * FROM v", "Cannot execute statement in a READ ONLY transaction"),
        ("SELECT f()", "Cannot execute statement in a READ ONLY transaction"),
        ("SELECT 1 INTO OUTFILE '/tmp/out'", "Access denied"),
        ("SELECT COUNT(*) FROM mysql.user", "SELECT command denied"),
    ],
)
def test_assertion_can_only_read(restored: Any, query: str, error: str) -> None:
    outcome = restored(TABLE + WRITING_VIEW, Assertion("", query, "equal", "1"))
    assert outcome.assertions[0]["ok"] is False
    assert outcome.assertions[0]["error"]["message"].startswith(error)
    assert (outcome.status, outcome.rows) == (PROVEN, {"a": 2})


def test_assertion_with_a_million_rows_is_not_one_value(restored: Any) -> None:
    outcome = restored(TABLE, Assertion("", "SELECT seq FROM seq_1_to_1000000", "equal", "1"))
    assert outcome.assertions[0]["error"] == {"code": "not_one_value"}


def test_assertion_has_a_time_limit(restored: Any, monkeypatch: pytest.MonkeyPatch, mariadb: str) -> None:
    limits = Limits(60, None)
    with closing(sandbox.Sandbox(mariadb, DumpKind("mariadb"), limits)) as opened:
        opened.restore([make_dump(TABLE)], Outcome())
        monkeypatch.setattr(sandbox, "QUERY_SECONDS", 0.1)
        with pytest.raises(QueryFailed, match="max_statement_time"):
            opened.evaluate("SELECT SLEEP(1e9) FROM a")


def end_sessions(url: str) -> bytes:
    """End all sessions, as a server that crashes and starts again does."""
    for (number,) in ask(url, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER <> 'system user'"):
        with suppress(pymysql.Error):  # its own, or an old one
            ask(url, f"KILL {number}")
    return b"INSERT INTO a VALUES (3, '');\n"


def test_server_that_ends_and_starts_again_fails_the_dump(mariadb: str) -> None:
    with closing(sandbox.Sandbox(mariadb, DumpKind("mariadb"), Limits(60, None))) as opened:
        pieces = (make_dump(TABLE) if number == 0 else end_sessions(mariadb) for number in range(2))
        opened.restore(pieces, outcome := Outcome())
        opened.inspect(outcome)
    assert outcome.errors == [{"line": 9, **sandbox.SERVER_ENDED}]
    assert outcome.rows == {"a": 2}
    assert leftovers(mariadb) == []


def test_server_that_does_not_answer_again_is_unavailable(mariadb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "RESTART_SECONDS", 0)
    with closing(sandbox.Sandbox(mariadb, DumpKind("mariadb"), Limits(60, None))) as opened:
        pieces = (make_dump(TABLE) if number == 0 else end_sessions(mariadb) for number in range(2))
        with pytest.raises(SandboxUnavailable, match="server_went_away"):
            opened.restore(pieces, Outcome())
    sandbox.sweep_databases({"mysql_url": mariadb})


def test_full_server_is_unavailable_unless_the_drill_has_filled_it(restored: Any) -> None:
    filling = TABLE + (
        b"SET max_heap_table_size = 16384; CREATE TABLE b (t char(250)) ENGINE=MEMORY;\n"
        b"INSERT INTO b SELECT seq FROM seq_1_to_10000;\n"
    )
    with pytest.raises(SandboxUnavailable, match="server_full"):
        restored(filling)
    outcome = restored(filling, DRILL_MAX_BYTES=1)
    assert outcome.errors == [{"line": None, **DISK_IS_FULL}]


@pytest.mark.parametrize(
    ("code", "text", "is_full"),
    [
        (1021, "Disk full (/tmp/x); waiting for someone to free some space...", True),
        (1030, 'Got error 28 "No space left on device" from storage engine InnoDB', True),
        (1026, "Error writing file 'x' (Errcode: 28 \"No space left on device\")", True),
        (1005, 'Can\'t create table `x`.`y` (errno: 28 "No space left on device")', True),
        (1005, 'Can\'t create table `x`.`y` (errno: 150 "Foreign key constraint")', False),
        (1062, "Duplicate entry 'error 28' for key 'x'", False),
    ],
)
def test_errors_of_a_full_disk_blame_the_server(code: int, text: str, is_full: bool) -> None:
    assert bool(errors.blames_server(pymysql.OperationalError(code, text))) is is_full


def test_temporary_tables_of_others_and_of_ended_statements_are_not_counted(mariadb: str) -> None:
    spilling = "SELECT COUNT(*) FROM (SELECT DISTINCT REPEAT(seq, 99) FROM {}seq_1_to_100000) x"
    with closing(sandbox.Sandbox(mariadb, DumpKind("mariadb"), Limits(60, None))) as opened:
        opened.send(b"DO 1")
        opened.meter.measure()
        ask(mariadb, spilling.format("mysql."))
        opened.meter.measure()
        assert opened.meter.parts["_measure_shared"] == 0
        with closing(server.connect(server.parse_url(mariadb))) as other:
            opened.meter.measure()
            server.fetch(other, spilling.format("mysql."))
            opened.meter.measure()
        assert opened.meter.parts["_measure_shared"] == 0
        wait_for("the drill is alone", lambda: opened.meter.measure() >= 0 and opened.meter.last[2] == 0)
        opened.cursor.execute(spilling.format(""))
        opened.cursor.fetchall()
        opened.meter.measure()
        assert opened.meter.parts["_measure_shared"] > 1_000_000
        opened.send(b"DO 1")
        opened.meter.measure()
        assert opened.meter.parts["_measure_shared"] == 0


def test_living_drill_is_not_swept(mariadb: str) -> None:
    limits = Limits(60, None)
    with closing(sandbox.Sandbox(mariadb, DumpKind("mariadb"), limits)) as opened:
        sandbox.sweep_databases({"mysql_url": mariadb})
        opened.restore([make_dump(TABLE)], outcome := Outcome())
        opened.inspect(outcome)
    assert outcome.rows == {"a": 2}


@pytest.mark.parametrize("moment", range(12))
def test_nothing_is_left_of_a_killed_drill(mariadb: str, moment: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            kill_at(moment)
            opened = sandbox.Sandbox(mariadb, DumpKind("mariadb"), Limits(60, None))
            opened.restore([make_dump(TABLE)], outcome := Outcome())
            opened.inspect(outcome)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    wait_for("everything is swept", lambda: sweep_is_complete(mariadb))


def kill_at(moment: int) -> None:
    """Let this process kill itself before the statement of that number."""
    asked = count(0)
    real = server.fetch

    def fetch(*arguments: Any) -> Any:
        if next(asked) == 2 * moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    for module in (server, sandbox):
        vars(module)["fetch"] = fetch


def test_endless_statement_of_a_killed_drill_is_ended(mariadb: str) -> None:
    started, told = os.pipe()
    child = os.fork()
    if child == 0:
        opened = sandbox.Sandbox(mariadb, DumpKind("mariadb"), Limits(60, None))
        os.write(told, b"!")
        opened.restore([make_dump(TABLE + b"SELECT SLEEP(1e9) FROM a;\n")], Outcome())
        os._exit(0)
    assert os.read(started, 1) == b"!"
    sleeping = "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%'"
    wait_for("the statement runs", lambda: ask(mariadb, sleeping))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for("everything is swept", lambda: sweep_is_complete(mariadb))


def test_prepared_transaction_does_not_keep_the_databases(mariadb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOCK_SECONDS", 1)
    opened = sandbox.Sandbox(mariadb, DumpKind("mariadb"), Limits(60, None))
    opened.send(b"CREATE TABLE b (i int)")
    for statement in (b"XA START 'x','y',2", b"INSERT INTO b VALUES (1)", b"XA END 'x','y',2", b"XA PREPARE 'x','y',2"):
        opened.send(statement)
    opened.close()
    assert leftovers(mariadb) == []
    assert ask(mariadb, "XA RECOVER") == []


def sweep_is_complete(url: str) -> bool:
    """Sweep. The server releases the lock of a killed drill once it notices its end."""
    sandbox.sweep_databases({"mysql_url": url})
    return leftovers(url) == []
