"""The page of a user's own sign-in: factors and sessions."""

from __future__ import annotations

from typing import Any

from allauth.mfa.base.views import IndexView
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.generic import View

from portal.access import sessions, trail


class SecurityView(IndexView):  # type: ignore[misc]
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "sessions": sessions.alive(self.request.user)}


class EndSessionsView(View):
    """End the user's session of the key `session`, or all but this one."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        own = UserSession.objects.filter(user=request.user)
        chosen = request.POST.get("session", "")
        if chosen:
            own = own.filter(pk=int(chosen) if chosen.isdecimal() else None)
        ended = sessions.end_sessions(own, keep=request.session.session_key)
        if ended:
            trail.record("user.sessions_ended", request, request.user, sessions=ended)
        text = ngettext("%(count)s session ended.", "%(count)s sessions ended.", ended) % {"count": ended}
        messages.success(request, text if ended else _("No other session was open."))
        return redirect("mfa_index")
