"""Inviting users and accepting invitations."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone

from portal.access import roles
from portal.access.accounts import invitations
from portal.access.tokens.issuing import issue_token
from portal.models import ApiToken, AuditEvent
from portal.tests.helpers.smtp_sink import SmtpSink

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
LINK = re.compile(r"http://127\.0\.0\.1:8000(/accounts/invitation/[^/\s]+/)")


@pytest.fixture(autouse=True)
def synchronised(db):
    roles.synchronise_roles()


@pytest.fixture
def superuser(client):
    user = User.objects.create_superuser("root", "root@example.org")
    client.force_login(user)
    return user


@pytest.fixture
def mail_server(settings):
    with SmtpSink() as sink:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sink.port
        yield sink


@pytest.fixture(autouse=True)
def no_mail(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"


def invite(client, email="jo@example.org", role="viewer", **fields):
    group = Group.objects.get(name=role)
    return client.post("/admin/auth/user/add/", {"email": email, "roles": [group.pk], **fields})


def link_in(answer):
    return LINK.search(answer.content.decode())[1]


def accept(link, password=PASSWORD):
    return Client().post(
        link, {"new_password1": password, "new_password2": password, "first_name": "Jo", "last_name": "Doe"}
    )


def test_invited_user_chooses_a_password_and_signs_in(client, superuser):
    answer = invite(client, last_name="Doe")
    assert "no-store" in answer["Cache-Control"]
    user = User.objects.get(email="jo@example.org")
    assert (user.username, user.is_staff, user.is_superuser, user.has_usable_password()) == ("jo", True, False, False)
    link, browser = link_in(answer), Client()
    page = browser.get(link)
    assert page.status_code == 200
    assert "Your username is jo" in page.content.decode()
    assert accept(link)["Location"] == "/accounts/login/"
    assert browser.post("/accounts/login/", {"login": "jo", "password": PASSWORD})["Location"] == "/admin/"
    user.refresh_from_db()
    assert (user.get_full_name(), list(user.groups.values_list("name", flat=True))) == ("Jo Doe", ["viewer"])
    actions = list(AuditEvent.objects.filter(subject="user:jo").order_by("pk").values_list("action", "actor"))
    assert actions[:2] == [("user.invited", "user:root"), ("user.invitation_accepted", "user:jo")]


def test_link_works_once(client, superuser):
    link = link_in(invite(client))
    assert accept(link).status_code == 302
    assert accept(link, "another long password").status_code == 404
    assert User.objects.get(username="jo").check_password(PASSWORD)


def test_simultaneous_acceptance_sets_one_password(rf, client, superuser):
    invite(client)
    first, second = (User.objects.get(username="jo") for _ in range(2))
    assert invitations.accept_invitation(rf.post("/"), first, PASSWORD)
    assert not invitations.accept_invitation(rf.post("/"), second, "another long password")
    assert User.objects.get(username="jo").check_password(PASSWORD)


def test_form_of_a_user_who_signed_in_meanwhile_sets_no_password(rf, client, superuser):
    """Reject the stale form: single sign-on gave this user no password."""
    invite(client)
    invited = User.objects.get(username="jo")
    User.objects.filter(username="jo").update(last_login=timezone.now())
    assert not invitations.accept_invitation(rf.post("/"), invited, PASSWORD)


def test_weak_password_is_refused(client, superuser):
    link = link_in(invite(client))
    assert accept(link, "short").status_code == 200
    assert not User.objects.get(username="jo").has_usable_password()


@pytest.mark.parametrize("link", ["/accounts/invitation/x/", "/accounts/invitation/eyJ1c2VyIjoxfQ:1:x/"])
def test_forged_link_is_404(link):
    assert Client().get(link).status_code == 404


def test_link_expires_after_a_week(client, superuser, monkeypatch):
    link = link_in(invite(client))
    monkeypatch.setattr(invitations, "VALID_FOR", timedelta(seconds=-1))
    assert Client().get(link).status_code == 404


def test_inviting_again_invalidates_the_first_link(client, superuser):
    first, user = link_in(invite(client)), User.objects.get(username="jo")
    assert "has not accepted" in client.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    second = link_in(client.post(f"/admin/auth/user/{user.pk}/invite/"))
    assert [Client().get(link).status_code for link in (first, second)] == [404, 200]


def test_withdrawn_invitation_leaves_no_user(client, superuser):
    link, user = link_in(invite(client)), User.objects.get(username="jo")
    assert client.post(f"/admin/auth/user/{user.pk}/withdraw/").status_code == 302
    assert Client().get(link).status_code == 404
    assert not User.objects.filter(username="jo").exists()
    assert AuditEvent.objects.filter(action="user.invitation_withdrawn", subject="user:jo").exists()


def test_user_with_a_valid_token_is_not_withdrawn(client, superuser):
    user = User.objects.create_user("robot", is_staff=True)
    issue_token("staff", user=user)
    client.post(f"/admin/auth/user/{user.pk}/withdraw/")
    assert User.objects.filter(username="robot").exists()
    ApiToken.objects.update(revoked_at=timezone.now())
    client.post(f"/admin/auth/user/{user.pk}/withdraw/")
    assert not User.objects.filter(username="robot").exists()


def test_accepted_user_can_be_neither_invited_again_nor_withdrawn(client, superuser):
    user = User.objects.create_user("old", password=PASSWORD)
    for act in ("invite", "withdraw"):
        assert client.post(f"/admin/auth/user/{user.pk}/{act}/").status_code == 404
    assert "has not accepted" not in client.get(f"/admin/auth/user/{user.pk}/change/").content.decode()


def test_invitation_is_mailed_in_the_language_of_the_inviter(client, superuser, mail_server):
    answer = client.post(
        "/admin/auth/user/add/",
        {"email": "jo@example.org", "roles": [Group.objects.get(name="staff").pk]},
        headers={"Accept-Language": "fr"},
    )
    assert not LINK.search(answer.content.decode())
    (mail,) = mail_server.mails
    text = mail.get_content()
    assert (mail["To"], mail["Auto-Submitted"]) == ("jo@example.org", "auto-generated")
    assert "invite" in mail["Subject"]
    assert "Votre nom d’utilisateur est jo" in text
    assert Client().get(LINK.search(text)[1]).status_code == 200


def test_refused_mail_shows_the_link_instead(client, superuser, mail_server):
    mail_server.answers["RCPT TO"] = "550 nobody"
    answer = invite(client)
    assert "Copy the link instead" in answer.content.decode()
    assert Client().get(link_in(answer)).status_code == 200


def test_address_of_a_user_is_not_invited_twice(client, superuser):
    answer = invite(client, "ROOT@example.org")
    assert "A user with this e-mail address exists." in answer.content.decode()
    assert User.objects.count() == 1


def test_invitation_form_describes_each_role(client, superuser):
    for page in ("/admin/auth/user/add/", f"/admin/auth/user/{superuser.pk}/change/"):
        text = client.get(page).content.decode()
        for role in ("viewer: sees everything", "staff: sees everything and exports", "operator: sees and exports"):
            assert role in text, page


# --- No more than one's own rights ------------------------------------------------------------------------------------


@pytest.fixture
def inviter(client):
    """Return a staff member who may also add users."""
    user = User.objects.create_user("sam", is_staff=True)
    user.groups.add(Group.objects.get(name="staff"))
    user.user_permissions.add(*Permission.objects.filter(codename__in=["add_user", "view_user"]))
    client.force_login(user)
    return user


def test_inviter_cannot_grant_more_rights_than_their_own(client, inviter, mail_server):
    assert "operator:" not in client.get("/admin/auth/user/add/").content.decode()
    assert invite(client, "op@example.org", "operator").status_code == 200
    assert not User.objects.filter(email="op@example.org").exists()
    invite(client, "vi@example.org", "viewer")
    assert [mail["To"] for mail in mail_server.mails] == ["vi@example.org"]


def test_only_superusers_see_a_link(client, inviter, mail_server, settings):
    """Keep inviters from taking over an account, and the roles that single sign-on grants it later."""
    mail_server.answers["RCPT TO"] = "550 nobody"
    answer = invite(client).content.decode()
    assert "Invite the user again later" in answer
    assert not LINK.search(answer)
    user = User.objects.get(email="jo@example.org")
    assert not LINK.search(client.post(f"/admin/auth/user/{user.pk}/invite/").content.decode())
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    for path in ("add/", f"{user.pk}/invite/"):
        assert client.post(f"/admin/auth/user/{path}").status_code == 403


def test_inviter_cannot_manage_an_account_with_more_rights(client, inviter, mail_server):
    for name in ("operator", "superuser", "single"):
        user = User.objects.create_user(name, f"{name}@example.org", is_staff=True, is_superuser=name == "superuser")
        user.set_unusable_password()
        user.save()
        if name == "operator":
            user.groups.add(Group.objects.get(name="operator"))
        if name == "single":
            user.user_permissions.add(Permission.objects.get(codename="add_user"))
        for act in ("invite", "withdraw"):
            assert client.post(f"/admin/auth/user/{user.pk}/{act}/").status_code == 403, name


def test_user_without_the_permission_does_not_learn_who_is_invited(client):
    user = User.objects.create_user("vic", is_staff=True)
    client.force_login(user)
    for path in ("add/", f"{user.pk}/invite/", "999/invite/", "999/withdraw/"):
        assert client.post(f"/admin/auth/user/{path}").status_code == 403


def test_user_is_pending_until_their_first_sign_in():
    now = timezone.now()
    user = User(username="x")
    user.set_unusable_password()
    assert invitations.is_pending(user)
    for changes in ({"last_login": now}, {"is_active": False}, {"password": "pbkdf2_sha256$1$x$x"}):
        other = User(username="x", password=user.password)
        for name, value in changes.items():
            setattr(other, name, value)
        assert not invitations.is_pending(other)
