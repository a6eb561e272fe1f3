"""Implausible runs are recorded, but count only once an operator accepts them."""

from datetime import timedelta

import pytest
from django.db.models import Sum
from django.utils import timezone

from portal.work.jobs import claim_cycle, exclusive_lease
from usage import findings, quotas, rollups
from usage.exports import ExportQuery, export_rows
from usage.models import Licence, Run, RunRollup
from usage.quotas import quota_statuses
from usage.tests.factories import create_licence, create_run
from usage.tests.payloads import document_payload, run_payload

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
LIST = "/admin/usage/run/"


@pytest.fixture
def count():
    lease = claim_cycle("usage.rollups", "now")
    return lambda: rollups.catch_up(timezone.now(), [lease])


def counted_pages():
    return RunRollup.objects.aggregate(pages=Sum("pages"))["pages"]


def implausible(**fields):
    return create_run(**{"total_pages": 1_000_001, "implausible": True} | fields)


@pytest.mark.parametrize(("pages", "is_implausible"), [(1_000_000, False), (1_000_001, True), (2**31 - 1, True)])
def test_run_beyond_a_million_pages_is_recorded_as_implausible(call, client_token, pages, is_implausible):
    answer = call("POST", "usage/report", client_token, body=run_payload([document_payload(page_count=pages)]))
    assert (answer.status_code, answer.json()["status"]) == (201, "recorded")
    assert Run.objects.get().implausible is is_implausible


def test_implausible_run_is_in_no_quota_chart_or_sum_of_an_export(count):
    licence, now = create_licence(quota=100), timezone.now()
    implausible()
    create_run(total_pages=7)
    count()
    assert quota_statuses([licence], now)[licence.ref].pages == counted_pages() == 7
    for groups in (("license",), ("machine",)):
        (row,) = export_rows(ExportQuery(now - HOUR, now + HOUR, groups), now + HOUR)
        assert (row[1], row[-1]) == (2, 7)


def test_run_of_two_billion_pages_by_an_application_raises_no_quota_alarm(call, client_token, count):
    create_licence("LIC-2041", quota=100)
    call(
        "POST",
        "usage/report",
        client_token,
        body=run_payload([document_payload(page_count=2**31 - 1)], started_at=None),
    )
    count()
    assert quotas.review_quotas(timezone.now(), claim_cycle("usage.quotas", "now")) == 0
    assert not Licence.objects.filter(quotas.over_quota(timezone.now())).exists()
    (finding,) = findings.implausible_runs(timezone.now())
    assert finding.text.endswith("Reported by client:gui_v6.")


def test_rollup_of_nothing_but_implausible_runs_has_no_pages(count):
    implausible()
    count()
    assert counted_pages() == 0


@pytest.mark.parametrize("path", [LIST, "page"])
def test_operator_counts_the_pages_of_an_implausible_run(admin_client, count, path):
    chosen, other = implausible(), implausible(license_ref="LIC-2")
    count()
    if path == LIST:
        admin_client.post(LIST, {"action": "count_pages", "_selected_action": chosen.pk})
    else:
        admin_client.post(f"{LIST}{chosen.pk}/act/count_pages/")
    assert list(Run.objects.filter(implausible=True)) == [other]
    assert counted_pages() == 1_000_001


def test_implausible_run_stays_so_while_runs_are_summed_up(admin_client):
    run = implausible()
    with exclusive_lease(rollups.LEASE_NAME):
        response = admin_client.post(LIST, {"action": "count_pages", "_selected_action": run.pk}, follow=True)
    assert [str(message) for message in response.context["messages"]] == [
        "Runs are being counted right now. Try again in a minute."
    ]
    run.refresh_from_db()
    assert run.implausible


def test_list_and_finding_show_implausible_runs(admin_client):
    run = implausible()
    create_run()
    (finding,) = findings.implausible_runs(timezone.now())
    assert finding.text == (
        "1 run reports more than 1,000,000 pages. They do not count until you accept them. Reported by client:gui."
    )
    response = admin_client.get(finding.url)
    assert list(response.context["cl"].queryset) == [run]
    assert '<span class="badge badge-warning">implausible</span>' in response.content.decode()


def test_finding_about_an_implausible_run_ends_after_a_week():
    run = implausible()
    assert list(findings.implausible_runs(run.received_at + timedelta(days=7))) == []
