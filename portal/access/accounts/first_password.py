"""The first operator's generated password: kept in a file until it is changed, and a finding until then."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import AbstractBaseUser, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from portal.base.env import read_or_create_secret
from portal.base.findings import Finding, Severity, admin_url, finding_sources

OPERATOR = "operator"
FILE_NAME, PASSWORD_BYTES = "operator_password", 18


def password_file() -> Path:
    return Path(settings.SECRETS_DIR) / FILE_NAME


def generate_first_password() -> str:
    """Return the password in the file, which is made where it is missing."""
    return read_or_create_secret(settings.SECRETS_DIR, FILE_NAME, PASSWORD_BYTES)


def read_first_password() -> str:
    try:
        return password_file().read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def delete_outdated_file() -> None:
    """Delete the file where its password opens no account any more, perhaps changed on another node."""
    password = read_first_password()
    if password and User.objects.filter(is_superuser=True).exists():
        operator = User.objects.filter(username=OPERATOR).first()
        if operator is None or not check_password(password, operator.password):
            password_file().unlink(missing_ok=True)


class FirstPasswordValidator:
    """A password validator: Django calls `password_changed` for each password that is saved, by whatever way."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        if password and password == read_first_password():
            raise ValidationError(_("Choose another password: this one was generated and written to a file."))

    def password_changed(self, password: str, user: AbstractBaseUser | None = None) -> None:
        if user is not None and user.get_username() == OPERATOR and password != read_first_password():
            transaction.on_commit(lambda: password_file().unlink(missing_ok=True))

    def get_help_text(self) -> str:
        return _("Choose a password that you use nowhere else.")


@finding_sources.register
def first_password_in_a_file(now: datetime) -> Iterator[Finding]:
    try:
        written_at = datetime.fromtimestamp(password_file().stat().st_mtime, UTC)
    except OSError:
        return
    operator: Any = User.objects.filter(username=OPERATOR).first()
    url = admin_url("auth_user_password_change", {}, operator.pk) if operator else ""
    text = _("The first password of %(user)s is in the file %(file)s. Change the password, and the file is deleted.")
    words = {"user": OPERATOR, "file": password_file()}
    yield Finding(Severity.WARNING, text % words, written_at, url, _("Change the password"))
