"""Enrolments that wait for an operator's approval."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from agents import approval, findings
from agents.enrolment import issue_agent_token
from agents.models import Agent, EnrolmentRequest
from agents.schedules import outdated_requests
from backups.models import ExpectedBackupJob
from portal.access import roles
from portal.access.tokens.issuing import issue_token
from portal.models import ApiToken, AuditEvent

pytestmark = pytest.mark.django_db
MACHINE = "agent_douala_prod_01"
REQUIRED = (409, "approval_required")


@pytest.fixture(autouse=True)
def root(tmp_path, settings):
    settings.DEPOSITS_ROOT = tmp_path / "deposits"
    settings.DEPOSITS_ROOT.mkdir()
    return settings.DEPOSITS_ROOT


@pytest.fixture
def expected():
    return ExpectedBackupJob.objects.create(agent_id=MACHINE, database_name="compta_db")


@pytest.fixture
def enrol(call):
    """Return a function that enrols a machine and returns status and code."""

    def enrolling(token, machine_id=MACHINE, **fields):
        answer = call("POST", "agents/enroll", token, machine_id=machine_id, **fields)
        return answer.status_code, answer.json().get("status" if answer.status_code == 201 else "code")

    return enrolling


@pytest.fixture
def waiting():
    return lambda: list(findings.waiting_enrolments(timezone.now()))


def sign_in(role):
    roles.synchronise_roles()
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def click(client, url):
    """Press the button of the landing page, which the client has seen."""
    return client.post(url, {"csrfmiddlewaretoken": client.cookies["csrftoken"].value})


def test_expected_machine_is_enrolled_after_one_click(enrol, expected, root, waiting):
    token, plain = issue_token("enroll", label="installers", max_uses=1)
    assert [enrol(plain), enrol(plain), enrol(plain, MACHINE.upper())] == [REQUIRED] * 3
    token.refresh_from_db()
    assert (token.uses, Agent.objects.count(), list(root.iterdir())) == (0, 0, [])
    assert AuditEvent.objects.filter(action="refused.approval_required", subject=f"agent:{MACHINE}").get().count == 2

    (finding,) = waiting()
    assert all(part in finding.text for part in (MACHINE, "“installers”", "127.0.0.1"))
    operator = sign_in("operator")
    page = operator.get("/admin/").content.decode()
    assert page.count(f'<form method="post" action="{finding.url}">') == 1
    assert operator.post(finding.url).status_code == 403  # without the CSRF token
    assert enrol(plain) == REQUIRED
    assert click(operator, finding.url).status_code == 302
    assert AuditEvent.objects.filter(action="agent.enrolment_allowed", actor="user:operator").exists()
    assert waiting() == []

    assert enrol(plain) == (201, "enrolled")
    assert not EnrolmentRequest.objects.exists()


def test_viewer_sees_the_request_without_a_button(enrol, enroll_token, expected, waiting):
    enrol(enroll_token)
    (finding,) = waiting()
    viewer = sign_in("viewer")
    page = viewer.get("/admin/").content.decode()
    assert MACHINE in page
    assert finding.url not in page
    assert click(viewer, finding.url).status_code == 403
    assert EnrolmentRequest.objects.get().allowed_until is None


def allow():
    EnrolmentRequest.objects.update(allowed_until=timezone.now() + approval.ALLOWED_FOR)


def test_approval_holds_for_the_token_that_asked(enrol, expected):
    first, second = (issue_token("enroll", label=label)[1] for label in ("first", "second"))
    assert enrol(first) == REQUIRED
    allow()
    assert enrol(second) == REQUIRED
    assert enrol(first) == (201, "enrolled")
    assert not EnrolmentRequest.objects.exists()


def test_approval_ends_after_15_minutes(enrol, enroll_token, expected, waiting):
    enrol(enroll_token)
    EnrolmentRequest.objects.update(allowed_until=timezone.now() - timedelta(seconds=1))
    assert enrol(enroll_token) == REQUIRED
    assert len(waiting()) == 1


def test_approval_is_used_up_by_one_enrolment(enrol, enroll_token, expected, agent):
    enrol(enroll_token)
    allow()
    assert enrol(enroll_token, enrollment_id="5d9c") == (201, "enrolled")
    assert enrol(enroll_token, enrollment_id="5d9c") == (201, "replayed")
    assert enrol(enroll_token) == (409, "agent_already_active")
    Agent.objects.filter(machine_id=MACHINE).update(status="uninstalled")
    assert enrol(enroll_token) == REQUIRED
    assert not Agent.objects.active().named(MACHINE).exists()


def test_reactivation_needs_approval_and_keeps_the_machine_as_it_was(enrol, enroll_token, expected, make_agent):
    make_agent(MACHINE, status="uninstalled", user_name="Alice")
    assert enrol(enroll_token, user_name="Mallory", allow_reactivate=False) == (409, "reactivation_forbidden")
    assert enrol(enroll_token, user_name="Mallory") == REQUIRED
    agent = Agent.objects.get()
    assert (agent.status, agent.user_name) == ("uninstalled", "Alice")
    allow()
    assert enrol(enroll_token) == (201, "reactivated")


def test_refusal_tells_nothing_of_the_machine(call, enroll_token, expected, make_agent):
    make_agent(MACHINE, status="uninstalled", user_name="Alice", version="7")
    answer = call("POST", "agents/enroll", enroll_token, machine_id=MACHINE)
    assert answer.json().keys() == {"type", "title", "status", "detail", "code"}


def test_active_machine_renews_and_reenrols_without_approval(enrol, enroll_token, expected, make_agent):
    agent = make_agent(MACHINE)
    assert enrol(issue_agent_token(agent)) == (201, "replayed")
    Agent.objects.update(reenrolment_until=timezone.now() + timedelta(minutes=1))
    assert enrol(enroll_token) == (201, "enrolled")


@pytest.mark.parametrize(
    ("job", "machine_id", "answer"),
    [
        ({}, MACHINE, REQUIRED),
        ({}, "AGENT_DOUALA_PROD_01", REQUIRED),
        ({}, "agent:douala:prod_01", REQUIRED),  # leads to the same folder
        ({"agent_id": "Agent:douala:prod_01"}, MACHINE, REQUIRED),
        ({}, "agent_douala_prod_02", (201, "enrolled")),
        ({"is_active": False}, MACHINE, (201, "enrolled")),
        ({"paused_until": "2999-01-01T00:00:00Z"}, MACHINE, REQUIRED),
        ({"agent_deposit_path_template": "Shared/{agent_id}"}, "shared", REQUIRED),
        ({"agent_log_deposit_path_template": "{company_name}/log", "company_name": "Acme"}, "acme", REQUIRED),
    ],
)
def test_names_are_compared_as_folders_are(enrol, enroll_token, job, machine_id, answer):
    ExpectedBackupJob.objects.create(**{"agent_id": MACHINE, "database_name": "compta_db"} | job)
    assert enrol(enroll_token, machine_id) == answer


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (f"{MACHINE}/database/compta_db.sql.gz", REQUIRED),
        (f"{MACHINE.upper()}/log/x.json", REQUIRED),
        (MACHINE, REQUIRED),  # a file or a link in place of the folder
        (f"{MACHINE}_2/database/compta_db.sql.gz", (201, "enrolled")),
    ],
)
def test_folder_with_files_needs_approval(enrol, enroll_token, root, path, answer):
    (root / MACHINE.replace("prod", "dev") / "log").mkdir(parents=True)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(b"x")
    assert enrol(enroll_token) == answer


def test_empty_folder_and_missing_root_need_no_approval(enrol, enroll_token, root):
    (root / MACHINE / "log").mkdir(parents=True)
    assert enrol(enroll_token) == (201, "enrolled")
    (root / MACHINE / "log").rmdir()
    (root / MACHINE).rmdir()
    root.rmdir()
    assert enrol(enroll_token, "PC-2") == (201, "enrolled")


def test_folder_that_cannot_be_listed_needs_approval(enrol, enroll_token, root):
    root.rmdir()
    root.write_bytes(b"")
    assert enrol(enroll_token) == REQUIRED


@pytest.mark.parametrize(
    ("setting", "known", "unknown"),
    [
        ("backups", REQUIRED, (201, "enrolled")),
        ("always", REQUIRED, REQUIRED),
        ("never", (201, "enrolled"), (201, "enrolled")),
    ],
)
def test_setting_decides_which_machines_need_approval(enrol, enroll_token, expected, settings, setting, known, unknown):
    settings.ENROLMENT_APPROVAL = setting
    assert (enrol(enroll_token), enrol(enroll_token, "PC-2")) == (known, unknown)


def test_token_bound_to_the_machine_needs_no_approval(enrol, expected, capsys):
    call_command("issue_token", "--kind", "enroll", "--machine", MACHINE.upper(), "--scope", "uninstall")
    plain = capsys.readouterr().out.strip()
    assert enrol(plain, "PC-2") == (403, "machine_mismatch")
    assert enrol(plain) == (201, "enrolled")


@pytest.mark.parametrize("kind", ["enroll", "agent"])
def test_request_ends_when_the_machine_is_enrolled_in_another_way(enrol, enroll_token, expected, capsys, kind):
    assert enrol(enroll_token) == REQUIRED
    call_command("issue_token", "--kind", kind, "--machine", MACHINE)
    assert enrol(capsys.readouterr().out.strip())[0] == 201
    assert not EnrolmentRequest.objects.exists()


def test_token_bound_to_a_machine_uninstalls_no_other(call, make_agent):
    make_agent("PC-2")
    plain = issue_token("enroll", for_machine=MACHINE, scopes=["uninstall"])[1]
    answer = call("POST", "agents/uninstall", plain, machine_id="PC-2")
    assert (answer.status_code, answer.json()["code"]) == (403, "machine_mismatch")
    assert Agent.objects.get().is_active


def test_page_of_an_expected_backup_leads_to_a_token_for_its_machine(admin_client, enrol, expected):
    page = f"/admin/backups/expectedbackupjob/{expected.pk}"
    assert "Issue an enrolment token…" in admin_client.get(f"{page}/change/").content.decode()
    form = admin_client.post(f"{page}/act/issue_enrolment_token/")
    assert f'value="{MACHINE}"' in admin_client.get(form.url).content.decode()
    sent = {"kind": "enroll", "label": "Douala", "lifetime": "7", "for_machine": MACHINE, "max_uses": 1}
    issued = admin_client.post(form.url, sent)
    assert enrol(issued.context["plain"]) == (201, "enrolled")
    assert "Issue an enrolment token…" not in admin_client.get(f"{page}/change/").content.decode()


# --- Bounds ----------------------------------------------------------------------------------------------------------


def test_flood_of_one_token_pushes_out_its_own_requests_alone(enrol, settings, monkeypatch, waiting):
    settings.ENROLMENT_APPROVAL = "always"
    monkeypatch.setattr(approval, "MOST_PER_TOKEN", 3)
    other, flooding = issue_token("enroll", label="other")[1], issue_token("enroll", label="flooding")[1]
    enrol(other)
    enrol(flooding, "PC-ALLOWED")
    EnrolmentRequest.objects.filter(machine_id="PC-ALLOWED").update(allowed_until=timezone.now() + approval.ALLOWED_FOR)
    for number in range(6):
        enrol(flooding, f"PC-{number}")
    stored = EnrolmentRequest.objects.order_by("pk").values_list("machine_id", flat=True)
    assert list(stored) == [MACHINE, "PC-ALLOWED", "PC-3", "PC-4", "PC-5"]
    for number in range(4):
        enrol(issue_token("enroll", label=f"office {number}")[1])
    assert len(waiting()) == findings.SHOWN + 1


def test_request_of_a_week_ago_is_pruned_and_no_finding(enrol, enroll_token, expected, waiting):
    enrol(enroll_token)
    EnrolmentRequest.objects.update(last_asked_at=timezone.now() - approval.KEPT_FOR - timedelta(seconds=1))
    assert waiting() == []
    assert outdated_requests(timezone.now()).count() == 1


def test_exhausted_token_asks_for_nothing(enrol, expected):
    token, plain = issue_token("enroll", max_uses=1)
    ApiToken.objects.filter(pk=token.pk).update(uses=1)
    assert enrol(plain) == (403, "token_exhausted")
    assert not EnrolmentRequest.objects.exists()


def test_revoked_token_asks_for_nothing_any_more(enrol, enroll_token, expected, waiting):
    enrol(enroll_token)
    ApiToken.objects.update(revoked_at=timezone.now())
    assert waiting() == []


def test_operator_discards_a_request(admin_client, enrol, enroll_token, expected, waiting):
    enrol(enroll_token)
    asked = EnrolmentRequest.objects.get()
    for path in ("", f"{asked.pk}/change/", "?state=waiting", "?state=allowed", "?q=agent"):
        assert admin_client.get(f"/admin/agents/enrolmentrequest/{path}").status_code == 200
    address = f"/admin/agents/enrolmentrequest/{asked.pk}/act/discard/"
    assert admin_client.post(address).context["keys"] == [asked.pk]
    assert len(waiting()) == 1
    page = admin_client.post(address, {"confirmed": "yes"}, follow=True).content.decode()
    assert "1 request was discarded." in page
    assert waiting() == []
    assert AuditEvent.objects.filter(action="agent.enrolment_discarded", subject=f"agent:{MACHINE}").exists()


def test_confirmation_of_discarded_requests_counts_them_and_their_approvals(
    admin_client, enrol, enroll_token, settings
):
    settings.ENROLMENT_APPROVAL = "always"
    for machine_id in ("PC-1", "PC-2", "PC-3"):
        enrol(enroll_token, machine_id)
    EnrolmentRequest.objects.filter(machine_id="PC-1").update(allowed_until=timezone.now() + approval.ALLOWED_FOR)
    chosen = EnrolmentRequest.objects.exclude(machine_id="PC-3").values_list("pk", flat=True)
    asked = {"action": "discard", "_selected_action": list(chosen)}
    consequences = admin_client.post("/admin/agents/enrolmentrequest/", asked).context["confirmation"].consequences
    assert consequences[:2] == [
        "This deletes 2 requests. Their machines can request enrolment again.",
        "It also ends 1 approval: that machine needs another to enrol.",
    ]
    assert EnrolmentRequest.objects.count() == 3
    admin_client.post("/admin/agents/enrolmentrequest/", asked | {"confirmed": "yes"})
    assert EnrolmentRequest.objects.get().machine_id == "PC-3"
