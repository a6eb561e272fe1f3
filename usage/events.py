"""What client applications tell of their users: sessions, uses of features, errors. Each is kept once.

As in `usage.report` a whitelist at every level and every value checked by hand: what was not asked for is dropped and
counted, and of an address only the route is kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from vigie_client import contract
from vigie_client.contract import MAX_EMAIL, MAX_EVENTS_IN_CALL, MAX_INTEGER, MAX_ROUTE, PARAMETER

from portal.access.browsers import reduced
from portal.api.errors import Problem, invalid
from portal.logs import KNOWN_METHODS
from portal.tokens import TOKEN_IN_TEXT
from usage.clocks import ClockNote, SenderClock
from usage.ingest import CONFLICT, DUPLICATE, RECORDED
from usage.models import FeatureUsage, UserError, UserSession
from usage.models.activity import Activity
from usage.report import Reader

LONGEST_SESSION = timedelta(seconds=MAX_INTEGER)
EMAIL, ERROR_NAME, FILE_NAME, ROUTE = map(
    re.compile, (contract.EMAIL, contract.ERROR_NAME, contract.FILE_NAME, contract.ROUTE)
)
ROUTE_PARAMETER, FILLED_IN, FILLED_IN_PATH = map(
    re.compile, (contract.ROUTE_PARAMETER, contract.FILLED_IN, contract.FILLED_IN_PATH)
)
LONG_WORD, PLAIN_WORD = re.compile(contract.LONG_WORD), re.compile(contract.PLAIN_WORD)
INVALID = "invalid"


def without_values(route: str) -> str:
    """The route with `{id}` in place of what was filled in."""
    parts = route.split("/")
    return "/".join(PARAMETER if is_filled_in(part, in_path=len(parts) > 1) else part for part in parts)


def is_filled_in(part: str, *, in_path: bool) -> bool:
    rest = ROUTE_PARAMETER.sub("{}", part)
    odd = not all(map(PLAIN_WORD.fullmatch, LONG_WORD.findall(rest)))
    return bool(odd or FILLED_IN.search(rest) or (in_path and FILLED_IN_PATH.search(rest)))


class EventReader(Reader):
    """Reads what events have beside what runs have. `clock` is the sender's, for all events of one call."""

    def __init__(self, clock: SenderClock | None = None) -> None:
        super().__init__()
        self.clock = clock or SenderClock(timezone.now())

    def email(self, source: Mapping[str, Any]) -> str:
        """In lower case. Never a name with a colon: those are of machines and applications."""
        value = source.get("user_email")
        text = value.lower() if isinstance(value, str) and len(value) <= MAX_EMAIL else ""
        if len(text) > MAX_EMAIL or not EMAIL.fullmatch(text) or TOKEN_IN_TEXT.search(text):
            self.refuse("user_email", "not_an_email", "An e-mail address is expected.")
            return ""
        return text

    def feature(self, source: Mapping[str, Any]) -> str:
        name = self.identifier(source, "feature_name", required=True)
        if FILE_NAME.search(name):
            self.refuse("feature_name", "a_file_name", "The name of a feature is expected, and no file's.")
        return name

    def error_name(self, source: Mapping[str, Any]) -> str:
        name = self.identifier(source, "error_type", required=True)
        if name and (not ERROR_NAME.fullmatch(name) or FILE_NAME.search(name)):
            self.refuse("error_type", "not_a_class", "The name of a class or a code is expected.")
        return name

    def timestamp(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an event that happened once; one whose time is dropped counts when it was received."""
        at, note = self.clock.time_of(self.moment(source, "timestamp", required=True))
        return {"timestamp": at or self.clock.received_at, "clock": note}

    def session(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """The start, end and duration of a session. The duration is the stated one, which no skew changes.

        Where start and end contradict each other, the clock was set in between: the session ends as it starts.
        """
        started, ended = self.moment(source, "session_start", required=True), self.moment(source, "session_end")
        start, end = self.clock.time_of(started), self.clock.time_of(ended)
        begun = start.at or end.at or self.clock.received_at
        fields = {"session_start": begun, "session_end": None, "duration_seconds": None, "clock": start.note}
        if started is None or ended is None:
            return fields
        length = ended - started
        if start.note != end.note or not timedelta(0) <= length <= LONGEST_SESSION:
            return fields | {"session_end": begun, "clock": ClockNote.DROPPED}
        over, seconds = end.at or self.clock.received_at, int(length.total_seconds())
        return fields | {"session_start": over - length, "session_end": over, "duration_seconds": seconds}

    def route(self, source: Mapping[str, Any]) -> str:
        """Without query and fragment, and without the values of its parameters; nothing where it is too long."""
        value = source.get("endpoint")
        if value is None:
            return ""
        route = re.split(r"[?#]", value, maxsplit=1)[0] if isinstance(value, str) else None
        if route is not None and len(route) > MAX_ROUTE:
            return ""
        if route is None or not ROUTE.fullmatch(route) or TOKEN_IN_TEXT.search(route):
            self.refuse("endpoint", "not_a_route", "A route such as /api/documents/{id} is expected.")
            return ""
        reduced_route = without_values(route)
        return reduced_route if len(reduced_route) <= MAX_ROUTE else ""

    def flag(self, source: Mapping[str, Any], name: str) -> bool:
        value = source.get(name)
        if not isinstance(value, bool):
            self.refuse(name, "not_a_boolean", "true or false is expected.")
        return value is True

    def browser(self, source: Mapping[str, Any]) -> str:
        value = source.get("user_agent")
        if value is None or isinstance(value, str):
            return reduced(value or "")
        self.refuse("user_agent", "not_a_text", "A text is expected.")
        return ""


def method(value: Any) -> str:
    if value is None:
        return ""
    known = value.upper() if isinstance(value, str) else ""
    return known if known in KNOWN_METHODS else "OTHER"


class Kind:
    """One of the call's lists: which keys its items have, how they are read and what makes two of them the same.

    Two items are the same where `compared` and the time `at` are. A time that a wrong clock sent isn't compared: it is
    corrected anew at each sending.
    """

    model: ClassVar[type[Activity]]
    keys: ClassVar[frozenset[str]]
    compared: ClassVar[tuple[str, ...]]
    at: ClassVar[str] = "timestamp"

    def fields(self, reader: EventReader, source: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the row; what is wrong the reader knows afterwards."""
        raise NotImplementedError

    def known(self, ids: Iterable[UUID]) -> QuerySet[Any]:
        return self.model.objects.filter(event_id__in=ids)

    def judge(self, kept: Any, told: Any) -> str:
        names = self.compared if kept.clock or told.clock else (*self.compared, self.at)
        same = all(getattr(kept, name) == getattr(told, name) for name in names)
        return DUPLICATE if same else CONFLICT

    def record(self, rows: Sequence[Any]) -> list[str]:
        """Writes those that are new, in one statement, and says of each, in order, what became of it."""
        firsts: dict[UUID, Any] = {}
        for row in rows:
            firsts.setdefault(row.event_id, row)
        # In one order whoever sends them: two calls with the same events would otherwise wait for each other.
        new = self.model.objects.insert_new(sorted(firsts.values(), key=lambda row: row.event_id))
        again = [row for row in rows if row.event_id not in new or row is not firsts[row.event_id]]
        kept = {row.event_id: row for row in self.known({row.event_id for row in again})} if again else {}
        # One whose row is gone by now, because its time was over, was known all the same.
        judged = {id(row): self.judge(kept.get(row.event_id, row), row) for row in again}
        self.amend({row.event_id: kept[row.event_id] for row in again if judged[id(row)] == RECORDED}.values())
        return [judged.get(id(row), RECORDED) for row in rows]

    def amend(self, rows: Collection[Any]) -> None:
        """Writes the known rows that `judge` found something new for."""


class Sessions(Kind):
    """A session may be told of twice: when it begins, and with its end."""

    model = UserSession
    keys = frozenset({"id", "user_email", "session_start", "session_end", "user_agent"})
    compared = ("user_email",)
    at = "session_start"

    def fields(self, reader: EventReader, source: Mapping[str, Any]) -> dict[str, Any]:
        return reader.session(source) | {"user_agent": reader.browser(source)}

    def known(self, ids: Iterable[UUID]) -> QuerySet[Any]:
        """Locked, in one order: of two that tell different ends one is the first."""
        return super().known(ids).select_for_update().order_by("event_id")

    def judge(self, kept: UserSession, told: UserSession) -> str:
        status = super().judge(kept, told)
        if status == CONFLICT or told.session_end in (None, kept.session_end):
            return status
        if kept.session_end is not None:
            return DUPLICATE if kept.clock or told.clock else CONFLICT
        kept.session_end = max(told.session_end, kept.session_start)
        kept.duration_seconds, kept.clock = told.duration_seconds, told.clock or kept.clock
        return RECORDED

    def amend(self, rows: Collection[Any]) -> None:
        if rows:
            self.model.objects.filter(session_end=None).bulk_update(rows, ["session_end", "duration_seconds", "clock"])


class Features(Kind):
    model = FeatureUsage
    keys = frozenset({"id", "user_email", "feature_name", "endpoint", "timestamp", "success", "duration_ms"})
    compared = ("user_email", "feature_name", "endpoint", "success", "duration_ms")

    def fields(self, reader: EventReader, source: Mapping[str, Any]) -> dict[str, Any]:
        return reader.timestamp(source) | {
            "feature_name": reader.feature(source),
            "endpoint": reader.route(source),
            "success": reader.flag(source, "success"),
            "duration_ms": reader.integer(source, "duration_ms"),
        }


class Errors(Kind):
    model = UserError
    keys = frozenset({"id", "user_email", "endpoint", "method", "error_type", "error_code", "timestamp"})
    compared = ("user_email", "endpoint", "method", "error_type", "error_code")

    def fields(self, reader: EventReader, source: Mapping[str, Any]) -> dict[str, Any]:
        return reader.timestamp(source) | {
            "endpoint": reader.route(source),
            "method": method(source.get("method")),
            "error_type": reader.error_name(source),
            "error_code": reader.integer(source, "error_code"),
        }


KINDS: dict[str, Kind] = {"sessions": Sessions(), "features": Features(), "errors": Errors()}


@dataclass(frozen=True)
class Told:
    """One item of a call: `id` as it was sent, or None where it is none; `row` is None where anything is wrong."""

    id: str | None
    row: Any


def read_events(body: Mapping[str, Any], source: str) -> tuple[dict[str, list[Told]], int]:
    """What was told, by list, and how many keys were dropped at all levels. Raises Problem for what is no such call."""
    lists = {name: list_of(body, name) for name in KINDS}
    if sum(map(len, lists.values())) > MAX_EVENTS_IN_CALL:
        raise invalid("body", "too_many", f"At most {MAX_EVENTS_IN_CALL} events are expected.")
    reader = EventReader(sender_clock(body))
    reader.dropped = len(body.keys() - KINDS.keys() - {"sent_at"})
    told = {name: [read_event(reader, KINDS[name], item, source) for item in items] for name, items in lists.items()}
    return told, reader.dropped


def sender_clock(body: Mapping[str, Any]) -> SenderClock:
    """The sender's clock, by the call's `sent_at`. Raises Problem where that is no time."""
    reader = Reader()
    sent_at = reader.moment(body, "sent_at")
    if reader.errors:
        raise Problem("validation_failed", errors=reader.errors)
    return SenderClock(timezone.now(), sent_at)


def list_of(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(name, "not_a_list", f"A list of {name} is expected.")
    return value


def read_event(reader: EventReader, kind: Kind, item: Any, source: str) -> Told:
    if not isinstance(item, dict):
        return Told(None, None)
    reader.errors = []
    reader.dropped += len(item.keys() - kind.keys)
    event_id = reader.uuid(item, "id")
    fields = {"user_email": reader.email(item)} | kind.fields(reader, item)
    row = None if reader.errors else kind.model(event_id=event_id, source=source, **fields)
    return Told(item["id"] if event_id else None, row)


def record(told: Mapping[str, Sequence[Told]]) -> dict[str, list[str]]:
    """Writes all that is new, or nothing; of each item, in order, its status."""
    with transaction.atomic():
        return {name: statuses(KINDS[name], items) for name, items in told.items()}


def statuses(kind: Kind, items: Sequence[Told]) -> list[str]:
    recorded = iter(kind.record([item.row for item in items if item.row is not None]))
    return [INVALID if item.row is None else next(recorded) for item in items]
