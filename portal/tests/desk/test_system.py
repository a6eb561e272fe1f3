"""The page *System status*."""

from ipaddress import ip_network

import pytest
from django.urls import reverse
from django.utils import translation

from portal.access import roles
from portal.desk import call_limits, system
from portal.models import AuditEvent
from portal.status.doctor import runs
from portal.status.doctor.registry import DoctorCheck, Group, failure, passed, warning
from portal.tests.helpers.admin_pages import log_in_with_role

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database("a page of other checks' results", despite=("transaction=True",)),
]


@pytest.fixture
def operator(client, monkeypatch):
    """Sign in, with one check of each kind in place of all others."""
    checks = [
        DoctorCheck("debug", Group.SETTINGS, lambda: [warning("DEBUG is on", "Unset it")]),
        DoctorCheck("proxy_headers", Group.SETTINGS, lambda: [passed("none")]),
        DoctorCheck("mail", Group.CONNECTIONS, lambda: [failure("refused", "Compare EMAIL_URL")], calls_out=True),
    ]
    monkeypatch.setattr(runs.doctor_checks, "all", lambda: checks)
    log_in_with_role(client, roles.OPERATOR)
    return client


def shown(response):
    return {
        row["name"]: (group["label"], row["status"], row["hint"])
        for group in response.context["groups"]
        for row in group["rows"]
    }


@pytest.fixture
def url():
    return reverse("admin:system")


def test_page_shows_results_and_hints_without_calling_others(operator, url):
    answer = operator.get(url)
    assert shown(answer) == {"debug": ("Settings", "warning", "Unset it"), "proxy_headers": ("Settings", "ok", "")}
    assert "Unset it" in answer.content.decode()


def test_click_calls_others_and_is_recorded(operator, url):
    answer = operator.post(url)
    assert shown(answer)["mail"] == ("Connections", "failed", "Compare EMAIL_URL")
    assert AuditEvent.objects.filter(action=system.CHECKED).count() == 1


def test_clicks_are_limited_by_the_minute(operator, url, monkeypatch):
    monkeypatch.setattr(call_limits, "CALLS_PER_MINUTE", 1)
    operator.post(url)
    answer = operator.post(url)
    assert "mail" not in shown(answer)
    assert "Too many tests" in answer.content.decode()


def test_page_says_that_earlier_checks_have_not_ended(operator, url, monkeypatch):
    monkeypatch.setattr(runs, "MOST_AT_ONCE", 0)
    answer = operator.get(url)
    assert (answer.status_code, answer.context["groups"]) == (200, [])
    assert "Earlier checks have not ended" in answer.content.decode()


@pytest.mark.parametrize(("peer", "status"), [("10.0.0.7", "warning"), ("203.0.114.9", "ok")])
def test_request_through_an_untrusted_proxy_is_reported(operator, url, peer, status):
    answer = operator.get(url, REMOTE_ADDR=peer, headers={"X-Forwarded-For": "198.51.100.1"})
    assert shown(answer)["proxy_headers"][1] == status


def test_request_through_a_trusted_proxy_is_not_reported(operator, url, settings):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    answer = operator.get(url, REMOTE_ADDR="10.0.0.7", headers={"X-Forwarded-For": "198.51.100.1"})
    assert shown(answer)["proxy_headers"][1] == "ok"


def test_results_are_in_the_readers_language(operator, url, monkeypatch):
    check = DoctorCheck("language", Group.WORK, lambda: [passed(translation.get_language())])
    monkeypatch.setattr(runs.doctor_checks, "all", lambda: [check])
    answer = operator.get(url, headers={"Accept-Language": "fr"})
    assert [row["detail"] for group in answer.context["groups"] for row in group["rows"]] == ["fr"]


@pytest.mark.parametrize(("role", "status"), [(roles.OPERATOR, 200), (roles.STAFF, 403), (roles.VIEWER, 403)])
def test_page_and_its_menu_entry_are_for_operators(client, url, role, status):
    log_in_with_role(client, role)
    assert client.get(url).status_code == status
    assert (url in client.get("/admin/").content.decode()) == (status == 200)
