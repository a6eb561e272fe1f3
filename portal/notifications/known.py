"""The channels there are: those of the database, and those that the environment makes.

These are Telegram where it names a bot and a chat, and the guardian's mail where it names who gets that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from portal.base import encryption
from portal.base.severity import Severity
from portal.models import NotificationChannel

Kind = NotificationChannel.Kind
BUILT_IN, GUARDIAN = "telegram", "guardian"
BUILT_IN_SETTINGS = "TELEGRAM_BOT_TOKEN, TELEGRAM_CHAT_ID"
GUARDIAN_SETTINGS = "GUARDIAN_RECIPIENTS, EMAIL_URL"
# Above every severity there is: such a channel gets what is addressed to it, and no alert.
ADDRESSED_ONLY = 0


@dataclass(frozen=True)
class Known:
    """A channel as messages and deliverers see it, wherever it is configured. `stored` is not for anyone's eyes.

    `settings` names what makes a channel that has no row.
    """

    key: str
    name: str
    kind: str
    recipients: tuple[str, ...]
    min_severity: int = Severity.INFO
    stored: str = field(default="", repr=False)
    settings: str = ""

    @property
    def is_built_in(self) -> bool:
        return bool(self.settings)

    @property
    def tells_of_alerts(self) -> bool:
        return self.min_severity != ADDRESSED_ONLY

    def tells_of(self, severity: int) -> bool:
        return severity <= self.min_severity

    def secret(self) -> str:
        """In the clear. Raises encryption.Unreadable."""
        if self.key == BUILT_IN:
            return str(settings.TELEGRAM_BOT_TOKEN)
        return encryption.decrypt(self.stored) if self.stored else ""

    def digest(self) -> str:
        """Of all that decides whether it works. Of a secret in the database, of its encrypted form."""
        secret = self.secret() if self.is_built_in else self.stored
        facts = [self.kind, *self.recipients, secret, *map(str, surroundings(self.kind))]
        return salted_hmac("vigie.channel", "\0".join(facts), algorithm="sha256").hexdigest()


def surroundings(kind: str) -> list[Any]:
    """What the environment adds to a channel of this kind."""
    if kind == Kind.TELEGRAM:
        return [settings.TELEGRAM_API_BASE]
    if kind == Kind.EMAIL:
        names = ("BACKEND", "HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL")
        return [settings.DEFAULT_FROM_EMAIL, *(getattr(settings, f"EMAIL_{name}") for name in names)]
    if not settings.PROBE_ALLOW_PRIVATE:
        return ["no private addresses"]
    return []


def built_in() -> Known | None:
    if not (settings.TELEGRAM_BOT_TOKEN and settings.TELEGRAM_CHAT_ID):
        return None
    return Known(BUILT_IN, "Telegram", Kind.TELEGRAM, (settings.TELEGRAM_CHAT_ID,), settings=BUILT_IN_SETTINGS)


def guardian() -> Known | None:
    """The mail of the guardian's reports."""
    recipients = tuple(dict.fromkeys(settings.GUARDIAN_RECIPIENTS))
    if not recipients:
        return None
    name = _("The guardian’s mail")
    return Known(GUARDIAN, name, Kind.EMAIL, recipients, ADDRESSED_ONLY, settings=GUARDIAN_SETTINGS)


def built_ins() -> list[Known]:
    return [channel for channel in (built_in(), guardian()) if channel is not None]


def as_known(row: NotificationChannel) -> Known:
    """Apprise's recipients are part of its secret URL, so such a channel has one, without a name."""
    recipients = ("",) if row.kind == Kind.APPRISE else tuple(dict.fromkeys(row.addresses.split()))
    return Known(row.key, row.name, row.kind, recipients, row.min_severity, row.secret)


def active_channels() -> Iterator[Known]:
    """With one query."""
    yield from built_ins()
    for row in NotificationChannel.objects.active().order_by("pk"):
        yield as_known(row)


def find(key: str) -> Known | None:
    """The active channel of this key."""
    return next((channel for channel in active_channels() if channel.key == key), None)
