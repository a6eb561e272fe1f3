"""A channel's recipients and secret, from its row or from settings of the environment.

A channel of the environment has a row too, which holds its key and name and none of the settings' values.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from portal import audit
from portal.base import encryption
from portal.base.findings import Severity
from portal.models import NotificationChannel
from portal.notifications.notices import in_portal_language

Kind = NotificationChannel.Kind
TELEGRAM, GUARDIAN = "telegram", "guardian"
# More severe than every notice: such a channel gets what is addressed to it, and no alerts.
ADDRESSED_ONLY = 0


@dataclass(frozen=True)
class EnvironmentChannel:
    """A channel that settings define. It has a row while `recipients` returns any; `settings` are their names."""

    key: str
    kind: str
    name: Any
    description: Any
    settings: str
    recipients: Callable[[], Iterable[str]]
    secret: Callable[[], str] = lambda: ""
    min_severity: int = Severity.INFO

    def build_row(self) -> NotificationChannel | None:
        """Return a new row without saving it, or None if the settings define no such channel."""
        if not self.recipients():
            return None
        fields = {"kind": self.kind, "min_severity": self.min_severity}
        return NotificationChannel(environment_key=self.key, name=str(self.name), **fields)


def telegram_chats() -> list[str]:
    chat, token = settings.TELEGRAM_CHAT_ID, settings.TELEGRAM_BOT_TOKEN
    return [chat] if chat and token else []


ENVIRONMENT_CHANNELS = {
    TELEGRAM: EnvironmentChannel(
        TELEGRAM,
        Kind.TELEGRAM,
        _("Telegram"),
        _("Configured by TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID; receives all notifications."),
        "TELEGRAM_BOT_TOKEN, TELEGRAM_CHAT_ID",
        recipients=telegram_chats,
        secret=lambda: str(settings.TELEGRAM_BOT_TOKEN),
    ),
    GUARDIAN: EnvironmentChannel(
        GUARDIAN,
        Kind.EMAIL,
        _("Usage digest by mail"),
        _("Configured by GUARDIAN_RECIPIENTS; receives the usage digest and nothing else."),
        "GUARDIAN_RECIPIENTS, EMAIL_URL",
        recipients=lambda: settings.GUARDIAN_RECIPIENTS,
        min_severity=ADDRESSED_ONLY,
    ),
}


# --- Rows of channels of the environment -----------------------------------------------------------------------------


def synchronise_environment_channels() -> None:
    """Add a row for each channel that the environment defines, and delete the rows of those it no longer defines.

    States and messages of a deleted row stay: they go on when its settings are back.
    """
    with in_portal_language():
        defined = {key: row for key, channel in ENVIRONMENT_CHANNELS.items() if (row := channel.build_row())}
        stored = {row.environment_key: row for row in NotificationChannel.objects.managed()}
        for key in stored.keys() - defined.keys():
            stored[key].delete()
            record_change("deleted", stored[key])
        for key in defined.keys() - stored.keys():
            row = defined[key]
            fields = {"kind": row.kind, "min_severity": row.min_severity, "name": unused_name(row.name)}
            # Another node may have added it meanwhile.
            added, is_new = NotificationChannel.objects.get_or_create(environment_key=key, defaults=fields)
            if is_new:
                record_change("added", added)


def unused_name(name: str) -> str:
    """Return the name, numbered if another channel has it: names are unique, and operators choose theirs."""
    candidates = (name if number == 1 else f"{name} {number}" for number in count(1))
    return next(free for free in candidates if not NotificationChannel.objects.filter(name=free).exists())


def record_change(what: str, channel: NotificationChannel) -> None:
    after = {"name": channel.name}
    audit.record_event(f"channel.{what}", f"channel:{channel.environment_key}", actor="system", after=after)


# --- Configuration of any channel ------------------------------------------------------------------------------------


def recipients_of(channel: NotificationChannel) -> tuple[str, ...]:
    """Return each recipient once. Apprise's are part of its secret URL, so such a channel has one without a name."""
    if channel.environment_key:
        return tuple(dict.fromkeys(ENVIRONMENT_CHANNELS[channel.environment_key].recipients()))
    return ("",) if channel.kind == Kind.APPRISE else tuple(dict.fromkeys(channel.addresses.split()))


def secret_of(channel: NotificationChannel) -> str:
    """Return the secret in the clear. Raises encryption.Unreadable."""
    if channel.environment_key:
        return ENVIRONMENT_CHANNELS[channel.environment_key].secret()
    return encryption.decrypt(channel.secret) if channel.secret else ""


def digest_of(channel: NotificationChannel) -> str:
    """Return an HMAC of everything that decides whether the channel works; it contains a row's secret as encrypted."""
    secret = secret_of(channel) if channel.environment_key else channel.secret
    facts = [channel.kind, *recipients_of(channel), secret, *map(str, settings_of(channel.kind))]
    return salted_hmac("vigie.channel", "\0".join(facts), algorithm="sha256").hexdigest()


def settings_of(kind: str) -> list[Any]:
    """Return the values of the settings that all channels of the kind depend on."""
    if kind == Kind.TELEGRAM:
        return [settings.TELEGRAM_API_BASE]
    if kind == Kind.EMAIL:
        names = ("BACKEND", "HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL")
        return [settings.DEFAULT_FROM_EMAIL, *(getattr(settings, f"EMAIL_{name}") for name in names)]
    if not settings.PROBE_ALLOW_PRIVATE:
        return ["no private addresses"]
    return []


def active_channels() -> Iterator[NotificationChannel]:
    """Yield the channels in use, with one query. A row whose settings this process lacks is left out."""
    for channel in NotificationChannel.objects.active().order_by("pk"):
        if not channel.environment_key or recipients_of(channel):
            yield channel


def has_alert_channel() -> bool:
    """Return whether anyone gets alerts: some channels get only messages that are addressed to them."""
    return any(recipients_of(channel) and channel.min_severity != ADDRESSED_ONLY for channel in active_channels())


def find_channel(key: str) -> NotificationChannel | None:
    """Return the channel with this key if it is in use."""
    return next((channel for channel in active_channels() if channel.key == key), None)
