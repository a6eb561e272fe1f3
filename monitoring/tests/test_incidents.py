"""Incidents after they opened: acknowledged, reminded of, silenced, withdrawn."""

from datetime import timedelta

import pytest

from monitoring import controls
from monitoring.alerts import incidents
from monitoring.alerts.incidents import (
    IncidentOpening,
    acknowledge_incidents,
    note_cause,
    open_incidents,
    resolve_incidents,
    send_reminders,
)
from monitoring.clock import mark
from monitoring.models import Incident, MaintenanceWindow, Target
from monitoring.tests.conftest import REFUSED, good_outcome
from portal.models import OutboxMessage

pytestmark = pytest.mark.django_db


def titles():
    return list(OutboxMessage.objects.order_by("pk").values_list("title", flat=True))


@pytest.fixture
def incident(checks, channel):
    checks.find(REFUSED, REFUSED)
    return Incident.objects.get()


def test_open_incident_is_not_opened_twice(checks, channel, target):
    opening = IncidentOpening(target.subject, "unavailable", target, "connect", "ECONNREFUSED")
    assert len(open_incidents([opening], checks.now)) == 1
    assert open_incidents([opening], checks.pass_by(seconds=1)) == []
    assert (len(titles()), Incident.objects.get().timeline.count()) == (1, 1)


def test_resolving_twice_notifies_once(incident, checks):
    stale = Incident.objects.get()
    assert resolve_incidents([incident], checks.now) == 1
    assert resolve_incidents([stale], checks.pass_by(hours=1)) == 0
    assert titles() == ["API is down", "API recovered after 0 s"]


def test_recovery_is_sent_if_the_opening_was_sent_meanwhile(incident, checks):
    Incident.objects.update(told_at=None)
    stale = Incident.objects.get()
    Incident.objects.update(told_at=checks.now.at)
    resolve_incidents([stale], checks.now)
    assert titles()[-1] == "API recovered after 0 s"


def test_acknowledging_twice_adds_one_event(incident, checks):
    assert acknowledge_incidents(Incident.objects.all(), "alice", checks.now.at) == [incident.pk]
    assert acknowledge_incidents(Incident.objects.all(), "bob", checks.now.at) == []
    incident.refresh_from_db()
    assert (incident.acknowledged_by, incident.acknowledged_at) == ("alice", checks.now.at)
    assert [(event.kind, event.actor) for event in incident.timeline.all()][1:] == [("acknowledged", "alice")]


def test_resolved_incident_is_not_acknowledged(incident, checks):
    resolve_incidents([incident], checks.now)
    assert acknowledge_incidents(Incident.objects.all(), "alice", checks.now.at) == []


def test_earlier_cause_stays_in_the_timeline(incident, checks):
    note_cause([incident], "Disk full", "alice", checks.now.at)
    note_cause([incident], "Log rotation failed", "bob", checks.now.at)
    incident.refresh_from_db()
    assert incident.cause == "Log rotation failed"
    assert list(incident.timeline.filter(kind="noted").values_list("text", "actor")) == [
        ("Disk full", "alice"),
        ("Log rotation failed", "bob"),
    ]


# --- Reminders -------------------------------------------------------------------------------------------------------


def test_reminders_are_sent_until_someone_acknowledges(incident, checks, settings, django_assert_num_queries):
    settings.INCIDENT_REMINDER_MINUTES = 30
    assert send_reminders(checks.pass_by(minutes=29)) == 0
    assert send_reminders(checks.pass_by(minutes=1)) == 1
    assert send_reminders(checks.now) == 0
    assert send_reminders(checks.pass_by(minutes=30)) == 1
    assert titles() == ["API is down", "Still open: API is down", "Still open: API is down"]
    assert "Open for 1 h" in OutboxMessage.objects.order_by("pk").last().text
    acknowledge_incidents(Incident.objects.all(), "alice", checks.now.at)
    with django_assert_num_queries(2):
        assert send_reminders(checks.pass_by(hours=10)) == 0
    incident.refresh_from_db()
    assert (incident.reminders, incident.timeline.filter(kind="reminded").count()) == (2, 2)


def test_resolved_incident_sends_no_reminder(incident, checks):
    resolve_incidents([incident], checks.now)
    assert send_reminders(checks.pass_by(days=3)) == 0


def test_concurrent_reminders_are_sent_once(incident, checks):
    later = checks.pass_by(days=1)
    first, second = Incident.objects.get(), Incident.objects.get()
    assert incidents.notify_again(first, later)
    assert not incidents.notify_again(second, later)
    assert len(titles()) == 2


def test_incident_acknowledged_meanwhile_sends_no_reminder(incident, checks):
    found = Incident.objects.get()
    acknowledge_incidents(Incident.objects.all(), "alice", checks.now.at)
    assert not incidents.notify_again(found, checks.pass_by(days=1))
    assert titles() == ["API is down"]


def test_concurrent_first_notices_are_sent_once(incident, checks):
    Incident.objects.update(told_at=None)
    OutboxMessage.objects.all().delete()
    first, second = Incident.objects.get(), Incident.objects.get()
    assert incidents.notify_again(first, checks.now)
    assert not incidents.notify_again(second, checks.now)
    assert titles() == ["API is down"]


def test_muted_opening_is_sent_when_the_silence_ends(target, checks, channel):
    Target.objects.update(silenced_until=checks.now.at + timedelta(hours=1))
    checks.find(REFUSED, REFUSED)
    assert send_reminders(checks.pass_by(minutes=30)) == 0
    assert send_reminders(checks.pass_by(minutes=30)) == 1
    assert send_reminders(checks.now) == 0
    assert titles() == ["API is down"]
    checks.find(good_outcome(), good_outcome())
    assert len(titles()) == 2


def test_silence_and_maintenance_mute_reminders(incident, checks):
    Target.objects.update(silenced_until=checks.now.at + timedelta(days=1))
    assert send_reminders(checks.pass_by(hours=12)) == 0
    Target.objects.update(silenced_until=None)
    start = checks.now.at
    MaintenanceWindow.objects.create(name="Move", starts_at=start, ends_at=start + timedelta(hours=1))
    assert send_reminders(checks.now) == 0
    assert send_reminders(checks.pass_by(hours=1)) == 1


# --- What operators do with targets ----------------------------------------------------------------------------------


def test_pausing_withdraws_the_incident(incident, target):
    assert controls.pause_targets(Target.objects.all(), "alice") == 1
    incident.refresh_from_db()
    target.refresh_from_db()
    assert incident.resolved_at is not None
    assert incident.is_withdrawn
    assert [(event.kind, event.actor) for event in incident.timeline.all()][-1] == ("withdrawn", "alice")
    assert titles() == ["API is down", "Monitoring stopped: API is down"]
    assert (target.is_active, target.state, target.failures_in_row) == (False, "unknown", 0)
    assert controls.pause_targets(Target.objects.all(), "alice") == 0


def test_resumed_target_is_due_at_once(target):
    controls.pause_targets(Target.objects.all(), "alice")
    Target.objects.update(next_check_at=mark().at + timedelta(days=1))
    now = mark().at
    assert controls.resume_targets(Target.objects.all(), now) == 1
    assert controls.resume_targets(Target.objects.all(), now) == 0
    assert list(Target.objects.due(now, now)) == [target]


def test_check_now_makes_active_targets_due(target, make_target):
    make_target("Paused", is_active=False)
    now = mark().at
    Target.objects.update(next_check_at=now + timedelta(hours=1))
    assert controls.request_checks(Target.objects.all(), now) == 1
    assert list(Target.objects.due(now, now)) == [target]


def test_changed_configuration_resets_the_streaks(checks, incident):
    claimed = checks.claim()
    Target.objects.update(next_check_at=mark().at + timedelta(days=1), certificate_until=checks.now.at)
    controls.restart_checks(checks.target, "alice")
    target = Target.objects.get()
    assert target.next_check_at <= mark().at
    assert target.certificate_until is None
    assert (target.claim, target.failures_in_row, target.state) == ("", 0, "down")
    assert claimed.claim != ""
    incident.refresh_from_db()
    assert incident.resolved_at is None
    checks.find(good_outcome(), good_outcome())
    incident.refresh_from_db()
    assert incident.resolved_at is not None


def test_deactivating_a_changed_target_withdraws_its_incident(checks, incident):
    Target.objects.update(is_active=False)
    checks.target.refresh_from_db()
    controls.restart_checks(checks.target, "alice")
    incident.refresh_from_db()
    assert incident.resolved_at is not None
