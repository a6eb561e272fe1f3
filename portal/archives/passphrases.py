"""Passphrases of archives: a text, or the identity of an age key file (`age-keygen`)."""

from dataclasses import dataclass, field
from pathlib import Path

import pyrage

from portal.archives.errors import ArchiveError, WrongPassphrase

KEY_MARK = "AGE-SECRET-KEY-1"
# A key file with comments has three short lines.
MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Passphrase:
    """Encrypts and decrypts the key of an archive. With an `identity`, that does it instead of the text."""

    text: str
    identity: pyrage.x25519.Identity | None = None
    # Deriving a key from a passphrase takes seconds.
    decrypted: dict[bytes, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "Passphrase(…)"

    def encrypt(self, secret: bytes) -> bytes:
        if self.identity is not None:
            return bytes(pyrage.encrypt(secret, [self.identity.to_public()]))
        return bytes(pyrage.passphrase.encrypt(secret, self.text))

    def decrypt(self, encrypted: bytes) -> bytes:
        """Raises WrongPassphrase."""
        if encrypted not in self.decrypted:
            self.decrypted[encrypted] = self.decrypt_anew(encrypted)
        return self.decrypted[encrypted]

    def decrypt_anew(self, encrypted: bytes) -> bytes:
        try:
            if self.identity is not None:
                return bytes(pyrage.decrypt(encrypted, [self.identity]))
            return bytes(pyrage.passphrase.decrypt(encrypted, self.text))
        except pyrage.DecryptError:
            what = "key file" if self.identity is not None else "passphrase"
            raise WrongPassphrase(f"The {what} does not open the archive: it is not the right one.") from None


def parse_passphrase(text: str) -> Passphrase:
    """Read the content of a passphrase file or setting. Raises ArchiveError."""
    keys = [line.strip() for line in text.splitlines() if line.startswith(KEY_MARK)]
    if not text.strip():
        raise ArchiveError("The passphrase is empty.")
    if not keys:
        return Passphrase(text.strip())
    try:
        (key,) = keys
        return Passphrase("", pyrage.x25519.Identity.from_str(key))
    except (ValueError, pyrage.IdentityError):
        raise ArchiveError("The key file must hold exactly one valid AGE-SECRET-KEY-1….") from None


def read_passphrase(path: Path) -> Passphrase:
    """Raises ArchiveError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ArchiveError(f"The passphrase file is larger than {MOST_BYTES // 1024} KiB: {path}.")
        return parse_passphrase(content.decode())
    except OSError as error:
        raise ArchiveError(f"The passphrase file can't be read: {path} ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ArchiveError(f"The passphrase file is not text: {path}.") from None
