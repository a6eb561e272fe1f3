"""Schedules follow their declarations, and django-q2's own scheduler fires them."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from portal.models import AuditEvent, JobRun
from portal.tests.helpers.workers import deliver
from portal.work import schedules
from portal.work.schedules import Job, synchronise_schedules

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 10, 10, 20, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def nothing(lease):
    return None


HOURLY = Job("test.hourly", nothing, HOUR)
DAILY = Job("test.daily", nothing, DAY, cluster="slow", offset=timedelta(hours=3))
WEEKLY = Job("test.weekly", nothing, 7 * DAY, offset=timedelta(hours=8))


@pytest.fixture
def declared(monkeypatch):
    """Return the list of declared jobs, which the test may change."""
    schedules.jobs.all()
    items = [HOURLY, DAILY]
    monkeypatch.setattr(schedules.jobs, "items", items)
    return items


def rows():
    return {row["name"]: row for row in Schedule.objects.values()}


@pytest.mark.parametrize(
    ("job", "moment", "began"),
    [
        (HOURLY, "2026-03-10T10:59:59", "2026-03-10T10:00:00"),
        (HOURLY, "2026-03-10T11:00:00", "2026-03-10T11:00:00"),
        (DAILY, "2026-03-10T02:59:59", "2026-03-09T03:00:00"),
        (DAILY, "2026-03-10T03:00:00", "2026-03-10T03:00:00"),
        (WEEKLY, "2026-03-09T07:59:59", "2026-03-02T08:00:00"),
        (WEEKLY, "2026-03-09T08:00:01", "2026-03-09T08:00:00"),
    ],
)
def test_cycle_starts_at_its_hour(job, moment, began):
    assert job.cycle_key(datetime.fromisoformat(f"{moment}+00:00")) == f"{began}+00:00"


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("every", [timedelta(0), timedelta(seconds=90), -HOUR, 23 * DAY])
def test_unsupported_period_is_refused(every):
    with pytest.raises(ValueError, match="whole minutes"):
        Job("test.odd", nothing, every)


def test_declared_jobs_get_one_row_each(declared):
    assert synchronise_schedules(NOW) == 2
    before = rows()
    assert synchronise_schedules(NOW + timedelta(minutes=1)) == 0
    assert rows() == before
    assert (before["test.daily"]["cluster"], before["test.daily"]["minutes"]) == ("slow", 1440)
    assert before["test.hourly"]["next_run"] == datetime(2026, 3, 10, 11, tzinfo=UTC)


def test_changed_declaration_updates_its_row_and_keeps_the_next_run(declared):
    synchronise_schedules(NOW)
    declared[1] = Job("test.daily", nothing, DAY, cluster="quick", offset=timedelta(hours=3))
    assert synchronise_schedules(NOW) == 1
    assert rows()["test.daily"]["cluster"] == "quick"
    assert rows()["test.daily"]["next_run"] == datetime(2026, 3, 11, 3, tzinfo=UTC)


def test_undeclared_rows_are_removed_and_audited(declared):
    synchronise_schedules(NOW)
    Schedule.objects.create(name="test.hourly", func="os.getcwd")
    Schedule.objects.create(name=None, func="os.getcwd")
    declared.remove(DAILY)
    assert synchronise_schedules(NOW) == 3
    assert list(rows()) == ["test.hourly"]
    assert rows()["test.hourly"]["func"] == "portal.tasks.run"
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {"schedule.removed"}


MALFORMED = [
    {"args": "(("},
    {"kwargs": "7"},
    {"schedule_type": "C", "cron": "* * * * *"},
    {"schedule_type": "??"},
    {"hook": "no.such.hook"},
    {"repeats": 0},
    {"minutes": None},
    {"intended_date_kwarg": "at"},
    {"func": "os.getcwd"},
]


@pytest.mark.parametrize("damage", MALFORMED, ids=str)
def test_damaged_row_is_repaired(declared, damage):
    synchronise_schedules(NOW)
    sound = rows()
    Schedule.objects.filter(name="test.hourly").update(**damage)
    assert synchronise_schedules(NOW) == 1
    assert rows() == sound
    assert AuditEvent.objects.get().action == "schedule.mended"


@pytest.mark.parametrize(
    ("planned", "becomes"),
    [
        (None, "11:00"),
        ("2026-03-10T11:00", "11:00"),
        ("2026-03-10T10:00", "10:00"),
        ("2024-01-01T00:00", "10:00"),
        ("2026-03-10T12:00", "11:00"),
        ("2026-03-10T10:30", "11:00"),
    ],
)
def test_next_run_is_the_start_of_a_cycle(planned, becomes):
    moment = planned and datetime.fromisoformat(f"{planned}:00+00:00")
    assert f"{HOURLY.next_run(moment, NOW):%H:%M}" == becomes


def make_due(name):
    job = next(job for job in schedules.jobs.items if job.name == name)
    Schedule.objects.filter(name=name).update(next_run=job.cycle_at(timezone.now()))


def fire():
    """Run the scheduler as the sentinel of either cluster does every 30 seconds."""
    for cluster in ("quick", "slow"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("django_q.conf.Conf.CLUSTER_NAME", cluster)
            patch.setattr("django_q.conf.Conf.CATCH_UP", False)
            patch.setattr("django_q.scheduler.close_old_django_connections", lambda: None)
            scheduler()


def test_malformed_row_stops_all_schedules_until_it_is_removed(declared):
    synchronise_schedules(timezone.now())
    make_due("test.daily")
    foreign = Schedule.objects.create(name="bad", func="f", args="((", cluster="slow", schedule_type="I")
    Schedule.objects.filter(pk=foreign.pk).update(next_run=timezone.now() - 2 * DAY)
    fire()
    assert not OrmQ.objects.exists()
    synchronise_schedules(timezone.now())
    fire()
    assert OrmQ.objects.get().key == "slow"


def test_repeated_firings_of_a_cycle_have_one_effect(declared):
    effects = []
    declared[:] = [Job("test.daily", lambda lease: effects.append(lease.cycle_key), DAY, cluster="slow")]
    synchronise_schedules(timezone.now())
    for _ in range(2):
        make_due("test.daily")
        fire()
    assert OrmQ.objects.count() == 2
    while deliver("slow"):
        pass
    assert effects == [declared[0].cycle_key(timezone.now())]
    assert JobRun.objects.get().status == "done"


def test_failing_job_is_recorded_as_failed(declared):
    declared[:] = [Job("test.daily", lambda lease: 1 // 0, DAY, cluster="slow")]
    synchronise_schedules(timezone.now())
    make_due("test.daily")
    fire()
    deliver("slow")
    run = JobRun.objects.get()
    assert (run.status, run.error) == ("failed", "ZeroDivisionError: integer division or modulo by zero")
