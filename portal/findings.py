"""Findings: what needs an operator now. Each says what, since when, and where one click acts on it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from portal.conventions import Collected


class Severity(enum.IntEnum):
    CRITICAL = 1
    WARNING = 2
    INFO = 3


@dataclass(frozen=True)
class Finding:
    """`text` says what in one sentence; `url` and `action` lead to where it can be mended."""

    severity: Severity
    text: str
    since: datetime | None = None
    url: str = ""
    action: str = ""


FindingSource = Callable[[datetime], Iterable[Finding]]
sources: Collected[FindingSource] = Collected("findings")


def current_findings(now: datetime) -> list[Finding]:
    """All findings, worst and oldest first."""
    found = [finding for source in sources.all() for finding in source(now)]
    return sorted(found, key=lambda finding: (finding.severity, finding.since or now))
