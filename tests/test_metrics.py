"""The metrics, as Prometheus reads them."""

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_q.models import OrmQ
from prometheus_client.parser import text_string_to_metric_families

from portal.access.tokens.issuing import issue_token
from portal.models import AuthFailure, Heartbeat, JobRun
from portal.status import metrics
from usage.tests.payloads import run_payload

pytestmark = pytest.mark.django_db


@pytest.fixture
def scrape(client, settings):
    def scraping(token=settings.METRICS_TOKEN):
        return client.get("/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})

    return scraping


@pytest.fixture
def samples(scrape):
    def reading():
        families = text_string_to_metric_families(scrape().content.decode())
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }

    return reading


@pytest.mark.parametrize(
    ("token", "code"), [(None, "not_authenticated"), ("x", "invalid_token"), ("é", "invalid_token")]
)
def test_metrics_require_their_token(scrape, token, code):
    answer = scrape(token)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_metrics_are_valid_prometheus_text(scrape):
    assert scrape().headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_take_a_fixed_number_of_queries(scrape, django_assert_max_num_queries):
    with django_assert_max_num_queries(21):
        assert scrape().status_code == 200


def test_unreachable_database_is_503(scrape, monkeypatch):
    def fail(now):
        raise OperationalError

    monkeypatch.setattr(metrics, "render_metrics", fail)
    assert scrape().status_code == 503


def test_queues_report_their_length_and_oldest_wait(samples):
    now = timezone.now()
    OrmQ.objects.create(key="slow", payload="", lock=now - timedelta(minutes=5))
    OrmQ.objects.create(key="slow", payload="", lock=now + timedelta(minutes=5))
    found = samples()
    assert found["vigie_queue_waiting", "quick"] == 0
    assert found["vigie_queue_waiting", "slow"] == found["vigie_queue_claimed", "slow"] == 1
    assert 300 <= found["vigie_queue_oldest_seconds", "slow"] < 330


def test_portal_exports_its_own_figures(samples):
    now = timezone.now()
    Heartbeat.objects.create(component="quick", at=now - timedelta(seconds=30))
    JobRun.objects.create(job="scan", cycle_key="1", status="failed")
    issue_token("enroll")
    AuthFailure.objects.create(address="10.0.0.1", window_started_at=now, count=7)
    found = samples()
    assert 30 <= found["vigie_beat_age_seconds", "quick"] < 60
    assert (found["vigie_job_runs", "failed"], found["vigie_job_runs", "done"]) == (1, 0)
    assert (found["vigie_tokens", "enroll"], found["vigie_tokens", "agent"]) == (1, 0)
    assert (found["vigie_auth_failures",], found["vigie_auth_failing_addresses",]) == (7, 1)


def test_machines_are_counted_by_status_and_liveness(samples, make_agent):
    make_agent("A")
    make_agent("B", seen=timedelta(hours=1))
    make_agent("C", status="uninstalled")
    found = samples()
    assert (found["vigie_machines", "active"], found["vigie_machines", "uninstalled"]) == (2, 1)
    assert (found["vigie_machines_active", "online"], found["vigie_machines_active", "late"]) == (1, 1)


def test_runs_and_pages_are_counted(samples, call, client_token):
    before = samples()["vigie_runs_received_total",]
    call("POST", "usage/report", client_token, **run_payload())
    found = samples()
    assert found["vigie_runs_received_total",] > before
    assert (found["vigie_recent_runs",], found["vigie_recent_pages",]) == (1, run_payload()["total_pages"])


def test_guessing_the_metrics_token_is_throttled(client, settings):
    settings.AUTH_FAILURES_PER_MINUTE = 2
    answers = [client.get("/metrics", headers={"Authorization": "Bearer guess"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert "Retry-After" in answers[-1].headers
    right = {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}
    assert client.get("/metrics", headers=right).status_code == 200
    assert client.get("/metrics", headers={"Authorization": "Bearer guess"}).status_code == 401
