"""Rules of the portal that django-allauth asks for."""

from __future__ import annotations

from ipaddress import ip_address

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.http import HttpRequest

from portal import encryption

# A connection through a Unix socket has no address, and the column of a session's address takes no empty value.
NO_ADDRESS = "::"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Accounts are made by superusers and invitations only."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address that `ClientAddressMiddleware` trusts, without the zone of a link-local one."""
        try:
            return str(ip_address(request.META.get("REMOTE_ADDR", "").partition("%")[0]))
        except ValueError:
            return NO_ADDRESS


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def encrypt(self, text: str) -> str:
        return encryption.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Raise ValidationError if it cannot be read: no code is right then."""
        try:
            return encryption.decrypt(encrypted_text)
        except encryption.Unreadable:
            raise self.validation_error("incorrect_code") from None

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": "Vigie"}
