"""Decide whether a product is ready: figures and thresholds in, conditions and verdict out, without a query.

Figures are rounded down (to hundredths of a score, tenths of a millisecond, hundredths of a percent), so that the
verdict agrees with what is shown. No threshold has more digits, so exact figures would decide the same, with one
exception: an error rate above 0 is shown as at least 0.01 %, so a limit of 0.01 % allows no error at all.
"""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from beta.models import BetaProgramme

GO, NO_GO, INSUFFICIENT_DATA = "GO", "NO-GO", "INSUFFICIENT DATA"
VERDICTS: dict[str, str | Promise] = {
    GO: _("GO"),
    NO_GO: _("NO-GO"),
    INSUFFICIENT_DATA: _("Not enough data"),
}
CONDITIONS: dict[str, str | Promise] = {
    "participants": _("Participants"),
    "score": _("Average score"),
    "critical_bugs": _("Open critical and high bugs"),
    "latency": _("Average response time"),
    "error_rate": _("Error rate"),
}


class Condition(TypedDict):
    """`value` and `ok` are None if unknown. An error rate is from 0 to 1, a latency in milliseconds."""

    name: str
    value: float | None
    target: float
    ok: bool | None


@dataclass(frozen=True)
class Figures:
    """The figures that decide. `checks` is None without targets: then performance is no condition."""

    participants: int = 0
    score_sum: int = 0
    scores: int = 0
    grave_bugs: int = 0
    checks: int | None = None
    failures: int = 0
    mean_ms: float | None = None

    @property
    def average(self) -> float | None:
        """Average score, rounded down to hundredths; None without scores."""
        return self.score_sum * 100 // self.scores / 100 if self.scores else None

    @property
    def latency_ms(self) -> float | None:
        """Mean latency, rounded down to tenths; None without a successful check."""
        return None if self.mean_ms is None else math.floor(round(self.mean_ms * 10, 6)) / 10

    @property
    def error_rate(self) -> float | None:
        """Error rate from 0 to 1, rounded down to hundredths of a percent but never to 0; None without checks."""
        return max(self.failures * 10_000 // self.checks, min(self.failures, 1)) / 10_000 if self.checks else None


def evaluate_conditions(figures: Figures, programme: BetaProgramme) -> list[Condition]:
    """Compare the figures with the programme's thresholds."""
    found = [
        evaluate_condition("participants", figures.participants, operator.ge, programme.participants_target),
        evaluate_condition("score", figures.average, operator.ge, float(programme.score_target)),
        evaluate_condition("critical_bugs", figures.grave_bugs, operator.eq, 0),
    ]
    if figures.checks is not None:
        found += [
            evaluate_condition("latency", figures.latency_ms, operator.lt, programme.latency_target_ms),
            evaluate_condition(
                "error_rate", figures.error_rate, operator.lt, float(programme.error_percent_target / 100)
            ),
        ]
    return found


def evaluate_condition(
    name: str, value: float | None, holds: Callable[[float, float], bool], target: float
) -> Condition:
    return {"name": name, "value": value, "target": target, "ok": None if value is None else holds(value, target)}


def is_without_feedback(found: Sequence[Condition]) -> bool:
    """Return True if there are no participants: each piece of feedback has one."""
    return any(condition["name"] == "participants" and not condition["value"] for condition in found)


def decide_verdict(found: Sequence[Condition]) -> str:
    """Return INSUFFICIENT DATA without feedback; else a failed condition is NO-GO, even if others are unknown."""
    if is_without_feedback(found):
        return INSUFFICIENT_DATA
    if any(condition["ok"] is False for condition in found):
        return NO_GO
    if any(condition["ok"] is None for condition in found):
        return INSUFFICIENT_DATA
    return GO
