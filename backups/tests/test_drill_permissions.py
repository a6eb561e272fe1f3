"""Who may start restore drills, accept what they lost, and write and try assertions."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from backups.drills import runs, trials
from backups.drills.tests.dumps import sqlite_dump, store
from backups.models import DrillAssertion, ExpectedBackupJob, RestoreDrill
from backups.tests.admin_pages import job_page, post_action, post_action_on_page
from portal.access import roles
from portal.models import AuditEvent

DRILLS, ASSERTIONS = (
    reverse("admin:backups_restoredrill_changelist"),
    reverse("admin:backups_drillassertion_changelist"),
)
QUERY = "SELECT count(*) FROM invoice"
pytestmark = pytest.mark.one_database("permissions are checked in Python")
MAY_NOT = ("bare", "viewer", "staff")


@pytest.fixture
def lost_job(job: ExpectedBackupJob) -> ExpectedBackupJob:
    """A job whose latest drill has lost rows, with an assertion."""
    for rows in (100, 1):
        store(job, sqlite_dump(invoice=rows))
        runs.request_drills([job])
        runs.run_due()
    DrillAssertion.objects.create(job=job, name="Invoices", query=QUERY, expected="1")
    job.refresh_from_db()
    return job


@pytest.fixture
def sign_in(client: Client) -> Any:
    """Return a function that signs in a member of a role, or someone with these permissions alone."""

    def sign_in(role: str = "", *permissions: str) -> Client:
        roles.synchronise_roles()
        user = User.objects.create_user(role or "someone", is_staff=True)
        user.groups.set(Group.objects.filter(name=role))
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the queries that are tried."""
    found: list[str] = []
    run_query = trials.run_query
    monkeypatch.setattr(trials, "run_query", lambda drill, query: found.append(query) or run_query(drill, query))  # type: ignore[func-returns-value]
    return found


def latest(job: ExpectedBackupJob) -> RestoreDrill:
    return RestoreDrill.objects.filter(job=job).latest("id")


def form_of(job: ExpectedBackupJob, **fields: str) -> dict[str, object]:
    return {"job": job.pk, "name": "New", "query": QUERY, "comparison": "at_least", "expected": "1"} | fields


def accept_on_page(client: Client, drill: RestoreDrill) -> Any:
    return client.post(f"{DRILLS}{drill.pk}/act/accept_changes/", {"_selected_action": drill.pk})


def accept_in_list(client: Client, drill: RestoreDrill) -> Any:
    return client.post(DRILLS, {"action": "accept_changes", "_selected_action": drill.pk}, follow=True)


# --- Roles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", MAY_NOT)
def test_role_without_permission_starts_and_accepts_nothing(
    sign_in: Any, lost_job: ExpectedBackupJob, role: str
) -> None:
    client, drill = sign_in(role), latest(lost_job)

    assert post_action_on_page(client, "restore_now", lost_job).status_code == 403
    assert accept_on_page(client, drill).status_code == 403
    post_action(client, "restore_now", lost_job)
    accept_in_list(client, drill)

    before = lost_job.proof_lost
    lost_job.refresh_from_db()
    drill.refresh_from_db()
    assert (lost_job.drill_requested_at, lost_job.proof_lost, drill.is_proof) == (None, before, False)
    assert not AuditEvent.objects.filter(action__in=["backups.drill_asked", "backups.changes_accepted"]).exists()


@pytest.mark.parametrize("role", MAY_NOT)
@pytest.mark.parametrize("place", ["add/", "{}/change/", "999999/change/"])
def test_role_without_permission_writes_and_tries_no_assertion(
    sign_in: Any, lost_job: ExpectedBackupJob, tried: list[str], role: str, place: str
) -> None:
    client = sign_in(role)
    asserted = DrillAssertion.objects.get()

    for button in ("_save", "_test"):
        answer = client.post(ASSERTIONS + place.format(asserted.pk), form_of(lost_job, **{button: "1"}))
        assert answer.status_code == 403 or answer.url == reverse("admin:index")
    assert client.post(f"{ASSERTIONS}{asserted.pk}/delete/", {"post": "yes"}).status_code == 403

    assert (tried, list(DrillAssertion.objects.values_list("name", flat=True))) == ([], ["Invoices"])


@pytest.mark.parametrize(("role", "sees"), [("bare", False), ("viewer", True), ("staff", True), ("operator", True)])
def test_role_sees_drills_and_assertions_and_the_buttons_that_it_may_press(
    sign_in: Any, lost_job: ExpectedBackupJob, role: str, sees: bool
) -> None:
    client, drill, asserted = sign_in(role), latest(lost_job), DrillAssertion.objects.get()
    pages = [
        DRILLS,
        f"{DRILLS}{drill.pk}/change/",
        job_page(lost_job),
        ASSERTIONS,
        f"{ASSERTIONS}{asserted.pk}/change/",
    ]

    answers = [client.get(page) for page in pages]

    assert {answer.status_code for answer in answers} == {200 if sees else 403}
    texts = "".join(answer.content.decode() for answer in answers)
    buttons = ("/act/restore_now/", "/act/accept_changes/", "/act/add_assertion/", 'name="_test"', "/delete/")
    assert [button in texts for button in buttons] == [role == "operator"] * len(buttons)


@pytest.mark.parametrize("accept", [accept_on_page, accept_in_list])
def test_operator_accepts(sign_in: Any, lost_job: ExpectedBackupJob, accept: Any) -> None:
    accept(sign_in("operator"), latest(lost_job))

    assert latest(lost_job).is_proof


@pytest.mark.parametrize("press", [post_action_on_page, post_action])
def test_operator_starts_a_drill(sign_in: Any, lost_job: ExpectedBackupJob, press: Any) -> None:
    press(sign_in("operator"), "restore_now", lost_job)

    lost_job.refresh_from_db()
    assert lost_job.drill_requested_at is not None


# --- Single permissions ----------------------------------------------------------------------------------------------


def test_permission_to_start_drills_is_one_of_its_own(sign_in: Any, lost_job: ExpectedBackupJob) -> None:
    client = sign_in("", "view_expectedbackupjob", "change_expectedbackupjob", "scan_expectedbackupjob")
    assert post_action_on_page(client, "restore_now", lost_job).status_code == 403

    User.objects.get().user_permissions.add(Permission.objects.get(codename="drill_expectedbackupjob"))
    assert post_action_on_page(client, "restore_now", lost_job).status_code == 302


@pytest.mark.parametrize(
    ("permission", "on_new", "on_existing"), [("add", 200, 403), ("change", 403, 200), ("view", 403, 403)]
)
def test_query_is_tried_by_whoever_may_save_it(
    sign_in: Any, lost_job: ExpectedBackupJob, tried: list[str], permission: str, on_new: int, on_existing: int
) -> None:
    client = sign_in("", "view_drillassertion", f"{permission}_drillassertion")
    places = ("add/", f"{DrillAssertion.objects.get().pk}/change/")

    statuses = [client.post(ASSERTIONS + place, form_of(lost_job, _test="1")).status_code for place in places]

    assert statuses == [on_new, on_existing]
    assert tried == [QUERY] * statuses.count(200)
