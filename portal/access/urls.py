"""Routes of signing in and of a user's own account: those of allauth that are needed, and no others."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account import views as account
from allauth.account.adapter import get_adapter
from allauth.core.exceptions import ReauthenticationRequired
from allauth.mfa.base import views as mfa
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView

from portal.access.accounts.accepting import AcceptInvitationView
from portal.access.accounts.pages import (
    DownloadCodesView,
    EndSessionsView,
    GenerateCodesView,
    SecurityView,
    ShowCodesView,
)
from portal.access.sso import oidc

account_page = RedirectView.as_view(pattern_name="mfa_index")
View = Callable[..., HttpResponseBase]
# A form view of Django takes a PUT as a POST.
FORM = {"http_method_names": ["get", "head", "post"]}


def require_reauthentication(view: View) -> View:
    """Lead whoever must confirm their identity to the page for it, and back to the page they wanted.

    allauth would keep a POST for later, with its cookies and passwords, in a session that anybody can begin.
    """

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except ReauthenticationRequired:
            methods = get_adapter(request).get_reauthentication_methods(request.user)
            if not methods:
                raise PermissionDenied from None
            return redirect_to_login(request.path, methods[0]["url"])

    return wrapped


def public_route(route: str, view: Any, name: str) -> URLPattern:
    """Return a route for everybody. Its answers are never stored: they say who is about to sign in."""
    answer: View = never_cache(view.view_class.as_view(**FORM | view.view_initkwargs))
    return path(route, answer, name=name)


def account_route(route: str, view: Any, name: str) -> URLPattern:
    """Return a route of a user's own account."""
    pattern = public_route(route, view, name)
    pattern.callback = login_required(require_reauthentication(pattern.callback))
    return pattern


urlpatterns = [
    public_route("login/", account.login, "account_login"),
    public_route("logout/", account.logout, "account_logout"),
    public_route("inactive/", account.account_inactive, "account_inactive"),
    account_route("reauthenticate/", account.reauthenticate, "account_reauthenticate"),
    account_route("password/change/", account.password_change, "account_change_password"),
    account_route("password/set/", account.password_set, "account_set_password"),
    public_route("password/reset/", account.password_reset, "account_reset_password"),
    public_route("password/reset/done/", account.password_reset_done, "account_reset_password_done"),
    public_route(
        "password/reset/key/done/", account.password_reset_from_key_done, "account_reset_password_from_key_done"
    ),
    public_route("password/reset/<uidb36>/<key>/", account.password_reset_from_key, "account_reset_password_from_key"),
    public_route("invitation/<token>/", AcceptInvitationView.as_view(), "account_invitation"),
    public_route("oidc/login/", oidc.LoginView.as_view(), "oidc_login"),
    public_route("oidc/login/callback/", oidc.CallbackView.as_view(), "oidc_callback"),
    account_route("2fa/", SecurityView.as_view(), "mfa_index"),
    public_route("2fa/authenticate/", mfa.authenticate, "mfa_authenticate"),
    account_route("2fa/reauthenticate/", mfa.reauthenticate, "mfa_reauthenticate"),
    account_route("2fa/totp/activate/", totp.activate_totp, "mfa_activate_totp"),
    account_route("2fa/totp/deactivate/", totp.deactivate_totp, "mfa_deactivate_totp"),
    account_route("2fa/recovery-codes/", ShowCodesView.as_view(), "mfa_view_recovery_codes"),
    account_route("2fa/recovery-codes/generate/", GenerateCodesView.as_view(), "mfa_generate_recovery_codes"),
    account_route("2fa/recovery-codes/download/", DownloadCodesView.as_view(), "mfa_download_recovery_codes"),
    account_route("2fa/webauthn/", account_page, "mfa_list_webauthn"),
    account_route("2fa/webauthn/add/", webauthn.add_webauthn, "mfa_add_webauthn"),
    public_route("2fa/webauthn/login/", webauthn.login_webauthn, "mfa_login_webauthn"),
    account_route("2fa/webauthn/reauthenticate/", webauthn.reauthenticate_webauthn, "mfa_reauthenticate_webauthn"),
    account_route("2fa/webauthn/keys/<int:pk>/edit/", webauthn.edit_webauthn, "mfa_edit_webauthn"),
    account_route("2fa/webauthn/keys/<int:pk>/remove/", webauthn.remove_webauthn, "mfa_remove_webauthn"),
    account_route("sessions/end/", EndSessionsView.as_view(http_method_names=["post"]), "account_end_sessions"),
]
