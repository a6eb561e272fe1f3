"""Every admin action and every sign-in leaves an audit event."""

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
    assert event.after == [{"changed": {"fields": ["Name"]}}]


def test_bulk_deletion_leaves_an_event_per_row_and_one_for_the_action(admin_client):
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
    assert [row[1] for row in section.rows] == ["Refused: wrong user name or password (7 times)", "User added"]
    assert section.url.endswith("?q=user%3Abo")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(None, None, ""), ({"version": "1"}, {"version": "2"}, "version: 1 → 2"), (None, {"reason": ""}, ""),
     (None, {"reason": "old", "n": 0}, "reason: old, n: 0"), (None, [{"changed": {}}], "")],
)  # fmt: skip
def test_history_details_name_the_changed_fields(before, after, text):
    assert describe_changes(AuditEvent(before=before, after=after)) == text


def test_action_without_a_sentence_is_shown_by_name():
    assert describe_event(AuditEvent(action="moon.landed")) == "moon.landed"
