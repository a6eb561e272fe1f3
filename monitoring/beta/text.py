"""The report as text, for a console and for keeping."""

from __future__ import annotations

from monitoring.beta import wording
from monitoring.beta.report import Report


def lines_of(report: Report) -> list[str]:
    return [report["programme"], wording.verdict_of(report["verdict"])]
