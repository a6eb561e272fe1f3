"""The registry of personal data: find a subject's rows in every table, export them, and put a pseudonym in its place.

An app's `privacy.py` registers each of its tables that may name someone. Tables from which a subject's names are known
come first and are erased last, so that an interrupted erasure finds them again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Cast

from portal.base.conventions import Collected
from portal.privacy.subjects import Subject
from portal.work.jobs import Lease
from portal.work.retention import BATCH

SAMPLE_PSEUDONYM = "erased-000000000000"
# A run may list 10,000 documents, which are megabytes.
ROWS_AT_A_TIME = 20
# Secrets, and what is derived from them.
NEVER_SHOWN = frozenset({"digest", "pepper_version", "password", "secret", "session_key", "session_data", "dedupe_key"})

Row = dict[str, Any]
Changes = Callable[[Any, Subject, str], Row]


class PersonalDataSource(Protocol):
    """Data of one table. `label` names the table in reports."""

    @property
    def label(self) -> str: ...

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        """Yield primary keys and rows, without secrets."""

    def count(self, subject: Subject) -> int:
        """Count the rows that an erasure would change."""

    def erase(self, subject: Subject, pseudonym: str, lease: Lease) -> int:
        """Erase, and return the number of rows changed. May be interrupted anywhere and repeated."""

    def remarks(self, subject: Subject) -> Iterable[str]:
        """Sentences for whoever erases, about what that does or leaves. Asked beforehand."""


personal_data: Collected[PersonalDataSource] = Collected("privacy")


@dataclass(frozen=True)
class PersonalDataTable:
    """A model whose columns may name a subject.

    Columns: `names` hold just a name, `machines` just a machine id; `texts` (JSON too) may hold a name anywhere;
    `written` are texts by people; `elsewhere` are changed only by `also`, if at all. `indexed` columns are looked up;
    the others are searched by reading the table, unless `searched` returns the columns to search.

    `owned` returns a condition for rows that refer to the subject, `also` further changes of a row, `shown` what an
    export shows instead of a column, so that it reveals nothing about others. `unread` columns are never loaded. The
    rows of a table that is not `is_shown` are only erased: no export and no overview reads them.
    """

    model: type[models.Model]
    names: Sequence[str] = ()
    machines: Sequence[str] = ()
    texts: Sequence[str] = ()
    written: Sequence[str] = ()
    elsewhere: Sequence[str] = ()
    indexed: Sequence[str] = ()
    also: Changes = lambda row, subject, pseudonym: {}
    owned: Callable[[Subject], Q | None] = lambda subject: None
    searched: Callable[[Subject], Sequence[str]] | None = None
    shown: Callable[[Any, Subject], Row] = lambda row, subject: {}
    remarks: Callable[[Subject], Iterable[str]] = lambda subject: ()
    unread: Sequence[str] = ()
    is_shown: bool = True

    @property
    def label(self) -> str:
        return self.model._meta.label

    @property
    def all_rows(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model._base_manager.all()
        return rows

    # --- Finding -----------------------------------------------------------------------------------------------------

    def found(self, subject: Subject) -> Iterator[tuple[QuerySet[Any], bool]]:
        """Rows to look at, and whether they are the subject's for certain. A row may come twice."""
        for column in self.indexed:
            for spelling in self.spellings(subject, column):
                yield self.all_rows.filter(**{column: spelling}), True
        owned = self.owned(subject)
        if owned is not None:
            yield self.all_rows.filter(owned), True
        columns = self.columns_to_search(subject)
        if columns:
            yield self.holding_any(subject.needles(), columns), False

    def spellings(self, subject: Subject, column: str) -> Sequence[str]:
        return subject.written_as(self.all_rows, column, is_machines=column in self.machines)

    def columns_to_search(self, subject: Subject) -> Sequence[str]:
        if self.searched is not None:
            return self.searched(subject)
        machines = self.machines if subject.is_machine else ()
        columns = (*self.names, *machines, *self.texts, *self.written, *self.elsewhere)
        return [column for column in columns if column not in self.indexed]

    def holding_any(self, needles: Iterable[str], columns: Sequence[str]) -> QuerySet[Any]:
        as_text = {f"{column}_as_text": Cast(column, models.TextField()) for column in columns}
        condition = Q()
        for needle in needles:
            for name in as_text:
                condition |= Q(**{f"{name}__icontains": needle})
        found: QuerySet[Any] = self.all_rows.alias(**as_text).filter(condition)
        return found

    def batches(self, rows: QuerySet[Any]) -> Iterator[list[Any]]:
        """Primary keys, newest first: read before each transaction, so that nobody waits while they are found."""
        last = None
        while True:
            left = rows if last is None else rows.filter(pk__lt=last)
            chosen = list(left.order_by("-pk").values_list("pk", flat=True)[:BATCH])
            if not chosen:
                return
            yield chosen
            last = chosen[-1]

    def looked_at(self, subject: Subject) -> Iterator[tuple[Any, bool]]:
        """Each row once, and whether it is the subject's for certain."""
        seen: set[Any] = set()
        for rows, is_certain in self.found(subject):
            for chosen in self.batches(rows):
                fresh = [pk for pk in chosen if pk not in seen]
                seen.update(fresh)
                for row in self.all_rows.filter(pk__in=fresh).order_by("-pk").iterator(chunk_size=ROWS_AT_A_TIME):
                    yield row, is_certain

    # --- Showing -----------------------------------------------------------------------------------------------------

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        for row, is_certain in self.looked_at(subject) if self.is_shown else ():
            if is_certain or self.changes(row, subject, SAMPLE_PSEUDONYM) or self.is_elsewhere(row, subject):
                columns = (column.attname for column in self.model._meta.concrete_fields)
                values = {name: getattr(row, name) for name in columns if name not in NEVER_SHOWN}
                yield row.pk, values | self.shown(row, subject)

    def is_elsewhere(self, row: Any, subject: Subject) -> bool:
        return any(subject.is_in(getattr(row, name)) for name in self.elsewhere)

    def count(self, subject: Subject) -> int:
        return sum(bool(self.changes(row, subject, SAMPLE_PSEUDONYM)) for row, _ in self.looked_at(subject))

    # --- Erasing -----------------------------------------------------------------------------------------------------

    def erase(self, subject: Subject, pseudonym: str, lease: Lease) -> int:
        erased = 0
        for rows, _ in self.found(subject):
            for chosen in self.batches(rows):
                with transaction.atomic():
                    lease.extend()
                    erased += self.rewrite(chosen, subject, pseudonym)
        return erased

    def rewrite(self, chosen: list[Any], subject: Subject, pseudonym: str) -> int:
        """Rows that change in the same way are one UPDATE: of a million uses of a feature most are."""
        alike: dict[str, tuple[Row, list[Any]]] = {}
        locked = self.all_rows.filter(pk__in=chosen).select_for_update()
        for row in locked.defer(*self.unread):
            changes = self.changes(row, subject, pseudonym)
            if changes:
                alike.setdefault(repr(sorted(changes.items())), (changes, []))[1].append(row.pk)
        for changes, pks in alike.values():
            self.all_rows.filter(pk__in=pks).update(**changes)
        return sum(len(pks) for _, pks in alike.values())

    def changes(self, row: Any, subject: Subject, pseudonym: str) -> Row:
        """Return the new values of the columns that must change."""
        wanted = {name: subject.renamed(getattr(row, name), pseudonym) for name in self.names}
        wanted |= {name: pseudonym for name in self.machines if subject.is_machine_called(getattr(row, name))}
        wanted |= {name: subject.replaced(getattr(row, name), pseudonym) for name in self.texts}
        wanted |= {name: subject.replaced(getattr(row, name), pseudonym, as_word=True) for name in self.written}
        wanted |= self.also(row, subject, pseudonym)
        return {name: self.fitted(name, value) for name, value in wanted.items() if value != getattr(row, name)}

    def fitted(self, name: str, value: Any) -> Any:
        """Cut a value to its column, as a pseudonym may be longer than the name."""
        longest = getattr(self.model._meta.get_field(name), "max_length", None)
        return value[:longest] if longest and isinstance(value, str) else value
