"""What a check's result does: to the target, to its incidents, to what people are told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from monitoring.checks.pacing import next_due
from monitoring.checks.record import RETRY_PAUSE, FinishedCheck, record_checks
from monitoring.models import CheckResult, Incident, MaintenanceWindow, Target
from monitoring.tests.conftest import NOON, REFUSED, CheckRunner, good_outcome
from portal.models import OutboxMessage

pytestmark = pytest.mark.django_db
State, Rule = Target.State, Incident.Rule


def titles():
    return list(OutboxMessage.objects.order_by("pk").values_list("title", flat=True))


def kinds(incident):
    return list(incident.timeline.values_list("kind", flat=True))


# --- Results ---------------------------------------------------------------------------------------------------------


def test_good_check_is_stored_with_its_latency(checks):
    checks.find(good_outcome(123.4))
    result = CheckResult.objects.get()
    assert (result.error_kind, result.status, result.latency_ms, result.at) == ("", 200, 123.4, checks.now.at)
    assert (checks.target.state, checks.target.last_latency_ms) == (State.UP, 123.4)


def test_failed_check_is_stored_with_its_error_and_no_latency(checks):
    checks.find(replace(REFUSED, status=None))
    result = CheckResult.objects.get()
    assert (result.error_kind, result.detail, result.latency_ms) == ("connect", "ECONNREFUSED", None)
    assert (checks.target.state, checks.target.last_latency_ms) == (State.FAILING, None)


def test_recorded_target_is_unclaimed_and_planned(checks):
    checks.find(good_outcome())
    assert (checks.target.claim, checks.target.claimed_until) == ("", None)
    assert checks.target.next_check_at == next_due(checks.target.pk, 60, checks.now.at)


def test_check_of_a_lost_claim_is_discarded(checks):
    claimed = checks.claim()
    checks.claim()
    assert record_checks([FinishedCheck(claimed, REFUSED, NOON)], checks.now) == []
    Target.objects.update(claim="")
    assert record_checks([FinishedCheck(claimed, REFUSED, NOON)], checks.now) == []
    assert not CheckResult.objects.exists()


def test_deleted_target_stays_deleted(checks):
    claimed = checks.claim()
    Target.objects.all().delete()
    assert record_checks([FinishedCheck(claimed, good_outcome(), NOON)], checks.now) == []
    assert not Target.objects.exists()


def test_operators_changes_during_a_check_are_kept(checks):
    claimed = checks.claim()
    Target.objects.update(interval=3600, silenced_until=NOON)
    record_checks([FinishedCheck(claimed, good_outcome(), NOON)], checks.now)
    target = Target.objects.get()
    assert (target.interval, target.silenced_until) == (3600, NOON)
    assert target.next_check_at == next_due(target.pk, 3600, checks.now.at)


def test_recording_takes_the_same_queries_for_few_as_for_many(make_target, django_assert_num_queries):
    def batch(size):
        found = [CheckRunner(make_target(f"{size} {number}")) for number in range(size)]
        return [
            FinishedCheck(checks.claim(), good_outcome() if place % 2 else REFUSED, NOON)
            for place, checks in enumerate(found)
        ]

    one, many, now = batch(1), batch(20), CheckRunner(make_target()).now
    with django_assert_num_queries(7):
        record_checks(one, now)
    with django_assert_num_queries(7):
        record_checks(many, now)


def test_recording_a_known_outage_takes_no_more_queries(checks, channel, django_assert_num_queries):
    checks.find(REFUSED, REFUSED)
    claimed = checks.claim()
    with django_assert_num_queries(7):
        record_checks([FinishedCheck(claimed, REFUSED, NOON)], checks.now)


# --- Retries ---------------------------------------------------------------------------------------------------------


def test_failure_is_no_result_before_its_last_retry(make_target):
    checks = CheckRunner(make_target(retries=2))
    assert checks.find(REFUSED, REFUSED) == []
    assert (checks.target.attempts, checks.target.state, checks.target.failures_in_row) == (2, State.UNKNOWN, 0)
    assert checks.target.next_check_at == checks.now.at + RETRY_PAUSE
    assert len(checks.find(REFUSED)) == 1
    assert (checks.target.attempts, checks.target.failures_in_row) == (0, 1)


def test_check_that_succeeds_at_a_retry_keeps_the_failure(make_target):
    checks = CheckRunner(make_target(retries=2))
    bad = replace(REFUSED, error_kind="status", detail="502")
    checks.find(REFUSED, bad, good_outcome(), good_outcome())
    retried, at_once = CheckResult.objects.order_by("pk")
    assert (retried.error_kind, retried.retried, retried.retried_kind, retried.detail) == ("", 2, "status", "502")
    assert (retried.latency_ms is None, retried.message) == (False, "The response status was 502.")
    assert (at_once.retried, at_once.retried_kind, at_once.detail, at_once.message) == (0, "", "", "")
    assert (checks.target.attempts, checks.target.state, checks.target.last_error_kind) == (0, State.UP, "")


def test_check_that_fails_at_its_last_retry_is_one_failure(make_target):
    checks = CheckRunner(make_target(retries=1))
    [result] = checks.find(REFUSED, REFUSED)
    assert (result.error_kind, result.retried, result.retried_kind) == ("connect", 0, "")


# --- Incidents -------------------------------------------------------------------------------------------------------


def test_incident_opens_and_closes_once_with_a_message_each(checks, channel):
    checks.find(good_outcome(), REFUSED)
    assert titles() == []
    checks.find(REFUSED, REFUSED, REFUSED)
    incident = Incident.objects.get()
    assert (incident.subject, incident.rule) == (checks.target.subject, Rule.UNAVAILABLE)
    assert (checks.target.state, titles()) == (State.DOWN, ["API is down"])
    checks.find(good_outcome())
    assert checks.target.state == State.DOWN
    checks.find(good_outcome())
    incident.refresh_from_db()
    assert incident.duration == timedelta(minutes=4)
    assert (checks.target.state, titles()) == (State.UP, ["API is down", "API recovered after 4 min"])
    assert kinds(incident) == ["opened", "resolved"]


def test_message_has_the_reason_and_a_link(checks, channel):
    checks.find(REFUSED, REFUSED)
    message, incident = OutboxMessage.objects.get(), Incident.objects.get()
    assert "The connection was refused." in message.text
    assert message.path == f"/admin/monitoring/incident/{incident.pk}/change/"
    assert (message.severity, message.state) == (1, "opened")


def test_next_outage_is_another_incident(checks, channel):
    checks.find(REFUSED, REFUSED, good_outcome(), good_outcome(), REFUSED, REFUSED)
    assert Incident.objects.count() == 2
    assert len(titles()) == 3


def test_flapping_below_the_threshold_opens_no_incident(checks, channel):
    checks.find(*[REFUSED, good_outcome(), good_outcome()] * 10)
    assert not Incident.objects.exists()


def test_clock_set_back_changes_no_duration(checks, channel):
    checks.find(REFUSED, REFUSED)
    checks.set_clock(hours=-1)
    checks.find(good_outcome(), good_outcome())
    assert Incident.objects.get().duration == timedelta(minutes=2)
    assert titles()[-1] == "API recovered after 2 min"


def test_changed_error_is_in_the_timeline(checks):
    checks.find(REFUSED, REFUSED, replace(REFUSED, error_kind="timeout", detail="body"))
    incident = Incident.objects.get()
    assert kinds(incident) == ["opened", "changed"]
    assert incident.timeline.last().error_kind == "timeout"
    assert (incident.error_kind, incident.facts["changes"]) == ("connect", 1)


def test_state_since_stays_while_the_state_does(checks):
    checks.find(good_outcome())
    since = checks.target.state_since
    checks.find(good_outcome(), good_outcome())
    assert checks.target.state_since == since == NOON + timedelta(minutes=1)


def test_same_error_after_a_good_check_is_no_change(checks):
    checks.find(REFUSED, REFUSED, good_outcome(), REFUSED)
    assert kinds(Incident.objects.get()) == ["opened"]


def test_failure_keeps_the_known_certificate(checks):
    checks.find(good_outcome(certificate_until=NOON + timedelta(days=90)), REFUSED)
    assert checks.target.certificate_until == NOON + timedelta(days=90)
    checks.find(replace(REFUSED, error_kind="status", certificate_until=NOON + timedelta(days=5)))
    assert checks.target.certificate_until == NOON + timedelta(days=5)
    checks.find(good_outcome())
    assert checks.target.certificate_until is None


def test_noted_error_changes_are_limited(checks):
    checks.find(REFUSED, REFUSED)
    for _ in range(30):
        checks.find(replace(REFUSED, error_kind="timeout"), REFUSED)
    assert Incident.objects.get().timeline.filter(kind="changed").count() == 20


def test_slow_target_opens_an_incident_and_is_slow(make_target, channel):
    checks = CheckRunner(make_target(max_latency_ms=500))
    checks.find(good_outcome(501), good_outcome(900))
    assert checks.target.state == State.SLOW
    assert titles() == ["API is slow"]
    assert "900 ms; the limit is 500 ms" in OutboxMessage.objects.get().text
    checks.find(good_outcome(500), good_outcome(20))
    assert (checks.target.state, titles()[-1]) == (State.UP, "API: response time back to normal after 2 min")


def test_removed_latency_limit_withdraws_the_incident(make_target, channel):
    checks = CheckRunner(make_target(max_latency_ms=500))
    checks.find(good_outcome(900), good_outcome(900))
    Target.objects.update(max_latency_ms=None)
    checks.find(good_outcome(9000), good_outcome(9000))
    assert titles() == ["API is slow", "Monitoring stopped: API is slow"]
    assert Incident.objects.get().is_withdrawn


def test_removed_certificate_limit_withdraws_the_incident(make_target, channel):
    checks = CheckRunner(make_target())
    checks.find(good_outcome(certificate_until=NOON + timedelta(days=3)))
    Target.objects.update(tls_expiry_days=None)
    checks.find(good_outcome(certificate_until=NOON + timedelta(days=3)))
    assert titles()[-1] == "Monitoring stopped: API: certificate expires on 13 March"


def test_certificate_end_and_renewal_are_notified_once(make_target, channel):
    checks = CheckRunner(make_target(tls_expiry_days=14))
    soon, late = NOON + timedelta(days=3), NOON + timedelta(days=90)
    checks.find(*[good_outcome(certificate_until=soon)] * 3)
    assert titles() == ["API: certificate expires on 13 March"]
    assert "until 2026-03-13 12:00:00 UTC" in OutboxMessage.objects.get().text
    assert checks.target.state == State.UP
    checks.find(good_outcome(certificate_until=late))
    assert titles()[-1] == "API: certificate renewed"


# --- What counts for nothing, and what nobody is told ----------------------------------------------------------------


def test_failure_during_maintenance_is_excluded(checks, channel):
    checks.find(good_outcome())
    MaintenanceWindow.objects.create(name="Update", starts_at=NOON, ends_at=NOON + timedelta(hours=1))
    checks.find(REFUSED, REFUSED, REFUSED)
    assert (checks.target.state, checks.target.failures_in_row) == (State.UP, 0)
    assert list(CheckResult.objects.order_by("at").values_list("excuse", flat=True)) == ["", *["maintenance"] * 3]
    assert titles() == []


def test_slow_answers_during_maintenance_alert_after_it(make_target, channel):
    checks = CheckRunner(make_target(max_latency_ms=500))
    MaintenanceWindow.objects.create(name="Update", starts_at=NOON, ends_at=NOON + timedelta(hours=1))
    checks.find(good_outcome(900), good_outcome(900))
    assert Incident.objects.get().told_at is None
    assert titles() == []


def test_failure_does_not_decide_slowness(make_target, channel):
    checks = CheckRunner(make_target(max_latency_ms=500, failures_to_open=5))
    checks.find(good_outcome(900), good_outcome(900))
    Target.objects.update(failures_to_open=2)
    checks.find(REFUSED)
    assert not Incident.objects.exists()


def test_failure_while_offline_is_excluded(checks, channel):
    checks.find(REFUSED, REFUSED, REFUSED, is_offline=True)
    assert set(CheckResult.objects.values_list("excuse", flat=True)) == {"offline"}
    assert not Incident.objects.exists()


def test_excluded_failure_is_not_retried(make_target):
    checks = CheckRunner(make_target(retries=3))
    assert len(checks.find(REFUSED, is_offline=True)) == 1


def test_silenced_target_sends_neither_opening_nor_recovery(make_target, channel):
    checks = CheckRunner(make_target(silenced_until=NOON + timedelta(hours=1)))
    checks.find(REFUSED, REFUSED)
    assert checks.target.state == State.DOWN
    assert kinds(Incident.objects.get()) == ["opened", "silent"]
    checks.find(good_outcome(), good_outcome())
    assert titles() == []


def test_opening_a_thousand_incidents_takes_the_queries_of_two(make_target, channel, django_assert_max_num_queries):
    found = [CheckRunner(make_target(f"T{number}", failures_to_open=1)) for number in range(50)]
    batch = [FinishedCheck(checks.claim(), REFUSED, NOON) for checks in found]
    with django_assert_max_num_queries(25):
        record_checks(batch, found[0].now)
    assert len(titles()) == 50
