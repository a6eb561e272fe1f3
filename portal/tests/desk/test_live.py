"""Pages that keep themselves up to date: polls get the content alone, or 304 if nothing has changed."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from portal.base.findings import Finding, Severity
from portal.desk import findings, panels
from portal.models import NotificationChannel, OutboxMessage
from portal.tests.helpers.admin_pages import page_text

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("polls")]
INDEX, MESSAGES = "/admin/", "/admin/portal/outboxmessage/"
POLL = {"HX-Request": "true", "HX-Target": "live"}


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """Replace the findings of the landing page by this list, and show no tiles."""
    list_of_findings = [Finding(Severity.INFO, "The roof leaks.", url=INDEX, permission="portal.view_apitoken")]
    monkeypatch.setattr(findings.finding_sources, "all", lambda: [lambda now: list_of_findings])
    monkeypatch.setattr(panels.tiles, "all", list)
    return list_of_findings


def poll(client, path, etag=""):
    return client.get(path, headers=POLL | ({"If-None-Match": etag} if etag else {}))


def test_poll_gets_the_live_part_without_the_frame(admin_client):
    whole, part = page_text(admin_client.get(INDEX)), page_text(poll(admin_client, INDEX))
    for text in ('id="live"', "The roof leaks."):
        assert text in whole
        assert text in part
    assert 'id="menu"' in whole
    assert 'id="menu"' not in part


def test_unchanged_page_is_304_although_its_csrf_token_is_masked_anew(admin_client, found):
    first = poll(admin_client, INDEX)
    assert "csrfmiddlewaretoken" in page_text(first)
    again = poll(admin_client, INDEX, first["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    found.append(Finding(Severity.CRITICAL, "The cellar is wet."))
    changed = poll(admin_client, INDEX, first["ETag"])
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


@pytest.mark.parametrize("path", [INDEX, MESSAGES])
def test_page_opened_by_a_person_is_never_304(admin_client, path):
    etag = poll(admin_client, path)["ETag"]
    response = admin_client.get(path, headers={"If-None-Match": etag})
    assert response.status_code == 200
    assert "ETag" not in response


def test_list_and_page_of_a_row_have_a_live_part(admin_client):
    channel = NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")
    message = OutboxMessage.objects.create(
        channel=channel.key, recipient="a@example.org", subject="x", severity=1, title="Late", dedupe_key="1",
        created_at=timezone.now(),
    )  # fmt: skip
    for path in (MESSAGES, f"{MESSAGES}{message.pk}/change/"):
        assert page_text(poll(admin_client, path)).count('id="live"') == 1


def test_poll_does_not_prolong_the_session(admin_client):
    session = admin_client.session
    session["seen"] = 0
    session.save()
    Session.objects.update(expire_date=timezone.now() + timedelta(minutes=5))
    expires = Session.objects.get().expire_date
    poll(admin_client, INDEX)
    assert Session.objects.get().expire_date == expires
    admin_client.get(INDEX)
    assert Session.objects.get().expire_date > expires


def test_poll_after_the_session_has_ended_leads_to_the_sign_in_page(client):
    assert poll(client, INDEX).status_code == 302
