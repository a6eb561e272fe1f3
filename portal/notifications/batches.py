"""Combine waiting messages into batches: one each, unless they are stale or exceed the rate limit.

A pure function of the messages, the time and the number of batches that the recipient got recently.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.findings import Severity
from portal.models import OutboxMessage

State = OutboxMessage.State

STALE_AFTER = timedelta(minutes=2)
# Rate limit per recipient. The last batch is reserved for a digest of the rest.
MAX_BATCHES, RATE_PERIOD = 10, timedelta(minutes=1)
TITLES_IN_DIGEST = 10
MESSAGES_PATH = "/admin/portal/outboxmessage/"


@dataclass(frozen=True)
class MessageBatch:
    """Messages that are sent as one text and marked together."""

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


def plan_batches(waiting: Sequence[OutboxMessage], now: datetime, sent_recently: int) -> list[MessageBatch]:
    """Return the batches to send to one recipient now, oldest first; none once the rate limit is reached.

    `sent_recently` is the number of batches that the recipient got within RATE_PERIOD.
    """
    batches = [build_batch(group, now) for group in group_closed_problems(waiting, now)]
    room = max(0, MAX_BATCHES - sent_recently)
    if len(batches) <= room or not room or any(batch.html for batch in batches[room - 1 :]):
        # A digest cannot contain a message with HTML, which waits instead.
        return batches[:room]
    return [*batches[: room - 1], build_digest(batches[room - 1 :])]


# --- Stale messages --------------------------------------------------------------------------------------------------


def is_stale(message: OutboxMessage, now: datetime) -> bool:
    return now - message.created_at > STALE_AFTER


def group_closed_problems(waiting: Iterable[OutboxMessage], now: datetime) -> list[list[OutboxMessage]]:
    """Group the messages of each stale problem that has been closed since; other messages stay alone."""
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
    whole = [part for group in groups for part in split_open_problem(group)]
    return sorted(whole, key=lambda group: group[0].pk)


def split_open_problem(group: list[OutboxMessage]) -> Iterator[list[OutboxMessage]]:
    """Split the messages of a problem that is still open."""
    if group[-1].state == State.CLOSED:
        yield group
    else:
        yield from ([message] for message in group)


def build_batch(group: list[OutboxMessage], now: datetime) -> MessageBatch:
    if len(group) > 1:
        return summarize_closed_problem(group, now)
    message = group[0]
    text = message.text
    # HTML messages contain their times.
    if is_stale(message, now) and not message.html:
        late = _("Happened at %(when)s. This notification was delayed.")
        text = f"{late % {'when': format_local_time(message.created_at, now)}}\n\n{text}".strip()
    return MessageBatch((message,), message.state, message.title, text, message.path, message.html)


def summarize_closed_problem(group: list[OutboxMessage], now: datetime) -> MessageBatch:
    opened, closed = group[0], group[-1]
    title = _("%(title)s: opened %(opened)s, closed %(closed)s") % {
        "title": opened.title,
        "opened": format_local_time(opened.created_at, now, with_zone=False),
        "closed": format_local_time(closed.created_at, now),
    }
    notes = [message.title for message in group[1:-1] if message.title != opened.title]
    return MessageBatch(tuple(group), State.CLOSED, title, "\n".join(dict.fromkeys(notes)), closed.path or opened.path)


def format_local_time(at: datetime, now: datetime, *, with_zone: bool = True) -> str:
    """Format as `10:02 UTC` in the portal's time zone, with the date unless it is today."""
    local = timezone.localtime(at)
    is_today = local.date() == timezone.localtime(now).date()
    text = date_format(local, "H:i" if is_today else "Y-m-d H:i")
    return f"{text} {local.tzname()}" if with_zone else text


# --- Digests ----------------------------------------------------------------------------------------------------------


def build_digest(batches: Sequence[MessageBatch]) -> MessageBatch:
    """Summarize batches as one: the count of each severity and the most severe titles."""
    count = len(batches)
    title = ngettext("%(count)d more message: %(counts)s", "%(count)d more messages: %(counts)s", count)
    listed = sorted(batches, key=lambda batch: batch.severity)[:TITLES_IN_DIGEST]
    lines = [f"- {Severity(batch.severity).label}: {batch.title}" for batch in listed]
    if count > len(listed):
        lines.append(_("and %(count)d more") % {"count": count - len(listed)})
    messages = tuple(message for batch in batches for message in batch.messages)
    full_title = title % {"count": count, "counts": format_severity_counts(batches)}
    return MessageBatch(messages, State.NOTE, full_title, "\n".join(lines), MESSAGES_PATH)


def format_severity_counts(batches: Iterable[MessageBatch]) -> str:
    """Format as `2 critical, 5 warnings`."""
    counts = Counter(Severity(batch.severity) for batch in batches)
    forms = {
        Severity.CRITICAL: ngettext("%(count)d critical", "%(count)d critical", counts[Severity.CRITICAL]),
        Severity.WARNING: ngettext("%(count)d warning", "%(count)d warnings", counts[Severity.WARNING]),
        Severity.INFO: ngettext("%(count)d info", "%(count)d info", counts[Severity.INFO]),
    }
    return ", ".join(form % {"count": counts[severity]} for severity, form in forms.items() if counts[severity])
