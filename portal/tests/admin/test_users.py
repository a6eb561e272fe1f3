"""Pages of users and groups."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.utils import translation

from portal.access.roles import describe_permission

pytestmark = pytest.mark.django_db


def test_role_cannot_be_deleted_while_another_group_can(admin_client):
    role, other = (Group.objects.get_or_create(name=name)[0] for name in ("operator", "night shift"))
    answers = [admin_client.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"}) for group in (role, other)]
    assert [answer.status_code for answer in answers] == [403, 302]
    chosen = {"action": "delete_selected", "_selected_action": [role.pk], "post": "yes"}
    admin_client.post("/admin/auth/group/", chosen)
    assert [group.name for group in Group.objects.filter(name__in=("operator", "night shift"))] == ["operator"]


def test_page_of_a_user_links_to_the_password_page_and_shows_no_hash(admin_client):
    user = User.objects.create_user("vera", password="a long enough password")
    text = admin_client.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    assert f"/admin/auth/user/{user.pk}/password/" in text
    assert user.password.split("$")[0] not in text


def test_page_of_a_role_offers_no_saving_and_that_of_a_group_one_button(admin_client):
    role, other = (Group.objects.get_or_create(name=name)[0] for name in ("operator", "night shift"))
    pages = [admin_client.get(f"/admin/auth/group/{group.pk}/change/").content.decode() for group in (role, other)]
    assert [page.count('name="_save"') for page in pages] == [0, 1]
    assert not any("_addanother" in page or "_continue" in page for page in pages)


def test_page_of_a_user_shows_dates_as_lists_do(admin_client):
    joined = datetime(2026, 3, 10, 9, 12, tzinfo=UTC)
    user = User.objects.create_user("vera", date_joined=joined)
    assert "2026-03-10 09:12:00 UTC" in admin_client.get(f"/admin/auth/user/{user.pk}/change/").content.decode()


def test_page_of_a_user_has_no_link_that_adds_a_role(admin_client, admin_user):
    text = admin_client.get(f"/admin/auth/user/{admin_user.pk}/change/").content.decode()
    assert "/admin/auth/group/add/" not in text


def test_page_that_asks_before_a_deletion_has_the_colons_of_its_language(admin_client, admin_user):
    address = f"/admin/auth/user/{admin_user.pk}/delete/"
    page = admin_client.get(address, headers={"accept-language": "fr"}).content.decode()
    assert "<li>Utilisateurs\N{NO-BREAK SPACE}: 1</li>" in page


def test_page_that_asks_before_a_deletion_names_no_join_table(admin_client):
    user = User.objects.create_user("vera")
    user.groups.add(Group.objects.get_or_create(name="night shift")[0])
    text = admin_client.get(f"/admin/auth/user/{user.pk}/delete/").content.decode()
    assert "vera" in text
    assert "relationship" not in text
    assert "User_groups" not in text


def test_permissions_outside_the_roles_are_shown_and_can_be_removed(admin_client):
    user = User.objects.create_user("vera")
    page = f"/admin/auth/user/{user.pk}/change/"
    assert "Permissions outside roles" not in admin_client.get(page).content.decode()
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_group", "export_apitoken")))
    text = admin_client.get(page).content.decode()
    for part in ("Permissions outside roles", "Users and groups: Can view groups", "Portal: Can export tokens"):
        assert part in text
    assert text.count('name="user_permissions"') == 2
    kept, added = (Permission.objects.get(codename=codename) for codename in ("view_group", "change_group"))
    form = {"username": "vera", "email": "vera@example.org", "is_active": "on"}
    assert admin_client.post(page, form | {"user_permissions": [kept.pk, added.pk]}).status_code == 200
    assert admin_client.post(page, form | {"user_permissions": [kept.pk]}).status_code == 302
    user.refresh_from_db()
    assert (user.email, list(user.user_permissions.all())) == ("vera@example.org", [kept])


def test_permissions_outside_the_roles_are_read_only_for_others(client):
    vera = User.objects.create_user("vera")
    vera.user_permissions.set(Permission.objects.filter(codename="export_apitoken"))
    viewer = User.objects.create_user("bo", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_user"))
    client.force_login(viewer)
    text = client.get(f"/admin/auth/user/{vera.pk}/change/").content.decode()
    assert "Portal: Can export tokens" in text
    assert 'name="user_permissions"' not in text


@pytest.mark.parametrize(
    ("codename", "english", "french"),
    [
        ("change_user", "Users and groups: Can change users", "Utilisateurs et groupes : Peut modifier : utilisateurs"),
        ("export_apitoken", "Portal: Can export tokens", "Portail : Peut exporter les jetons"),
    ],
)
def test_permission_is_named_in_the_readers_language(codename, english, french):
    permission = Permission.objects.get(codename=codename)
    assert describe_permission(permission) == english
    with translation.override("fr"):
        assert describe_permission(permission).replace("\xa0", " ") == french


def test_pages_of_users_and_groups_are_titled_by_their_names(admin_client):
    group = Group.objects.create(name="night shift")
    user = User.objects.create_user("vera")
    for kind, plural, row in (("group", "Groups", group), ("user", "Users", user)):
        text = admin_client.get(f"/admin/auth/{kind}/{row.pk}/change/").content.decode()
        assert f"<title>{row} · {plural} · Vigie</title>" in text
        assert f"<h1>{row}</h1>" in text
        assert "Authentication" not in text


def test_roles_are_listed_in_the_readers_language(admin_client):
    Group.objects.get_or_create(name="operator")
    admin_client.cookies["django_language"] = "fr"
    assert ">opérateur</a>" in admin_client.get("/admin/auth/group/").content.decode()
