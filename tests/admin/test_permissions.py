"""Admin permissions are checked before any look-up, and users cannot extend their own."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse, reverse_lazy
from django.utils import timezone

from portal.access.tokens.issuing import issue_token, revoke_token
from portal.models import ApiToken

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("permissions are checked in Python")]

# Every named URL of every model, with its possible arguments: {URL name: (model, arguments)}.
PARTS = {"action": "revoke_chosen", "form": "csv", "key": "no-channel"}
ADDRESSES = {
    pattern.name: (model, list(pattern.pattern.converters))
    for model, model_admin in admin.site._registry.items()
    for pattern in model_admin.get_urls()
    if pattern.name
}


def address(name, pk=1, **parts):
    _model, names = ADDRESSES[name]
    return reverse(f"admin:{name}", kwargs={part: (PARTS | parts).get(part, pk) for part in names})


@pytest.fixture
def logged_in(client):
    """Return a function that signs in a staff member with exactly these permissions."""

    def make(*codenames):
        user = User.objects.create_user("sam", password="x", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        assert user.user_permissions.count() == len(codenames)
        client.force_login(user)
        return user

    return make


@pytest.mark.parametrize("name", [name for name in ADDRESSES if "export" in name or name.endswith("_report")])
def test_export_requires_the_view_permission_too(client, logged_in, rows, name):
    model = ADDRESSES[name][0]
    export, view = f"export_{model._meta.model_name}", f"view_{model._meta.model_name}"
    sam, url = logged_in(export), address(name, model.objects.first().pk)
    assert client.get(url).status_code == 403
    for permissions, status in ([view], {403}), ([view, export], {200, 302}):
        sam.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(sam)  # a change of rights ended the session
        assert client.get(url).status_code in status


# --- Users, groups and tokens ----------------------------------------------------------------------------------------

EVERYTHING = [f"{verb}_{model}" for verb in ("add", "change", "delete", "view") for model in ("user", "group")]


@pytest.mark.parametrize("name", [name for name in ADDRESSES if name.startswith("auth_")])
def test_only_superusers_change_users_and_groups(client, logged_in, name):
    group = Group.objects.create(name="g")
    sam = logged_in(*EVERYTHING)
    pk = group.pk if "group" in name else sam.pk
    rights = {"is_superuser": "on", "is_staff": "on", "is_active": "on", "username": "sam", "name": "g"}
    rights |= {"permissions": [1], "user_permissions": [1], "groups": [group.pk], "post": "yes"}
    passwords = {"password1": "Correct-horse-9", "password2": "Correct-horse-9", "usable_password": "true"}
    before = (User.objects.count(), Group.objects.count(), sam.password)
    page = client.get(address(name, pk))
    answer = client.post(address(name, pk), rights | passwords)
    # Inviting is allowed: it grants no more rights than the inviter has. No user is pending here, hence the 404s.
    invitations = {"auth_user_add": 200, "auth_user_invite": 404, "auth_user_withdraw": 404}
    assert answer.status_code == invitations.get(name, 200 if name.endswith(("_changelist", "_history")) else 403)
    sam.refresh_from_db()
    assert (User.objects.count(), Group.objects.count(), sam.password) == before
    assert not sam.is_superuser
    assert not sam.groups.exists()
    assert not group.permissions.exists()
    assert sam.user_permissions.count() == len(EVERYTHING)
    assert sam.password not in page.content.decode()


def test_superuser_changes_users_and_groups(admin_client):
    user = User.objects.create_user("sam")
    page = reverse("admin:auth_user_change", args=[user.pk])
    assert 'name="is_superuser"' in admin_client.get(page).content.decode()
    joined = {"date_joined": "2026-03-10T09:12:00"}
    assert admin_client.post(page, {"username": "sam", "is_staff": "on"} | joined).status_code == 302
    assert User.objects.get(username="sam").is_staff
    assert admin_client.post(reverse("admin:auth_group_add"), {"name": "sales"}).status_code == 302
    assert Group.objects.filter(name="sales").exists()


@pytest.mark.parametrize("model", ["beta_betafeedback", "usage_licence"])
def test_delete_permission_alone_opens_no_page(client, logged_in, rows, model):
    logged_in(f"delete_{model.partition('_')[2]}")
    names = [f"{model}_{page}" for page in ("changelist", "change", "delete", "history", "export")]
    assert {client.post(address(name, pk), {"post": "yes"}).status_code for name in names for pk in (1, 999)} == {403}
    assert client.get("/admin/").status_code == 200


def test_only_superusers_issue_tokens_for_other_users(client, logged_in):
    sam, other = logged_in("add_apitoken", "view_apitoken"), User.objects.create_superuser("ada")
    asked = {"kind": "staff", "label": "mine", "lifetime": "30"}
    for user, count in ((other.pk, 0), (sam.pk, 1)):
        client.post(reverse("admin:portal_apitoken_add"), asked | {"user": user})
        assert ApiToken.objects.count() == count


# --- Staff tokens of a user ------------------------------------------------------------------------------------------

PASSWORD = reverse_lazy("account_change_password")
VALID = "2 staff tokens stay valid: changing the password does not revoke them."


@pytest.fixture
def tokens():
    """Issue two valid staff tokens for each user, and some invalid ones."""

    def issue_for(*users):
        for user in users:
            issue_token("staff", user=user, expires_at=timezone.now())
            issue_token("staff", user=user)
            revoke_token(ApiToken.objects.filter(user=user), "test")
            issue_token("staff", user=user, expires_at=timezone.now() + timedelta(days=1))
            issue_token("staff", user=user)

    return issue_for


def test_password_page_counts_the_users_valid_staff_tokens_with_a_link(admin_client, admin_user, tokens):
    assert "stay valid" not in admin_client.get(PASSWORD).content.decode()
    tokens(admin_user, User.objects.create_user("other", is_staff=True))
    page = admin_client.get(PASSWORD).content.decode()
    assert VALID in page
    [link] = re.findall(r'href="([^"]+user=[^"]+)"', unescape(page))
    assert {token.user for token in admin_client.get(link).context["cl"].result_list} == {admin_user}


def test_password_page_links_to_no_list_that_its_user_may_not_see(client, logged_in, tokens):
    tokens(logged_in())
    page = client.get(PASSWORD).content.decode()
    assert VALID in page
    assert "View tokens" not in page


@pytest.mark.parametrize(("is_staff", "shown"), [(True, True), (False, False)])
def test_page_of_a_user_counts_their_staff_tokens_while_they_are_staff(admin_client, tokens, is_staff, shown):
    user = User.objects.create_user("sam", is_staff=is_staff)
    tokens(user)
    page = admin_client.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()
    assert (VALID in page, f"user={user.pk}" in page) == (shown, shown)
