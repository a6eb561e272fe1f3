"""Conditions that find rows by a fragment of a name, at a cost that does not grow with the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from portal.base.lookups import FRAGMENT, SHORTEST_FRAGMENT, count_searchable
from portal.base.words import format_count
from portal.desk.trigrams import is_indexed

# A search for more finds nothing: no name or address is so long.
LONGEST_SEARCH = 256
MOST_WORDS = 8
# Reading 100,000 machines takes 40 ms on SQLite, and 150 ms on PostgreSQL without trigram indexes.
SEARCHED_ROWS = 100_000
LOG_ROWS = 10_000
# Of more names the first are taken: the text is too short to tell them apart.
MOST_NAMES = 500
NOTHING = Q(pk__in=[])


def any_of(conditions: Iterable[Q]) -> Q:
    return Q(*conditions, _connector=Q.OR)


class Search:
    """A search for a text, which remembers where it did not look: `notes` tells the user.

    Each word of the text must be found in one of the searched fields, which name their lookup, such as
    `name__fragment`. A word that is too short for a fragment is looked for anywhere if another word is long enough. A
    text without letters and digits finds nothing, because no index serves it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = text.split(maxsplit=MOST_WORDS - 1)
        longest = max(map(count_searchable, self.words), default=0)
        self.is_possible, self.is_narrow = longest > 0, longest >= SHORTEST_FRAGMENT
        self.uses_fragments = self.is_cut = False
        self.newest: dict[tuple[type[Model], int], int] = {}
        self.left_out: dict[str, None] = {}

    def condition(self, fields: Iterable[str]) -> Q:
        self.uses_fragments = True
        found = Q()
        for word in self.words if self.is_possible else ():
            anywhere = self.is_narrow and count_searchable(word) < SHORTEST_FRAGMENT
            lookups = [field.replace(FRAGMENT, "__icontains") if anywhere else field for field in fields]
            found &= any_of(Q((lookup, word)) for lookup in lookups)
        return found if self.is_possible else NOTHING

    def among_newest(self, model: type[Model], count: int, *, finds_older: bool = False) -> Q:
        """Match about as many rows as that at most, the newest; `finds_older` if beginnings are found in the rest."""
        rows = model._default_manager.order_by("-pk")
        if (model, count) not in self.newest:
            newest: Any = rows.values_list("pk", flat=True).first() or 0
            self.newest[model, count] = newest
            if newest > count and rows.filter(pk__lte=newest - count).exists():
                names = {"count": format_count(count), "name": model._meta.verbose_name_plural}
                self.add_note(_("Searched the newest %(count)s rows (%(name)s).") % names)
                if finds_older:
                    self.add_note(_("Older rows are found by the beginning of a name."))
        return Q(pk__gt=self.newest[model, count] - count)

    def matches(self, model: type[Model], fields: Iterable[str]) -> Q:
        """Match rows by a fragment; of a table without trigram indexes, only among the newest."""
        found = self.condition(fields)
        return found if is_indexed(model) else self.among_newest(model, SEARCHED_ROWS) & found

    def matching_rows(self, model: type[Model], fields: Iterable[str]) -> QuerySet[Any]:
        return model._default_manager.filter(self.matches(model, fields))

    def take(self, values: QuerySet[Any]) -> list[Any]:
        """Return these values, MOST_NAMES at most, for an index to find rows of other tables."""
        found = list(values[: MOST_NAMES + 1])
        self.is_cut |= len(found) > MOST_NAMES
        return found[:MOST_NAMES]

    def matching_values(self, model: type[Model], fields: Iterable[str], *, value: str = "pk") -> list[Any]:
        """Return a field's value of the rows that match."""
        return self.take(self.matching_rows(model, fields).order_by().values_list(value, flat=True))

    def recent_values(self, model: type[Model], field: str) -> list[Any]:
        """Return the values of a log's field that match, of those in its newest rows."""
        newest = self.among_newest(model, LOG_ROWS, finds_older=True)
        rows = model._default_manager.filter(newest, self.condition([field + FRAGMENT]))
        return self.take(rows.order_by().values_list(field, flat=True).distinct())

    def add_note(self, text: str) -> None:
        """Add a sentence on rows that the search leaves out, once."""
        self.left_out[text] = None

    def notes(self) -> Sequence[str]:
        """Return a sentence for each limit that hides rows, for the page of the results."""
        if self.uses_fragments and not self.is_possible:
            return [_("Type at least three letters or digits.")]
        notes = list(self.left_out)
        if self.uses_fragments and not self.is_narrow:
            notes.append(_("Fewer than three letters or digits match only the beginning of a name."))
        if self.is_cut:
            text = _("Only the rows of the first %(count)s matching names are shown. Type more of the name.")
            notes.append(text % {"count": format_count(MOST_NAMES)})
        return notes
