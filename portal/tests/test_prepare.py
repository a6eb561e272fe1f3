"""The first operator and their generated password."""

import io

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from portal.access.accounts.first_password import delete_outdated_file, first_password_in_a_file
from portal.management.commands.prepare import first_operator
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db
NEW = "a quite long new one"


@pytest.fixture(autouse=True)
def secrets_directory(settings, tmp_path):
    settings.SECRETS_DIR = tmp_path
    return tmp_path


def test_first_operator_signs_in_with_the_password_shown_once(secrets_directory):
    password = first_operator()
    assert authenticate(username="operator", password=password).is_superuser
    assert (secrets_directory / "operator_password").read_text() == password
    assert first_operator() is None
    assert AuditEvent.objects.get().subject == "user:operator"


def test_no_operator_is_created_beside_a_superuser():
    User.objects.create_superuser("alice")
    assert first_operator() is None
    assert User.objects.count() == 1


def test_existing_user_of_that_name_is_not_made_superuser():
    User.objects.create_user("operator")
    with pytest.raises(CommandError, match="createsuperuser"):
        first_operator()


# --- The file of the first password ----------------------------------------------------------------------------------


def changed_by_admin_form(user):
    form = AdminPasswordChangeForm(user, {"usable_password": "true", "password1": NEW, "password2": NEW})
    assert form.is_valid(), form.errors
    form.save()


def changed_by_command(user, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: NEW)
    call_command("changepassword", user.username, stdout=io.StringIO())


def changed_in_code(user):
    user.set_password(NEW)
    user.save()


@pytest.mark.parametrize("way", ["form", "command", "code"])
def test_first_password_file_is_deleted_when_its_password_is_changed(
    way, secrets_directory, monkeypatch, django_capture_on_commit_callbacks
):
    first_operator()
    operator = User.objects.get()
    assert any("first password" in finding.text for finding in first_password_in_a_file(timezone.now()))
    with django_capture_on_commit_callbacks(execute=True):
        {
            "form": lambda: changed_by_admin_form(operator),
            "command": lambda: changed_by_command(operator, monkeypatch),
            "code": lambda: changed_in_code(operator),
        }[way]()
    assert not (secrets_directory / "operator_password").exists()
    assert list(first_password_in_a_file(timezone.now())) == []


def test_first_password_file_outlives_the_password_of_another(secrets_directory, django_capture_on_commit_callbacks):
    first_operator()
    with django_capture_on_commit_callbacks(execute=True):
        changed_in_code(User.objects.create_user("alice"))
    delete_outdated_file()
    assert (secrets_directory / "operator_password").exists()


def test_first_password_changed_on_another_node_leaves_no_file_here(secrets_directory):
    first_operator()
    User.objects.update(password=make_password(NEW))
    delete_outdated_file()
    assert not (secrets_directory / "operator_password").exists()


def test_first_password_is_refused_as_the_new_one():
    with pytest.raises(ValidationError, match="generated"):
        validate_password(first_operator(), User.objects.get())
