"""Reports of imports and of dry runs: counts, and the first rows of each reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from portal.base.problems import FieldError

# Rows, ids and reasons that are listed one by one. Beyond, they are only counted.
MOST_ROWS, MOST_IDS, MOST_REASONS = 20, 1_000, 100
INDEX = re.compile(r"\[[0-9]+\]")
MORE_REASONS = "and further reasons"


@dataclass(frozen=True)
class Reason:
    """The reason why a row is skipped or cannot be read: a stable code and a text."""

    code: str
    text: str


BAD_TIME = Reason("bad_time", "a time isn’t one, or is before 2020 or in the future")
NO_TIME = Reason("no_time", "it has no time")


def describe_fields(errors: Iterable[FieldError]) -> str:
    """Return the fields that were refused and why, without the index in a list."""
    return ", ".join(dict.fromkeys(f"{INDEX.sub('', error.field)} {error.code}" for error in errors))


@dataclass
class NotedRows:
    """The rows of one reason: their number, and where the first of them are."""

    count: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, row: int) -> None:
        self.count += 1
        if len(self.rows) < MOST_ROWS:
            self.rows.append(row)


NotedReasons = dict[Reason, NotedRows]


def note_row(reasons: NotedReasons, row: int, reason: Reason) -> None:
    if reason not in reasons and len(reasons) >= MOST_REASONS:
        reason = Reason(reason.code, MORE_REASONS)
    reasons.setdefault(reason, NotedRows()).add(row)


@dataclass
class ImportReport:
    """The effect of importing one kind of data from one file.

    `skipped` are rows that stay out on purpose, `unreadable` those that could not be read, both by their
    reason. Rows are numbered by their line, or by their rowid in a table. `ids` are the machine ids that were changed.
    """

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    skipped: NotedReasons = field(default_factory=dict)
    unreadable: NotedReasons = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    changed_ids: int = 0
    remarks: list[str] = field(default_factory=list)

    def count(self, effect: str, rows: int = 1) -> None:
        """Count rows by their effect: `created`, `updated` or `unchanged`."""
        self.counts[effect] += rows

    def skip(self, row: int, reason: Reason) -> None:
        note_row(self.skipped, row, reason)

    def refuse(self, row: int, reason: Reason) -> None:
        note_row(self.unreadable, row, reason)

    def note_id(self, given: str, reduced: str) -> None:
        """Note a machine id that was changed."""
        if given == reduced or given in self.ids:
            return
        self.changed_ids += 1
        if len(self.ids) < MOST_IDS:
            self.ids[given] = reduced

    @property
    def written(self) -> int:
        return self.counts["created"] + self.counts["updated"]

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            **{effect: self.counts[effect] for effect in ("created", "updated", "unchanged")},
            "skipped": list_reasons(self.skipped),
            "unreadable": list_reasons(self.unreadable),
            "changed_ids": [{"from": given, "to": reduced} for given, reduced in self.ids.items()],
            "remarks": self.remarks,
        }


def list_reasons(reasons: NotedReasons) -> list[dict[str, Any]]:
    return [{**vars(reason), **vars(noted)} for reason, noted in reasons.items()]
