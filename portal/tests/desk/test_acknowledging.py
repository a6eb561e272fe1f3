"""Acknowledging findings on the landing page: who may, what it hides, and when it lapses."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from portal.base.findings import Finding, Severity, finding_sources
from portal.desk.acknowledging import add_acknowledgements, lapsed_acknowledgements
from portal.desk.models import VALID_FOR, FindingAcknowledgement
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role

pytestmark = pytest.mark.django_db
URL = "/admin/acknowledge/"
KEY = "backups.job:7"
HOUR = timedelta(hours=1)


@pytest.fixture
def finding(monkeypatch):
    """The only finding of the portal."""
    finding = Finding(Severity.WARNING, "<b>crm</b> is late.", timezone.now() - HOUR, key=KEY)
    monkeypatch.setattr(finding_sources, "items", [lambda now: [finding]])
    return finding


@pytest.fixture
def operator(client):
    return log_in_with_role(client, "operator")


def acknowledge(client, **fields):
    return client.post(URL, {"key": KEY} | fields)


def overview(client):
    context = client.get(reverse("admin:index")).context
    return [each.key for each in context["findings"]], [each.key for each in context["acknowledged"]]


def test_acknowledged_finding_stays_in_sight_with_comment_and_assignee(finding, operator):
    olga = User.objects.get(username="olga")
    assert acknowledge(operator, comment="<i>disk ordered</i>", assignee=olga.pk)["Location"] == reverse("admin:index")
    assert overview(operator) == ([], [KEY])
    page = operator.get(reverse("admin:index")).content.decode()
    assert "&lt;i&gt;disk ordered&lt;/i&gt;" in page
    row = FindingAcknowledgement.objects.get()
    assert (row.acknowledged_by, row.assignee, row.severity) == ("olga", olga, Severity.WARNING)


def test_acknowledgement_is_withdrawn(finding, operator):
    acknowledge(operator)
    acknowledge(operator, withdraw="yes")
    assert overview(operator) == ([KEY], [])


def test_acknowledging_again_changes_comment_and_assignee(finding, operator):
    acknowledge(operator, comment="first")
    assert operator.get(URL, {"key": KEY}).context["form"].initial["comment"] == "first"
    acknowledge(operator, comment="second")
    assert FindingAcknowledgement.objects.get().comment == "second"


def test_each_step_is_audited_once(finding, operator):
    AuditEvent.objects.all().delete()
    acknowledge(operator, comment="first")
    acknowledge(operator, comment="second", assignee=User.objects.get().pk)
    acknowledge(operator, withdraw="yes")
    first, second, withdrawn = AuditEvent.objects.order_by("pk")
    assert {event.subject for event in (first, second, withdrawn)} == {f"finding:{KEY}"}
    assert [event.action.partition(".")[2] for event in (first, second, withdrawn)] == [
        "acknowledged", "acknowledged", "unacknowledged",
    ]  # fmt: skip
    assert {event.after["finding"] for event in (first, second, withdrawn)} == {finding.text}
    assert (first.before, second.before) == (None, {"comment": "first", "assignee": ""})
    assert (second.after["comment"], second.after["assignee"]) == ("second", "olga")


@pytest.mark.parametrize(
    ("changes", "waited", "is_covered"),
    [({}, HOUR, True), ({"severity": Severity.INFO}, HOUR, True), ({"severity": Severity.CRITICAL}, HOUR, False),
     ({"since": HOUR}, HOUR, False), ({"renewed_at": HOUR}, HOUR, False), ({}, VALID_FOR, True),
     ({}, VALID_FOR + HOUR, False)],
)  # fmt: skip
def test_acknowledgement_lapses_when_the_finding_is_worse_comes_back_has_a_new_cause_or_is_old(
    finding, operator, changes, waited, is_covered
):
    acknowledge(operator)
    now = FindingAcknowledgement.objects.get().acknowledged_at + waited
    later = timezone.now() + timedelta(minutes=1)
    changes = {name: later if value == HOUR else value for name, value in changes.items()}
    [found] = add_acknowledgements([replace(finding, **changes)], now)
    assert (found.acknowledgement is not None) is is_covered


def test_lapsed_acknowledgements_are_deleted_by_retention(finding, operator):
    acknowledge(operator)
    now = timezone.now()
    assert [lapsed_acknowledgements(now + after).exists() for after in (HOUR, VALID_FOR + HOUR)] == [False, True]


@pytest.mark.parametrize("role", ["viewer", "staff"])
def test_roles_without_the_permission_see_and_cannot_acknowledge(finding, client, role):
    FindingAcknowledgement.objects.create(
        key=KEY, severity=Severity.WARNING, acknowledged_at=timezone.now(), acknowledged_by="olaf"
    )
    log_in_with_role(client, role)
    assert overview(client) == ([], [KEY])
    assert URL not in client.get(reverse("admin:index")).content.decode()
    assert acknowledge(client, withdraw="yes").status_code == 403
    assert FindingAcknowledgement.objects.exists()


def test_long_keys_that_differ_at_the_end_are_acknowledged_one_by_one(operator, monkeypatch):
    since = timezone.now() - HOUR
    found = [Finding(Severity.INFO, "x", since, key=f"backups.unknown:{'é' * 400}{number}") for number in (1, 2)]
    monkeypatch.setattr(finding_sources, "items", [lambda now: found])
    assert acknowledge(operator, key=found[0].key).status_code == 302
    assert overview(operator) == ([found[1].key], [found[0].key])
    event = AuditEvent.objects.get(action="finding.acknowledged")
    assert (event.subject, len(event.subject)) == (f"finding:{found[0].key}", 200)


def test_finding_that_is_gone_or_unseen_cannot_be_acknowledged(finding, operator, monkeypatch):
    hidden = replace(finding, url=reverse("admin:auth_user_changelist"))
    for items in ([], [hidden]):
        monkeypatch.setattr(finding_sources, "items", [lambda now, items=items: items])
        assert acknowledge(operator)["Location"] == reverse("admin:index")
    assert not FindingAcknowledgement.objects.exists()


@pytest.mark.parametrize("lacking", ["key", "since"])
def test_finding_that_cannot_lapse_has_no_button(finding, operator, monkeypatch, lacking):
    monkeypatch.setattr(finding_sources, "items", [lambda now: [replace(finding, **{lacking: None})]])
    assert URL not in operator.get(reverse("admin:index")).content.decode()
    assert operator.post(URL, {"key": ""}).status_code == 302
    assert not FindingAcknowledgement.objects.exists()


def test_acknowledgements_cost_one_query_for_any_number(finding, django_assert_num_queries):
    with django_assert_num_queries(1):
        add_acknowledgements([replace(finding, key=f"x:{number}") for number in range(20)], timezone.now())
