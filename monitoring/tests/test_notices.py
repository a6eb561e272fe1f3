"""What people read of incidents, as a real channel delivers it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from monitoring.alerts.incidents import IncidentOpening, open_incidents, resolve_incidents, send_reminders
from monitoring.checks.record import FinishedCheck, record_checks
from monitoring.clock import mark
from monitoring.models import Incident
from monitoring.tests.conftest import NOON, REFUSED, CheckRunner
from portal.notifications.configuration import synchronise_environment_channels
from portal.notifications.delivery import deliver
from portal.tests.helpers.receiver import BotApi

pytestmark = pytest.mark.django_db
TOKEN = "123456:K4NARI-_abcdefghijklmnopqrstuvwxyz0"


@pytest.fixture
def api(settings):
    with BotApi(TOKEN) as api:
        settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID, settings.TELEGRAM_API_BASE = TOKEN, "-100", api.url
        synchronise_environment_channels()
        yield api


def titles(api):
    return [text.partition("</b>")[0].removeprefix("<b>") for text in api.texts]


def test_opening_reminder_and_recovery_are_sent_in_order(target, api, settings):
    settings.INCIDENT_REMINDER_MINUTES = 60
    now = mark()
    (incident,) = open_incidents([IncidentOpening(target.subject, "unavailable", target, "timeout", "body")], now)
    deliver("telegram")
    Incident.objects.update(told_at=timezone.now() - timedelta(hours=1))
    send_reminders(mark())
    deliver("telegram")
    resolve_incidents([incident], replace(now, ticks=now.ticks + 252))
    deliver("telegram")
    assert titles(api) == ["🔴 API is down", "🔴 Still open: API is down", "✅ API recovered after 4 min 12 s"]
    assert "The response was not complete before the timeout." in api.texts[0]
    assert "Cause: The response was not complete before the timeout." in api.texts[2]


def test_many_openings_become_one_digest(make_target, api):
    found = [CheckRunner(make_target(f"Service {number}", failures_to_open=1)) for number in range(60)]
    record_checks([FinishedCheck(checks.claim(), REFUSED, NOON) for checks in found], mark())
    deliver("telegram")
    assert Incident.objects.open().count() == 60
    assert len(api.texts) <= 10
    assert "Service 0" in api.texts[0]


@pytest.mark.parametrize(
    ("rule", "facts", "title", "text"),
    [
        (
            "slow",
            {"latency_ms": 812.4, "limit_ms": 500},
            "API is slow",
            "The response took 812 ms; the limit is 500 ms.",
        ),
        (
            "certificate",
            {"until": "2026-03-13T12:00:00+00:00"},
            "API: certificate expired on 13 March",
            "Valid until 2026-03-13 12:00:00 UTC.",
        ),
        ("certificate", {"until": "nonsense"}, "API: certificate expires soon", "Valid until nonsense."),
        ("offline", {}, "The portal is offline", "Failures during this time don’t count."),
    ],
)
def test_each_rule_has_a_title_and_a_reason(target, api, rule, facts, title, text):
    open_incidents([IncidentOpening(target.subject, rule, target, facts=facts)], mark())
    deliver("telegram")
    (said,) = api.texts
    assert title in said
    assert text in said


def test_recovery_of_the_portal_says_that_failures_did_not_count(api, db):
    now = mark()
    resolve_incidents(open_incidents([IncidentOpening("portal", "offline")], now), replace(now, ticks=now.ticks + 61))
    deliver("telegram")
    assert titles(api)[-1] == "✅ The portal is online again after 1 min 1 s"
    assert "\n\nFailures during this time don’t count.\n" in api.texts[-1]


def test_fleet_message_names_ten_targets_and_counts_the_rest(api, db):
    facts = {"checks": 40, "failures": 12, "failing": [f"T{number}" for number in range(12)]}
    open_incidents([IncidentOpening("fleet", "fleet_errors", facts=facts)], mark())
    deliver("telegram")
    assert "12 of 40 checks failed" in api.texts[0]
    assert "– T9\nand 2 more" in api.texts[0]


def test_notice_of_an_ad_hoc_watch_names_its_address(api, db):
    open_incidents(
        [IncidentOpening("fleet:https://shop.example.org", "fleet_latency", facts={"p95_ms": 1200.0})], mark()
    )
    deliver("telegram")
    assert "https://shop.example.org: slow responses" in api.texts[0]
