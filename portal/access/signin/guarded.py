"""allauth's forms in which something can be guessed at, or mail be caused: each attempt is counted first."""

from typing import Any

from allauth.account import forms as account
from allauth.core import context
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as mfa
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms as webauthn
from allauth.socialaccount.models import SocialAccount
from cryptography.exceptions import InvalidSignature
from django import forms
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from portal.access.accounts import mail
from portal.access.backends import find_user
from portal.access.signin import second_factor
from portal.access.signin.guessing import Kind, count_attempt
from portal.access.tasks import request_reset_mails


class SignInForm(account.LoginForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"] = forms.CharField(
            label=_("Username or e-mail address"),
            max_length=254,
            widget=forms.TextInput(attrs={"autocomplete": "username"}),
        )
        self.order_fields(["login", "password"])


class ChangePasswordForm(account.ChangePasswordForm):  # type: ignore[misc]
    def clean_oldpassword(self) -> str:
        attempt = count_attempt(context.request, Kind.SIGN_IN, self.user)
        password: str = super().clean_oldpassword()
        attempt.succeeded()
        return password


class SetPasswordForm(account.SetPasswordForm):  # type: ignore[misc]
    """Set a first password. Users of single sign-on may not: someone who leaves the provider must lose access."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if SocialAccount.objects.filter(user=self.user).exists():
            raise PermissionDenied


class ResetPasswordForm(account.ResetPasswordForm):  # type: ignore[misc]
    email = forms.EmailField(label=_("E-mail address"), max_length=254)

    def clean_email(self) -> str:
        """Count the request, whether or not there is such a user, and look nothing up that the answer could tell."""
        email: str = self.cleaned_data["email"]
        if mail.can_send():
            count_attempt(context.request, Kind.RESET, find_user(email), email)
        return email

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        email: str = self.cleaned_data["email"]
        if mail.can_send():
            request_reset_mails(email, get_language() or "en")
        return email


class CountedCode:
    """A code of an app, or a recovery code."""

    user: AbstractBaseUser
    authenticator: Authenticator

    def clean_code(self) -> str:
        attempt = count_attempt(context.request, Kind.CODE, self.user)
        code: str = super().clean_code()  # type: ignore[misc]
        if self.authenticator.type == Authenticator.Type.TOTP and not second_factor.accept_once(
            self.authenticator, code
        ):
            self._emit_authentication_failed(self.authenticator)  # type: ignore[attr-defined]
            raise get_adapter().validation_error("incorrect_code")
        attempt.succeeded()
        return code


class AuthenticateForm(CountedCode, mfa.AuthenticateForm):  # type: ignore[misc]
    pass


class ReauthenticateForm(CountedCode, mfa.ReauthenticateForm):  # type: ignore[misc]
    pass


LONGEST_CREDENTIAL, LONGEST_KEY_NAME = 20_000, 100
# What libraries raise about an answer that no authenticator has made.
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, InvalidSignature)


class CredentialField(forms.JSONField):
    """The answer of a passkey."""

    widget = forms.HiddenInput

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > LONGEST_CREDENTIAL:
            raise forms.ValidationError(self.error_messages["invalid"])
        try:
            return super().to_python(value)
        except RecursionError:
            raise forms.ValidationError(self.error_messages["invalid"]) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        """An answer is never shown again: it works once."""
        return initial


class CountedKey(forms.Form):
    """A passkey. Before sign-in it names its own user, so that only the address is counted."""

    credential = CredentialField()
    user: AbstractBaseUser | None

    def clean_credential(self) -> Any:
        attempt = count_attempt(context.request, Kind.CODE, self.user)
        try:
            credential = super().clean_credential()  # type: ignore[misc]
        except MALFORMED:
            raise get_adapter().validation_error("incorrect_code") from None
        attempt.succeeded()
        return credential


class AuthenticateWebAuthnForm(CountedKey, webauthn.AuthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class ReauthenticateWebAuthnForm(CountedKey, webauthn.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class LoginWebAuthnForm(CountedKey, webauthn.LoginWebAuthnForm):  # type: ignore[misc]
    pass


class AddWebAuthnForm(webauthn.AddWebAuthnForm):  # type: ignore[misc]
    name = forms.CharField(required=False, max_length=LONGEST_KEY_NAME)
    credential = CredentialField()
    passwordless = forms.BooleanField(required=False, initial=True)

    def clean(self) -> dict[str, Any]:
        try:
            cleaned: dict[str, Any] = super().clean()
        except MALFORMED:
            raise get_adapter().validation_error("incorrect_code") from None
        return cleaned


class EditWebAuthnForm(webauthn.EditWebAuthnForm):  # type: ignore[misc]
    name = forms.CharField(max_length=LONGEST_KEY_NAME)
