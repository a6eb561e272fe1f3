"""Known devices and addresses: where a user has signed in before. Others' guesses never lock these out."""

import secrets
from datetime import timedelta
from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in
from django.core import signing
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.deprecation import MiddlewareMixin

from portal import audit
from portal.models import AuditEvent

COOKIE, SALT = "vigie_device", "vigie.access.device"
COOKIE_AGE = timedelta(days=365)
MOST_USERS = 8  # of one browser
ADDRESS_KNOWN_FOR = timedelta(days=90)


def device_mark(user: AbstractBaseUser) -> str:
    """Return what the cookie holds of the user. Changing the password changes it."""
    return salted_hmac(SALT, f"{user.pk}:{user.password}", algorithm="sha256").hexdigest()[:32]


def read_cookie(request: HttpRequest) -> dict[str, Any]:
    """Return the browser's id, and the marks of the users who have signed in by it."""
    try:
        cookie = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=COOKIE_AGE)
    except signing.BadSignature:
        return {"id": secrets.token_urlsafe(12), "marks": {}}
    return dict(cookie)


def known_source(request: HttpRequest, user: AbstractBaseUser) -> str:
    """Return the known device or address that the request comes from, or "" for a stranger's."""
    cookie, mark = read_cookie(request), device_mark(user)
    if constant_time_compare(cookie["marks"].get(str(user.pk), ""), mark):
        return f"device:{cookie['id']}"
    address = request.META.get("REMOTE_ADDR", "")
    signed_in = AuditEvent.objects.filter(
        subject=audit.user_subject(user),
        action="user.logged_in",
        address=address,
        at__gt=timezone.now() - ADDRESS_KNOWN_FOR,
    )
    return f"address:{address}" if address and signed_in.exists() else ""


@receiver([user_logged_in, password_changed, password_set, password_reset])
def note_device(request: HttpRequest | None, user: AbstractBaseUser, **_: Any) -> None:
    if request is not None:
        request.device_of = user  # type: ignore[attr-defined]


class KnownDeviceMiddleware(MiddlewareMixin):
    """Gives a browser its cookie once a user has signed in or set a password by it."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        user = getattr(request, "device_of", None)
        if user is not None:
            cookie = read_cookie(request)
            others = [(pk, mark) for pk, mark in cookie["marks"].items() if pk != str(user.pk)]
            marks = dict([*others, (str(user.pk), device_mark(user))][-MOST_USERS:])
            value = signing.dumps(cookie | {"marks": marks}, salt=SALT)
            response.set_cookie(COOKIE, value, max_age=COOKIE_AGE, secure=settings.HTTPS, httponly=True, samesite="Lax")
        return response
