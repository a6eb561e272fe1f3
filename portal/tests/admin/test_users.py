"""Pages of users and groups."""

import pytest
from django.contrib.auth.models import Group, User

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
