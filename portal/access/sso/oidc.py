"""Single sign-on by OpenID Connect: the authorization code flow with PKCE, state and nonce.

allauth runs the flow. Here stands who is let in, which user that is, and which roles they get.
"""

import logging
import secrets
import threading
import time
from typing import Any

import jwt
from allauth.account.utils import get_next_redirect_url
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from allauth.utils import generate_unique_username
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.generic import View

from portal import audit
from portal.access import roles
from portal.access.accounts import mail
from portal.access.signin import trail
from portal.access.sso.issuer import provider_id
from portal.egress.call import AddressRefused
from portal.egress.session import GuardedSession

log = logging.getLogger("vigie.access.oidc")
# What comes of a provider that is away, of an answer in no expected form, and of two first sign-ins at once.
FAILURES = (OSError, AddressRefused, OAuth2Error, AttributeError, LookupError, TypeError, ValueError, IntegrityError)
DISCOVERY_KEPT_SECONDS = 600
RETRIED_AFTER_SECONDS = 10
CLOCK_SKEW = 60
SIGNATURES = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
NAME_CLAIMS = {"first_name": "given_name", "last_name": "family_name"}


class Refused(Exception):
    """Someone whom the provider vouches for may not enter. `text` tells them why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


def single_sign_on_url() -> str:
    """Return where single sign-on begins, or "" where it is not configured."""
    return reverse("oidc_login") if settings.OIDC_ISSUER else ""


# --- Who is let in ---------------------------------------------------------------------------------------------------


def claimed_roles(claims: dict[str, Any]) -> set[str]:
    """Return the roles in the claim OIDC_ROLE_CLAIM: a list or one name, at the top or at `a.b.c`."""
    value: Any = claims
    if settings.OIDC_ROLE_CLAIM in claims:
        value = claims[settings.OIDC_ROLE_CLAIM]
    else:
        for part in settings.OIDC_ROLE_CLAIM.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    names = value if isinstance(value, list) else [value]
    return {name for name in names if isinstance(name, str) and name in roles.PREFIXES}


def verified_email(claims: dict[str, Any]) -> str:
    """Return the e-mail address that the provider has verified. Raises Refused."""
    email = claims.get("email")
    if not isinstance(email, str) or claims.get("email_verified") not in (True, "true") or len(email) > 254:
        raise Refused("email_not_verified", _("Your identity provider has not verified your e-mail address."))
    if ascii_lower(email.rpartition("@")[2]) not in settings.OIDC_ALLOWED_DOMAINS:
        raise Refused("domain_not_allowed", _("Your e-mail domain is not allowed to sign in here."))
    return email


def ascii_lower(text: str) -> str:
    """Return the text with its ASCII letters in lower case. Others, such as the Kelvin sign, become none of them."""
    return text.encode().lower().decode()


def user_for(email: str, linked: User | None) -> User | None:
    """Return the user who is linked already, or the only one with this address; None for a new one. Raises Refused.

    Addresses are entered by superusers and invitations alone, so a verified one is proof. It never opens an account
    with all rights, nor one that was closed.
    """
    # A database may find more: PostgreSQL takes `ı` for `i`.
    users = [linked] if linked else User.objects.filter(email__iexact=email)
    matching = [user for user in users if linked or ascii_lower(user.email) == ascii_lower(email)]
    if len(matching) > 1:
        raise Refused("email_ambiguous", _("Several users have your e-mail address. Ask an administrator."))
    user = matching[0] if matching else None
    if user is not None and user.is_superuser:
        raise Refused("superuser", _("Superusers sign in with their password and second factor."))
    if user is not None and not user.is_active:
        raise Refused("inactive", _("This account is inactive. Ask an administrator."))
    return user


def give_roles(request: HttpRequest, user: User, names: set[str]) -> None:
    """Make the user's roles those of the claim. Groups that are no roles stay, and so does what is equal already."""
    had = set(user.groups.filter(name__in=roles.PREFIXES).values_list("name", flat=True))
    if had == names and user.is_staff == bool(names):
        return
    user.groups.remove(*Group.objects.filter(name__in=had - names))
    user.groups.add(*Group.objects.filter(name__in=names - had))
    user.is_staff = bool(names)
    user.save(update_fields=["is_staff"])
    before, after = {"roles": ", ".join(sorted(had))}, {"roles": ", ".join(sorted(names))}
    audit.record_event(
        "user.roles_claimed", audit.user_subject(user), request=request, actor="system", before=before, after=after
    )


def new_user(request: HttpRequest, email: str, claims: dict[str, Any]) -> User:
    names = {field: str(claims.get(claim) or "")[:150] for field, claim in NAME_CLAIMS.items()}
    user = User(username=generate_unique_username([email]), email=email, is_staff=True, **names)
    user.set_unusable_password()
    user.save()
    audit.record_event("user.created_by_single_sign_on", audit.user_subject(user), request=request, actor="system")
    return user


def admit_user(request: HttpRequest, login: SocialLogin) -> None:
    """Turn what the provider says into a user with roles, linked to the provider's account. Raises Refused."""
    claims: dict[str, Any] = login.claims
    if not login.state.get("nonce") or claims["id_token"].get("nonce") != login.state["nonce"]:
        raise Refused("nonce", _("Single sign-on failed. Try again."))
    linked = login.user if login.is_existing else None
    person = claims["person"]
    user, names = user_for(verified_email(person), linked), claimed_roles(person)
    if not names:
        if linked:
            with transaction.atomic():
                give_roles(request, linked, names)
        raise Refused("no_role", _("Your identity provider assigns you no role in Vigie. Ask an administrator."))
    with transaction.atomic():
        user = user or new_user(request, person["email"], person)
        if not linked:
            login.connect(request, user)
            trail.record_user_event("user.linked_to_single_sign_on", request, user)
        give_roles(request, user, names)
    login.user = user


# --- The flow --------------------------------------------------------------------------------------------------------


def refuse_sign_in(request: HttpRequest, code: str, text: str) -> ImmediateHttpResponse:
    audit.record_refusal(request, "single_sign_on", code)
    messages.error(request, text)
    return ImmediateHttpResponse(redirect("account_login"))


class SocialAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    def get_requests_session(self) -> GuardedSession:
        """The environment names the provider, which may well be in a private network."""
        return GuardedSession(allow_private=True)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        try:
            admit_user(request, sociallogin)
        except Refused as refused:
            raise refuse_sign_in(request, refused.code, refused.text) from None

    def on_authentication_error(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        log.warning("single sign-on failed: %r", kwargs.get("exception") or kwargs.get("error"))
        raise refuse_sign_in(request, "failed", _("Single sign-on failed. Try again, or sign in with your password."))


def is_issuer(config: dict[str, Any]) -> bool:
    """Compare without the slash at the end, which some providers count as part of their name."""
    return str(config.get("issuer", "")).rstrip("/") == settings.OIDC_ISSUER.rstrip("/")


def decode_id_token(id_token: str, keys: dict[str, Any], issuer: str, client_id: str) -> dict[str, Any]:
    """Return the claims of an ID token whose signature, issuer, audience and expiry are right. Raises PyJWTError."""
    kid = jwt.get_unverified_header(id_token).get("kid")
    candidates = [key for key in jwt.PyJWKSet.from_dict(keys).keys if kid is None or key.key_id == kid]
    if not candidates:
        raise jwt.InvalidTokenError("no key of the provider has signed it")
    options: Any = {"require": ["exp", "iat", "iss", "aud", "sub"]}
    return jwt.decode(
        id_token, candidates[0], SIGNATURES, options, issuer=issuer, audience=client_id, leeway=CLOCK_SKEW
    )


class OIDCAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """allauth's client, with what it leaves out: a kept discovery, the signature, and one subject in all answers."""

    kept: tuple[float, dict[str, Any]] = (0.0, {})
    asking = threading.Lock()

    @property
    def openid_config(self) -> dict[str, Any]:
        """Keep the provider's description, also that there is none: anonymous requests cause few to the provider.

        While one thread asks the others do not wait, so that a provider that hangs holds one thread.
        """
        until, config = OIDCAdapter.kept
        if time.monotonic() > until and self.asking.acquire(blocking=False):
            try:
                OIDCAdapter.kept = (time.monotonic() + RETRIED_AFTER_SECONDS, config)
                config = super().openid_config
                OIDCAdapter.kept = (time.monotonic() + DISCOVERY_KEPT_SECONDS, config)
            finally:
                self.asking.release()
        if not is_issuer(config):
            raise OAuth2Error("there is no description of the provider that OIDC_ISSUER names")
        return config

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return mail.absolute_url(reverse("oidc_callback"))

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> SocialLogin:
        with get_adapter().get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
        try:
            id_token = decode_id_token(
                kwargs["response"]["id_token"], answer.json(), self.openid_config["issuer"], app.client_id
            )
        except jwt.PyJWTError as error:
            raise OAuth2Error("the ID token is not valid") from error
        info = self._fetch_user_info(token.token)
        if info.get("sub") != id_token.get("sub"):
            raise OAuth2Error("the user info is about someone else")
        login = self.get_provider().sociallogin_from_response(request, {"userinfo": info})
        login.account.extra_data = {}
        # What is signed counts first: an address is verified where the provider says so.
        login.claims = {"id_token": id_token, "person": info | id_token}
        return login


def adapter_for(request: HttpRequest) -> OIDCAdapter:
    if not settings.OIDC_ISSUER:
        raise Http404
    return OIDCAdapter(request, provider_id(settings.OIDC_ISSUER))


class LoginView(View):
    """Send the browser to the provider. Nothing of the query but the page to come back to goes along."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        provider = adapter_for(request).get_provider()
        provider.oauth2_adapter_class = OIDCAdapter
        nonce = secrets.token_urlsafe(24)
        try:
            response: HttpResponseBase = provider.redirect(
                request, "login", get_next_redirect_url(request), auth_params={"nonce": nonce}, nonce=nonce
            )
        except FAILURES as error:
            response = render_authentication_error(request, provider, exception=error)
        return response


class CallbackView(View):
    """Take the browser back from the provider."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        adapter = adapter_for(request)
        try:
            response: HttpResponseBase = OAuth2CallbackView.adapter_view(adapter)(request)
        except FAILURES as error:
            response = render_authentication_error(request, adapter.get_provider(), exception=error)
        return response
