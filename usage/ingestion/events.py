"""Ingest the events of client applications: sessions, uses of features and errors of their users, each kept once.

As for runs, a whitelist at every level: undocumented keys are dropped and counted. Of a URL only the route is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from vigie_client import contract
from vigie_client.contract import EVENT_KEYS, MAX_EVENTS_IN_CALL, MAX_INTEGER

from portal.access.signin.user_agents import summarize_user_agent
from portal.api.payloads import Payload, PayloadReader
from portal.base.logs import KNOWN_METHODS
from portal.base.problems import invalid_field
from usage.clocks import ClockNote, SenderClock
from usage.ingestion.runs import CONFLICT, DUPLICATE, RECORDED
from usage.models import FeatureUsage, UserError, UserSession
from usage.models.activity import Activity

LONGEST_SESSION = timedelta(seconds=MAX_INTEGER)
INVALID = "invalid"


def read_email(reader: PayloadReader, item: Payload) -> str:
    """Return the address in lower case. Names with a colon are refused: those are of machines and applications."""
    email = contract.normalize_email(item.get("user_email"))
    if not email:
        reader.refuse("user_email", "not_an_email", "An e-mail address is expected.")
    return email


def read_feature(reader: PayloadReader, item: Payload) -> str:
    name = reader.identifier(item, "feature_name", required=True)
    if contract.has_file_name(name):
        reader.refuse("feature_name", "a_file_name", "The name of a feature is expected, and no file's.")
    return name


def read_error_type(reader: PayloadReader, item: Payload) -> str:
    name = reader.identifier(item, "error_type", required=True)
    if name and not contract.is_error_name(name):
        reader.refuse("error_type", "not_a_class", "The name of a class or a code is expected.")
    return name


def read_method(item: Payload) -> str:
    """Return the HTTP method in capitals, or OTHER for an unknown one."""
    value = item.get("method")
    if value is None:
        return ""
    name = value.upper() if isinstance(value, str) else ""
    return name if name in KNOWN_METHODS else "OTHER"


def read_route(reader: PayloadReader, item: Payload) -> str:
    """Return the route without query, fragment and parameter values; empty if it is too long."""
    value = item.get("endpoint")
    if value is None:
        return ""
    route = contract.reduce_route(value) if isinstance(value, str) else None
    if route is None:
        reader.refuse("endpoint", "not_a_route", "A route such as /api/documents/{id} is expected.")
    return route or ""


def read_times(reader: PayloadReader, item: Payload, clock: SenderClock) -> dict[str, Any]:
    """Return the time columns of a feature or an error. An event without a plausible time counts when received."""
    at, note = clock.time_of(reader.timestamp(item, "timestamp", required=True))
    return {"timestamp": at or clock.received_at, "clock": note}


def read_session_times(reader: PayloadReader, item: Payload, clock: SenderClock) -> dict[str, Any]:
    """Return the time columns of a session. The duration is the stated one, which clock skew does not change.

    If start and end contradict each other, the clock was set in between, and the session ends when it starts.
    """
    started, ended = reader.timestamp(item, "session_start", required=True), reader.timestamp(item, "session_end")
    start, end = clock.time_of(started), clock.time_of(ended)
    begin = start.at or end.at or clock.received_at
    fields = {"session_start": begin, "session_end": None, "duration_seconds": None, "clock": start.note}
    if started is None or ended is None:
        return fields
    length = ended - started
    if start.note != end.note or not timedelta(0) <= length <= LONGEST_SESSION:
        return fields | {"session_end": begin, "clock": ClockNote.DROPPED}
    finish, seconds = end.at or clock.received_at, int(length.total_seconds())
    return fields | {"session_start": finish - length, "session_end": finish, "duration_seconds": seconds}


class EventKind:
    """Reads, stores and compares one kind of event in `POST usage/events`.

    Two items are the same if the `compared` columns and the time column agree. Times from a wrong clock are not
    compared: they are corrected anew each time they are sent.
    """

    model: ClassVar[type[Activity]]
    keys: ClassVar[frozenset[str]]
    compared: ClassVar[tuple[str, ...]]
    time_column: ClassVar[str] = "timestamp"

    def read_fields(self, reader: PayloadReader, item: Payload, clock: SenderClock) -> dict[str, Any]:
        """Return the columns of the row. `reader` collects the errors."""
        raise NotImplementedError

    def find_known(self, ids: Iterable[UUID]) -> QuerySet[Any]:
        return self.model.objects.filter(event_id__in=ids)

    def compare(self, known: Any, sent: Any) -> str:
        """Return DUPLICATE or CONFLICT. A subclass may also change `known` and return RECORDED to have it saved."""
        names = self.compared if known.clock or sent.clock else (*self.compared, self.time_column)
        is_same = all(getattr(known, name) == getattr(sent, name) for name in names)
        return DUPLICATE if is_same else CONFLICT

    def record(self, rows: Sequence[Any]) -> list[str]:
        """Insert the new rows in one statement. Return the status of each row, in order."""
        first_by_id: dict[UUID, Any] = {}
        for row in rows:
            first_by_id.setdefault(row.event_id, row)
        # Sorted, so that two calls with the same events cannot deadlock.
        new = self.model.objects.insert_new(sorted(first_by_id.values(), key=lambda row: row.event_id))
        again = [row for row in rows if row.event_id not in new or row is not first_by_id[row.event_id]]
        known = {row.event_id: row for row in self.find_known({row.event_id for row in again})} if again else {}
        # Events already deleted by retention still count as duplicates.
        statuses = {id(row): self.compare(known.get(row.event_id, row), row) for row in again}
        changed = {row.event_id for row in again if statuses[id(row)] == RECORDED}
        self.save_changes([known[event_id] for event_id in changed])
        return [statuses.get(id(row), RECORDED) for row in rows]

    def save_changes(self, rows: Sequence[Any]) -> None:
        """Update the known rows that `compare` has changed."""


class SessionEvents(EventKind):
    """A session may be sent twice: when it begins, and with its end."""

    model = UserSession
    keys = EVENT_KEYS["sessions"]
    compared = ("user_email",)
    time_column = "session_start"

    def read_fields(self, reader: PayloadReader, item: Payload, clock: SenderClock) -> dict[str, Any]:
        user_agent = summarize_user_agent(reader.text(item, "user_agent"))
        return read_session_times(reader, item, clock) | {"user_agent": user_agent}

    def find_known(self, ids: Iterable[UUID]) -> QuerySet[Any]:
        """Lock the rows, in one order: of two calls with different ends only the first may set one."""
        return super().find_known(ids).select_for_update().order_by("event_id")

    def compare(self, known: UserSession, sent: UserSession) -> str:
        status = super().compare(known, sent)
        if status == CONFLICT or sent.session_end in (None, known.session_end):
            return status
        if known.session_end is not None:
            return DUPLICATE if known.clock or sent.clock else CONFLICT
        known.session_end = max(sent.session_end, known.session_start)
        known.duration_seconds, known.clock = sent.duration_seconds, sent.clock or known.clock
        return RECORDED

    def save_changes(self, rows: Sequence[Any]) -> None:
        if rows:
            self.model.objects.filter(session_end=None).bulk_update(rows, ["session_end", "duration_seconds", "clock"])


class FeatureEvents(EventKind):
    model = FeatureUsage
    keys = EVENT_KEYS["features"]
    compared = ("user_email", "feature_name", "endpoint", "success", "duration_ms")

    def read_fields(self, reader: PayloadReader, item: Payload, clock: SenderClock) -> dict[str, Any]:
        return read_times(reader, item, clock) | {
            "feature_name": read_feature(reader, item),
            "endpoint": read_route(reader, item),
            "success": reader.boolean(item, "success"),
            "duration_ms": reader.integer(item, "duration_ms"),
        }


class ErrorEvents(EventKind):
    model = UserError
    keys = EVENT_KEYS["errors"]
    compared = ("user_email", "endpoint", "method", "error_type", "error_code")

    def read_fields(self, reader: PayloadReader, item: Payload, clock: SenderClock) -> dict[str, Any]:
        return read_times(reader, item, clock) | {
            "endpoint": read_route(reader, item),
            "method": read_method(item),
            "error_type": read_error_type(reader, item),
            "error_code": reader.integer(item, "error_code"),
        }


KINDS: dict[str, EventKind] = {"sessions": SessionEvents(), "features": FeatureEvents(), "errors": ErrorEvents()}


@dataclass(frozen=True)
class EventItem:
    """One item of a call. `id` is as sent, None if it is not a UUID; `row` is None if any field is invalid."""

    id: str | None
    row: Any


def read_events(body: Payload, source: str) -> tuple[dict[str, list[EventItem]], int]:
    """Return the items by list, and the number of dropped keys at all levels.

    Raises Problem if the body is not such a call; an invalid item does not raise.
    """
    lists = {name: read_list(body, name) for name in KINDS}
    if sum(map(len, lists.values())) > MAX_EVENTS_IN_CALL:
        raise invalid_field("body", "too_many", f"At most {MAX_EVENTS_IN_CALL} events are expected.")
    reader = PayloadReader()
    clock = SenderClock(timezone.now(), reader.timestamp(body, "sent_at"))
    reader.raise_errors()
    reader.drop_unknown(body, {"sent_at", *KINDS})
    items = {name: [read_event(reader, KINDS[name], item, clock, source) for item in lists[name]] for name in KINDS}
    return items, reader.dropped_keys


def read_list(body: Payload, name: str) -> list[Any]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_field(name, "not_a_list", f"A list of {name} is expected.")
    return value


def read_event(reader: PayloadReader, kind: EventKind, item: Any, clock: SenderClock, source: str) -> EventItem:
    if not isinstance(item, dict):
        return EventItem(None, None)
    reader.errors = []
    reader.drop_unknown(item, kind.keys)
    event_id = reader.uuid(item, "id")
    fields = {"user_email": read_email(reader, item)} | kind.read_fields(reader, item, clock)
    row = None if reader.errors else kind.model(event_id=event_id, source=source, **fields)
    return EventItem(item["id"] if event_id else None, row)


def record_events(items: Mapping[str, Sequence[EventItem]]) -> dict[str, list[str]]:
    """Record all new events in one transaction. Return the status of each item, in order, by list."""
    with transaction.atomic():
        return {name: record_list(KINDS[name], listed) for name, listed in items.items()}


def record_list(kind: EventKind, items: Sequence[EventItem]) -> list[str]:
    recorded = iter(kind.record([item.row for item in items if item.row is not None]))
    return [INVALID if item.row is None else next(recorded) for item in items]
