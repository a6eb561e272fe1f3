"""The status of several programmes at once, with a constant number of queries.

The figures are those of `beta.report.gather`, limited to what a row of a list shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.core.cache import cache
from django.db.models import Count, Max, Value
from django.utils import timezone

from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report.gather import LatestScores, Report, calculate_nps, make_figures
from beta.report.snapshots import is_past_retention
from beta.report.verdict import Condition, Figures, decide_verdict, evaluate_conditions
from monitoring.figures import uptime
from monitoring.models import Rollup, Target
from portal.base.moments import midnight

FRESH_SECONDS = 60
# The newest ones only: the feedback of each is read once a minute.
MOST_RUNNING = 10


@dataclass(frozen=True)
class ProgrammeStatus:
    figures: Figures
    nps: int | None
    conditions: list[Condition]
    verdict: str


def calculate_statuses(programmes: Sequence[BetaProgramme]) -> dict[int, ProgrammeStatus]:
    """Return the statuses by primary key, with five queries."""
    feedback = BetaFeedback.objects.filter(programme__in=[programme.pk for programme in programmes]).order_by()
    people = dict(feedback.values_list("programme").annotate(Count("participant", distinct=True)))
    grave = dict(feedback.bugs().unsettled().grave().values_list("programme").annotate(Count("pk")))
    scores, checks = count_scores([programme.pk for programme in programmes]), sum_checks(programmes)
    found = {}
    for programme in programmes:
        counts, checked = scores[programme.pk], checks[programme.pk]
        figures = make_figures(counts, people.get(programme.pk, 0), grave.get(programme.pk, 0), checked)
        conditions = evaluate_conditions(figures, programme)
        found[programme.pk] = ProgrammeStatus(figures, calculate_nps(counts), conditions, decide_verdict(conditions))
    return found


def running_programmes(now: datetime) -> list[tuple[BetaProgramme, ProgrammeStatus]]:
    """Return the ten newest programmes that run today, with statuses at most a minute old."""
    programmes = list(BetaProgramme.objects.running(timezone.localdate(now))[:MOST_RUNNING])
    key = f"beta.report.status.{'.'.join(str(programme.pk) for programme in programmes)}"
    found = cache.get_or_set(key, lambda: calculate_statuses(programmes), FRESH_SECONDS) or {}
    return [(programme, found[programme.pk]) for programme in programmes]


def current_statuses(programmes: Sequence[BetaProgramme], now: datetime) -> dict[int, ProgrammeStatus]:
    """Return the statuses by primary key. A programme whose feedback is deleted has that of its last snapshot."""
    over = [programme.pk for programme in programmes if is_past_retention(programme, now)]
    kept = BetaSnapshot.objects.filter(programme__in=over).order_by()
    newest = kept.values("programme").annotate(newest=Max("pk")).values("newest")
    found = (
        {snapshot.programme_id: status_from_report(snapshot.data) for snapshot in kept.filter(pk__in=newest)}
        if over
        else {}
    )
    return calculate_statuses([programme for programme in programmes if programme.pk not in found]) | found


def status_from_report(report: Report) -> ProgrammeStatus:
    people, grave = report["participants"]["count"], report["bugs"]["critical_high_open"]
    figures = make_figures(report["score"]["counts"], people, grave)
    return ProgrammeStatus(figures, report["score"]["nps"], report["conditions"], report["verdict"])


def count_scores(programmes: Sequence[int]) -> dict[int, list[int]]:
    """Count participants by score, from 0 to 10. A window function over the table would take twice as long."""
    given = BetaFeedback.objects.filter(programme__in=programmes).exclude(nps_score=None).order_by("given_at", "id")
    rows = given.values_list("programme", "participant", "nps_score", "source").iterator(chunk_size=2_000)
    found = {programme: LatestScores() for programme in programmes}
    for programme, participant, score, source in rows:
        found[programme].add(participant, score or 0, source)
    return {programme: scores.counts for programme, scores in found.items()}


def sum_checks(programmes: Sequence[BetaProgramme]) -> dict[int, uptime.UptimeFigures | None]:
    """Sum up the checks of each programme's targets between its dates; None without targets."""
    found: dict[int, uptime.UptimeFigures | None] = dict.fromkeys([programme.pk for programme in programmes])
    by_key = {programme.pk: programme for programme in programmes}
    owners = {
        target: by_key[owner]
        for target, owner in Target.objects.filter(beta_programme__in=programmes).values_list("pk", "beta_programme")
        if owner is not None
    }
    parts: dict[int, list[uptime.RollupPart]] = {owner.pk: [] for owner in owners.values()}
    since = midnight(min((owner.starts for owner in owners.values()), default=date.max), UTC)
    rows = Rollup.objects.of_targets(list(owners), Rollup.Period.DAY, since)
    for target, start, *figures in rows.values_list("target", "start", *uptime.COLUMNS, Value("{}")):
        if owners[target].is_running(start.date()):
            parts[owners[target].pk].append(uptime.RollupPart(uptime.epoch_seconds(start), *figures))
    return found | {owner: uptime.sum_parts(of_owner) for owner, of_owner in parts.items()}
