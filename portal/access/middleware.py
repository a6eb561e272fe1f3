"""Middleware of access control: sessions kept alive and held to a due second factor, and answers kept nowhere."""

from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from portal.access.preferences import activate_preferences
from portal.access.signin.sessions import DUE, is_fresh, refresh_session
from portal.api.errors import is_api, problem_response
from portal.base.polling import is_poll
from portal.base.problems import Problem
from portal.base.words import set_readers_zone

# The same for everybody: no session is read for them.
PUBLIC = frozenset({"healthz", "readyz", "metrics", "feedback-page", "monitoring-badge", "error-codes", "client-file"})
# What whoever owes a second factor may open: all that sets one up, and the way out.
SET_UP = frozenset(
    {
        *("mfa_index", "mfa_activate_totp", "mfa_add_webauthn", "mfa_list_webauthn"),
        *("account_reauthenticate", "account_logout", "admin:logout", "set_language", "admin:jsi18n"),
    }
)


class NoStoreMiddleware(MiddlewareMixin):
    """Forbid browsers and proxies to store an answer whose view does not say otherwise: most hold personal data."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class SignedInMiddleware(MiddlewareMixin):
    """Keep sessions alive, apply preferences, and lead users whose second factor is overdue to its set-up."""

    def process_request(self, request: HttpRequest) -> None:
        """Forget the zone of the request that this thread answered before."""
        set_readers_zone("")

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        name = request.resolver_match.view_name if request.resolver_match else ""
        if name in PUBLIC or settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        if SESSION_KEY not in request.session:
            return None
        if not is_poll(request):  # an open page alone keeps nobody signed in
            refresh_stale_session(request)
        activate_preferences(request)
        if name in SET_UP or not is_overdue(request):
            return None
        if is_api(request):
            return problem_response(Problem("second_factor_required"), request)
        return redirect("mfa_index")


def refresh_stale_session(request: HttpRequest) -> None:
    """Refresh the session every few minutes, and before a second factor counts as overdue."""
    if (not is_fresh(request) or is_overdue(request)) and request.user.is_authenticated:
        refresh_session(request)


def is_overdue(request: HttpRequest) -> bool:
    """Return whether the user's week of grace is over."""
    due = request.session.get(DUE)
    return due is not None and due <= timezone.now().timestamp()
