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
from monitoring.alerts.notices import spoken
from monitoring.clock import mark
from monitoring.models import Incident, MaintenanceWindow, Target
from monitoring.tests.conftest import REFUSED, fine
from portal.models import OutboxMessage

pytestmark = pytest.mark.django_db


def titles():
    return list(OutboxMessage.objects.order_by("pk").values_list("title", flat=True))


@pytest.fixture
def incident(checks, channel):
    checks.find(REFUSED, REFUSED)
    return Incident.objects.get()


def test_opening_again_what_is_open_does_nothing(checks, channel, target):
    opening = IncidentOpening(target.subject, "unavailable", target, "connect", "ECONNREFUSED")
    assert len(open_incidents([opening], checks.now)) == 1
    assert open_incidents([opening], checks.pass_by(seconds=1)) == []
    assert (len(titles()), Incident.objects.get().timeline.count()) == (1, 1)


def test_resolving_twice_tells_once(incident, checks):
    stale = Incident.objects.get()
    assert resolve_incidents([incident], checks.now) == 1
    assert resolve_incidents([stale], checks.pass_by(hours=1)) == 0
    assert titles() == ["API is down", "API is up again after 0 s"]


def test_who_was_told_meanwhile_is_told_of_the_end(incident, checks):
    Incident.objects.update(told_at=None)
    stale = Incident.objects.get()
    Incident.objects.update(told_at=checks.now.at)
    resolve_incidents([stale], checks.now)
    assert titles()[-1] == "API is up again after 0 s"


def test_acknowledging_is_written_down_once(incident, checks):
    assert acknowledge_incidents(Incident.objects.all(), "alice", checks.now.at) == [incident.pk]
    assert acknowledge_incidents(Incident.objects.all(), "bob", checks.now.at) == []
    incident.refresh_from_db()
    assert (incident.acknowledged_by, incident.acknowledged_at) == ("alice", checks.now.at)
    assert [(event.kind, event.actor) for event in incident.timeline.all()][1:] == [("acknowledged", "alice")]


def test_what_is_over_is_not_acknowledged(incident, checks):
    resolve_incidents([incident], checks.now)
    assert acknowledge_incidents(Incident.objects.all(), "alice", checks.now.at) == []


def test_a_cause_is_noted_and_the_former_one_stays_in_the_timeline(incident, checks):
    note_cause(incident, "Disk full", "alice", checks.now.at)
    note_cause(incident, "Log rotation failed", "bob", checks.now.at)
    incident.refresh_from_db()
    assert incident.cause == "Log rotation failed"
    assert list(incident.timeline.filter(kind="noted").values_list("text", "actor")) == [
        ("Disk full", "alice"),
        ("Log rotation failed", "bob"),
    ]


# --- Reminders -------------------------------------------------------------------------------------------------------


def test_people_are_reminded_at_the_interval_until_somebody_acknowledges(
    incident, checks, settings, django_assert_num_queries
):
    settings.INCIDENT_REMINDER_MINUTES = 30
    assert send_reminders(checks.pass_by(minutes=29)) == 0
    assert send_reminders(checks.pass_by(minutes=1)) == 1
    assert send_reminders(checks.now) == 0
    assert send_reminders(checks.pass_by(minutes=30)) == 1
    assert titles() == ["API is down", "Still: API is down", "Still: API is down"]
    assert "For 1 h now" in OutboxMessage.objects.order_by("pk").last().text
    acknowledge_incidents(Incident.objects.all(), "alice", checks.now.at)
    with django_assert_num_queries(2):
        assert send_reminders(checks.pass_by(hours=10)) == 0
    incident.refresh_from_db()
    assert (incident.reminders, incident.timeline.filter(kind="reminded").count()) == (2, 2)


def test_nobody_is_reminded_of_what_is_over(incident, checks):
    resolve_incidents([incident], checks.now)
    assert send_reminders(checks.pass_by(days=3)) == 0


def test_two_who_remind_at_once_remind_once(incident, checks):
    later = checks.pass_by(days=1)
    first, second = Incident.objects.get(), Incident.objects.get()
    assert incidents.notify_again(first, later)
    assert not incidents.notify_again(second, later)
    assert len(titles()) == 2


def test_nobody_is_reminded_of_what_was_acknowledged_a_moment_ago(incident, checks):
    found = Incident.objects.get()
    acknowledge_incidents(Incident.objects.all(), "alice", checks.now.at)
    assert not incidents.notify_again(found, checks.pass_by(days=1))
    assert titles() == ["API is down"]


def test_two_who_tell_for_the_first_time_at_once_tell_once(incident, checks):
    Incident.objects.update(told_at=None)
    OutboxMessage.objects.all().delete()
    first, second = Incident.objects.get(), Incident.objects.get()
    assert incidents.notify_again(first, checks.now)
    assert not incidents.notify_again(second, checks.now)
    assert titles() == ["API is down"]


def test_what_a_silence_kept_back_is_told_when_it_ends(target, checks, channel):
    Target.objects.update(silenced_until=checks.now.at + timedelta(hours=1))
    checks.find(REFUSED, REFUSED)
    assert send_reminders(checks.pass_by(minutes=30)) == 0
    assert send_reminders(checks.pass_by(minutes=30)) == 1
    assert send_reminders(checks.now) == 0
    assert titles() == ["API is down"]
    checks.find(fine(), fine())
    assert len(titles()) == 2


def test_nobody_is_reminded_during_a_silence_or_maintenance(incident, checks):
    Target.objects.update(silenced_until=checks.now.at + timedelta(days=1))
    assert send_reminders(checks.pass_by(hours=12)) == 0
    Target.objects.update(silenced_until=None)
    start = checks.now.at
    MaintenanceWindow.objects.create(name="Move", starts_at=start, ends_at=start + timedelta(hours=1))
    assert send_reminders(checks.now) == 0
    assert send_reminders(checks.pass_by(hours=1)) == 1


# --- What operators do with targets ----------------------------------------------------------------------------------


def test_a_paused_target_is_no_longer_watched_and_its_incident_ends(incident, target):
    assert controls.pause(Target.objects.all(), "alice") == 1
    incident.refresh_from_db()
    target.refresh_from_db()
    assert incident.resolved_at is not None
    assert incident.is_withdrawn
    assert [(event.kind, event.actor) for event in incident.timeline.all()][-1] == ("withdrawn", "alice")
    assert titles() == ["API is down", "No longer watched: API is down"]
    assert (target.is_active, target.state, target.failures_in_row) == (False, "unknown", 0)
    assert controls.pause(Target.objects.all(), "alice") == 0


def test_what_is_resumed_is_due_at_once(target):
    controls.pause(Target.objects.all(), "alice")
    Target.objects.update(next_check_at=mark().at + timedelta(days=1))
    now = mark().at
    assert controls.resume(Target.objects.all(), now) == 1
    assert controls.resume(Target.objects.all(), now) == 0
    assert list(Target.objects.due(now, now)) == [target]


def test_check_now_makes_active_targets_due(target, make_target):
    make_target("Paused", is_active=False)
    now = mark().at
    Target.objects.update(next_check_at=now + timedelta(hours=1))
    assert controls.check_now(Target.objects.all(), now) == 1
    assert list(Target.objects.due(now, now)) == [target]


def test_what_was_found_before_a_change_says_nothing_of_the_new_question(checks, incident):
    claimed = checks.claim()
    Target.objects.update(next_check_at=mark().at + timedelta(days=1), certificate_until=checks.now.at)
    controls.changed(checks.target, "alice")
    target = Target.objects.get()
    assert target.next_check_at <= mark().at
    assert target.certificate_until is None
    assert (target.claim, target.failures_in_row, target.state) == ("", 0, "down")
    assert claimed.claim != ""
    incident.refresh_from_db()
    assert incident.resolved_at is None
    checks.find(fine(), fine())
    incident.refresh_from_db()
    assert incident.resolved_at is not None


def test_a_target_that_was_deactivated_by_hand_has_no_open_incident(checks, incident):
    Target.objects.update(is_active=False)
    checks.target.refresh_from_db()
    controls.changed(checks.target, "alice")
    incident.refresh_from_db()
    assert incident.resolved_at is not None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (252, "4 min 12 s"), (3600, "1 h"), (3661, "1 h 1 min"),
        (86_400, "1 d"), (86_400 + 59, "1 d"), (93_600, "1 d 2 h"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_a_duration_is_said_in_its_two_largest_units(seconds, text):
    assert spoken(timedelta(seconds=seconds)) == text
