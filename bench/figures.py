"""Figures: one line each, with the limit and whether it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """`value` must be at least, or at most, `limit`."""

    name: str
    value: float
    limit: float
    at_least: bool
    unit: str = ""
    note: str = ""

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        verdict = "ok" if self.holds else "MISSED"
        held = f"{self.value:>9.2f} {self.unit:<3} ({sign} {self.limit:g}) {verdict:<7}"
        return f"{self.name:<52} {held} {self.note}".rstrip()


def show(figure: Figure) -> Figure:
    print(figure, flush=True)
    return figure


def percentile(values: list[float], share: float) -> float:
    """Return the percentile of sorted values, by nearest rank."""
    return values[math.ceil(round(share * len(values), 6)) - 1]


__all__ = ["Figure", "median", "percentile", "show"]
