"""Permissions of operators, staff and viewers."""

import pytest
from django.contrib.auth.models import Group, Permission, User

from portal.access.roles import OPERATOR, STAFF, VIEWER, own_apps, synchronise_roles

pytestmark = pytest.mark.django_db


def codenames(role):
    return set(Group.objects.get(name=role).permissions.values_list("codename", flat=True))


@pytest.fixture(autouse=True)
def roles(db):
    synchronise_roles()


def test_roles_cover_only_the_apps_of_the_project():
    assert {"portal", "agents", "usage"} <= set(own_apps())
    assert not {"auth", "sessions", "django_q"} & set(own_apps())


def test_viewer_has_only_view_permissions():
    assert {"view_agent", "view_run", "view_apitoken"} <= codenames(VIEWER)
    assert all(name.startswith("view_") for name in codenames(VIEWER))


def test_staff_can_view_and_export():
    names = [
        "agent",
        "enrolmentrequest",
        "run",
        "apitoken",
        "auditevent",
        "jobrun",
        "taskattempt",
        "notificationchannel",
        "outboxmessage",
    ]
    names += ["expectedbackupjob", "backupentry", "restoredrill", "drillassertion"]
    names += ["licence", "usersession", "featureusage", "usererror", "guardianreport"]
    names += ["target", "checkresult", "incident", "round", "maintenancewindow"]
    names += ["betaprogramme", "betafeedback", "betasnapshot"]
    assert codenames(STAFF) - codenames(VIEWER) == {f"export_{name}" for name in names}


def test_operator_can_act_but_cannot_become_superuser():
    assert {"uninstall_agent", "change_agent", "add_apitoken", "change_apitoken"} <= codenames(OPERATOR)
    assert {"change_target", "acknowledge_incident", "add_maintenancewindow"} <= codenames(OPERATOR)
    assert {"add_betaprogramme", "change_betaprogramme", "change_betafeedback"} <= codenames(OPERATOR)
    assert not {"add_user", "change_user", "change_group"} & codenames(OPERATOR)


def test_second_synchronisation_changes_nothing():
    before = {role: codenames(role) for role in (VIEWER, STAFF, OPERATOR)}
    synchronise_roles()
    assert {role: codenames(role) for role in before} == before
    assert Group.objects.count() == 3


def test_manual_changes_are_reverted_and_members_are_kept():
    group = Group.objects.get(name=VIEWER)
    group.user_set.add(User.objects.create_user("vic"))
    group.permissions.set(Permission.objects.filter(codename="delete_user"))
    other = Group.objects.create(name="our own")
    synchronise_roles()
    assert "delete_user" not in codenames(VIEWER)
    assert group.user_set.count() == 1
    assert Group.objects.filter(pk=other.pk).exists()


@pytest.mark.one_database("forms")
def test_page_of_a_user_lists_single_permissions_only_if_the_user_has_some(admin_client):
    user = User.objects.create_user("sam", is_staff=True)
    url = f"/admin/auth/user/{user.pk}/change/"
    assert 'name="user_permissions"' not in admin_client.get(url).content.decode()
    user.user_permissions.add(Permission.objects.first())
    assert 'name="user_permissions"' in admin_client.get(url).content.decode()


@pytest.mark.one_database("forms")
def test_role_is_described_and_cannot_be_edited(admin_client):
    synchronise_roles()
    role, own = Group.objects.get(name="viewer"), Group.objects.create(name="night shift")
    assert 'name="permissions"' not in admin_client.get(f"/admin/auth/group/{role.pk}/change/").content.decode()
    admin_client.post(f"/admin/auth/group/{role.pk}/change/", {"name": "mine", "permissions": []})
    role.refresh_from_db()
    assert role.name == "viewer"
    assert role.permissions.exists()
    assert 'name="permissions"' in admin_client.get(f"/admin/auth/group/{own.pk}/change/").content.decode()
