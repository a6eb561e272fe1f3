"""Deleting a target: only a paused one, with all that is known of it, however much that is."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.alerts.incidents import IncidentOpening, open_incidents, resolve_incidents
from monitoring.clock import mark
from monitoring.figures.uptime import DAY, HOUR, MINUTE, floor_to_step
from monitoring.models import CheckResult, Incident, IncidentEvent, MaintenanceWindow, Rollup, Target
from monitoring.tests.factories import create_rollup
from monitoring.tests.helpers.admin_pages import TARGETS, page_url
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db
Period = Rollup.Period


@pytest.fixture
def paused(make_target):
    now = timezone.now()
    target = make_target("old", is_active=False, last_check_at=now)
    window = MaintenanceWindow.objects.create(name="Move", starts_at=now, ends_at=now + HOUR)
    window.targets.add(target)
    (incident,) = open_incidents([IncidentOpening(target.subject, "slow", target)], mark())
    resolve_incidents([incident], mark(), is_withdrawn=True)
    for number in range(3):
        CheckResult.objects.create(target=target, at=now - number * MINUTE)
        create_rollup(target, Period.DAY, floor_to_step(now, DAY) - number * DAY)
    return target


def test_paused_target_is_deleted_with_its_data(client, paused, make_target):
    other = make_target("other")
    CheckResult.objects.create(target=other, at=timezone.now())
    log_in_with_role(client, "operator")
    address = f"{TARGETS}{paused.pk}/delete/"
    assert address in page_text(client.get(page_url(paused)))
    client.post(address, {"post": "yes"})
    assert list(Target.objects.all()) == [other]
    assert CheckResult.objects.get().target == other
    assert [model.objects.count() for model in (Rollup, Incident, IncidentEvent)] == [0, 0, 0]
    assert AuditEvent.objects.filter(action="target.deleted", subject=paused.subject).count() == 1


def test_confirmation_counts_the_data_to_delete(admin_client, paused):
    text = page_text(admin_client.get(f"{TARGETS}{paused.pk}/delete/"))
    for figure in ("incidents: 1", "targets: 1"):
        assert f"<li>{figure.capitalize()}</li>" in text
    assert text.count(": 3</li>") == 2


def test_confirmation_reads_no_checks(admin_client, paused):
    with CaptureQueriesContext(connection) as captured:
        admin_client.get(f"{TARGETS}{paused.pk}/delete/")
        admin_client.post(f"{TARGETS}{paused.pk}/delete/", {"post": "yes"})
    sql = [query["sql"] for query in captured if "monitoring_checkresult" in query["sql"]]
    assert sorted(text.split()[0] for text in sql) == ["DELETE", "SELECT", "SELECT"]
    assert all("COUNT(" in text for text in sql if text.startswith("SELECT"))


@pytest.mark.parametrize("role", ["viewer", "staff"])
def test_only_operators_delete_targets(client, paused, role):
    log_in_with_role(client, role)
    assert client.post(f"{TARGETS}{paused.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Target.objects.exists()
