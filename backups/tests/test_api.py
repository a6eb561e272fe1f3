"""The API of backups for staff: jobs, entries and scans."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from backups.cycles import next_expected_time
from backups.models import BackupEntry, ExpectedBackupJob, Scan, Status
from backups.reasons import make_reason
from backups.scanner import orchestration
from portal.access.tokens.issuing import issue_token
from portal.models import AuditEvent
from portal.tests.helpers.queries import count_queries

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 10, 13, tzinfo=UTC)


@pytest.fixture
def make_job(db):
    def making(agent_id="PC-1", database_name="compta_db", **fields):
        return ExpectedBackupJob.objects.create(agent_id=agent_id, database_name=database_name, **fields)

    return making


@pytest.fixture
def make_entry(db):
    def making(job, cycle_at=AT, status=Status.SUCCESS, **fields):
        moments = {"recorded_at": cycle_at, "changed_at": cycle_at}
        given = {"first_status": status, **moments, **fields}
        return BackupEntry.objects.create(job=job, cycle_at=cycle_at, status=status, **given)

    return making


@pytest.fixture
def token_with(db):
    """Return a function that issues a staff token with one permission."""

    def making(codename):
        user = User.objects.create_user(codename, is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename=codename))
        return issue_token("staff", user=user)[1]

    return making


@pytest.fixture
def queued(monkeypatch):
    """Record the machines for which a scan is queued."""
    machines = []
    monkeypatch.setattr(orchestration, "enqueue", lambda name, machine, *args, **options: machines.append(machine))
    return machines


def names(answer):
    return [job["database_name"] for job in answer.json()["results"]]


# --- Expected backups ------------------------------------------------------------------------------------------------


def test_job_is_returned_with_its_next_expected_time(call, staff_token, make_job):
    job = make_job(expected_hour_utc=13, expected_minute_utc=7, last_success_at=AT, current_status=Status.SUCCESS)
    answer = call("GET", "backups/jobs", staff_token)
    expected_at = next_expected_time(job.timetable, timezone.now())
    assert answer.status_code == 200
    assert answer.json() == {
        "results": [
            {
                "id": job.pk,
                "agent_id": "PC-1",
                "database_name": "compta_db",
                "current_status": "SUCCESS",
                "protected": False,
                "expected_at": f"{expected_at:%Y-%m-%d}T13:07:00Z",
                "schedule": None,
                "time_zone": None,
                "last_checked_at": None,
                "last_success_at": "2026-03-10T13:00:00.000Z",
                "last_verified_at": None,
                "proven": False,
                "proven_at": None,
                "is_active": True,
                "paused_until": None,
            }
        ],
        "next": None,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [({}, ["c", "b", "a"]), ({"agent_id": "PC-1"}, ["b", "a"]), ({"status": "MISSING"}, ["b"]), ({"database": "c"}, ["c"]),
     ({"agent_id": "PC-1", "database": "c"}, []), ({"agent_id": "pc-1"}, ["b", "a"]), ({"agent_id": "PC-9"}, []), ({"agent_id": ""}, ["c", "b", "a"])],
)  # fmt: skip
def test_jobs_are_filtered_and_sorted_newest_first(call, staff_token, make_job, query, found):
    make_job(database_name="a")
    make_job(database_name="b", current_status=Status.MISSING)
    make_job("PC-2", "c", is_active=False)
    assert names(call("GET", "backups/jobs", staff_token, **query)) == found


def test_cursor_returns_every_job_once(call, staff_token, make_job):
    for number in range(7):
        make_job(database_name=str(number))
    seen, cursor = [], None
    while cursor != "end":
        answer = call("GET", "backups/jobs", staff_token, limit=3, **({"cursor": cursor} if cursor else {}))
        seen += names(answer)
        cursor = answer.json()["next"] or "end"
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "secret"), ("status", "success"), ("agent_id", "../secret"), ("agent_id", "x" * 129), ("database", "secret\x00"),
     ("database", "x" * 129), ("limit", "0"), ("cursor", "secret!")],
)  # fmt: skip
def test_invalid_query_is_refused_by_parameter(call, staff_token, field, value):
    answer = call("GET", "backups/jobs", staff_token, **{field: value})
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    assert answer.json()["errors"][0]["field"] == field
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize("broken", [{"days_of_week": "XX"}, {"expected_hour_utc": 25}, {"expected_minute_utc": 60}])
def test_job_with_unknown_weekdays_is_listed_without_time(call, staff_token, make_job, broken):
    make_job(database_name="a", **broken)
    make_job(database_name="b")
    answer = call("GET", "backups/jobs", staff_token)
    assert names(answer) == ["b", "a"]
    assert answer.json()["results"][1]["expected_at"] is None


# --- Entries ---------------------------------------------------------------------------------------------------------


def test_entries_are_returned_newest_first(call, staff_token, make_job, make_entry):
    job = make_job()
    known = make_entry(
        job, late=True, first_status=Status.MISSING, warnings=["shrunk"], reasons=[make_reason("verified")], agent_sha256="a" * 64,
        agent_size=2**40, server_sha256="b" * 64, server_size=3, report_name="r.json", promotion="promoted",
    )  # fmt: skip
    missing = make_entry(job, AT + timedelta(days=1), Status.MISSING, reasons=[make_reason("no_report")])
    make_entry(make_job("PC-2"))
    answer = call("GET", f"backups/jobs/{job.pk}/entries", staff_token, headers={"Accept-Language": "fr"})
    nothing = dict.fromkeys(["agent_sha256", "agent_size", "server_sha256", "server_size", "report_name"])
    assert answer.json() == {
        "results": [
            {"id": missing.pk, "cycle_at": "2026-03-11T13:00:00Z", "status": "MISSING", "first_status": "MISSING", "late": False,
             "message": "No report arrived by the deadline.", "warnings": [], **nothing, "promotion": "none"},
            {"id": known.pk, "cycle_at": "2026-03-10T13:00:00Z", "status": "SUCCESS", "first_status": "MISSING", "late": True,
             "message": "SHA-256 and size match what the machine reported.", "warnings": ["shrunk"], "agent_sha256": "a" * 64, "agent_size": 2**40,
             "server_sha256": "b" * 64, "server_size": 3, "report_name": "r.json", "promotion": "promoted"},
        ],
        "next": None,
    }  # fmt: skip


def test_cursor_returns_every_entry_once(call, staff_token, make_job, make_entry):
    job = make_job()
    for day in (3, 0, 4, 1, 2):
        make_entry(job, AT + timedelta(days=day))
    seen, cursor = [], None
    while cursor != "end":
        query = {"cursor": cursor} if cursor else {}
        answer = call("GET", f"backups/jobs/{job.pk}/entries", staff_token, limit=2, **query)
        seen += [entry["cycle_at"][8:10] for entry in answer.json()["results"]]
        cursor = answer.json()["next"] or "end"
    assert seen == ["14", "13", "12", "11", "10"]


@pytest.mark.parametrize("job", ["0", "99999", "9" * 30, "-1", "x", "%D9%A1", "1%0A"])
def test_entries_of_an_unknown_job_are_not_found(call, staff_token, make_job, job):
    make_job()
    answer = call("GET", f"backups/jobs/{job}/entries", staff_token)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# --- Who may, and at what cost ---------------------------------------------------------------------------------------

CALLS = [("GET", "backups/jobs", "view_expectedbackupjob"), ("GET", "backups/jobs/{}/entries", "view_backupentry"),
         ("POST", "backups/scan", "scan_expectedbackupjob")]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "permission"), CALLS)
def test_each_call_needs_its_permission(call, token_with, make_job, queued, method, path, permission):
    path = path.format(make_job().pk)
    assert call(method, path, token_with(permission)).status_code in {200, 202}
    for _method, _path, other in CALLS:
        if other != permission:
            answer = call(method, path, token_with(other))
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert len(queued) == (method == "POST")


@pytest.mark.parametrize(("method", "path", "permission"), CALLS)
def test_agent_and_client_tokens_are_refused(
    call, agent_token, client_token, make_job, queued, method, path, permission
):
    path = path.format(make_job().pk)
    for token in (agent_token, client_token):
        answer = call(method, path, token)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert call(method, path).json()["code"] == "not_authenticated"
    assert queued == []


def test_list_takes_as_many_queries_for_many_rows_as_for_few(call, token_with, make_job, make_entry):
    job = make_job(database_name="0")
    make_entry(job, AT, reasons=[make_reason("verified")])
    reader, historian = token_with("view_expectedbackupjob"), token_with("view_backupentry")

    def list_all(expected):
        assert len(call("GET", "backups/jobs", reader, limit=30).json()["results"]) == expected
        assert len(call("GET", f"backups/jobs/{job.pk}/entries", historian).json()["results"]) == expected

    list_all(1)  # the use of a token is recorded once a minute
    few = count_queries(lambda: list_all(1))
    for number in range(1, 30):
        make_job(database_name=str(number))
        make_entry(job, AT + timedelta(days=number), reasons=[make_reason("verified")])
    assert count_queries(lambda: list_all(30)) == few


# --- Scans -----------------------------------------------------------------------------------------------------------


def test_scan_of_all_machines_is_queued_and_audited(call, staff_token, make_job, queued):
    for agent_id, database in (("PC-1", "a"), ("PC-1", "b"), ("PC-2", "a")):
        make_job(agent_id, database)
    answer = call("POST", "backups/scan", staff_token, body=b"")
    assert (answer.status_code, answer.json()) == (202, {"status": "queued"})
    assert queued == ["PC-1", "PC-2"]
    scan, event = Scan.objects.get(), AuditEvent.objects.get(action="backups.scan_asked")
    assert (scan.source, scan.agent_id) == ("api", "")
    assert (event.actor, event.subject, event.after) == ("user:alice", "", {"scan": scan.pk})


@pytest.mark.parametrize("body", [{}, {"agent_id": None}])
def test_scan_without_a_machine_covers_all(call, staff_token, make_job, queued, body):
    make_job()
    assert call("POST", "backups/scan", staff_token, **body).status_code == 202
    assert queued == ["PC-1"]


def test_scan_of_one_machine_queues_no_other(call, staff_token, make_job, queued):
    make_job("PC-1")
    make_job("PC-2")
    assert call("POST", "backups/scan", staff_token, agent_id="PC-2").status_code == 202
    assert queued == ["PC-2"]
    assert AuditEvent.objects.get(action="backups.scan_asked").subject == "agent:PC-2"


def test_scan_of_a_machine_without_jobs_is_not_found(call, staff_token, make_job, queued, agent):
    answer = call("POST", "backups/scan", staff_token, agent_id=agent.machine_id)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (queued, Scan.objects.count(), AuditEvent.objects.filter(action="backups.scan_asked").count()) == ([], 0, 0)


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("agent_id", ["", 7, ["PC-1"], "../x", "x" * 129, "PC-1\x00", True])
def test_scan_of_an_invalid_machine_id_is_refused_by_field(call, staff_token, queued, agent_id):
    answer = call("POST", "backups/scan", staff_token, agent_id=agent_id)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "agent_id")
    assert queued == []


@pytest.mark.parametrize("step", ["backups.scanner.orchestration.enqueue", "portal.audit.record_event"])
def test_scan_that_fails_to_be_queued_or_audited_is_rolled_back(call, staff_token, make_job, queued, monkeypatch, step):
    def fail(*args, **options):
        raise RuntimeError

    make_job()
    monkeypatch.setattr(step, fail)
    assert call("POST", "backups/scan", staff_token).status_code == 500
    assert (Scan.objects.count(), AuditEvent.objects.filter(action="backups.scan_asked").count()) == (0, 0)
