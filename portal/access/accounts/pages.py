"""The pages of a user's own sign-in: factors, recovery codes and sessions."""

from typing import Any

from allauth.mfa.base.views import IndexView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.generic import FormView, View

from portal.access.signin import second_factor, sessions, trail

ENCRYPTED = (Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES)


class SecurityView(IndexView):  # type: ignore[misc]
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        encrypted = [factor.instance for kind, factor in context["authenticators"].items() if kind in ENCRYPTED]
        unreadable = [factor.type for factor in encrypted if not second_factor.is_readable(factor)]
        return {**context, "unreadable": unreadable, "sessions": sessions.live_sessions(self.request.user)}


class ReadableCodes(View):
    """Lead to the page of factors, which says so, if the codes were encrypted under a key that is gone."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except ValidationError:
            return redirect("mfa_index")


class ShowCodesView(ReadableCodes, recovery_codes.ViewRecoveryCodesView):  # type: ignore[misc]
    pass


class DownloadCodesView(ReadableCodes, recovery_codes.DownloadRecoveryCodesView):  # type: ignore[misc]
    pass


class GenerateCodesView(recovery_codes.GenerateRecoveryCodesView):  # type: ignore[misc]
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Read no code, unlike allauth: new codes replace those that can no longer be read."""
        old = Authenticator.objects.filter(user=self.request.user, type=Authenticator.Type.RECOVERY_CODES)
        return {**FormView.get_context_data(self, **kwargs), "has_codes": old.exists()}


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
            trail.record_user_event("user.sessions_ended", request, request.user, sessions=ended)
        text = ngettext("%(count)s session ended.", "%(count)s sessions ended.", ended) % {"count": ended}
        messages.success(request, text if ended else _("No other session was open."))
        return redirect("mfa_index")
