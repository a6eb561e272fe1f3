"""Passwords: one user is looked up, and one hash is computed, whatever is typed."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.auth.models import User
from django.http import HttpRequest


def find_user(login: str) -> User | None:
    """Return the user of this name, else the only user with this e-mail address, in any case of letters."""
    by_name = User.objects.filter(username=login).first()
    if by_name is not None or "@" not in login:
        return by_name
    by_email = User.objects.filter(email__iexact=login)[:2]
    return by_email[0] if len(by_email) == 1 else None


class PasswordBackend(AuthenticationBackend):  # type: ignore[misc]
    def _authenticate(self, request: HttpRequest | None, **credentials: Any) -> User | None:
        login = credentials.get("username") or credentials.get("email") or ""
        found: User | None = self._check_password(find_user(login), credentials["password"])
        return found
