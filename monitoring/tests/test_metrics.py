"""Monitoring, as Prometheus sees it."""

from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from monitoring.metrics import incident_metrics, round_metrics, target_metrics
from monitoring.models import Incident, Round
from monitoring.tests.factories import create_target
from portal.status.metrics import render_metrics

pytestmark = pytest.mark.django_db


def samples():
    """`{(name, label): value}`, the names without what they begin with."""
    families = text_string_to_metric_families(render_metrics(timezone.now()).decode())
    found = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}
    beginning = "vigie_monitoring_"
    return {(key[0].removeprefix(beginning), *key[1:]): value for key, value in found.items() if beginning in key[0]}


def a_round(number, ago, **figures):
    at = timezone.now() - ago
    return Round.objects.create(number=number, started_at=at, finished_at=at, **{"checks": 0, "failures": 0} | figures)


def test_targets_are_counted_by_state():
    for state in ("up", "up", "slow", "failing", "down", "unknown"):
        create_target(state=state)
    create_target(state="down", is_active=False)
    found = samples()
    counts = {key[1]: value for key, value in found.items() if key[0] == "targets"}
    assert counts == {"up": 2, "slow": 1, "failing": 1, "unstable": 0, "down": 1, "unknown": 1, "paused": 1}


def test_checked_target_is_up_or_down():
    for state in ("up", "slow", "failing", "down", "unknown"):
        create_target(state, state=state)
    create_target("paused", state="down", is_active=False)
    found = {key[1]: value for key, value in samples().items() if key[0] == "target_up"}
    assert found == {"up": 1, "slow": 1, "failing": 1, "down": 0}


def test_latency_is_measured_for_good_checks():
    create_target("API", state="up", last_latency_ms=212.5)
    create_target("Near", state="up", last_latency_ms=0)
    create_target("Shop", state="down", last_latency_ms=None)
    create_target("Old", state="up", last_latency_ms=100, is_active=False)
    found = {key[1]: value for key, value in samples().items() if key[0] == "target_latency_seconds"}
    assert found == {"API": 0.2125, "Near": 0}


def test_any_name_is_a_valid_label():
    create_target('a "b"\\ c\né', state="up")
    assert samples()["target_up", 'a "b"\\ c\né'] == 1


def test_open_incidents_are_counted_by_their_rule():
    now = timezone.now()
    for number in range(3):
        Incident.objects.create(subject=f"target:{number}", rule="unavailable", opened_at=now)
    Incident.objects.create(subject="target:1", rule="slow", opened_at=now)
    Incident.objects.create(subject="fleet", rule="fleet_errors", opened_at=now, resolved_at=now)
    found = {key[1]: value for key, value in samples().items() if key[0] == "incidents_open"}
    assert found == {
        "unavailable": 3, "unstable": 0, "slow": 1, "certificate": 0, "fleet_errors": 0, "fleet_latency": 0, "offline": 0,
    }  # fmt: skip


def test_last_round_is_measured():
    a_round(2, timedelta(seconds=90), checks=12, failures=1, excused=3, retried=4, p95_ms=212.5)
    a_round(1, timedelta(seconds=5), checks=99)
    found = samples()
    assert found["round_age_seconds",] == pytest.approx(90, abs=30)
    assert (found["round_checks",], found["round_failures",], found["round_excused",]) == (12, 1, 3)
    assert found["round_retried",] == 4
    assert found["round_p95_seconds",] == 0.2125


def test_without_a_round_there_are_no_round_metrics():
    assert not [key for key in samples() if key[0].startswith("round_")]
    a_round(1, timedelta(0))
    assert ("round_p95_seconds",) not in samples()


def test_each_metric_source_takes_one_query(django_assert_num_queries):
    for number in range(5):
        create_target(state="up", last_latency_ms=number)
        a_round(number, timedelta(0), p95_ms=1)
    for source in (target_metrics, incident_metrics, round_metrics):
        with django_assert_num_queries(1):
            list(source(timezone.now()))
