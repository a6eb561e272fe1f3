"""What an operator may do about incidents: acknowledge, assign, add the root cause."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from monitoring.admin import display
from monitoring.alerts import incidents
from monitoring.alerts.incidents import acknowledge_incidents, resolve_incidents
from monitoring.clock import mark
from monitoring.models import Incident
from monitoring.tests.helpers.admin_pages import BASE, listed_rows, page_url, post_action, post_page_action
from portal.admin import confirm
from portal.models import AuditEvent, OutboxMessage
from portal.tests.helpers.admin_pages import audit_events, log_in_with_role, messages_of, page_text

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def acknowledge(*chosen, comment=""):
    rows = Incident.objects.filter(pk__in=[incident.pk for incident in chosen])
    acknowledge_incidents(rows, "otto", timezone.now(), comment)


class TestActions:
    def test_acknowledging_is_shown_and_audited(self, client, opened):
        log_in_with_role(client, "operator")
        new, known, over = opened("a"), opened("b"), opened("c")
        acknowledge_incidents(Incident.objects.filter(pk=known.pk), "otto", timezone.now())
        resolve_incidents([over], mark())
        response = post_action(client, "acknowledge", new, known, over)
        assert messages_of(response) == ["Incident acknowledged; reminders stopped."]
        assert dict(Incident.objects.values_list("pk", "acknowledged_by")) == {
            new.pk: "olga",
            known.pk: "otto",
            over.pk: "",
        }
        assert audit_events("monitoring.acknowledged") == [(f"incident:{new.pk}", None)]

    def test_audit_event_names_only_changed_incidents(self, admin_client, opened, monkeypatch):
        """Somebody else may have acknowledged one while this was under way."""
        mine, theirs = opened("a"), opened("b")

        def at_the_same_time(rows, *given):
            return acknowledge_incidents(rows.exclude(pk=theirs.pk), *given)

        monkeypatch.setattr("monitoring.alerts.incidents.acknowledge_incidents", at_the_same_time)
        response = post_action(admin_client, "acknowledge", mine, theirs)
        assert messages_of(response) == ["Incident acknowledged; reminders stopped."]
        assert audit_events("monitoring.acknowledged") == [(f"incident:{mine.pk}", None)]

    def test_acknowledge_button_is_shown_until_acknowledged(self, admin_client, opened):
        incident = opened("a")
        assert "/act/acknowledge/" in page_text(admin_client.get(page_url(incident)))
        response = post_page_action(admin_client, "acknowledge", incident)
        assert "/act/acknowledge/" not in page_text(response)
        assert "Incident acknowledged</td>" in page_text(response)

    def test_cause_is_asked_for_and_stored(self, client, opened):
        log_in_with_role(client, "operator")
        incident = opened("a")
        text = page_text(post_page_action(client, "note_cause", incident))
        assert "<textarea" in text
        assert audit_events("monitoring.cause_noted") == []
        response = post_page_action(client, "note_cause", incident, confirmed="yes", cause="Disk full")
        incident.refresh_from_db()
        assert incident.cause == "Disk full"
        assert messages_of(response) == ["Root cause saved."]
        assert incident.timeline.filter(kind="noted", text="Disk full", actor="olga").count() == 1
        post_page_action(client, "note_cause", incident, confirmed="yes", cause="Disk broken")
        events = AuditEvent.objects.filter(action="monitoring.cause_noted").order_by("pk")
        assert [(event.before, event.after) for event in events] == [
            ({"cause": ""}, {"cause": "Disk full"}),
            ({"cause": "Disk full"}, {"cause": "Disk broken"}),
        ]
        post_page_action(client, "note_cause", incident, confirmed="yes", cause="Disk full")
        assert ">Disk full</textarea>" in page_text(post_page_action(client, "note_cause", incident)).replace("\n", "")

    def test_cause_of_an_incident_resolved_meanwhile_is_stored(self, admin_client, opened):
        incident = opened("a")
        asked = {"action": "note_cause", "_selected_action": [incident.pk]}
        text = page_text(admin_client.post(f"{BASE}incident/?state=open", asked))
        (address,) = re.findall('<form method="post" action="([^"]*)" id="content-main"', text)
        resolve_incidents([incident], mark())
        response = admin_client.post(address, asked | {"confirmed": "yes", "cause": "Disk full"}, follow=True)
        assert messages_of(response) == ["Root cause saved."]
        assert Incident.objects.get().cause == "Disk full"

    def test_action_without_applicable_rows_warns(self, admin_client, opened):
        asked = {"action": "note_cause", "_selected_action": [opened("a").pk]}
        response = admin_client.post(f"{BASE}incident/?state=resolved", asked, follow=True)
        assert messages_of(response) == ["No changes needed."]

    def test_one_cause_takes_two_queries_for_many_incidents(self, opened, django_assert_num_queries):
        rows = [opened(name) for name in "abc"]
        with django_assert_num_queries(4):  # with those of the savepoint
            incidents.note_cause(rows, "Power cut", "olga", timezone.now())

    def test_one_cause_is_stored_for_many_incidents(self, admin_client, opened):
        a, b = opened("a"), opened("b")
        response = post_action(admin_client, "note_cause", a, b, confirmed="yes", cause="Power cut")
        assert messages_of(response) == ["Root cause of 2 incidents saved."]
        assert set(Incident.objects.values_list("cause", flat=True)) == {"Power cut"}

    @pytest.mark.parametrize("cause", ["", "   ", "x" * 2001])
    def test_empty_cause_is_refused(self, admin_client, opened, cause):
        incident = opened("a")
        assert "errorlist" in page_text(
            post_page_action(admin_client, "note_cause", incident, confirmed="yes", cause=cause)
        )
        incident.refresh_from_db()
        assert incident.cause == ""

    def test_too_many_at_once_are_refused(self, admin_client, opened, monkeypatch):
        monkeypatch.setattr(confirm, "MOST_AT_ONCE", 1)
        post_action(admin_client, "acknowledge", opened("a"), opened("b"))
        assert not Incident.objects.exclude(acknowledged_at=None).exists()

    @pytest.mark.one_database("permissions are checked in Python")
    @pytest.mark.parametrize("role", ["viewer", "staff"])
    @pytest.mark.parametrize("action", ["acknowledge", "unacknowledge", "assign_to_me", "assign", "note_cause"])
    def test_only_operators_may_act(self, client, opened, role, action):
        log_in_with_role(client, role)
        incident = opened("a")
        assert post_page_action(client, action, incident, confirmed="yes", cause="x").status_code == 403
        post_action(client, action, incident, confirmed="yes", cause="x")
        incident.refresh_from_db()
        assert (incident.acknowledged_at, incident.assignee, incident.cause) == (None, None, "")


class TestComments:
    def test_comment_of_an_acknowledgement_is_shown_on_list_and_page(self, client, opened):
        log_in_with_role(client, "operator")
        incident = opened("a")
        assert 'name="comment"' in page_text(client.get(page_url(incident)))
        post_page_action(client, "acknowledge", incident, comment="Provider called <1>")
        incident.refresh_from_db()
        assert (incident.acknowledged_by, incident.comment) == ("olga", "Provider called <1>")
        assert incident.timeline.get(kind="acknowledged").text == "Provider called <1>"
        for address in (f"{BASE}incident/", page_url(incident)):
            assert "Provider called &lt;1&gt;" in page_text(client.get(address))
        assert audit_events("monitoring.acknowledged")[0][1] == {"comment": "Provider called <1>"}

    def test_comment_that_is_too_long_acknowledges_nothing(self, admin_client, opened):
        incident = opened("a")
        post_page_action(admin_client, "acknowledge", incident, comment="x" * 501)
        incident.refresh_from_db()
        assert incident.acknowledged_at is None


class TestWithdrawnAcknowledgements:
    def test_withdrawn_acknowledgement_clears_who_and_comment(self, client, opened):
        log_in_with_role(client, "operator")
        incident, new, over = opened("a"), opened("b"), opened("c")
        acknowledge(incident, over, comment="Mine")
        resolve_incidents([over], mark())
        post_action(client, "unacknowledge", incident, new, over)
        incident.refresh_from_db()
        over.refresh_from_db()
        assert (incident.acknowledged_at, incident.acknowledged_by, incident.comment) == (None, "", "")
        assert over.acknowledged_by == "otto"
        assert incident.timeline.last().kind == "unacked"
        [event] = AuditEvent.objects.filter(action="monitoring.unacknowledged")
        assert event.subject == f"incident:{incident.pk}"
        assert event.before == {"acknowledged_by": "otto", "comment": "Mine"}
        assert event.after == {"acknowledged_by": "", "comment": ""}

    def test_reminders_resume_after_a_withdrawn_acknowledgement(self, channel, opened):
        incident = opened("a", ago=4 * HOUR)
        Incident.objects.update(told_at=timezone.now() - 4 * HOUR)
        acknowledge(incident)
        assert incidents.send_reminders(mark()) == 0
        incidents.unacknowledge_incidents(Incident.objects.all(), "olga", timezone.now())
        assert incidents.send_reminders(mark()) == 1
        assert OutboxMessage.objects.filter(dedupe_key__contains="reminder").count() == 1


class TestAssigning:
    def test_operator_assigns_an_incident_to_themselves(self, client, opened):
        log_in_with_role(client, "operator")
        incident = opened("a")
        post_page_action(client, "assign_to_me", incident)
        incident.refresh_from_db()
        assert incident.assignee.username == "olga"
        assert (incident.timeline.last().kind, incident.timeline.last().text) == ("assigned", "olga")
        assert listed_rows(client, "incident", assigned="me") == [str(incident)]
        assert listed_rows(client, "incident", assigned="none") == []

    def test_incident_is_assigned_to_a_chosen_user_and_to_no_one(self, admin_client, admin_user, opened):
        incident = opened("a")
        assert 'name="assignee"' in page_text(post_page_action(admin_client, "assign", incident))
        post_page_action(admin_client, "assign", incident, confirmed="yes", assignee=admin_user.pk)
        incident.refresh_from_db()
        assert incident.assignee == admin_user
        post_page_action(admin_client, "assign", incident, confirmed="yes", assignee="nobody")
        incident.refresh_from_db()
        assert incident.assignee is None
        events = AuditEvent.objects.filter(action="monitoring.assigned").order_by("pk")
        assert [(event.before["assignee"], event.after["assignee"]) for event in events] == [
            ("", "admin"),
            ("admin", ""),
        ]

    def test_assignee_of_several_incidents_must_be_chosen(self, admin_client, admin_user, opened):
        rows = [opened("a"), opened("b")]
        Incident.objects.update(assignee=admin_user)
        form = post_action(admin_client, "assign", *rows).context["asked"][0]
        response = post_action(admin_client, "assign", *rows, confirmed="yes", assignee=form["assignee"].value())
        assert response.context["asked"][0].errors
        assert set(Incident.objects.values_list("assignee", flat=True)) == {admin_user.pk}

    def test_assignee_who_has_left_is_kept_unless_another_is_chosen(self, admin_client, django_user_model, opened):
        incident, gone = opened("a"), django_user_model.objects.create_user("gone", is_active=False)
        Incident.objects.update(assignee=gone)
        form = post_page_action(admin_client, "assign", incident).context["asked"][0]
        assert f'<option value="{gone.pk}" selected>gone</option>' in str(form["assignee"])
        post_page_action(admin_client, "assign", incident, confirmed="yes", assignee=form["assignee"].value())
        incident.refresh_from_db()
        assert incident.assignee == gone

    def test_incident_of_no_one_is_listed_without_its_acknowledger_as_assignee(self, admin_client, opened):
        incident = opened("a")
        acknowledge(incident)
        assert display.incident_owner(incident) == ("–", "", "")
        incident.refresh_from_db()
        assert display.incident_owner(incident) == ("–", "Acknowledged by otto", "")

    def test_user_without_access_cannot_be_assigned(self, admin_client, django_user_model, opened):
        incident, outsider = opened("a"), django_user_model.objects.create_user("otto")
        response = post_page_action(admin_client, "assign", incident, confirmed="yes", assignee=outsider.pk)
        assert "errorlist" in page_text(response)
        incident.refresh_from_db()
        assert incident.assignee is None

    def test_deleted_user_leaves_the_incident_unassigned(self, django_user_model, opened):
        incident, otto = opened("a"), django_user_model.objects.create_user("otto")
        incidents.assign_incidents([incident], otto, "olga", timezone.now())
        otto.delete()
        incident.refresh_from_db()
        assert incident.assignee is None
