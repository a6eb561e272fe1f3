"""API tokens: `vigie_<kind>_<key>_<secret>_<crc>`, all base62.

The key (12 characters) is public and found in one query; the secret (43 characters, 256 bits) is kept only as an
HMAC-SHA256 under a versioned pepper; the CRC32 of all before it (6 characters) refuses a mistyped token unasked.
A slow password hash would add nothing: nobody guesses 256 bits.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

from django.conf import settings
from vigie_client import contract

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_LENGTH, SECRET_LENGTH, CRC_LENGTH = 12, 43, 6
KINDS = ("enroll", "agent", "client", "staff")

SHAPE = re.compile(
    rf"vigie_({'|'.join(KINDS)})_([0-9A-Za-z]{{{KEY_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})_([0-9A-Za-z]{{{CRC_LENGTH}}})"
)
# Anything that begins like a token, whole or cut short: for redaction. The public key stays, to tell which one it was.
TOKEN_IN_TEXT = re.compile(contract.TOKEN)


@dataclass(frozen=True)
class PlainToken:
    """A token as its bearer holds it. Its secret shows in no repr."""

    kind: str
    key: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        body = f"vigie_{self.kind}_{self.key}_{self.secret}"
        return f"{body}_{token_checksum(body)}"

    def digest(self, version: int) -> str:
        """HMAC-SHA256 of the secret, in hex, under the pepper of that version.

        A version whose pepper is gone gives a digest that equals no stored one, in the same time.
        """
        pepper = settings.TOKEN_PEPPERS.get(version) or secrets.token_bytes(32)
        return hmac.new(pepper, self.secret.encode(), hashlib.sha256).hexdigest()


def token_checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CRC_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def mint_token(kind: str) -> PlainToken:
    return PlainToken(kind, random_text(KEY_LENGTH), random_text(SECRET_LENGTH))


def parse_token(text: str) -> PlainToken | None:
    """The token that stands in the text, or None where shape or checksum are wrong."""
    match = SHAPE.fullmatch(text)
    if match is None:
        return None
    kind, key, secret, crc = match.groups()
    token = PlainToken(kind, key, secret)
    return token if hmac.compare_digest(str(token)[-CRC_LENGTH:], crc) else None
