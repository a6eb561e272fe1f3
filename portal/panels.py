"""Panels: an app's tiles on the landing page, and its sections on the page of a machine or licence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from portal.conventions import Collected


@dataclass(frozen=True)
class Chart:
    """One value a day, oldest first; `unit` names what is counted."""

    days: list[date]
    values: list[float]
    unit: str


@dataclass(frozen=True)
class Tile:
    """A figure that answers a question, where it leads, and how it came about."""

    title: str
    figure: str
    caption: str = ""
    url: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    chart: Chart | None = None


@dataclass(frozen=True)
class Section:
    """A table on the page of something: its rows are what the cells show, in the order of the columns."""

    title: str
    columns: list[str]
    rows: list[list[Any]]
    url: str = ""
    empty: str = ""


TileSource = Callable[[datetime], Tile]
SectionSource = Callable[[str], Section]

tiles: Collected[TileSource] = Collected("panels")
machine_sections: Collected[SectionSource] = Collected("panels")


def current_tiles(now: datetime) -> list[Tile]:
    return [source(now) for source in tiles.all()]


def sections_of_machine(machine_id: str) -> list[Section]:
    """What each app knows of the machine with this machine_id."""
    return [source(machine_id) for source in machine_sections.all()]
