"""/healthz, /readyz and the health findings."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from portal import __version__
from portal.base.findings import Severity
from portal.desk import findings
from portal.models import Heartbeat, JobRun, TaskAttempt
from portal.notifications.configuration import synchronise_environment_channels
from portal.status import health

pytestmark = pytest.mark.django_db
COMPONENTS = ("quick", "slow", "pulse")
ALL_OK = dict.fromkeys(("database", "disk", "migrations", *COMPONENTS), "ok")


@pytest.fixture
def now():
    return timezone.now()


@pytest.fixture
def beats(now):
    for component in COMPONENTS:
        Heartbeat.objects.create(component=component, at=now)


def silent(component, seconds):
    Heartbeat.objects.filter(component=component).update(at=timezone.now() - timedelta(seconds=seconds))


def not_ready(client):
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_ready"
    return answer.json()


def test_healthz_is_200_without_the_database(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": __version__})


def test_readyz_is_200_when_every_part_has_a_heartbeat(client, beats, django_assert_max_num_queries):
    with django_assert_max_num_queries(4):
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": ALL_OK})


@pytest.mark.parametrize(("component", "seconds"), [("quick", 90), ("slow", 90), ("pulse", 40)])
def test_silent_part_is_named(client, beats, component, seconds):
    silent(component, seconds)
    problem = not_ready(client)
    assert problem["detail"].startswith(f"{component} has shown no sign of life for ")
    assert problem["checks"] == ALL_OK | {component: "stale"}


def test_parts_that_never_ran_are_reported_missing(client):
    problem = not_ready(client)
    assert problem["checks"] == ALL_OK | dict.fromkeys(COMPONENTS, "missing")
    assert "slow has never shown a sign of life." in problem["detail"]


def test_cluster_with_all_workers_busy_is_not_silent(client, beats, now, settings):
    silent("quick", 90)
    for number in range(settings.QUICK_WORKERS):
        attempt(f"task{number}", started_at=now - timedelta(seconds=90))
    assert client.get("/readyz").status_code == 200
    TaskAttempt.objects.filter(task_id="task0").update(started_at=now - timedelta(hours=1))
    assert client.get("/readyz").status_code == 503


def test_cluster_whose_busy_workers_died_is_silent(client, beats, now, settings, silent_node):
    silent("quick", 90)
    for number in range(settings.QUICK_WORKERS):
        attempt(f"task{number}", started_at=now - timedelta(seconds=90))
    silent_node()
    assert client.get("/readyz").status_code == 503


def attempt(task_id, **fields):
    worker = "elsewhere/12345678:1:1"
    return TaskAttempt.objects.create(task_id=task_id, name="x", cluster="quick", worker=worker, **fields)


SQUASHED = ("portal", "0001_squashed_0016")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("replaced", "missing"),
    [({("portal", "0001_initial")}, []), ({("portal", "0001_initial"), ("portal", "9999_gone")}, [".".join(SQUASHED)])],
    ids=["all applied", "one not applied"],
)
def test_squashed_migration_counts_as_applied_where_those_that_it_replaces_are(monkeypatch, replaced, missing):
    monkeypatch.setattr(health, "own_migrations", lambda: {SQUASHED: frozenset(replaced)})
    assert health.unapplied_migrations() == missing
    assert health.known_migrations() == {SQUASHED, *replaced}


def test_missing_migrations_are_counted(client, beats):
    MigrationRecorder(connection).record_unapplied("portal", "0001_initial")
    problem = not_ready(client)
    assert problem["detail"] == "The database lacks 1 migrations."
    assert problem["checks"] == ALL_OK | {"migrations": "missing"} | dict.fromkeys(COMPONENTS, "unknown")


def test_unreachable_database_is_named(client, monkeypatch):
    def fail():
        raise OperationalError("secret host")

    monkeypatch.setattr(health, "unapplied_migrations", fail)
    problem = not_ready(client)
    assert problem["detail"] == "The database does not answer."
    assert problem["checks"] == {"database": "failed", "disk": "ok"} | dict.fromkeys(
        ("migrations", *COMPONENTS), "unknown"
    )


class TestFindings:
    @pytest.fixture
    def found(self, now):
        def finding(source):
            return [(finding.severity, finding.text, finding.since) for finding in source(now)]

        return finding

    def test_healthy_portal_has_no_findings(self, beats, found, settings):
        settings.TELEGRAM_BOT_TOKEN = settings.TELEGRAM_CHAT_ID = "somebody is told"
        synchronise_environment_channels()
        assert not [
            found(source)
            for source in findings.finding_sources.items
            if source.__module__ == findings.__name__ and found(source)
        ]

    def test_silent_part_is_a_critical_finding(self, beats, found, now):
        silent("slow", 600)
        [(severity, text, since)] = found(findings.silent_components)
        assert severity is Severity.CRITICAL
        assert "slow" in text
        assert since < now - timedelta(minutes=9)

    def test_stopped_workers_are_one_finding_since_the_first_stopped(self, beats, found, now):
        for number, component in enumerate(COMPONENTS):
            silent(component, 600 + 600 * number)
        [(severity, _text, since)] = found(findings.silent_components)
        assert severity is Severity.CRITICAL
        assert since < now - timedelta(minutes=29)

    def test_failed_job_is_a_warning_until_a_cycle_succeeds(self, found, now):
        JobRun.objects.create(job="scan", cycle_key="1", status="failed", finished_at=now, error="OSError: no disk")
        [(severity, text, since)] = found(findings.failed_jobs)
        assert (severity, since) == (Severity.WARNING, now)
        assert "OSError: no disk" in text
        JobRun.objects.create(job="scan", cycle_key="2", status="done", finished_at=now)
        assert found(findings.failed_jobs) == []

    def test_abandoned_task_is_a_finding_for_a_day(self, found, now):
        attempt("t", attempts=TaskAttempt.MOST_ATTEMPTS + 1, started_at=now, finished_at=now)
        assert len(found(findings.given_up_tasks)) == 1
        TaskAttempt.objects.update(finished_at=now - timedelta(hours=25))
        assert found(findings.given_up_tasks) == []

    @pytest.mark.parametrize(
        ("debug", "url", "https", "number"),
        [
            (False, "http://127.0.0.1:8000", False, 0),
            (False, "http://[::1]:8000", False, 0),
            (False, "http://localhost", False, 0),
            (False, "https://vigie.example", True, 0),
            (False, "https://vigie.example", False, 1),
            (False, "http://vigie.example", True, 1),
            (True, "http://10.0.0.7", False, 2),
        ],
    )
    def test_unsafe_settings_are_findings(self, found, settings, debug, url, https, number):
        settings.DEBUG, settings.PORTAL_URL, settings.HTTPS = debug, url, https
        assert len(found(findings.unsafe_settings)) == number


def test_fast_local_clock_makes_no_part_stale(beats, now):
    assert {check.word for check in health.health_checks(now + timedelta(minutes=10)).values()} == {"ok"}
