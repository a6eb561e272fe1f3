"""Import plans of tables: created and changed jobs, refusals, all or nothing."""

import csv
import io
import time
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone, translation

from backups.imports import planning
from backups.imports.planning import ImportConflict, RowAction, apply_import, plan_import
from backups.models import ExpectedBackupJob, Status
from portal.access.tokens.issuing import issue_token
from portal.desk.exports import column_titles, csv_answer, field_values
from portal.models import AuditEvent
from portal.tests.helpers.queries import count_queries

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 10, 13, tzinfo=UTC)


@pytest.fixture
def make_job(db):
    """Return a function that creates a job with the model's defaults."""

    def making(database_name="compta_db", agent_id="PC-1", **fields):
        return ExpectedBackupJob.objects.create(agent_id=agent_id, database_name=database_name, **fields)

    return making


def row(database_name="compta_db", agent_id="PC-1", **fields):
    return {"agent_id": agent_id, "database_name": database_name} | fields


def imported(*rows):
    plan = plan_import(rows)
    assert not plan.is_refused, [one.refusals for one in plan.rows]
    apply_import(plan)
    return plan


def refusals(*rows):
    """Return the refusals of each row by column."""
    plan = plan_import(rows)
    with pytest.raises(ValueError):
        apply_import(plan)
    return [one.refusals for one in plan.rows]


def actions(plan):
    return [row.action for row in plan.rows]


# --- Created, changed, unchanged -------------------------------------------------------------------------------------


def test_new_row_creates_a_job_with_model_defaults():
    plan = imported(row(expected_hour_utc="13", deep_check="false"))
    job = ExpectedBackupJob.objects.get()
    assert (job.agent_id, job.database_name, job.expected_hour_utc, job.deep_check) == ("PC-1", "compta_db", 13, False)
    assert (job.window_minutes, job.is_active, job.current_status) == (30, True, "PENDING")
    assert job.storage_folder == "_/_/compta_db"
    assert plan.counts == {"created": 1, "changed": 0, "unchanged": 0}


def test_planning_writes_nothing(django_assert_max_num_queries):
    plan_import([row(), row("b", company_name="B")])
    assert not ExpectedBackupJob.objects.exists()


def test_row_changes_its_columns_and_keeps_the_others(make_job):
    make_job(city="Douala", window_minutes=45)
    plan = imported(row(window_minutes="60", company_name="ACME"))
    job = ExpectedBackupJob.objects.get()
    assert (job.city, job.window_minutes, job.company_name, job.storage_folder) == (
        "Douala",
        60,
        "ACME",
        "ACME/Douala/compta_db",
    )
    assert plan.counts == {"created": 0, "changed": 1, "unchanged": 0}


def test_unchanged_columns_are_not_written(make_job):
    job = make_job()
    plan = plan_import([row(city="Douala")])
    ExpectedBackupJob.objects.filter(pk=job.pk).update(current_status=Status.FAILED, window_minutes=99)
    apply_import(plan)
    job.refresh_from_db()
    assert (job.city, job.current_status, job.window_minutes) == ("Douala", "FAILED", 99)


def test_known_values_change_nothing(make_job, django_assert_num_queries):
    make_job(company_name="ACME")
    plan = plan_import([row(company_name="ACME", is_active="TRUE", expected_hour_utc="00")])
    assert actions(plan) == [RowAction.UNCHANGED]
    with django_assert_num_queries(3):  # the savepoint around, and the event
        apply_import(plan)
    assert AuditEvent.objects.get(action="backups.jobs_imported").after == {"created": 0, "changed": 0, "unchanged": 1}


def test_changed_timetable_restarts_the_cycle_count(make_job):
    long_ago = timezone.now() - timedelta(days=90)
    make_job(watched_since=long_ago, settled_at=long_ago)
    imported(row(expected_hour_utc="5"))
    job = ExpectedBackupJob.objects.get()
    assert (job.watched_since > long_ago, job.settled_at) == (True, None)


def test_older_column_names_are_accepted():
    imported(
        {
            "agent_id_responsible": "PC-1",
            "database_name": "compta_db",
            "last_checked_timestamp": "2026-03-10T13:15:00Z",
            "last_successful_backup_timestamp": "2026-03-10T13:00:00Z",
            "previous_successful_hash_global": "A" * 64,
        }
    )
    job = ExpectedBackupJob.objects.get(agent_id="PC-1")
    assert (job.last_checked_at, job.last_success_at) == (AT + timedelta(minutes=15), AT)
    assert job.previous_successful_hash == "a" * 64


def test_column_names_are_matched_in_any_case_and_order():
    imported({" City ": "Douala", "DATABASE_NAME": "a", "Agent_Id": "PC-1"})
    assert ExpectedBackupJob.objects.get().city == "Douala"


def test_import_is_audited_with_its_actor(rf):
    request = rf.post("/")
    request.user = User.objects.create_user("alice")
    apply_import(plan_import([row(), row("b", company_name="B")]), request)
    event = AuditEvent.objects.get(action="backups.jobs_imported")
    assert (event.actor, event.after) == ("user:alice", {"created": 2, "changed": 0, "unchanged": 0})


# --- Cells -----------------------------------------------------------------------------------------------------------

GOOD = [
    ("is_active", "true", True), ("is_active", "FALSE", False), ("is_active", "1", True), ("is_active", "no", False), ("is_active", "VRAI", True),
    ("is_active", "", True), ("year", "2025", 2025), ("year", "", None), ("window_minutes", "", 30), ("window_minutes", " 45 ", 45),
    ("min_size_bytes", "999999999999999999", 10**18 - 1), ("paused_until", "2026-03-10T14:00:00+01:00", AT), ("paused_until", "2026-03-10 13:00", AT),
    ("paused_until", "2026-03-10", AT.replace(hour=0)), ("paused_until", "", None), ("expected_frequency", "WEEKLY", "weekly"),
    ("expected_frequency", "", "daily"), ("previous_successful_hash", "", ""), ("days_of_week", "mo,th", "mo,th"),
    ("company_name", "'=SUM(A1)", "=SUM(A1)"), ("company_name", "l'Été", "l'Été"), ("company_name", "'quoted'", "'quoted'"),
    ("company_name", "  ACME  ", "ACME"), ("agent_log_deposit_path_template", "", "{agent_id}/log"), ("final_storage_path_template", "x/{year}", "x/{year}"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "text", "value"), GOOD)
def test_cell_is_parsed_for_its_field(column, text, value):
    imported(row(**{column: text}))
    assert getattr(ExpectedBackupJob.objects.get(), column) == value


def test_empty_cell_resets_a_value_and_absent_column_keeps_it(make_job):
    make_job(year=2024, window_minutes=45, city="Douala", company_name="ACME", paused_until=AT)
    imported(row(year="", window_minutes="", city="", paused_until=""))
    job = ExpectedBackupJob.objects.get()
    assert (job.year, job.window_minutes, job.city, job.paused_until, job.company_name) == (None, 30, "", None, "ACME")


def test_moment_without_offset_is_utc_in_any_server_zone(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        imported(row(paused_until="2026-03-10T13:00:00"))
    time.tzset()
    assert ExpectedBackupJob.objects.get().paused_until == AT


SECRET = "s3cr3t"
BAD = [
    ("is_active", SECRET), ("is_active", "2"), ("year", "2025.0"), ("year", "-1"), ("year", "\u0662\u0660\u0662\u0665"), ("year", "9" * 30),
    ("expected_hour_utc", "24"), ("window_minutes", "0"), ("window_minutes", "1500"), ("keep_last", "0"), ("max_shrink_percent", "101"),
    ("min_size_bytes", "9" * 5_000), ("paused_until", SECRET), ("paused_until", "0001-01-01T00:00:00+14:00"), ("paused_until", "2026-02-30"),
    ("expected_frequency", SECRET), ("current_status", SECRET), ("days_of_week", SECRET), ("previous_successful_hash", "a" * 63),
    ("company_name", f"{SECRET}\x00"), ("company_name", f"{SECRET}\u2028x"), ("company_name", "x" * 129),
    ("final_storage_path_template", f"../{SECRET}"), ("final_storage_path_template", f"{{{SECRET}}}"), ("agent_deposit_path_template", f"/{SECRET}"),
    ("agent_id", f"{SECRET}/x"), ("agent_id", ""), ("database_name", ""), ("database_name", "a\x00b"),
]  # fmt: skip


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(("column", "text"), BAD)
def test_invalid_cell_is_refused_by_column_without_quoting_it(column, text):
    (found,) = refusals(row() | {column: text})
    assert list(found) == [column]
    assert all(sentence.endswith(".") for sentence in found[column])
    assert SECRET not in "".join(found[column])
    assert not ExpectedBackupJob.objects.exists()


def test_token_in_a_table_is_refused_and_never_shown():
    plain = issue_token("client", label="gui")[1]
    found = refusals(
        row(company_name=plain), row(plain), row("b", agent_id=plain), row("c", **{plain: "x"}, expected_hour_utc="x")
    )
    plan = plan_import([row(plain, **{plain: "x"})])
    assert [list(one) for one in found] == [["company_name"], ["database_name"], ["agent_id"], ["expected_hour_utc"]]
    secret = plain.split("_")[3]
    assert secret not in repr(found) + repr(plan.warnings) + plan.rows[0].database_name


def test_refusals_are_in_the_active_language():
    with translation.override("fr"):
        (found,) = refusals(row(expected_hour_utc="24"))
    assert "inférieure" in found["expected_hour_utc"][0]


def test_refusal_uses_the_column_name_of_the_table():
    (found,) = refusals({"agent_id_responsible": "PC-1", "database_name": "a", "last_checked_timestamp": "x"})
    assert list(found) == ["last_checked_timestamp"]


# --- All or nothing --------------------------------------------------------------------------------------------------


def test_one_refused_row_blocks_the_import():
    plan = plan_import([row("a", company_name="A"), row("b", expected_hour_utc="x"), row("c", company_name="C")])
    assert actions(plan) == ["create", "refused", "create"]
    assert [one.number for one in plan.refused] == [2]
    with pytest.raises(ValueError):
        apply_import(plan)
    assert not ExpectedBackupJob.objects.exists()


@pytest.mark.parametrize("existing", [True, False])
def test_two_rows_for_one_database_are_both_refused(make_job, existing):
    if existing:
        make_job()
    found = refusals(row(city="A"), row("other"), row(city="B", agent_id=" PC-1 "))
    assert [list(one) for one in found] == [["database_name"], [], ["database_name"]]


def test_two_rows_sharing_a_folder_are_both_refused():
    found = refusals(row("a", final_storage_path_template="x/y"), row("b", final_storage_path_template="X/Y"), row("c"))
    assert [list(one) for one in found] == [["final_storage_path_template"], ["final_storage_path_template"], []]
    assert found[0]["final_storage_path_template"] == ["The backups of PC-1 b are stored in the same folder."]


def test_row_sharing_the_folder_of_a_job_is_refused(make_job):
    make_job("a", final_storage_path_template="x/y", company_name="s3cr3t")
    found = refusals(row("b", final_storage_path_template="x/y"))
    assert found == [{"final_storage_path_template": ["The backups of PC-1 a are stored in the same folder."]}]


def test_two_jobs_may_swap_their_folders(make_job):
    make_job("a", final_storage_path_template="x")
    make_job("b", final_storage_path_template="y")
    imported(row("a", final_storage_path_template="y"), row("b", final_storage_path_template="x"))
    assert dict(ExpectedBackupJob.objects.values_list("database_name", "storage_folder")) == {"a": "y", "b": "x"}


def test_failed_import_is_rolled_back(make_job, monkeypatch):
    make_job("a")
    plan = plan_import([row("a", city="Douala"), row("b", company_name="B")])
    save, saved = ExpectedBackupJob.save, []

    def failing(job, **kwargs):
        saved.append(job)
        if len(saved) == 2:
            raise ZeroDivisionError
        save(job, **kwargs)

    monkeypatch.setattr(ExpectedBackupJob, "save", failing)
    with pytest.raises(ZeroDivisionError):
        apply_import(plan)
    assert list(ExpectedBackupJob.objects.values_list("database_name", "city")) == [("a", "")]
    assert not AuditEvent.objects.filter(action="backups.jobs_imported").exists()


def test_job_created_or_deleted_meanwhile_is_a_conflict(make_job):
    known = make_job("a")
    plan = plan_import([row("b", company_name="B"), row("c", company_name="C")])
    made = make_job("c")
    with pytest.raises(ImportConflict), transaction.atomic():
        apply_import(plan)
    plan = plan_import([row("a", city="Douala"), row("d", company_name="D")])
    known.delete()
    with pytest.raises(ImportConflict):
        apply_import(plan)
    assert list(ExpectedBackupJob.objects.all()) == [made]


# --- The table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["agent_id", "database_name"])
def test_missing_key_column_is_a_fault(missing):
    plan = plan_import([{name: value for name, value in row().items() if name != missing}])
    assert plan.faults == [f"The column {missing} is missing."]
    assert plan.is_refused


def test_two_columns_for_one_field_are_a_fault():
    plan = plan_import([row(agent_id_responsible="PC-2")])
    assert plan.faults == ["The columns agent_id and agent_id_responsible are the same."]


def test_unknown_columns_are_ignored_with_a_warning():
    plan = imported(row(id="99", created_at="2020-01-01", nonsense="x", storage_folder="/etc", note="y" * 500))
    assert plan.warnings == ["These columns are not imported: id, created_at, nonsense, storage_folder, note."]
    job = ExpectedBackupJob.objects.get()
    assert (job.pk != 99, job.storage_folder, job.created_at.year > 2020) == (True, "_/_/compta_db", True)


def test_empty_rows_are_skipped_but_numbered():
    plan = plan_import([row("", ""), row("a"), row("", " ", city=""), row("b", expected_hour_utc="x")])
    assert [(row.number, row.action) for row in plan.rows] == [(2, "create"), (4, "refused")]


def test_empty_table_is_an_empty_plan():
    assert (plan_import([]).rows, plan_import([]).is_refused) == ([], False)


# --- Scans and exports -----------------------------------------------------------------------------------------------

MEASURES = {"current_status": "FAILED", "last_success_at": "2026-03-01T00:00:00Z", "previous_successful_hash": "b" * 64}


@pytest.mark.parametrize(
    ("looked", "taken"),
    [({}, False), ({"last_checked_at": ""}, False), ({"last_checked_at": "2026-03-10T12:59:59Z"}, False), ({"last_checked_at": "2026-03-10T13:00:01Z"}, True)],
)  # fmt: skip
def test_results_older_than_the_last_scan_are_ignored(make_job, looked, taken):
    make_job(last_checked_at=AT, last_success_at=AT, current_status=Status.SUCCESS, previous_successful_hash="a" * 64)
    plan = imported(row(**MEASURES, **looked, city="Douala"))
    job = ExpectedBackupJob.objects.get()
    assert (job.current_status, job.previous_successful_hash[0]) == (("FAILED", "b") if taken else ("SUCCESS", "a"))
    assert job.city == "Douala"
    kept = "Newer scan results were kept for 1 expected backups."
    assert plan.warnings == ([] if taken else [kept])


def test_unscanned_job_takes_imported_results(make_job):
    make_job()
    imported(row(**MEASURES))
    job = ExpectedBackupJob.objects.get()
    assert (job.current_status, job.last_success_at.day, job.previous_successful_hash) == ("FAILED", 1, "b" * 64)


def exported(*columns):
    response = csv_answer(
        "jobs", column_titles(columns), field_values(ExpectedBackupJob.objects.order_by("pk"), columns)
    )
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


ODD = {
    "company_name": "\uff1dcmd|' /C calc'!A0",
    "city": "'=x",
    "neighborhood": '@"quoted", l\'été',
    "days_of_week": "MO,TH",
    "year": 2025,
}


@pytest.fixture
def odd_job(make_job):
    """A job with values that an export might lose."""
    return make_job(
        "-base", last_checked_at=AT.replace(microsecond=123_456), last_success_at=AT.replace(microsecond=999_999), is_active=False,
        max_shrink_percent=None, min_size_bytes=2**40, current_status=Status.MISSING, status_since=AT.replace(microsecond=1),
        paused_until=AT + timedelta(microseconds=5), previous_successful_hash="c" * 64, **ODD,
    )  # fmt: skip


def test_exported_table_changes_nothing(odd_job, make_job):
    make_job("plain")
    before = list(ExpectedBackupJob.objects.order_by("pk").values())
    plan = imported(*exported(*planning.FIELDS))
    assert (actions(plan), plan.warnings) == (["unchanged", "unchanged"], [])
    assert list(ExpectedBackupJob.objects.order_by("pk").values()) == before


def test_export_of_one_portal_is_imported_by_another(odd_job):
    rows = exported(*planning.FIELDS)
    ExpectedBackupJob.objects.all().delete()
    imported(*rows)
    job = ExpectedBackupJob.objects.get()
    for name in planning.FIELDS.keys() - {"paused_until", "status_since", "last_checked_at", "last_success_at"}:
        assert getattr(job, name) == getattr(odd_job, name), name
    assert job.last_checked_at == AT.replace(microsecond=123_000)


def test_planning_takes_as_many_queries_for_many_rows_as_for_few(make_job):
    for number in range(20):
        make_job(str(number), company_name=str(number))
    rows = [row(str(number), company_name=str(number), city="Douala") for number in range(30)]
    assert count_queries(lambda: plan_import(rows)) == count_queries(lambda: plan_import(rows[:1]))
    assert plan_import(rows).counts == {"created": 10, "changed": 20, "unchanged": 0}


def test_import_covers_every_rule_of_the_model(make_job, monkeypatch):
    rules = Mock()
    monkeypatch.setattr("backups.models.validators", rules)
    make_job().clean()
    assert [call[0] for call in rules.method_calls] == ["refuse_overlapping", "refuse_shared_storage"]


# --- Names as spreadsheets hold them ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Comptabilite\u0301 Nord", "Comptabilit\u00e9\u00a0Nord", "\u202fComptabilit\u00e9\u2007Nord "]
)
def test_database_names_that_look_the_same_are_equal(make_job, name):
    make_job("Comptabilit\u00e9 Nord", "PC-1", city="x")
    plan = planning.plan_import([{"agent_id": "PC-1", "database_name": name, "city": "y"}])
    assert [(row.action, row.refusals) for row in plan.rows] == [("change", {})]


@pytest.mark.parametrize("char", ["\u200b", "\u200e", "\ufeff", "\u00ad", "\u2060"])
def test_name_with_an_invisible_character_is_refused(char):
    plan = planning.plan_import([{"agent_id": "PC-1", "database_name": f"compta{char}_db"}])
    assert [*plan.rows[0].refusals] == ["database_name"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sep=;\r\na;b,c\r\n", ("a;b,c\r\n", ";", 1)),
        ('"sep=,"\na,b;c;d\n', ("a,b;c;d\n", ",", 1)),
        ("SEP=\t\na\tb\n", ("a\tb\n", "\t", 1)),
        ("a;b\n1;2\n", ("a;b\n1;2\n", ";", 0)),
        ("sep=x\na,b\n", ("sep=x\na,b\n", ",", 0)),
    ],
)
def test_separator_line_of_excel_is_read(text, expected):
    assert planning.find_table(text) == expected
