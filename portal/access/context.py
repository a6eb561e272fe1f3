"""Template variables about the signed-in user's account."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from portal.access.accounts.mail import can_send
from portal.access.signin.sessions import DUE
from portal.access.sso.oidc import single_sign_on_url

ACCOUNT_PAGES = "accounts/"


def account_pages(request: HttpRequest) -> dict[str, Any]:
    """Give the pages of signing in and of one's own account the frame of the admin: header, menu and sidebar."""
    match = request.resolver_match
    if not match or not match.route.startswith(ACCOUNT_PAGES):
        return {}
    ways = {"single_sign_on_url": single_sign_on_url(), "can_send_mail": can_send()}
    return admin.site.each_context(request) | ways


def second_factor(request: HttpRequest) -> dict[str, Any]:
    """Give every page the notice that a second factor is due, and until when.

    Templates call it where they show the notice: other pages, the public ones above all, never read the session.
    """

    def due() -> datetime | None:
        is_known = getattr(request, "user", None) is not None and request.user.is_authenticated
        at = request.session.get(DUE) if is_known else None
        return datetime.fromtimestamp(at, UTC) if at else None

    return {"second_factor_due": due}
