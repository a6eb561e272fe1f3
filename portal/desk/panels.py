"""Panels: an app's tiles on the landing page, and its sections on the page of a machine or licence."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from portal.base.conventions import Collected
from portal.base.moments import midnight
from portal.models import ApiToken

log = logging.getLogger("vigie.panels")
CHART_DAYS = 30


@dataclass(frozen=True)
class Chart:
    """A chart of one value a day, oldest first; `unit` names what is counted."""

    days: list[date]
    values: list[float]
    unit: str


def chart_start(now: datetime) -> datetime:
    return midnight(timezone.localdate(now) - timedelta(days=CHART_DAYS - 1))


def daily_chart(values: Mapping[date, float], now: datetime, unit: str, since: date | None = None) -> Chart:
    """Return a chart of the last 30 days, or of those from `since` on; missing days are 0."""
    today = timezone.localdate(now)
    days = [today - timedelta(days=back) for back in reversed(range(CHART_DAYS))]
    days = [day for day in days if since is None or day >= since]
    return Chart(days, [values.get(day, 0) for day in days], unit)


@dataclass(frozen=True)
class Tile:
    """A figure on the landing page, its link, and the facts behind it."""

    title: str
    figure: str
    caption: str = ""
    url: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    chart: Chart | None = None


@dataclass(frozen=True)
class Section:
    """A table on a row's page. Each row holds the cells' values in the order of the columns.

    `url` leads to the full list, `note` says what is left out, `empty` is shown without rows.
    """

    title: str
    columns: list[str]
    rows: list[list[Any]]
    url: str = ""
    empty: str = ""
    note: str = ""


TileSource = Callable[[datetime], Tile]
SectionSource = Callable[[str], Section]
# Returns sentences with the numbers of those who use the tokens, for the page that asks before they are revoked.
TokenUseSource = Callable[[Sequence[ApiToken], datetime], Iterable[str]]

tiles: Collected[TileSource] = Collected("panels")
machine_sections: Collected[SectionSource] = Collected("panels")
token_uses: Collected[TokenUseSource] = Collected("panels")


def current_tiles(now: datetime) -> list[Tile]:
    return [load_tile(source, now) for source in tiles.all()]


def load_tile(source: TileSource, now: datetime) -> Tile:
    """Return the source's tile, or one that says that the source failed."""
    try:
        return source(now)
    except Exception:
        log.exception("the tile of %s failed", source.__module__)
        return Tile(title=source.__module__, figure="–", caption=_("not available; see the log for the cause"))


def sections_of_machine(machine_id: str) -> list[Section]:
    """Return each app's section about the machine."""
    return [source(machine_id) for source in machine_sections.all()]


def describe_token_uses(tokens: Sequence[ApiToken], now: datetime) -> list[str]:
    """Return each app's sentences about who uses these tokens."""
    return [sentence for source in token_uses.all() for sentence in source(tokens, now)]
