"""From messages that wait to texts that are sent: one each, unless they are stale or too many.

Pure: a function of the messages, the moment and how much the recipient was told lately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.severity import Severity
from portal.models import OutboxMessage

State = OutboxMessage.State

STALE = timedelta(minutes=2)
# Parcels per recipient and minute. The last one is kept for a digest of whatever else there is.
RATE, RATE_PERIOD = 10, timedelta(minutes=1)
TITLES_IN_DIGEST = 10
ALL_MESSAGES = "/admin/portal/outboxmessage/"


@dataclass(frozen=True)
class Parcel:
    """What is sent as one text, and marked as one."""

    messages: tuple[OutboxMessage, ...]
    state: str
    title: str
    text: str
    path: str
    html: str = ""

    @property
    def severity(self) -> int:
        return min(message.severity for message in self.messages)

    @property
    def first(self) -> OutboxMessage:
        return self.messages[0]


def plan(waiting: Sequence[OutboxMessage], now: datetime, sent_lately: int) -> list[Parcel]:
    """What to send now of a recipient's waiting messages, oldest first; nothing where the minute is full already.

    `sent_lately` is the number of parcels the recipient got within RATE_PERIOD.
    """
    parcels = [parcel_of(group, now) for group in grouped(waiting, now)]
    room = max(0, RATE - sent_lately)
    if len(parcels) <= room or not room or any(parcel.html for parcel in parcels[room - 1 :]):
        # What is laid out is no line of a digest: it waits for its minute.
        return parcels[:room]
    return [*parcels[: room - 1], digest(parcels[room - 1 :])]


# --- Stale messages --------------------------------------------------------------------------------------------------


def is_stale(message: OutboxMessage, now: datetime) -> bool:
    return now - message.created_at > STALE


def grouped(waiting: Iterable[OutboxMessage], now: datetime) -> list[list[OutboxMessage]]:
    """Together: what opened long ago and has closed since, with all that was said of it in between."""
    groups: list[list[OutboxMessage]] = []
    unclosed: dict[str, list[OutboxMessage]] = {}
    for message in waiting:
        group = unclosed.get(message.subject)
        if group is None:
            groups.append([message])
        else:
            group.append(message)
        if message.state == State.CLOSED:
            unclosed.pop(message.subject, None)
        elif message.state == State.OPENED and group is None and is_stale(message, now):
            unclosed[message.subject] = groups[-1]
    whole = [part for group in groups for part in parts(group)]
    return sorted(whole, key=lambda group: group[0].pk)


def parts(group: list[OutboxMessage]) -> Iterator[list[OutboxMessage]]:
    """What has not closed yet is told message by message."""
    if group[-1].state == State.CLOSED:
        yield group
    else:
        yield from ([message] for message in group)


def parcel_of(group: list[OutboxMessage], now: datetime) -> Parcel:
    if len(group) > 1:
        return told_as_over(group, now)
    message = group[0]
    text = message.text
    # What is laid out says its times itself.
    if is_stale(message, now) and not message.html:
        late = _("This happened at %(when)s; it could not be told before.")
        text = f"{late % {'when': moment(message.created_at, now)}}\n\n{text}".strip()
    return Parcel((message,), message.state, message.title, text, message.path, message.html)


def told_as_over(group: list[OutboxMessage], now: datetime) -> Parcel:
    opened, closed = group[0], group[-1]
    title = _("%(title)s: opened %(opened)s, closed %(closed)s") % {
        "title": opened.title,
        "opened": moment(opened.created_at, now, with_zone=False),
        "closed": moment(closed.created_at, now),
    }
    notes = [message.title for message in group[1:-1] if message.title != opened.title]
    return Parcel(tuple(group), State.CLOSED, title, "\n".join(dict.fromkeys(notes)), closed.path or opened.path)


def moment(at: datetime, now: datetime, *, with_zone: bool = True) -> str:
    """`10:02 UTC` in the portal's time zone, with the date where that is another day."""
    local = timezone.localtime(at)
    is_today = local.date() == timezone.localtime(now).date()
    text = date_format(local, "H:i" if is_today else "Y-m-d H:i")
    return f"{text} {local.tzname()}" if with_zone else text


# --- Too many messages -----------------------------------------------------------------------------------------------


def digest(parcels: Sequence[Parcel]) -> Parcel:
    """One text for all: how many of each severity, and the titles of the worst."""
    count = len(parcels)
    title = ngettext("%(count)d more message: %(counts)s", "%(count)d more messages: %(counts)s", count)
    shown = sorted(parcels, key=lambda parcel: parcel.severity)[:TITLES_IN_DIGEST]
    lines = [f"- {Severity(parcel.severity).label}: {parcel.title}" for parcel in shown]
    if count > len(shown):
        lines.append(_("and %(count)d more") % {"count": count - len(shown)})
    messages = tuple(message for parcel in parcels for message in parcel.messages)
    named = title % {"count": count, "counts": severities(parcels)}
    return Parcel(messages, State.NOTE, named, "\n".join(lines), ALL_MESSAGES)


def severities(parcels: Iterable[Parcel]) -> str:
    """`2 critical, 5 warnings`."""
    found = Counter(Severity(parcel.severity) for parcel in parcels)
    forms = {
        Severity.CRITICAL: ngettext("%(count)d critical", "%(count)d critical", found[Severity.CRITICAL]),
        Severity.WARNING: ngettext("%(count)d warning", "%(count)d warnings", found[Severity.WARNING]),
        Severity.INFO: ngettext("%(count)d for information", "%(count)d for information", found[Severity.INFO]),
    }
    return ", ".join(form % {"count": found[severity]} for severity, form in forms.items() if found[severity])
