"""Build the report of a programme from live data: one dictionary, the source of every format and snapshot.

`LatestScores` decides which score of a participant counts. Days of feedback are in the portal's time zone, days of
checks in UTC.
"""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import groupby
from typing import TypedDict

from django.db.models import Case, Value, When
from django.utils import timezone

from beta.models import BEST_SCORE, BetaFeedback, BetaProgramme, BetaSnapshot
from beta.querysets import BetaFeedbackQuerySet
from beta.report import verdict
from beta.report.verdict import Condition
from monitoring.figures import uptime
from monitoring.models import Rollup, Target
from portal.base.moments import format_iso, midnight
from portal.base.text import truncate_text
from portal.base.words import round_half_up, round_to_integer

# Net Promoter Score: 9 and 10 are promoters, 6 and less detractors.
PROMOTES, DETRACTS = 9, 6
SHOWN_COMMENTS = 5
SHOWN_BUGS = 20
LONGEST_OF_A_BUG = 1_000
# Reports made within this time are versions of one report, such as its formats: they are not compared with each other.
SAME_REPORT = timedelta(minutes=10)


class Participants(TypedDict):
    count: int
    target: int


class Score(TypedDict):
    """`counts` are the participants by score, from 0 to 10. Average and NPS are None without scores."""

    average: float | None
    target: float
    nps: int | None
    promoters: int
    passives: int
    detractors: int
    counts: list[int]


class Bugs(TypedDict):
    total: int
    critical_high_open: int


class DayOfChecks(TypedDict):
    """Each attempt counts as a check, so that retries hide no failures."""

    day: str
    checks: int
    failures: int
    mean_ms: float | None


class Performance(TypedDict):
    """Checks of the programme's targets between its dates, each attempt as one; `error_rate` is from 0 to 1."""

    checks: int
    mean_ms: float | None
    p95_ms: float | None
    error_rate: float | None
    days: list[DayOfChecks]


class OpenBug(TypedDict):
    id: int
    severity: str
    status: str
    comment: str
    page: str
    app_version: str
    given_at: str


class DayOfScores(TypedDict):
    """Scores at the end of a day on which somebody gave one."""

    day: str
    participants: int
    average: float
    nps: int


class Previous(TypedDict):
    """Figures of the previous snapshot."""

    generated_at: str
    verdict: str
    participants: int
    average: float | None
    nps: int | None
    critical_high_open: int
    mean_ms: float | None
    error_rate: float | None


class Report(TypedDict):
    """`starts` and `ends` are days, `generated_at` is a time. `open_bugs` are the worst and oldest, 20 at most."""

    programme: str
    product: str
    starts: str
    ends: str | None
    generated_at: str
    participants: Participants
    score: Score
    bugs: Bugs
    open_bugs: list[OpenBug]
    performance: Performance
    ux_comments: list[str]
    conditions: list[Condition]
    verdict: str
    trend: list[DayOfScores]
    previous: Previous | None


def build_report(programme: BetaProgramme, now: datetime) -> Report:
    """Build the report with ten queries.

    Feedback that arrives meanwhile is left to the next report, so that all parts count the same rows. A row that is
    triaged or erased meanwhile may be in one part and not in another.
    """
    feedback = BetaFeedback.objects.filter(programme=programme)
    newest = feedback.order_by("-id").values_list("pk", flat=True).first() or 0
    feedback = feedback.filter(pk__lte=newest)
    participants, bugs = feedback.values("participant").distinct().count(), feedback.bugs().count()
    grave = feedback.bugs().unsettled().grave()
    grave_count = grave.count()
    scores, trend = gather_scores(feedback)
    performance, checks = gather_performance(programme)
    previous = newest_snapshot(programme, before=now - SAME_REPORT)
    figures = make_figures(scores, participants, grave_count, checks)
    found = verdict.evaluate_conditions(figures, programme)
    return {
        "programme": programme.name,
        "product": programme.product,
        "starts": programme.starts.isoformat(),
        "ends": programme.ends.isoformat() if programme.ends else None,
        "generated_at": str(format_iso(now)),
        "participants": {"count": figures.participants, "target": programme.participants_target},
        "score": {
            "average": figures.average,
            "target": float(programme.score_target),
            "nps": calculate_nps(scores),
            "promoters": sum(scores[PROMOTES:]),
            "passives": sum(scores[DETRACTS + 1 : PROMOTES]),
            "detractors": sum(scores[: DETRACTS + 1]),
            "counts": scores,
        },
        "bugs": {"total": bugs, "critical_high_open": grave_count},
        "open_bugs": [describe_open_bug(bug) for bug in order_by_gravity(grave)[:SHOWN_BUGS]],
        "performance": performance | {"mean_ms": figures.latency_ms, "error_rate": figures.error_rate},
        "ux_comments": latest_comments(feedback),
        "conditions": found,
        "verdict": verdict.decide_verdict(found),
        "trend": trend,
        "previous": figures_to_compare(previous.data) if previous else None,
    }


def make_figures(
    scores: Sequence[int], participants: int = 0, grave_bugs: int = 0, checks: uptime.UptimeFigures | None = None
) -> verdict.Figures:
    """Make the figures of a verdict. `scores` are the participants by score; `checks` is None without targets."""
    return verdict.Figures(
        participants=participants,
        score_sum=sum(score * count for score, count in enumerate(scores)),
        scores=sum(scores),
        grave_bugs=grave_bugs,
        checks=None if checks is None else checks.attempts,
        failures=checks.failed_attempts if checks else 0,
        mean_ms=checks.mean_ms if checks else None,
    )


# --- Scores ----------------------------------------------------------------------------------------------------------


def calculate_nps(counts: Sequence[int]) -> int | None:
    """Return the percentage of promoters minus that of detractors, from -100 to 100; None without scores."""
    given = sum(counts)
    return round_to_integer(100 * (sum(counts[PROMOTES:]) - sum(counts[: DETRACTS + 1])) / given) if given else None


class LatestScores:
    """Participants by their latest score, from 0 to 10. Scores are added oldest first.

    A score by the public key never replaces one by token: anybody can send it in anybody's name.
    """

    def __init__(self) -> None:
        self.counts = [0] * (BEST_SCORE + 1)
        self.latest: dict[str, int] = {}
        self.by_token: set[str] = set()

    def add(self, participant: str, score: int, source: str) -> None:
        if source != BetaFeedback.PUBLIC:
            self.by_token.add(participant)
        elif participant in self.by_token:
            return
        if participant in self.latest:
            self.counts[self.latest[participant]] -= 1
        self.latest[participant] = score
        self.counts[score] += 1


def gather_scores(feedback: BetaFeedbackQuerySet) -> tuple[list[int], list[DayOfScores]]:
    """Return the participants by score and the scores day by day, with one query."""
    rows = feedback.exclude(nps_score=None).order_by("given_at", "id")
    given = rows.values_list(uptime.EpochSeconds("given_at"), "participant", "nps_score", "source")
    scores, days = LatestScores(), dict[date, DayOfScores]()
    for day, of_day in groupby(given.iterator(chunk_size=2_000), make_day_getter(timezone.get_current_timezone())):
        for _seconds, *score in of_day:
            scores.add(*score)
        days[day] = summarize_scores(day, scores.counts)
    return scores.counts, list(days.values())


def make_day_getter(zone: tzinfo) -> Callable[[tuple[int, str, int, str]], date]:
    """Return a function that gives the day of each row. The rows must ascend: the day changes at midnight only.

    Converting the time of every row would dominate the report.
    """
    day, ends = date.min, -math.inf

    def day_of(row: tuple[int, str, int, str]) -> date:
        nonlocal day, ends
        if row[0] >= ends:
            day = datetime.fromtimestamp(row[0], zone).date()
            ends = midnight(day + timedelta(days=1), zone).timestamp()
        return day

    return day_of


def summarize_scores(day: date, counts: Sequence[int]) -> DayOfScores:
    return {
        "day": day.isoformat(),
        "participants": sum(counts),
        "average": make_figures(counts).average or 0.0,
        "nps": calculate_nps(counts) or 0,
    }


# --- Bugs and comments -----------------------------------------------------------------------------------------------


def order_by_gravity(bugs: BetaFeedbackQuerySet) -> BetaFeedbackQuerySet:
    rank = Case(When(severity=BetaFeedback.Severity.CRITICAL, then=Value(0)), default=Value(1))
    return bugs.order_by(rank, "given_at", "id")


def describe_open_bug(bug: BetaFeedback) -> OpenBug:
    return {
        "id": bug.pk,
        "severity": bug.severity,
        "status": bug.status,
        "comment": truncate_text(bug.comment, LONGEST_OF_A_BUG),
        "page": bug.page,
        "app_version": bug.app_version,
        "given_at": str(format_iso(bug.given_at)),
    }


def latest_comments(feedback: BetaFeedbackQuerySet) -> list[str]:
    """Return the five latest comments on usability, newest first."""
    about = feedback.filter(type=BetaFeedback.Type.UX).exclude(comment="").order_by("-given_at", "-id")
    return list(about.values_list("comment", flat=True)[:SHOWN_COMMENTS])


# --- Performance -----------------------------------------------------------------------------------------------------


def gather_performance(programme: BetaProgramme) -> tuple[Performance, uptime.UptimeFigures | None]:
    """Return the performance and the figures for the verdict, None if the programme has no targets."""
    targets = list(Target.objects.filter(beta_programme=programme).values_list("pk", flat=True))
    parts = read_daily_rollups(programme, targets) if targets else []
    figures = uptime.sum_parts(parts)
    performance: Performance = {
        "checks": figures.attempts,
        "mean_ms": None,
        "p95_ms": None if figures.p95_ms is None else round_half_up(figures.p95_ms, 1),
        "error_rate": None,
        "days": summarize_days(parts),
    }
    return performance, figures if targets else None


def read_daily_rollups(programme: BetaProgramme, targets: list[int]) -> list[uptime.RollupPart]:
    """Read the daily rollups of all targets between the programme's dates."""
    until = programme.ends + timedelta(days=1) if programme.ends else None
    found = uptime.load_parts(
        targets, Rollup.Period.DAY, midnight(programme.starts, UTC), midnight(until, UTC) if until else None
    )
    return [part for parts in found.values() for part in parts]


def summarize_days(parts: Sequence[uptime.RollupPart]) -> list[DayOfChecks]:
    """Sum up each day over all targets, oldest first. Days without checks that count are left out."""
    by_day: dict[int, list[uptime.RollupPart]] = {}
    for part in parts:
        by_day.setdefault(part.start, []).append(part)
    days = ((start, uptime.sum_parts(of_day)) for start, of_day in sorted(by_day.items()))
    return [
        {
            "day": datetime.fromtimestamp(start, UTC).date().isoformat(),
            "checks": day.attempts,
            "failures": day.failed_attempts,
            "mean_ms": None if day.mean_ms is None else round_half_up(day.mean_ms, 1),
        }
        for start, day in days
        if day.checks
    ]


# --- The previous snapshot -------------------------------------------------------------------------------------------


def newest_snapshot(programme: BetaProgramme, before: datetime | None = None) -> BetaSnapshot | None:
    found = BetaSnapshot.objects.filter(programme=programme).order_by("-id")
    return (found.filter(taken_at__lte=before) if before else found).first()


def figures_to_compare(report: Report) -> Previous:
    return {
        "generated_at": report["generated_at"],
        "verdict": report["verdict"],
        "participants": report["participants"]["count"],
        "average": report["score"]["average"],
        "nps": report["score"]["nps"],
        "critical_high_open": report["bugs"]["critical_high_open"],
        "mean_ms": report["performance"]["mean_ms"],
        "error_rate": report["performance"]["error_rate"],
    }
