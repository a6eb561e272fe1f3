"""Pages that keep themselves up to date: polls get the content alone, or 304 if nothing has changed."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from portal.access.tokens.issuing import issue_token
from portal.base.findings import Finding, Severity
from portal.desk import findings, panels
from portal.models import ApiToken, NotificationChannel, OutboxMessage
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


def part_of(client, path, part="live"):
    """Return what a poll puts into a part of the page, to its end."""
    return page_text(poll(client, path)).split(f'id="{part}"')[1]


def make_message():
    channel = NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")
    return OutboxMessage.objects.create(
        channel=channel.key, recipient="a@example.org", subject="x", severity=1, title="Late", dedupe_key="1",
        created_at=timezone.now(),
    )  # fmt: skip


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


def test_list_and_page_of_a_row_have_a_part_of(admin_client):
    message = make_message()
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


def test_poll_of_someone_signed_out_is_401_instead_of_a_redirect(client):
    response = poll(client, INDEX)
    assert response.status_code == 401
    assert "Location" not in response


def test_poll_of_a_deleted_row_is_409_and_leaves_no_message_for_the_next_page(admin_client):
    path = f"{MESSAGES}17/change/"
    assert poll(admin_client, path).status_code == 409
    assert list(admin_client.get(INDEX).context["messages"]) == []
    assert admin_client.get(path).status_code == 302
    assert len(admin_client.get(INDEX).context["messages"]) == 1


def test_poll_leaves_what_earlier_pages_said_to_the_next_page(admin_client):
    admin_client.get(f"{MESSAGES}17/change/")
    poll(admin_client, f"{MESSAGES}18/change/")
    assert len(admin_client.get(INDEX).context["messages"]) == 1


def test_poll_of_a_list_has_a_live_part_with_rows_without_and_without_a_match(admin_client):
    path = f"{MESSAGES}?status=waiting"
    assert 'class="empty-list"' in part_of(admin_client, MESSAGES)
    message = make_message()
    assert "Late" in part_of(admin_client, path)
    OutboxMessage.objects.filter(pk=message.pk).update(status=OutboxMessage.Status.SENT)
    assert "Late" not in part_of(admin_client, path)
    assert "Late" in part_of(admin_client, MESSAGES)


def test_poll_after_a_token_was_revoked_takes_its_buttons_away(admin_client):
    token = issue_token("client", label="Paris")[0]
    path = f"/admin/portal/apitoken/{token.pk}/change/"
    assert "<button" in part_of(admin_client, path, "live-tools")
    ApiToken.objects.update(revoked_at=timezone.now())
    assert "<button" not in part_of(admin_client, path, "live-tools")


def test_header_of_a_poll_leaves_a_download_as_it_is(admin_client):
    make_message()
    for path in (f"{MESSAGES}export/", f"{MESSAGES}export/xlsx/"):
        response = poll(admin_client, path)
        assert response.status_code == 200
        assert "ETag" not in response
        assert response.getvalue()


def test_page_names_the_zone_of_the_moment_since_which_it_is_out_of_date(admin_client):
    session = admin_client.session
    session["preferences"] = {"time_zone": "Asia/Tokyo"}
    session.save()
    assert 'data-zone="Asia/Tokyo"' in page_text(admin_client.get(INDEX))
