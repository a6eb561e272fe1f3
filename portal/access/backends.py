"""Passwords: one user is looked up, and one hash is computed, whatever is typed."""

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.auth.models import User
from django.http import HttpRequest

from portal.access.signin.guessing import Kind, count_attempt


def find_user(login: str) -> User | None:
    """Return the user of this name, else the only user with this e-mail address, in any case of letters."""
    by_name = User.objects.filter(username=login).first()
    if by_name is not None or "@" not in login:
        return by_name
    by_email = User.objects.filter(email__iexact=login)[:2]
    return by_email[0] if len(by_email) == 1 else None


class PasswordBackend(AuthenticationBackend):  # type: ignore[misc]
    def _authenticate(self, request: HttpRequest | None, **credentials: Any) -> User | None:
        """Count the attempt, then hash. Without a request nobody guesses: a command or a test checks a password."""
        login = credentials.get("username") or credentials.get("email") or ""
        user = find_user(login)
        attempt = count_attempt(request, Kind.SIGN_IN, user, login) if request else None
        authenticated: User | None = self._check_password(user, credentials["password"])
        if authenticated and attempt:
            attempt.succeeded()
        return authenticated
