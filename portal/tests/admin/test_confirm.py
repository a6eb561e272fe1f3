"""Confirmation pages: what they list and require, and which rows the confirmed action gets."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.access.tokens.issuing import issue_token
from portal.admin import confirm
from portal.models import ApiToken, AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, messages_of

pytestmark = pytest.mark.django_db
LIST = "/admin/portal/apitoken/"


@pytest.fixture
def tokens():
    return [issue_token("enroll", label=f"t{number}")[0] for number in range(3)]


def ask(client, tokens=(), url=LIST, **fields):
    keys = [token.pk for token in tokens]
    return client.post(url, {"action": "revoke_chosen", "_selected_action": keys, "index": 0} | fields)


def submit(client, page, **fields):
    """Send the form of a confirmation page as a browser does."""
    html = page.content.decode()
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html[html.index('id="content-main"') :])
    data = {name: [value for other, value in hidden if other == name] for name, _value in hidden}
    address = unescape(re.search(r'<form method="post" action="([^"]+)" id="content-main"', html)[1])
    return client.post(address, data | fields)


def revoked():
    return set(ApiToken.objects.exclude(revoked_at=None).values_list("label", flat=True))


def done():
    return list(AuditEvent.objects.filter(action__in=("admin.action", "token.revoked")))


def test_action_asks_before_it_changes_or_records_anything(admin_client, tokens):
    page = ask(admin_client, tokens[:2])
    assert set(page.context["keys"]) == {tokens[0].pk, tokens[1].pk}
    assert (revoked(), done()) == (set(), [])


def test_confirmed_action_changes_exactly_the_listed_rows(admin_client, tokens):
    submit(admin_client, ask(admin_client, tokens[:2]))
    assert revoked() == {"t0", "t1"}


def test_rows_that_came_after_the_question_are_not_changed(admin_client, tokens):
    """Of all pages of a list, only the rows that were there when the page asked."""
    page = ask(admin_client, tokens[:1], select_across=1)
    issue_token("enroll", label="later")
    submit(admin_client, page)
    assert revoked() == {"t0", "t1", "t2"}


@pytest.mark.parametrize("across", ["1", "2", "true", "on"])
def test_confirmed_request_for_all_rows_asks_again(admin_client, tokens, across):
    page = ask(admin_client, tokens[:1], select_across=across, confirmed="yes")
    assert len(page.context["keys"]) == 3
    assert revoked() == set()


def test_row_that_left_the_filter_after_the_question_is_changed(admin_client, tokens):
    page = ask(admin_client, tokens, url=f"{LIST}?state=usable&p=1")
    ApiToken.objects.filter(pk=tokens[0].pk).update(expires_at=timezone.now())
    answer = submit(admin_client, page)
    assert answer["Location"] == f"{LIST}?state=usable"
    assert revoked() == {"t0", "t1", "t2"}


def test_row_to_which_the_action_does_not_apply_is_not_listed(admin_client, tokens):
    ApiToken.objects.filter(pk=tokens[0].pk).update(revoked_at=timezone.now())
    assert set(ask(admin_client, tokens).context["keys"]) == {tokens[1].pk, tokens[2].pk}
    nothing = admin_client.post(LIST, {"action": "revoke_chosen", "_selected_action": [tokens[0].pk]}, follow=True)
    assert len(messages_of(nothing)) == 1
    assert done() == []


def test_long_selection_is_listed_in_part_and_counted(admin_client, tokens, monkeypatch):
    monkeypatch.setattr(confirm, "SHOWN", 1)
    page = ask(admin_client, tokens)
    assert (len(page.context["rows"]), page.context["beyond"], len(page.context["keys"])) == (1, "and 2 more", 3)


def test_more_rows_than_the_limit_are_refused(admin_client, tokens, monkeypatch):
    monkeypatch.setattr(confirm, "MOST_AT_ONCE", 2)
    assert ask(admin_client, tokens).status_code == 302
    ask(admin_client, tokens, confirmed="yes")
    assert (revoked(), done()) == (set(), [])


def test_token_in_use_is_revoked_only_after_its_label_was_typed(admin_client):
    token, _plain = issue_token("client", label="gui_v6")
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(hours=1))
    page = ask(admin_client, [token])
    refused = submit(admin_client, page, typed="gui")
    assert (refused.context["asked"][0].errors.keys(), revoked()) == ({"typed"}, set())
    submit(admin_client, refused, typed="gui_v6")
    assert revoked() == {"gui_v6"}


def test_label_with_odd_spaces_can_be_typed(admin_client):
    token, _plain = issue_token("client", label=" gui\xa0 v6 ")
    ApiToken.objects.update(last_used_at=timezone.now())
    submit(admin_client, ask(admin_client, [token]), typed="gui v6")
    assert ApiToken.objects.get().revoked_at is not None


def test_question_from_the_page_of_a_row_returns_there(admin_client, tokens):
    address = reverse("admin:portal_apitoken_act", args=[tokens[0].pk, "revoke_chosen"])
    page = admin_client.post(address, {"_selected_action": tokens[1].pk})
    assert page.context["keys"] == [tokens[0].pk]
    change = reverse("admin:portal_apitoken_change", args=[tokens[0].pk])
    assert page.context["back"] == change
    assert submit(admin_client, page)["Location"] == change
    assert revoked() == {"t0"}


@pytest.mark.parametrize(
    ("role", "checks_csrf", "ended"), [("operator", True, set()), ("viewer", False, set()), ("operator", False, {"t0"})]
)
def test_confirmed_request_needs_permission_and_csrf_token(tokens, role, checks_csrf, ended):
    client = log_in_with_role(Client(enforce_csrf_checks=checks_csrf), role)
    ask(client, tokens[:1], confirmed="yes")
    assert revoked() == ended


def test_label_with_markup_stays_text(admin_client):
    token, _plain = issue_token("client", label="<b>gui</b>")
    ApiToken.objects.update(last_used_at=timezone.now())
    assert "<b>gui" not in ask(admin_client, [token]).content.decode()
