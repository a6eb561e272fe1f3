"""Lists without rows: what they are for and the next step, or what to try after a search without result."""

import pytest
from django.urls import reverse

from portal.admin.notifications import NotificationChannelAdmin
from portal.admin.outbox import OutboxMessageAdmin
from portal.models import NotificationChannel
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("pages of lists")]
CHANNELS = "/admin/portal/notificationchannel/"
MESSAGES = "/admin/portal/outboxmessage/"


@pytest.fixture
def channel():
    return NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")


def test_list_without_rows_shows_purpose_and_add_button_only(admin_client, monkeypatch):
    NotificationChannel.objects.all().delete()
    monkeypatch.setattr(NotificationChannelAdmin, "purpose", "Where alerts are sent.")
    text = page_text(admin_client.get(CHANNELS))
    assert "Where alerts are sent." in text
    assert '<a href="add/" class="button">' in text
    for hidden in ('id="changelist-filter"', 'id="searchbar"', 'name="action"', "export/"):
        assert hidden not in text


def test_list_without_add_button_shows_its_link_to_users_who_may_follow_it(admin_client, client, monkeypatch):
    monkeypatch.setattr(OutboxMessageAdmin, "empty_link", ("admin:portal_notificationchannel_add", "Add one"))
    button = f'<a href="{reverse("admin:portal_notificationchannel_add")}" class="button">'
    assert button in page_text(admin_client.get(MESSAGES))
    assert button not in page_text(log_in_with_role(client, "viewer").get(MESSAGES))


def test_search_without_result_repeats_the_query_escaped_and_leads_out_of_it(admin_client, channel):
    text = page_text(admin_client.get(CHANNELS, {"q": "<b>LYON"}))
    assert "match “&lt;b&gt;LYON”." in text
    assert "<b>LYON" not in text
    assert '<a href="?">' in text
    assert 'name="action"' not in text


def test_search_and_filter_without_result_offer_the_search_alone(admin_client, channel):
    filters = NotificationChannelAdmin.list_filter[0]
    value = next(iter(filters.options))
    text = page_text(admin_client.get(CHANNELS, {"q": "LYON", filters.parameter_name: value}))
    assert '<a href="?q=LYON">' in text


def test_list_with_rows_says_whether_its_export_is_filtered(admin_client, channel):
    assert "Export CSV (filtered)" not in page_text(admin_client.get(CHANNELS))
    assert "Export CSV (filtered)" in page_text(admin_client.get(CHANNELS, {"q": "Team"}))


def test_title_of_a_page_names_list_and_object(admin_client, channel):
    assert "<title>Notification channels · Vigie</title>" in page_text(admin_client.get(CHANNELS))
    url = reverse("admin:portal_notificationchannel_change", args=[channel.pk])
    assert f"<title>{channel} · Notification channels · Vigie</title>" in page_text(admin_client.get(url))
