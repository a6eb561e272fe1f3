"""The checklist of first steps on the landing page, and what an empty portal says of itself."""

import pytest
from django.urls import reverse

from portal.access.tokens.issuing import issue_token
from portal.desk import checklist, findings
from portal.desk.checklist import Step
from portal.models import NotificationChannel, Preferences
from portal.notifications.configuration import ADDRESSED_ONLY
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("the landing page")]
INDEX, DISMISS = "/admin/", "/admin/checklist/"
CHECKLIST = 'class="checklist'


@pytest.fixture
def monitored(monkeypatch):
    """Replace the steps by the portal's own and one about a monitored thing, which the test marks as done."""
    state = {"is_done": False}

    def first_thing(request):
        return Step("thing", "Add a thing", "Things are watched.", "/admin/", state["is_done"])

    own = [checklist.first_channel, checklist.first_token]
    monkeypatch.setattr(checklist.steps, "all", lambda: [*own, first_thing])
    monkeypatch.setattr(findings.finding_sources, "all", list)
    return state


@pytest.fixture(autouse=True)
def nothing_set_up():
    NotificationChannel.objects.all().delete()


def test_step_is_done_as_soon_as_its_row_exists(admin_client, monitored):
    assert admin_client.get(INDEX).context["checklist"].done == 0
    NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")
    issue_token("enroll", label="installer")
    assert admin_client.get(INDEX).context["checklist"].done == 2


@pytest.mark.parametrize("changes", [{"min_severity": ADDRESSED_ONLY}, {"addresses": ""}, {"is_active": False}])
def test_channel_that_sends_no_alerts_does_not_complete_its_step(admin_client, monitored, changes):
    NotificationChannel.objects.create(**{"name": "Team", "kind": "email", "addresses": "a@example.org"} | changes)
    assert admin_client.get(INDEX).context["checklist"].done == 0


def test_checklist_disappears_when_all_steps_are_done(admin_client, monitored):
    NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")
    issue_token("enroll", label="installer")
    assert CHECKLIST in page_text(admin_client.get(INDEX))
    monitored["is_done"] = True
    assert CHECKLIST not in page_text(admin_client.get(INDEX))


def test_dismissed_checklist_stays_hidden_until_the_user_asks_for_it(admin_client, client, monitored):
    admin_client.post(DISMISS, {"action": "dismiss"})
    assert CHECKLIST not in page_text(admin_client.get(INDEX))
    assert Preferences.objects.get().has_dismissed_checklist
    assert CHECKLIST in page_text(log_in_with_role(client, "operator").get(INDEX))
    admin_client.post(DISMISS, {"action": "show"})
    assert CHECKLIST in page_text(admin_client.get(INDEX))


def test_viewer_sees_no_step_that_they_may_not_take(client, monitored):
    steps = log_in_with_role(client, "viewer").get(INDEX).context["checklist"].steps
    assert [step.key for step in steps] == ["thing"]


def test_portal_that_monitors_nothing_is_not_shown_as_healthy(admin_client, monitored):
    assert 'class="calm unknown"' in page_text(admin_client.get(INDEX))
    monitored["is_done"] = True
    assert 'class="calm"' in page_text(admin_client.get(INDEX))


def test_failing_step_hides_no_other(admin_client, monitored, monkeypatch):
    def broken(request):
        raise RuntimeError

    monkeypatch.setattr(checklist.steps, "all", lambda: [broken, checklist.first_channel])
    assert [step.key for step in admin_client.get(INDEX).context["checklist"].steps] == ["channel"]


def test_menu_lists_what_operators_need_before_the_plumbing(admin_client):
    groups = [(app["app_label"], [model["object_name"] for model in app["models"]])
              for app in admin_client.get(INDEX).context["available_apps"]]  # fmt: skip
    assert groups[-1][0] == "system"
    assert {"JobRun", "TaskAttempt", "OutboxMessage"} <= set(groups[-1][1])
    portal = dict(groups)["portal"]
    assert portal[:4] == ["ApiToken", "NotificationChannel", "User", "Group"]
    assert "auth" not in dict(groups)


def test_help_page_leads_to_the_api_documentation(admin_client):
    assert f'href="{reverse("docs")}"' in page_text(admin_client.get("/admin/help/"))
