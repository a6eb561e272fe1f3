"""The first operator."""

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management.base import CommandError

from portal.management.commands.prepare import first_operator
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def secrets_directory(settings, tmp_path):
    settings.SECRETS_DIR = tmp_path
    return tmp_path


def test_the_first_operator_can_log_in_with_what_was_told_once(secrets_directory):
    password = first_operator()
    assert authenticate(username="operator", password=password).is_superuser
    assert (secrets_directory / "operator_password").read_text() == password
    assert first_operator() is None
    assert AuditEvent.objects.get().subject == "user:operator"


def test_none_is_made_beside_another_superuser():
    User.objects.create_superuser("alice")
    assert first_operator() is None
    assert User.objects.count() == 1


def test_nobody_becomes_a_superuser_by_name():
    User.objects.create_user("operator")
    with pytest.raises(CommandError, match="createsuperuser"):
        first_operator()
