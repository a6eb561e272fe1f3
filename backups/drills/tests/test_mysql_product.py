"""What MySQL is asked in words of its own. MariaDB answers, once these are put as its own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from backups.drills.limits import Limits
from backups.drills.mysql import sandbox, server
from backups.drills.outcomes import MYSQL, Outcome
from backups.drills.recognition import DumpKind
from backups.drills.tests.mysql_factories import TABLE, make_dump

pytestmark = [pytest.mark.slow, pytest.mark.one_database("drills have a server of their own")]
# As the manual of MySQL 8.0 describes them, and what MariaDB has instead.
WORDS = {
    "VERSION()": "'8.0.36'",
    "information_schema.INNODB_TABLESPACES": "information_schema.INNODB_SYS_TABLESPACES",
    "max_execution_time = %s": "max_statement_time = %s / 1000",
}


@pytest.fixture
def mysql(mariadb: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[sandbox.Sandbox]:
    """A sandbox that takes its server for MySQL."""
    real = server.fetch

    def fetch(connection: Any, sql: str, *values: Any) -> Any:
        for mysqls, mariadbs in WORDS.items():
            sql = sql.replace(mysqls, mariadbs)
        return real(connection, sql, *values)

    for module in (server, sandbox):
        monkeypatch.setattr(module, "fetch", fetch)
    with closing(sandbox.Sandbox(mariadb, DumpKind("mysql"), Limits(60, None))) as opened:
        assert opened.server.label == "MySQL 8.0.36"
        yield opened


def test_tablespaces_are_measured(mysql: sandbox.Sandbox) -> None:
    mysql.restore([make_dump(TABLE)], outcome := Outcome())
    mysql.inspect(outcome)
    mysql.meter.measure()

    assert (outcome.rows, outcome.errors) == ({"a": 2}, [])
    assert mysql.meter.parts["_measure_tablespaces"] > 0


def test_assertion_has_a_time_limit_in_milliseconds(mysql: sandbox.Sandbox) -> None:
    mysql.restore([make_dump(TABLE)], Outcome())

    assert float(mysql.evaluate("SELECT @@max_statement_time")[0][0]) == sandbox.QUERY_SECONDS


def test_prepared_transactions_are_rolled_back_by_their_hexadecimal_names(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def fetch(connection: Any, sql: str) -> Any:
        sent.append(sql)
        return [(2, 1, 1, "0x7879"), (1, 2, 0, "0x7879")] if sql == "XA RECOVER CONVERT XID" else []

    monkeypatch.setattr(server, "fetch", fetch)
    server.Server.roll_back_prepared(SimpleNamespace(product=MYSQL, admin=None))  # type: ignore[arg-type]

    assert sent[1:] == ["XA ROLLBACK 0x78,0x79,2", "XA ROLLBACK 0x7879,'',1"]
