"""Secrets that must be read again, such as those of notification channels: encrypted in the database.

The key is not SECRET_KEY, so that ending all sessions loses no channel. Several keys, with commas: the first encrypts,
all decrypt.
"""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

MIN_KEY_LENGTH = 32


def parse_keys(text: str) -> list[str]:
    """The keys of ENCRYPTION_KEY. Raises ImproperlyConfigured."""
    keys = [key.strip() for key in text.split(",")]
    if any(len(key) < MIN_KEY_LENGTH for key in keys):
        raise ImproperlyConfigured(f"ENCRYPTION_KEY must have at least {MIN_KEY_LENGTH} characters.")
    return keys


class Unreadable(Exception):
    """The stored value was encrypted under a key that is no longer configured."""


def fernet() -> MultiFernet:
    digests = (hashlib.sha256(f"vigie.secrets.{key}".encode()).digest() for key in settings.ENCRYPTION_KEYS)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


def encrypt(secret: str) -> str:
    return fernet().encrypt(secret.encode()).decode()


def decrypt(stored: str) -> str:
    """Raises Unreadable."""
    try:
        return fernet().decrypt(stored.encode()).decode()
    except InvalidToken:
        raise Unreadable("the secret was encrypted under another ENCRYPTION_KEY") from None
