"""Settings from the environment: each value is checked when read, and a bad one is refused with a sentence naming it.

Every name may come from the file named by NAME_FILE instead, so that a secret needs to stand in no environment.
"""

import os
import re
import secrets
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email
from django.utils.functional import SimpleLazyObject

from portal.base.files import write_whole

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})
# A Telegram chat, or a topic of it.
CHAT = re.compile(r"(-?\d{1,20}|@[A-Za-z]\w{4,31})(/\d{1,10})?", re.ASCII)
# Passwords may hold characters that a URL would have to escape; several hosts are separated by commas.
SERVICE_URL = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<user>[^:/]*)(?::(?P<password>.*?))?@)?(?P<hosts>[^/@?#]*)(?:/(?P<path>[^?#]*))?(?:\?(?P<query>[^#]*))?(?:#.*)?"
)
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(\d{1,5}))?", re.ASCII)
SQLITE = "django.db.backends.sqlite3"
# The encryption of each scheme is the setting EMAIL_USE_... that it switches on: TLS is STARTTLS, for smtps too.
MAIL_SCHEMES = {
    "smtp": ("smtp", ""),
    "smtps": ("smtp", "TLS"),
    "smtp+tls": ("smtp", "TLS"),
    "smtp+ssl": ("smtp", "SSL"),
    "consolemail": ("console", ""),
    "filemail": ("filebased", ""),
    "memorymail": ("locmem", ""),
    "dummymail": ("dummy", ""),
}
DUMMY_EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"


class Environment:
    """Reads settings and remembers the name of each, so that a test can hold the documentation against them."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self.variables = os.environ if variables is None else variables
        self.names: set[str] = set()

    def raw(self, name: str) -> str | None:
        self.names.add(name)
        path = self.variables.get(f"{name}_FILE")
        if path is None:
            return self.variables.get(name)
        if name in self.variables:
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set; keep one of them.")
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {path}.") from error

    def text(self, name: str, default: str = "") -> str:
        value = self.raw(name)
        return default if value is None else value.strip()

    def require_together(self, *names: str) -> None:
        """Refuse some of these settings without the others."""
        missing = [name for name in names if not self.text(name)]
        if missing and len(missing) < len(names):
            given = ", ".join(name for name in names if name not in missing)
            raise ImproperlyConfigured(f"{', '.join(missing)} must be set too, since {given} is.")

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        word = value.strip().lower()
        if word not in TRUE | FALSE:
            raise ImproperlyConfigured(f"{name} must be one of 1, true, yes, on, 0, false, no, off.")
        return word in TRUE

    def integer(self, name: str, default: int, least: int = 0, most: int = 2**31 - 1) -> int:
        value = self.raw(name)
        if value is None:
            return default
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ImproperlyConfigured(f"{name} must be a whole number from {least} to {most}.")
        return number

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}.")
        return value

    def words(self, name: str, default: str = "") -> list[str]:
        """Read a comma-separated list."""
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

    def emails(self, name: str) -> list[str]:
        """Read a comma-separated list of e-mail addresses."""
        addresses = self.words(name)
        for word in addresses:
            try:
                validate_email(word)
            except ValidationError:
                raise ImproperlyConfigured(
                    f"{name} must be a list such as bob@example.org,alice@example.org."
                ) from None
        return addresses

    def chat(self, name: str) -> str:
        """Read a Telegram chat, or "" if there is none."""
        value = self.text(name)
        if value and not CHAT.fullmatch(value):
            raise ImproperlyConfigured(f"{name} must be a chat such as -1001234567890 or @channel, or CHAT/TOPIC.")
        return value

    def endpoints(self, name: str, default: str) -> list[tuple[str, int]]:
        """Read a comma-separated list of HOST:PORT."""
        endpoints = []
        for word in self.words(name, default):
            host, _, port = word.rpartition(":")
            if not host or not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535):
                raise ImproperlyConfigured(f"{name} must be a list such as 192.0.2.1:443,example.org:80.")
            endpoints.append((host.strip("[]"), int(port)))
        return endpoints

    def address(self, name: str, default: str) -> str:
        """Read `http://host[:port][/path]` without a slash at its end."""
        value = self.text(name, default).rstrip("/")
        if not re.fullmatch(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", value):
            raise ImproperlyConfigured(f"{name} must be an address such as https://vigie.example.org.")
        return value

    def url(self, name: str, scheme: str) -> str:
        """Read the URL of a database server, or "" if there is none."""
        value = self.text(name)
        found = SERVICE_URL.fullmatch(value)
        if value and (found is None or found["scheme"] != scheme):  # an error of the driver may show the password
            raise ImproperlyConfigured(f"{name} must be an address such as {scheme}://user:password@host/database.")
        return value

    def time_zone(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if value not in zoneinfo.available_timezones():
            raise ImproperlyConfigured(f"{name} must be a time zone such as Europe/Paris.")
        return value

    def path(self, name: str, default: Path) -> Path:
        value = self.text(name)
        return Path(value).expanduser().resolve() if value else default

    def secret(self, name: str, directory: Path, read: Callable[[str], Any] = str) -> Any:
        """Return the secret as `read` does. One that is not given is kept in a file, which is created on first use.

        An existing file is read at once, so that a bad one is refused at the start.
        """
        file = name.lower()
        if given := self.text(name):
            return read(given)
        if os.path.exists(directory / file):
            return read(read_or_create_secret(directory, file))
        return GeneratedSecret(lambda: read(read_or_create_secret(directory, file)))

    def database(self, name: str, default: Path) -> dict[str, Any]:
        """Return Django's description of a SQLite file or a PostgreSQL database."""
        is_given = self.raw(name) is not None
        url = split_service_url(self.text(name)) if is_given else {"scheme": "sqlite", "path": str(default)}
        database: dict[str, Any] = {"ENGINE": SQLITE, "NAME": url.get("path", "")}
        if url.get("scheme") in ("postgresql", "postgres"):
            if url["path"].startswith("/"):  # postgresql:////run/postgresql/name
                url["host"], _, database["NAME"] = url["path"].rpartition("/")
            database |= {"ENGINE": "django.db.backends.postgresql", "HOST": url["host"]}
            database |= {"PORT": url["port"], "USER": url["user"], "PASSWORD": url["password"]}
            database |= {"OPTIONS": url["options"]}
        elif url.get("scheme") != "sqlite":
            database["NAME"] = ""
        if database["NAME"] in ("", ":memory:"):  # every process would have a database of its own
            raise ImproperlyConfigured(f"{name} must be sqlite:////path/file or postgresql://user:password@host/name.")
        return database

    def email(self, name: str, default: str) -> dict[str, Any]:
        """Return Django's settings of a mail server, by their names."""
        url = split_service_url(self.text(name) or default)
        if url.get("scheme") not in MAIL_SCHEMES:
            raise ImproperlyConfigured(f"{name} must be a mail address such as smtp+tls://user:password@host:587.")
        backend, encryption = MAIL_SCHEMES[url["scheme"]]
        return {
            "EMAIL_BACKEND": f"django.core.mail.backends.{backend}.EmailBackend",
            "EMAIL_HOST": url["host"],
            "EMAIL_PORT": int(url["port"] or 0) or None,
            "EMAIL_HOST_USER": url["user"],
            "EMAIL_HOST_PASSWORD": url["password"],
            "EMAIL_FILE_PATH": url["path"],
            "EMAIL_USE_TLS": encryption == "TLS",
            "EMAIL_USE_SSL": encryption == "SSL",
        }


def split_service_url(value: str) -> dict[str, Any]:
    """Return scheme, user, password, host, port, path and options of a URL, or {} for a malformed one."""
    url = SERVICE_URL.fullmatch(value)
    hosts = [HOST.fullmatch(host) for host in url["hosts"].split(",")] if url else [None]
    if url is None or None in hosts:
        return {}
    options = {key: int(word) if word.isdecimal() else word for key, word in parse_qsl(url["query"] or "")}
    return {
        "scheme": url["scheme"],
        "user": unquote(url["user"] or ""),
        "password": unquote(url["password"] or ""),
        "host": ",".join(unquote(host[1]).strip("[]") for host in hosts if host),
        "port": ",".join(host[2] for host in hosts if host and host[2]),
        "path": unquote_plus(url["path"] or ""),
        "options": options,
    }


class GeneratedSecret(SimpleLazyObject):  # type: ignore[type-arg]  # not subscriptable when it runs
    """A secret that is generated when its value is first needed. Django asks at the start whether one is set."""

    def __bool__(self) -> bool:
        return True


def at_least(length: int, name: str) -> Callable[[str], str]:
    """Return a reader that refuses a text with fewer characters."""

    def read(text: str) -> str:
        if len(text) < length:
            raise ImproperlyConfigured(f"{name} must have at least {length} characters.")
        return text

    return read


def read_or_create_secret(directory: Path, name: str, size: int = 48) -> str:
    """Return the secret kept in a file that only its owner may read, generated from `size` bytes on first use.

    Several processes may start at once: the one whose link() succeeds decides, the others read what it wrote.
    """
    path = directory / name
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(path, secrets.token_urlsafe(size), replace=False)
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be read or written: {error.strerror}.") from error
    if not secret:
        raise ImproperlyConfigured(f"{path} is empty; remove it, and a new secret is made.")
    return secret


def host_of(address: str) -> str:
    """Return the host of an http address, as ALLOWED_HOSTS wants it."""
    host = urlsplit(address).hostname or ""
    return f"[{host}]" if ":" in host else host
