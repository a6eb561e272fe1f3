import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backups.admin import drills
from backups.drills import runs
from backups.drills.tests.dumps import sqlite_dump, store
from backups.models import DrillAssertion, DrillSandbox, ExpectedBackupJob, RestoreDrill
from backups.tests.admin_pages import LIST, job_page, listed_databases, post_action_on_page
from portal.models import AuditEvent

DRILLS, ASSERTIONS = "/admin/backups/restoredrill/", "/admin/backups/drillassertion/"
NASTY = "<b>it's</b>"
RESULTS = [{"name": "A0", "ok": True, "value": 1, "failed": False}]


@pytest.fixture
def drilled_job(job):
    store(job, sqlite_dump(invoice=100))
    runs.run_due()
    job.refresh_from_db()
    return job


@pytest.fixture
def lost_job(drilled_job):
    store(drilled_job, sqlite_dump(invoice=1))
    runs.request_drills([drilled_job])
    runs.run_due()
    return ExpectedBackupJob.objects.get(pk=drilled_job.pk)


def drill_page(drill: RestoreDrill) -> str:
    return f"{DRILLS}{drill.pk}/change/"


def assertion_fields(job, **fields):
    given = {"job": job.pk, "name": "Orders", "query": "SELECT count(*) FROM invoice", "comparison": "at_least"}
    return given | {"expected": "1"} | fields


def test_restore_now_requests_a_drill(admin_client, drilled_job) -> None:
    post_action_on_page(admin_client, "restore_now", drilled_job)

    drilled_job.refresh_from_db()
    assert drilled_job.drill_requested_at is not None
    assert AuditEvent.objects.filter(action="backups.drill_asked").count() == 1


def test_job_without_a_stored_version_offers_no_drill(admin_client, job) -> None:
    assert "act/restore_now/" not in admin_client.get(job_page(job)).content.decode()


@pytest.mark.parametrize(("proof", "names"), [("yes", {"proven"}), ("lost", {"lost"}), ("never", {"new"})])
def test_list_is_filtered_by_proof(admin_client, make_job, proof, names) -> None:
    make_job("new")
    make_job("proven", proven_at="2026-01-01T00:00:00Z")
    make_job("lost", proven_at="2026-01-01T00:00:00Z", proof_lost=[{"code": "proof_expired"}])

    assert listed_databases(admin_client, proof=proof) == names


def test_page_of_a_drill_shows_its_rows_beside_those_of_the_last_proof(admin_client, lost_job) -> None:
    page = admin_client.get(drill_page(RestoreDrill.objects.latest("id")))

    tables = page.context["sections"][-1]
    assert [row[1:] for row in tables.rows] == [[1, 100]]


def test_accepted_changes_are_proof(admin_client, lost_job) -> None:
    drill = RestoreDrill.objects.latest("id")

    admin_client.post(f"{DRILLS}{drill.pk}/act/accept_changes/", {"_selected_action": drill.pk})

    lost_job.refresh_from_db()
    drill.refresh_from_db()
    assert (lost_job.proof_lost, drill.is_proof) == (None, True)
    assert AuditEvent.objects.get(action="backups.changes_accepted").before == {"losses": ["rows_lost"]}


def test_drill_without_changes_has_nothing_to_accept(admin_client, drilled_job) -> None:
    drill = RestoreDrill.objects.get()

    page = admin_client.post(DRILLS, {"action": "accept_changes", "_selected_action": drill.pk}, follow=True)

    assert [str(message)[:18] for message in page.context["messages"]] == ["Nothing to accept."]


def test_tables_beyond_the_limit_are_counted(admin_client, job, monkeypatch) -> None:
    monkeypatch.setattr(drills, "SHOWN_TABLES", 1)
    drill = RestoreDrill.objects.create(job=job, entry=store(job, sqlite_dump(a=1)), rows={"a": 1, "b": 1, "c": 1})

    tables = admin_client.get(drill_page(drill)).context["sections"][-1]

    assert (len(tables.rows), tables.note) == (1, "2 further tables are not shown.")


def test_limits_are_shown_in_the_reader_s_language_and_texts_of_servers_as_they_are(admin_client, job) -> None:
    errors = [{"line": None, "code": "time_is_up"}, {"line": 7, "message": "COPY: unique_violation"}]
    losses = [{"code": "not_restorable", "error": {"code": "time_is_up"}}]
    drill = RestoreDrill.objects.create(
        job=job, entry=store(job, sqlite_dump(a=1)), status="FAILED", errors=errors, losses=losses
    )

    page = admin_client.get(drill_page(drill), headers={"accept-language": "fr"})

    assert [row[1] for row in page.context["sections"][0].rows] == [
        "La limite de temps (DRILL_TIMEOUT_SECONDS) a été atteinte.",
        "COPY: unique_violation",
    ]
    assert page.content.decode().count("a limite de temps") == 2


def test_reason_of_an_earlier_release_is_shown_as_it_was_recorded(admin_client, job) -> None:
    losses = [{"code": "not_restorable", "error": "The time limit was reached"}]
    drill = RestoreDrill.objects.create(
        job=job, entry=store(job, sqlite_dump(a=1)), status="FAILED", losses=losses,
        errors=[{"line": None, "message": "The time limit was reached."}],
    )  # fmt: skip

    assert admin_client.get(drill_page(drill)).content.decode().count("he time limit was reached.") == 2


def test_names_in_a_dump_stay_text(admin_client, job) -> None:
    entry = store(job, sqlite_dump(a=1))
    drill = RestoreDrill.objects.create(
        job=job,
        entry=entry,
        status="FAILED",
        rows={NASTY: 1},
        errors=[{"line": 1, "message": NASTY}],
        losses=[{"code": "not_restorable", "error": NASTY}],
        assertions=[{"name": NASTY, "ok": False, "value": None, "failed": True}],
    )

    for page in (job_page(job), drill_page(drill), DRILLS):
        assert NASTY not in admin_client.get(page).content.decode()


@pytest.mark.parametrize(("days", "advice"), [(7, "tried again every hour"), (0, "choose “Restore now”")])
def test_page_of_a_database_says_why_no_drill_has_run(admin_client, make_job, days, advice) -> None:
    sandbox = DrillSandbox.objects.create(engine="mysql", trouble={"code": "server_full"})
    job = make_job("a", unavailable_sandbox=sandbox, drill_every_days=days)

    page = admin_client.get(job_page(job)).content.decode()

    assert "The server has no space left." in page
    assert advice in page


def test_running_drill_shows_its_progress(admin_client, job) -> None:
    RestoreDrill.objects.create(job=job, entry=store(job, sqlite_dump(a=1)), bytes_read=10)

    assert '<progress value="10"' in admin_client.get(job_page(job)).content.decode()


# --- Assertions ------------------------------------------------------------------------------------------------------


def test_assertion_is_added_from_the_page_of_its_database(admin_client, drilled_job) -> None:
    answer = post_action_on_page(admin_client, "add_assertion", drilled_job)
    form = admin_client.get(answer["Location"])
    admin_client.post(answer["Location"], assertion_fields(drilled_job))

    assert form.context["adminform"].form.initial["job"] == str(drilled_job.pk)
    assert DrillAssertion.objects.get().job == drilled_job


@pytest.mark.parametrize(
    ("query", "level"), [("SELECT count(*) FROM invoice", "success"), ("SELECT count(*) FROM other", "warning")]
)
def test_query_is_tried_without_being_saved(admin_client, drilled_job, query, level) -> None:
    fields = assertion_fields(drilled_job, query=query, name="", expected="", _test="Try")
    page = admin_client.post(f"{ASSERTIONS}add/", fields)

    assert page.context["errors"] == []
    assert [message.level_tag for message in page.context["messages"]] == [level]
    assert not DrillAssertion.objects.exists()


def count_queries(client, address: str) -> int:
    client.get(address)  # figures are cached
    with CaptureQueriesContext(connection) as queries:
        client.get(address)
    return len(queries)


def test_more_drills_and_assertions_take_no_more_queries(admin_client, make_job) -> None:
    counted = []
    for number in range(5):
        job = make_job(f"db{number}")
        entry = store(job, sqlite_dump(a=1))
        for drill in range(number + 1):
            DrillAssertion.objects.create(job=job, name=f"A{drill}", query="SELECT 1", expected="1")
            RestoreDrill.objects.create(job=job, entry=entry, status="PROVEN", assertions=RESULTS)
        if number in (0, 4):
            counted.append(
                [count_queries(admin_client, address) for address in (DRILLS, LIST, ASSERTIONS, job_page(job))]
            )

    assert counted[1] == counted[0]
    assert counted[0][-1] <= 15
