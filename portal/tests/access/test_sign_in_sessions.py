"""Sessions end when idle, and whenever their user's access changes."""

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from portal.access import roles
from portal.access.signin import sessions
from portal.models import AuditEvent
from portal.work import retention

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("sessions are rows that are read by their key")]
PASSWORD = "correct horse battery"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"


@pytest.fixture
def alice():
    roles.synchronise_roles()
    return User.objects.create_user("alice", "alice@example.org", PASSWORD, is_staff=True)


def browser_of(user):
    browser = Client(headers={"User-Agent": FIREFOX})
    form = {"login": user.username, "password": PASSWORD}
    assert browser.post("/accounts/login/", form, REMOTE_ADDR="203.0.113.77").status_code == 302
    return browser


@pytest.fixture
def browsers(alice):
    return [browser_of(alice) for _ in range(3)]


def signed_in(browsers):
    return [browser.get("/admin/").status_code == 200 for browser in browsers]


@pytest.fixture
def clock(monkeypatch):
    """Return a function that advances the session clock."""

    def advance(delta):
        now = timezone.now() + delta
        monkeypatch.setattr(timezone, "now", lambda: now)

    return advance


def test_session_expires_after_idle_hours_but_not_while_it_is_used(client, alice, clock):
    client.force_login(alice)
    for hours in (11, 22):
        clock(timedelta(hours=11))
        assert client.get("/admin/").status_code == 200, hours
    clock(timedelta(hours=12, minutes=1))
    assert client.get("/admin/").status_code == 302


def test_session_is_written_at_most_every_five_minutes(client, alice, clock, django_assert_num_queries):
    client.force_login(alice)
    client.get("/admin/jsi18n/")
    with django_assert_num_queries(2):  # the session and its user
        client.get("/admin/jsi18n/")
    clock(timedelta(minutes=5))
    before = UserSession.objects.get().last_seen_at
    client.get("/admin/jsi18n/", REMOTE_ADDR="198.51.100.7")
    session = UserSession.objects.get()
    assert (session.last_seen_at - before > timedelta(minutes=4), session.ip) == (True, "198.51.100.7")


def test_session_stores_only_the_names_of_browser_and_system(browsers):
    assert set(UserSession.objects.values_list("user_agent", "ip")) == {("Firefox 131, Linux", "203.0.113.77")}


@pytest.mark.parametrize("address", ["", "unix:", "fe80::1%eth0"])
def test_user_signs_in_without_a_valid_client_address(client, alice, address):
    form = {"login": "alice", "password": PASSWORD}
    assert client.post("/accounts/login/", form, REMOTE_ADDR=address).status_code == 302
    assert UserSession.objects.get().ip in ("::", "fe80::1")


def change_password_of(user):
    user.set_password("another long password")
    user.save()


def values_of(user):
    return User.objects.filter(pk=user.pk).values().get()


CHANGES = {
    "password": change_password_of,
    "superuser": lambda user: User(**values_of(user) | {"is_superuser": True}).save(),
    "one column": lambda user: User(**values_of(user) | {"is_staff": False}).save(update_fields=["is_staff"]),
    "group added": lambda user: user.groups.add(Group.objects.get(name="viewer")),
    "member added": lambda user: Group.objects.get(name="viewer").user_set.add(user),
    "permission": lambda user: user.user_permissions.add(Permission.objects.first()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_access_change_ends_every_session_and_is_audited(alice, browsers, change):
    change(User.objects.get())
    assert signed_in(browsers) == [False] * 3
    assert not UserSession.objects.exists()
    assert AuditEvent.objects.get(action="user.sessions_ended").after == {"sessions": 3}


OF_GROUPS = {
    "permission removed": lambda group: group.permissions.remove(group.permissions.first()),
    "permissions cleared": lambda group: group.permissions.clear(),
    "permission of a group": lambda group: Permission.objects.filter(group=None)[0].group_set.add(group),
    "members cleared": lambda group: group.user_set.clear(),
    "deleted": lambda group: group.delete(),
}


@pytest.mark.parametrize("change", OF_GROUPS.values(), ids=OF_GROUPS)
def test_group_change_ends_only_the_sessions_of_its_members(alice, change):
    group = Group.objects.get(name="viewer")
    alice.groups.add(group)
    bob = User.objects.create_user("bob", password=PASSWORD, is_staff=True)
    browsers = [browser_of(alice), browser_of(bob)]
    change(group)
    assert signed_in(browsers) == [False, True]


def test_change_without_effect_on_access_ends_no_session(alice, browsers):
    alice.email = "alina@example.org"
    alice.save()
    roles.synchronise_roles()
    alice.groups.set([])
    assert signed_in(browsers) == [True] * 3


def test_upgrade_ends_the_sessions_of_a_role_only_if_it_takes_permissions(alice):
    viewer, rows = Group.objects.get(name="viewer"), Group.permissions.through.objects
    alice.groups.add(viewer)
    browser = browser_of(alice)
    rows.filter(pk=rows.filter(group=viewer).first().pk).delete()
    roles.synchronise_roles()
    assert signed_in([browser]) == [True]
    rows.create(group=viewer, permission=Permission.objects.get(codename="add_user"))
    roles.synchronise_roles()
    assert signed_in([browser]) == [False]


def test_all_sessions_but_one_are_ended(alice, browsers):
    sessions.end_sessions(UserSession.objects.all(), keep=browsers[0].session.session_key)
    assert signed_in(browsers) == [True, False, False]


def test_own_password_change_ends_the_other_sessions(alice, browsers):
    own = browsers[0]
    new = "a quite different password"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    assert own.post("/accounts/password/change/", form).status_code == 302
    assert signed_in(browsers) == [True, False, False]
    assert [row.session_key for row in UserSession.objects.all()] == [own.session.session_key]
    assert AuditEvent.objects.filter(action="user.password_changed", subject="user:alice").count() == 1


def test_superuser_who_changes_own_rights_in_the_admin_stays_signed_in(alice):
    User.objects.update(is_superuser=True)
    own, other = browser_of(alice), browser_of(alice)
    form = {"username": "alice", "is_active": "on", "is_staff": "on", "is_superuser": "on", "groups": [Group.objects.first().pk],
            "date_joined": "2026-01-01T00:00"}  # fmt: skip
    assert own.post(f"/admin/auth/user/{alice.pk}/change/", form).status_code == 302
    assert signed_in([own, other]) == [True, False]


def test_rows_of_ended_sessions_are_deleted(alice, browsers):
    Session.objects.first().delete()
    assert retention.outdated_signed_in(timezone.now()).count() == 1


def test_user_ends_one_session_or_all_others(alice, browsers):
    own, *others = browsers
    other = UserSession.objects.get(session_key=others[0].session.session_key)
    page = own.get("/accounts/2fa/").content.decode()
    assert (page.count('<th scope="row">Firefox 131, Linux'), page.count("this session")) == (3, 1)
    assert own.post("/accounts/sessions/end/", {"session": other.pk}).url == "/accounts/2fa/"
    assert signed_in(browsers) == [True, False, True]
    own.post("/accounts/sessions/end/")
    assert signed_in(browsers) == [True, False, False]
    assert AuditEvent.objects.filter(action="user.sessions_ended", actor="user:alice").count() == 2


@pytest.mark.parametrize("chosen", ["own", "foreign", "x", "999999"])
def test_user_ends_neither_this_session_nor_those_of_others(alice, browsers, chosen):
    bob = User.objects.create_user("bob", password=PASSWORD, is_staff=True)
    everybody = [*browsers, browser_of(bob)]
    keys = {"own": browsers[0].session.session_key, "foreign": everybody[-1].session.session_key}
    pk = UserSession.objects.get(session_key=keys[chosen]).pk if chosen in keys else chosen
    browsers[0].post("/accounts/sessions/end/", {"session": pk})
    assert signed_in(everybody) == [True] * 4
