"""Permissions in the admin: they are checked before anything is looked up, and nobody gives themselves more of them."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from portal.models import ApiToken

pytestmark = pytest.mark.django_db

# Every named address of every model, with what its parts may be: {name of the URL: (model, parts)}.
PARTS = {"action": "revoke_chosen", "form": "json", "key": "no-channel"}
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
    """A member of staff with these permissions and no others."""

    def make(*codenames):
        user = User.objects.create_user("sam", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        assert user.user_permissions.count() == len(codenames)
        client.force_login(user)
        return user

    return make


@pytest.mark.parametrize("name", [name for name in ADDRESSES if "export" in name or name.endswith("_report")])
def test_an_export_needs_the_permission_to_view_too(client, logged_in, rows, name):
    model = ADDRESSES[name][0]
    export, view = f"export_{model._meta.model_name}", f"view_{model._meta.model_name}"
    sam, url = logged_in(export), address(name, model.objects.first().pk)
    assert client.get(url).status_code == 403
    for permissions, status in ([view], {403}), ([view, export], {200, 302}):
        sam.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        assert client.get(url).status_code in status


# --- Users, groups and tokens ----------------------------------------------------------------------------------------

EVERYTHING = [f"{verb}_{model}" for verb in ("add", "change", "delete", "view") for model in ("user", "group")]


@pytest.mark.parametrize("name", [name for name in ADDRESSES if name.startswith("auth_")])
def test_only_superusers_change_users_and_groups_whatever_permissions_others_have(client, logged_in, name):
    group = Group.objects.create(name="g")
    sam = logged_in(*EVERYTHING)
    pk = group.pk if "group" in name else sam.pk
    rights = {"is_superuser": "on", "is_staff": "on", "is_active": "on", "username": "sam", "name": "g"}
    rights |= {"permissions": [1], "user_permissions": [1], "groups": [group.pk], "post": "yes"}
    passwords = {"password1": "Correct-horse-9", "password2": "Correct-horse-9", "usable_password": "true"}
    before = (User.objects.count(), Group.objects.count(), sam.password)
    page = client.get(address(name, pk))
    answer = client.post(address(name, pk), rights | passwords)
    assert answer.status_code == (200 if name.endswith(("_changelist", "_history")) else 403)
    sam.refresh_from_db()
    assert (User.objects.count(), Group.objects.count(), sam.password) == before
    assert not sam.is_superuser
    assert not sam.groups.exists()
    assert not group.permissions.exists()
    assert sam.user_permissions.count() == len(EVERYTHING)
    assert sam.password not in page.content.decode()


def test_a_superuser_changes_users(admin_client, admin_user):
    page = reverse("admin:auth_user_change", args=[admin_user.pk])
    assert 'name="is_superuser"' in admin_client.get(page).content.decode()
    added = {
        "username": "new",
        "password1": "Correct-horse-9",
        "password2": "Correct-horse-9",
        "usable_password": "true",
    }
    assert admin_client.post(reverse("admin:auth_user_add"), added).status_code == 302
    assert User.objects.filter(username="new").exists()


def test_nobody_but_a_superuser_issues_a_token_for_another_user(client, logged_in):
    sam, other = logged_in("add_apitoken", "view_apitoken"), User.objects.create_superuser("ada")
    asked = {"kind": "staff", "label": "mine", "lifetime": "30"}
    for user, count in ((other.pk, 0), (sam.pk, 1)):
        client.post(reverse("admin:portal_apitoken_add"), asked | {"user": user})
        assert ApiToken.objects.count() == count
