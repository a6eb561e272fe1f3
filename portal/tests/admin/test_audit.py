"""Every admin action and every sign-in leaves an audit event."""

from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse, reverse_lazy
from django.utils import timezone, translation
from django.utils.html import escape

from portal import audit
from portal.access.tokens.issuing import issue_token
from portal.admin.changes import LONGEST, storable_change
from portal.audit import HIDDEN
from portal.desk.history import (
    describe_changes,
    describe_event,
    describe_subject,
    history_section,
    link_subject,
    name_subjects,
)
from portal.models import AuditEvent, NotificationChannel
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def admin_client(admin_client):
    """Return a signed-in client, with the event of its sign-in deleted."""
    AuditEvent.objects.all().delete()
    return admin_client


def actions():
    return list(AuditEvent.objects.order_by("id").values_list("action", "subject"))


def test_adding_changing_and_deleting_are_audited(admin_client):
    admin_client.post(reverse("admin:auth_group_add"), {"name": "night shift"})
    group = Group.objects.get()
    admin_client.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "day shift"})
    admin_client.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"})
    assert actions() == [
        ("group.added", "group:night shift"), ("group.changed", "group:day shift"), ("group.deleted", "group:day shift"),
    ]  # fmt: skip
    event = AuditEvent.objects.get(action="group.changed")
    assert (event.actor, event.address) == ("user:admin", "127.0.0.1")
    assert (event.before, event.after) == ({"name": "night shift"}, {"name": "day shift"})


def test_form_that_changes_nothing_leaves_no_event(admin_client):
    group = Group.objects.create(name="night shift")
    admin_client.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "night shift"})
    assert actions() == []


def test_changed_rows_of_a_choice_are_recorded_by_name(admin_client):
    group = Group.objects.create(name="night shift")
    old, new = Permission.objects.filter(codename__in=("view_apitoken", "add_apitoken")).order_by("codename")
    group.permissions.add(old)
    page = reverse("admin:auth_group_change", args=[group.pk])
    admin_client.post(page, {"name": "night shift", "permissions": [new.pk]})
    event = AuditEvent.objects.get(action="group.changed")
    assert (event.before, event.after) == ({"permissions": str(old)}, {"permissions": str(new)})


def test_permission_taken_from_many_is_recorded(admin_client):
    group = Group.objects.create(name="night shift")
    *kept, gone = Permission.objects.order_by("pk")[:60]
    group.permissions.set([*kept, gone])
    page = reverse("admin:auth_group_change", args=[group.pk])
    admin_client.post(page, {"name": "night shift", "permissions": [each.pk for each in kept]})
    event = AuditEvent.objects.get(action="group.changed")
    assert (event.before, event.after) == ({"permissions": f"…, {gone}"}, {"permissions": "…"})


@pytest.mark.parametrize(
    ("was", "value"), [("x" * 600 + "a", "x" * 600 + "b"), ("x" * 501, "x" * 502), ("a" + "x" * 600, "b" + "x" * 600),
                       (["a" * 300, "b" * 300], ["a" * 300, "c" * 300])],
)  # fmt: skip
def test_change_of_a_long_value_is_recorded_where_it_differs(was, value):
    before, after = storable_change(was, value)
    assert before != after
    assert max(len(before), len(after)) <= LONGEST


def test_action_with_an_event_of_its_own_leaves_no_other(admin_client):
    token, _plain = issue_token("enroll", label="x")
    AuditEvent.objects.all().delete()
    act = reverse("admin:portal_apitoken_act", args=[token.pk, "revoke_chosen"])
    admin_client.post(act, {"confirmed": "yes"})
    assert actions() == [("token.revoked", f"token:{token.key}")]


def test_bulk_deletion_leaves_one_event_per_row(admin_client):
    groups = [Group.objects.create(name=name) for name in ("a", "b")]
    fields = {"action": "delete_selected", "_selected_action": [group.pk for group in groups]}
    admin_client.post(reverse("admin:auth_group_changelist"), fields)
    assert actions() == []
    admin_client.post(reverse("admin:auth_group_changelist"), fields | {"post": "yes"})
    assert sorted(actions()) == [
        ("group.deleted", "group:a"),
        ("group.deleted", "group:b"),
    ]


def test_name_of_a_deleted_row_is_recorded_where_the_subject_is_a_number(admin_client):
    channel = NotificationChannel.objects.create(pk=17, name="7", kind="email", addresses="a@example.org")
    admin_client.post(reverse("admin:portal_notificationchannel_delete", args=[channel.pk]), {"post": "yes"})
    event = AuditEvent.objects.get(action="channel.deleted")
    assert (event.subject, event.after) == ("channel:17", {"name": "7"})


def test_password_change_is_audited_without_the_password(admin_client):
    user = User.objects.create_user("bo")
    fields = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    admin_client.post(reverse("admin:auth_user_password_change", args=[user.pk]), fields)
    assert actions() == [("user.changed", "user:bo")]
    assert PASSWORD not in str(list(AuditEvent.objects.values()))


def login(client, password):
    return client.post(reverse("account_login"), {"login": "bo", "password": password})


def test_sign_in_and_sign_out_are_audited(client):
    User.objects.create_user("bo", password=PASSWORD, is_staff=True)
    login(client, PASSWORD)
    client.post(reverse("admin:logout"))
    assert actions() == [("user.logged_in", "user:bo"), ("user.logged_out", "user:bo")]
    assert set(AuditEvent.objects.values_list("actor", "address")) == {("user:bo", "127.0.0.1")}


def test_failed_sign_ins_are_counted_without_what_was_typed(client):
    for _ in range(3):
        login(client, "wrong")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.subject, event.count) == ("refused.login", "anonymous", "", 3)


def test_history_shows_sentences_newest_first():
    now = timezone.now()
    AuditEvent.objects.create(at=now, last_at=now, action="user.added", subject="user:bo")
    AuditEvent.objects.create(at=now, last_at=now, action="refused.login", subject="user:bo", count=7)
    section = history_section("user:bo")
    assert [row[1] for row in section.rows] == ["Denied: wrong user name or password (7 times)", "User added"]
    assert section.url.endswith("?q=user%3Abo")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(None, None, ""), ({"version": "1"}, {"version": "2"}, "Version: 1 → 2"), (None, {"reason": ""}, ""),
     (None, {"reason": "old", "n": 0}, "Reason: old, N: 0"), (None, [{"changed": {}}], ""),
     (None, [{"changed": {"fields": ["Name", "City"]}}], "Name, City"),
     ({"max_uses": 14995}, {"max_uses": 20000}, "Max uses: 14,995 → 20,000"),
     ({"max_uses": 5}, {"max_uses": None}, "Max uses: 5 → –"),
     ({}, {"secret": HIDDEN}, "Secret: changed (not recorded)"), ({"on": False}, {"on": True}, "On: no → yes"),
     ({"kind": "client"}, {"kind": "staff"}, "Type: application → staff"),
     (None, {"until": "2026-03-10T09:12:44+00:00"}, "Until: 2026-03-10 09:12:44 UTC"),
     (None, {"x": ["a", "b"]}, "X: a, b"), ({"kind": ["client", "new"]}, {"kind": []}, "Type: application, new → –"),
     (None, {"kind": {"a": 1}}, "Type: {'a': 1}"), (None, {"x": 1.5, "y": [None]}, "X: 1.5, Y: –")],
)  # fmt: skip
def test_details_give_old_and_new_values_with_labels(before, after, text):
    assert describe_changes(AuditEvent(subject="token:x", before=before, after=after)) == text


def test_log_and_page_show_a_token_that_is_bound_to_an_application(admin_client):
    token, _plain = issue_token("client", label="gui", app_names=["GoldenEye"])
    page = reverse("admin:portal_apitoken_change", args=[token.pk])
    for address in (reverse("admin:portal_auditevent_changelist"), page):
        assert "GoldenEye" in admin_client.get(address).content.decode()


def test_action_without_an_event_of_its_own_is_named_by_its_button():
    event = AuditEvent(
        action="admin.action", subject="portal.apitoken", after={"action": "export_chosen", "chosen": ["1"]}
    )
    assert (describe_event(event), describe_changes(event)) == ("Export as CSV (tokens)", "1 selected")


def test_page_of_an_action_lists_the_chosen_rows(admin_client):
    now = timezone.now()
    after = {"action": "export_chosen", "chosen": ["4711", "4712"]}
    event = AuditEvent.objects.create(
        at=now, last_at=now, action="admin.action", subject="portal.apitoken", after=after
    )
    text = admin_client.get(reverse("admin:portal_auditevent_change", args=[event.pk])).content.decode()
    assert "4711" in text
    assert "4712" in text


def test_action_without_a_sentence_is_shown_by_name():
    assert describe_event(AuditEvent(action="moon.landed")) == "moon.landed"


# --- Links -----------------------------------------------------------------------------------------------------------

SUBJECT = reverse_lazy("admin:portal_auditevent_subject")


def test_link_of_a_subject_leads_to_its_page(admin_client):
    token, _plain = issue_token("client", label="gui")
    page = reverse("admin:portal_apitoken_change", args=[token.pk])
    for name in (f"token:{token.key}", "client:gui"):
        assert admin_client.get(SUBJECT, {"name": name})["Location"] == page
        assert escape(f"?name={quote(name)}") in link_subject(name)


def test_subject_with_a_name_shows_it_in_place_of_its_number(admin_client):
    channel = NotificationChannel.objects.create(name="On call", kind="email", addresses="a@example.org")
    for subject in (f"channel:{channel.pk}", "channel:987654321", f"channel:{'9' * 30}"):
        audit.record_event("channel.tested", subject)
    address = reverse("admin:portal_auditevent_changelist")
    text = page_text(admin_client.get(address))
    assert ">On call</a>" in text
    assert f">Notification channel {channel.pk}<" not in text
    assert "987654321</a>" in text
    event = AuditEvent.objects.get(subject=f"channel:{channel.pk}")
    assert ">On call</a>" in page_text(admin_client.get(f"{address}{event.pk}/change/"))


def test_link_of_a_label_of_several_tokens_leads_to_the_list(admin_client):
    for _number in range(2):
        issue_token("client", label="gui")
    answer = admin_client.get(SUBJECT, {"name": "client:gui"})
    assert answer["Location"] == f"{reverse('admin:portal_apitoken_changelist')}?q=gui"


def test_link_of_a_deleted_row_leads_to_its_events(admin_client):
    answer = admin_client.get(SUBJECT, {"name": "channel:7"})
    assert answer["Location"] == f"{reverse('admin:portal_auditevent_changelist')}?q=channel%3A7"


@pytest.mark.parametrize("name", ["", "moon:1", "user:\0", "user"])
def test_link_of_an_unknown_kind_is_404(admin_client, name):
    status = 302 if name == "user" else 404
    assert admin_client.get(SUBJECT, {"name": name}).status_code == status


@pytest.mark.parametrize("number", ["9" * 40, "-1", "x", "\u0661"])
def test_link_of_an_impossible_number_finds_nothing(admin_client, number):
    assert "auditevent/?q=" in admin_client.get(SUBJECT, {"name": f"channel:{number}"})["Location"]


def test_link_needs_the_permission_to_view_the_row(client):
    user = User.objects.create_user("bo", is_staff=True)
    for permissions in ([], ["view_auditevent"], ["view_user"]):
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)  # a change of rights ended the session
        assert client.get(SUBJECT, {"name": "user:bo"}).status_code == 403


def log_of(client, count):
    """Make so many channels and tokens, with events about them, and return the log's text."""
    now = timezone.now()
    first = NotificationChannel.objects.count()
    for number in range(first, first + count):
        channel = NotificationChannel.objects.create(name=f"Pager {number}", kind="email", addresses="a@example.org")
        issue_token("client", label=f"gui {number}")
        AuditEvent.objects.create(at=now, last_at=now, action="channel.tested", subject=f"channel:{channel.pk}")
    return client.get(reverse("admin:portal_auditevent_changelist")).content.decode()


def test_log_names_the_objects_that_events_refer_to_by_number_or_key(admin_client):
    text = log_of(admin_client, 1)
    assert ">Pager 0</a>" in text
    assert ">application gui 0</a>" in text
    event = AuditEvent.objects.get(action="channel.tested")
    page = admin_client.get(reverse("admin:portal_auditevent_change", args=[event.pk])).content.decode()
    assert "<h1>Test sent: Pager 0 (notification channel)</h1>" in page
    NotificationChannel.objects.all().delete()
    assert f"Notification channel {event.subject.partition(':')[2]}</a>" in log_of(admin_client, 0)


def test_log_takes_as_many_queries_for_many_objects_as_for_one(admin_client, django_assert_num_queries):
    log_of(admin_client, 1)
    with CaptureQueriesContext(connection) as queries:
        log_of(admin_client, 0)
    count = len(queries)
    log_of(admin_client, 12)
    with django_assert_num_queries(count):
        log_of(admin_client, 0)


def test_actors_are_shown_by_name_and_kind(admin_client):
    assert describe_subject("user:bo") == "bo (user)"
    assert '>bo</a> <span class="quiet">(user)</span>' in link_subject("user:bo")
    with translation.override("fr"):
        assert describe_subject("command line") == "ligne de commande"
    issue_token("client", label="gui", actor="user:bo")
    assert "user:bo" not in admin_client.get(reverse("admin:portal_apitoken_changelist")).content.decode()


def test_event_about_an_issue_links_to_it_for_users_who_may_acknowledge(admin_client, client):
    now = timezone.now()
    after = {"finding": "The roof leaks."}
    subject = "finding:agents.token:7"
    AuditEvent.objects.create(at=now, last_at=now, action="finding.acknowledged", subject=subject, after=after)
    log = reverse("admin:portal_auditevent_changelist")
    link = '<a href="/admin/acknowledge/?key=agents.token%3A7">The roof leaks.</a>'
    assert link in page_text(admin_client.get(log))
    text = page_text(log_in_with_role(client, "viewer").get(log))
    assert "The roof leaks." in text
    assert "/admin/acknowledge/" not in text


def test_log_names_only_objects_that_the_user_may_view(client):
    channel = NotificationChannel.objects.create(name="On call", kind="email", addresses="a@example.org")
    audit.record_event("channel.tested", f"channel:{channel.pk}", actor="system")
    user = User.objects.create_user("bo", is_staff=True)
    for permissions, is_named in (
        (["view_auditevent"], False),
        (["view_auditevent", "view_notificationchannel"], True),
    ):
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        text = page_text(client.get(reverse("admin:portal_auditevent_changelist")))
        assert ("On call" in text, f"Notification channel {channel.pk}" in text) == (is_named, not is_named)


def test_names_of_objects_are_read_without_the_other_columns(rf):
    channel = NotificationChannel.objects.create(name="On call", kind="email", addresses="a@example.org")
    request = rf.get("/")
    request.user = User(is_superuser=True, is_active=True)
    with CaptureQueriesContext(connection) as queries:
        assert name_subjects(request, [f"channel:{channel.pk}"]) == {f"channel:{channel.pk}": "On call"}
    assert [("addresses" in query["sql"]) for query in queries] == [False]


def test_name_with_markup_stays_text():
    assert "<b>" not in link_subject("client:<b>x</b>")
