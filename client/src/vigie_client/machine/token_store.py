"""Store the machine's token on disk, readable by its owner only."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import subprocess
from typing import Optional, Union

from vigie_client.disk.durable import remove_file, replace_file
from vigie_client.disk.locks import FileLock
from vigie_client.http.sessions import Credentials, CredentialSource
from vigie_client.machine.host import default_machine_id, default_state_dir, former_state_dir, shared_state_dir

STORE_FILE = "token.json"
OLDER_STORE_FILE = "agent.token"


class TokenStore(CredentialSource):
    """Keeps credentials in `directory`, which is created if needed. Methods raise OSError.

    The default directory is that of VIGIE_STATE_DIR, else the user's own, or the installers' if only that one has a
    token.
    """

    def __init__(self, directory: Optional[Union[str, os.PathLike[str]]] = None) -> None:
        chosen = os.environ.get("VIGIE_STATE_DIR") or _default_directory() if directory is None else directory
        self.directory = os.path.abspath(os.fspath(chosen))
        self.path = os.path.join(self.directory, STORE_FILE)

    def load(self) -> Optional[Credentials]:
        """Return the credentials, or None if they are missing or damaged."""
        try:
            stored = json.loads(_read_token(self.path))
            return Credentials(str(stored["machine_id"]), str(stored["api_token"]))
        except FileNotFoundError:
            return self._load_older()
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def _load_older(self) -> Optional[Credentials]:
        """Return the credentials of an earlier installer, which stored only the token and used the computer's name."""
        try:
            token = _read_token(os.path.join(self.directory, OLDER_STORE_FILE))
        except FileNotFoundError:
            return None
        return Credentials(os.environ.get("COMPUTERNAME") or default_machine_id(), token) if token else None

    def save(self, credentials: Credentials) -> None:
        """Replace the credentials atomically; at no time may another user read them.

        A store that was given to another account, such as the program's, keeps its owner.
        """
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        stored = {"machine_id": credentials.machine_id, "api_token": credentials.api_token}
        with FileLock(self.path + ".lock"):  # as `replace_file` requires, for a caller outside of `exclusive`
            replace_file(self.path, json.dumps(stored).encode(), protect=self._protect)
        remove_file(os.path.join(self.directory, OLDER_STORE_FILE))

    def _protect(self, path: str) -> None:
        restrict_to_owner(path)
        if os.name != "nt":
            with contextlib.suppress(FileNotFoundError, PermissionError):
                before = os.stat(self.path)
                os.chown(path, before.st_uid, before.st_gid)

    def clear(self) -> None:
        for name in (STORE_FILE, OLDER_STORE_FILE):
            remove_file(os.path.join(self.directory, name))

    def exclusive(self) -> FileLock:
        """Return a lock to hold around a call that saves credentials, so that programs do not overwrite them."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        return FileLock(os.path.join(self.directory, "agent.lock"))


def decode_token(raw: bytes) -> str:
    """Decode a token file: PowerShell's `>` writes UTF-16, and editors may add a byte order mark to UTF-8."""
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return raw.decode(encoding, "replace").strip()


def _read_token(path: str) -> str:
    with open(path, "rb") as file:
        return decode_token(file.read(65_536))


def _default_directory() -> str:
    own = default_state_dir()
    folders = filter(None, (own, shared_state_dir(), former_state_dir()))
    names = (STORE_FILE, OLDER_STORE_FILE)
    used = [folder for folder in folders if any(os.path.isfile(os.path.join(folder, name)) for name in names)]
    return used[0] if used else own


def restrict_to_owner(path: str) -> None:
    """Restrict `path` on Windows to the current user, SYSTEM and Administrators. Elsewhere its mode is 0600 already.

    Raises OSError on failure: better no token on disk than one that everybody can read.
    """
    if os.name != "nt":
        return
    system = os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32")
    user = _parse_sid(_run(os.path.join(system, "whoami.exe"), "/user", "/fo", "csv", "/nh"))
    grants = [f"*{sid}:F" for sid in (user, "S-1-5-18", "S-1-5-32-544")]
    _run(os.path.join(system, "icacls.exe"), path, "/inheritance:r", "/grant:r", *grants)


def _run(*command: str) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout
    except subprocess.SubprocessError:
        raise OSError(f"{os.path.basename(command[0])} failed: the file can't be protected") from None


def _parse_sid(listing: bytes) -> str:
    """Return the user's SID, which is ASCII. Names are translated and in the console's code page."""
    match = re.search(rb"S-1-[0-9-]+", listing)
    if match is None:
        raise OSError("whoami.exe named no user: the file can't be protected")
    return match.group().decode("ascii")
