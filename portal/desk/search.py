"""The search over everything that has a name: machines, licences, databases and so on.

An app's `search.py` registers its sources. `admin:search` is the page: `?q=` with the text, the results by groups, best
first. Asked by htmx (`HX-Request`), it returns the results alone (`portal/search_results.html`), for a box on other
pages:

    <form role="search" action="{% url 'admin:search' %}">
      <input type="search" name="q" hx-get="{% url 'admin:search' %}" hx-trigger="input changed delay:200ms"
             hx-target="#search-results">
    </form>
    <div id="search-results"></div>

Each result is a link with the class `search-hit`, in the order of the page; the first one is the best.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db import connections
from django.db.models import Model, Q, QuerySet, Value
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _

from portal.base.conventions import Collected
from portal.base.lookups import FRAGMENT
from portal.base.words import format_count
from portal.desk.matching import LONGEST_SEARCH, Search, any_of

SHOWN = 6
# Whoever finds more needs more of the name, not the number.
MOST_COUNTED = 200
# Rows that are read for their different values.
ROWS_OF_VALUES = 200
# The portal's own come after what operators look for.
LAST_APPS = ("portal", "auth")
EXACT, BEGINNING, WITHIN = range(3)
# The last of the queries for candidates.
ANY = 2


@dataclass(frozen=True)
class Hit:
    name: str
    detail: str
    url: str
    rank: int


@dataclass(frozen=True)
class Group:
    """The best results of one source. `more` is the text of the link to the list, empty if there are no others."""

    title: str
    hits: list[Hit]
    url: str
    more: str


@dataclass(frozen=True)
class Source:
    """Rows that are found by some of their columns, which their list searches too.

    `fields` are searched for fragments: those of a large table have trigram indexes. `keys` are searched from their
    beginning, which a plain index serves.
    """

    model: type[Model]
    fields: Sequence[str]
    keys: Sequence[str] = ()
    name: Callable[[Any], str] = str
    detail: Callable[[Any], str] = lambda row: ""
    title: Any = ""
    rows_of_arm = SHOWN + 1

    def may_see(self, request: HttpRequest) -> bool:
        return bool(admin.site._registry[self.model].has_view_or_change_permission(request))

    def group(self, text: str, named: set[Any], matching: set[Any]) -> Group:
        """Return the best of the rows with these keys: those with a name that begins so, and all that match."""
        keys = named.union(sorted(matching, reverse=True)[: self.rows_of_arm])
        rows = self.hits(self.model._default_manager.order_by().filter(pk__in=keys), text)
        hits = sorted(rows, key=lambda hit: (hit.rank, hit.name.lower()))
        # Rows that were not read may hold further values.
        has_more = len(hits) > SHOWN or len(matching) > self.rows_of_arm
        more = self.describe_all(len(named | matching)) if has_more else ""
        return Group(str(self.title or self.opts.verbose_name_plural), hits[:SHOWN], self.list_url(text), more)

    def matches(self, search: Search) -> QuerySet[Any]:
        return search.matching_rows(self.model, [name + FRAGMENT for name in self.fields])

    def candidates(self, text: str, found: QuerySet[Any]) -> list[QuerySet[Any]]:
        """Return three queries: for exact matches, for names that begin with the text, and for all that match.

        Each has its own limit, so that the cost does not grow with the number of matches, and many matches of the last
        query don't displace those of the first two. None is ordered: to find the newest matches, the database would
        read the whole table if only its oldest rows match.
        """
        rows = self.model._default_manager.order_by()
        spellings = {text, text.upper(), text.lower()}
        names = [*self.fields, *self.keys]
        arms = [
            rows.filter(any_of(Q((f"{name}__in", spellings)) for name in names))[: self.rows_of_arm],
            rows.filter(any_of(Q((f"{name}__begins", text)) for name in names))[: self.rows_of_arm],
            found.order_by()[: max(MOST_COUNTED, self.rows_of_arm) + 1],
        ]
        if connections[rows.db].features.supports_slicing_ordering_in_compound:
            return arms
        return [rows.filter(pk__in=arm.values("pk")) for arm in arms]

    def hits(self, rows: QuerySet[Any], text: str) -> list[Hit]:
        return [
            Hit(
                self.name(row),
                self.detail(row),
                reverse(f"{self.route}_change", args=[row.pk]),
                rank_of([str(getattr(row, name)) for name in (*self.fields, *self.keys)], text),
            )
            for row in rows
        ]

    def describe_all(self, count: int) -> str:
        return _("All %(count)s") % {"count": format_count(min(count, MOST_COUNTED)) + "+" * (count > MOST_COUNTED)}

    def list_url(self, text: str) -> str:
        return reverse(f"{self.route}_changelist", query={"q": text})

    @property
    def route(self) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}"

    @property
    def opts(self) -> Any:
        return self.model._meta


class ValueSource(Source):
    """The different values of one column, such as customers: each leads to the list of the rows that hold it."""

    rows_of_arm = ROWS_OF_VALUES

    def hits(self, rows: QuerySet[Any], text: str) -> list[Hit]:
        (column,) = self.fields
        values = rows.values_list(column, flat=True).distinct()
        return [Hit(value, "", self.list_url(value), rank_of([value], text)) for value in values]

    def describe_all(self, count: int) -> str:
        return _("All matches")


sources: Collected[Source] = Collected("search")


def rank_of(values: Sequence[str], text: str) -> int:
    known = [value.lower() for value in values]
    if text.lower() in known:
        return EXACT
    return BEGINNING if any(value.startswith(text.lower()) for value in known) else WITHIN


def visible_sources(request: HttpRequest) -> list[Source]:
    """Return the sources whose rows the user may see, those of the portal's own last."""
    found = [source for source in sources.all() if source.may_see(request)]
    return sorted(found, key=lambda source: source.opts.app_label in LAST_APPS)


def find_everywhere(searched: Sequence[Source], search: Search) -> list[Group]:
    """Return the groups with results, the best match first; a text that no name can contain finds nothing."""
    text = search.text
    if len(text) > LONGEST_SEARCH or "\0" in text:
        return []
    found = [source.matches(search) for source in searched]
    if not search.is_possible:
        return []
    arms = [
        rows.values_list(Value(number), Value(arm), "pk")
        for number, source in enumerate(searched)
        for arm, rows in enumerate(source.candidates(text, found[number]))
    ]
    named: dict[int, set[Any]] = defaultdict(set)
    matching: dict[int, set[Any]] = defaultdict(set)
    for number, arm, key in arms[0].union(*arms[1:], all=True) if arms else ():  # one query for all sources
        (matching if arm == ANY else named)[number].add(key)
    groups = [searched[number].group(text, named[number], matching[number]) for number in sorted({*named, *matching})]
    return sorted(groups, key=lambda group: group.hits[0].rank)


def search_view(request: HttpRequest) -> TemplateResponse:
    """Return the page of results, or for htmx the results alone."""
    search, searched = Search(" ".join(request.GET.get("q", "").split())), visible_sources(request)
    is_fragment = "HX-Request" in request.headers
    groups = find_everywhere(searched, search)
    context = {
        "query": search.text,
        "groups": groups,
        "notes": search.notes() if search.text else [],
        "searched": [str(source.title or source.opts.verbose_name_plural) for source in searched],
    }
    if not is_fragment:
        context |= admin.site.each_context(request) | {"title": _("Search")}
    template = "portal/search_results.html" if is_fragment else "portal/search.html"
    response = TemplateResponse(request, template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response
