import pytest

from backups.drills import runs, trials
from backups.drills.tests import mysql_factories
from backups.drills.tests.dumps import sqlite_dump, store
from backups.drills.tests.test_postgresql import COPY, END, HEAD, TABLE
from backups.models import RestoreDrill

# Dumps of a table with two rows.
SERVERS = {
    "postgresql": ("postgres_18", "DRILL_POSTGRES_URL", HEAD + TABLE + COPY + END),
    "mariadb": ("mariadb", "DRILL_MYSQL_URL", mysql_factories.make_dump(mysql_factories.TABLE)),
}
TRIALS = {
    "SELECT count(*) FROM a": True,
    "SELECT max(name) FROM a": True,
    "SELECT count(*) FROM other": False,
    "SELECT 1, 2": False,
    "INSERT INTO a VALUES (3, 'Carl')": False,
    "SELECT": False,
}


@pytest.fixture
def drilled_job(job):
    store(job, sqlite_dump(invoice=3))
    runs.run_due()
    return job


@pytest.mark.parametrize(
    ("query", "is_ok"),
    [
        ("SELECT count(*) FROM invoice", True),
        ("SELECT max(name) FROM invoice", True),
        ("SELECT count(*) FROM other", False),
        ("SELECT 1, 2", False),
        ("DROP TABLE invoice", False),
        ("SELECT count(*) FROM invoice; SELECT 1", False),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", False),
    ],
    ids=["count", "text", "no table", "two columns", "no query", "two statements", "endless"],
)
def test_query_is_tried_on_the_empty_schema(drilled_job, query: str, is_ok: bool, monkeypatch) -> None:
    monkeypatch.setattr(trials, "SECONDS", 2)

    assert trials.try_query(drilled_job, query).is_ok is is_ok


def test_trial_leaves_no_record_and_no_row_is_in_its_copy(drilled_job) -> None:
    trial = trials.try_query(drilled_job, "SELECT count(*) FROM invoice")

    assert "0" in trial.message
    assert RestoreDrill.objects.count() == 1


@pytest.mark.slow
@pytest.mark.one_database("drills have a server of their own")
@pytest.mark.parametrize("engine", SERVERS)
def test_query_is_tried_on_the_empty_schema_of_a_server(
    job, request: pytest.FixtureRequest, settings, engine: str
) -> None:
    server, setting, dump = SERVERS[engine]
    setattr(settings, setting, request.getfixturevalue(server))
    store(job, dump)
    runs.run_due()

    assert {query: trials.try_query(job, query).is_ok for query in TRIALS} == TRIALS
    assert "it is 0" in trials.try_query(job, "SELECT count(*) FROM a").message
    assert [drill.row_count for drill in RestoreDrill.objects.all()] == [2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345, "12,345"), (True, "true"), (0.5, "0.5"), ("2026-12-01T10:15:00+02:00", "2026-12-01 08:15:00 UTC")],
    ids=["number", "truth value", "fraction", "time"],
)
def test_value_is_shown_as_a_reader_expects_it(value, text: str) -> None:
    assert trials.format_value(value) == text


def test_query_cannot_be_tried_before_the_first_restore(job) -> None:
    assert not trials.try_query(job, "SELECT 1").is_ok


def test_only_one_query_is_tried_at_once(drilled_job) -> None:
    with trials.one_at_a_time:
        assert not trials.try_query(drilled_job, "SELECT 1").is_ok
    assert trials.try_query(drilled_job, "SELECT 1").is_ok
