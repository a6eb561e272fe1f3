"""The settings of single sign-on (OpenID Connect), checked when they are read."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from portal.base.env import Environment

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")


def provider_id(issuer: str) -> str:
    """Return the name under which accounts of this issuer are linked: those of another issuer are others."""
    return f"oidc-{hashlib.sha256(issuer.rstrip('/').encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class SingleSignOn:
    issuer: str
    client_id: str
    secret: str
    domains: list[str]
    role_claim: str

    def check(self) -> None:
        """Raise ImproperlyConfigured, with a sentence that names the setting."""
        required = {
            "OIDC_CLIENT_ID": self.client_id,
            "OIDC_CLIENT_SECRET": self.secret,
            "OIDC_ALLOWED_DOMAINS": ",".join(self.domains),
        }
        for name, value in required.items():
            if bool(value) != bool(self.issuer):
                text = f"OIDC_ISSUER needs {name} too." if self.issuer else f"{name} is set without OIDC_ISSUER."
                raise ImproperlyConfigured(text)
        address = urlsplit(self.issuer)
        is_safe = address.scheme == "https" or (address.scheme == "http" and address.hostname in LOCAL_HOSTS)
        if self.issuer and not (is_safe and address.hostname and not address.query and not address.fragment):
            raise ImproperlyConfigured("OIDC_ISSUER must be an address such as https://login.example.org/realms/main.")
        if not all(DOMAIN.fullmatch(domain) for domain in self.domains):
            raise ImproperlyConfigured("OIDC_ALLOWED_DOMAINS must be a list such as example.org,example.com.")
        if not self.role_claim:
            raise ImproperlyConfigured("OIDC_ROLE_CLAIM must name a claim, such as roles or realm_access.roles.")

    def providers(self) -> dict[str, Any]:
        """Return SOCIALACCOUNT_PROVIDERS, as django-allauth wants it."""
        if not self.issuer:
            return {}
        app = {
            "provider_id": provider_id(self.issuer),
            "name": "OpenID Connect",
            "client_id": self.client_id,
            "secret": self.secret,
            "settings": {"server_url": self.issuer.rstrip("/"), "oauth_pkce_enabled": True},
        }
        return {"openid_connect": {"APPS": [app]}}


def read_issuer(env: Environment) -> SingleSignOn:
    """Read the settings from the environment. Raises ImproperlyConfigured."""
    settings = SingleSignOn(
        issuer=env.text("OIDC_ISSUER"),
        client_id=env.text("OIDC_CLIENT_ID"),
        secret=env.text("OIDC_CLIENT_SECRET"),
        domains=[domain.lower() for domain in env.words("OIDC_ALLOWED_DOMAINS")],
        role_claim=env.text("OIDC_ROLE_CLAIM", "roles"),
    )
    settings.check()
    return settings
