"""Whatever an operator does in the admin leaves an audit event, and so do logins."""

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from portal.desk.history import describe_changes, describe_event, history_section
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def admin_client(admin_client):
    """Logged in, and that already forgotten."""
    AuditEvent.objects.all().delete()
    return admin_client


def actions():
    return list(AuditEvent.objects.order_by("id").values_list("action", "subject"))


def test_adding_changing_and_deleting_leave_an_event_each(admin_client):
    admin_client.post(reverse("admin:auth_group_add"), {"name": "night shift"})
    group = Group.objects.get()
    admin_client.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "day shift"})
    admin_client.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"})
    assert actions() == [
        ("group.added", "group:night shift"), ("group.changed", "group:day shift"), ("group.deleted", "group:day shift"),
    ]  # fmt: skip
    event = AuditEvent.objects.get(action="group.changed")
    assert (event.actor, event.address) == ("user:admin", "127.0.0.1")
    assert event.after == [{"changed": {"fields": ["Name"]}}]


def test_deleting_many_leaves_an_event_for_each_and_one_for_the_action(admin_client):
    groups = [Group.objects.create(name=name) for name in ("a", "b")]
    fields = {"action": "delete_selected", "_selected_action": [group.pk for group in groups]}
    admin_client.post(reverse("admin:auth_group_changelist"), fields)
    assert actions() == []
    admin_client.post(reverse("admin:auth_group_changelist"), fields | {"post": "yes"})
    assert sorted(actions()) == [
        ("admin.action", "auth.group"),
        ("group.deleted", "group:a"),
        ("group.deleted", "group:b"),
    ]


def test_a_new_password_is_on_record_but_not_what_it_is(admin_client):
    user = User.objects.create_user("bo")
    fields = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    admin_client.post(reverse("admin:auth_user_password_change", args=[user.pk]), fields)
    assert actions() == [("user.changed", "user:bo")]
    assert PASSWORD not in str(list(AuditEvent.objects.values()))


def login(client, password):
    return client.post(reverse("account_login"), {"login": "bo", "password": password})


def test_logging_in_and_out_leaves_an_event_each(client):
    User.objects.create_user("bo", password=PASSWORD, is_staff=True)
    login(client, PASSWORD)
    client.post(reverse("admin:logout"))
    assert actions() == [("user.logged_in", "user:bo"), ("user.logged_out", "user:bo")]
    assert set(AuditEvent.objects.values_list("actor", "address")) == {("user:bo", "127.0.0.1")}


def test_failed_logins_are_counted_and_keep_nothing_of_what_was_typed(client):
    for _ in range(3):
        login(client, "wrong")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.subject, event.count) == ("refused.login", "anonymous", "", 3)


def test_a_history_reads_as_sentences_newest_first():
    now = timezone.now()
    AuditEvent.objects.create(at=now, last_at=now, action="user.added", subject="user:bo")
    AuditEvent.objects.create(at=now, last_at=now, action="refused.login", subject="user:bo", count=7)
    section = history_section("user:bo")
    assert [row[1] for row in section.rows] == ["Refused: wrong user name or password (7 times)", "User added"]
    assert section.url.endswith("?q=user%3Abo")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(None, None, ""), ({"version": "1"}, {"version": "2"}, "version: 1 → 2"), (None, {"reason": ""}, ""),
     (None, {"reason": "old", "n": 0}, "reason: old, n: 0"), (None, [{"changed": {}}], "")],
)  # fmt: skip
def test_details_say_what_changed(before, after, text):
    assert describe_changes(AuditEvent(before=before, after=after)) == text


def test_an_action_without_a_sentence_shows_its_name():
    assert describe_event(AuditEvent(action="moon.landed")) == "moon.landed"
