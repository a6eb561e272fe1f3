"""How programmes stand at present, several at once: a few queries, however many they are.

The same figures as those of `beta.report.gather`, and no more of them than a row shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.core.cache import cache
from django.db.models import Count, Max, Value
from django.utils import timezone

from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.report.gather import LatestScores, Report, figures_of, midnight, nps_of, thresholds_of
from beta.report.snapshots import is_over_for_good
from beta.report.verdict import Condition, Figures, conditions, verdict
from monitoring.figures import uptime
from monitoring.models import Rollup, Target

FRESH_SECONDS = 60
# The newest ones: each costs its feedback once a minute.
MOST_RUNNING = 10


@dataclass(frozen=True)
class Standing:
    figures: Figures
    nps: int | None
    conditions: list[Condition]
    verdict: str


def standings_of(programmes: Sequence[BetaProgramme]) -> dict[int, Standing]:
    """By the key of the programme; five queries."""
    feedback = BetaFeedback.objects.filter(programme__in=[programme.pk for programme in programmes]).order_by()
    people = dict(feedback.values_list("programme").annotate(Count("participant", distinct=True)))
    grave = dict(feedback.bugs().unsettled().grave().values_list("programme").annotate(Count("pk")))
    scores, checks = scores_of([programme.pk for programme in programmes]), checks_of(programmes)
    found = {}
    for programme in programmes:
        counts, checked = scores[programme.pk], checks[programme.pk]
        figures = figures_of(counts, people.get(programme.pk, 0), grave.get(programme.pk, 0), checked)
        judged = conditions(figures, thresholds_of(programme))
        found[programme.pk] = Standing(figures, nps_of(counts), judged, verdict(judged))
    return found


def running(now: datetime) -> list[tuple[BetaProgramme, Standing]]:
    """The ten newest of those that run today, each as it stood a minute ago at most."""
    programmes = list(BetaProgramme.objects.running(timezone.localdate(now))[:MOST_RUNNING])
    key = f"beta.report.standing.{'.'.join(str(programme.pk) for programme in programmes)}"
    found = cache.get_or_set(key, lambda: standings_of(programmes), FRESH_SECONDS) or {}
    return [(programme, found[programme.pk]) for programme in programmes]


def current(programmes: Sequence[BetaProgramme], now: datetime) -> dict[int, Standing]:
    """As they stand or, where the feedback of a programme is deleted, as the last report that was kept says."""
    over = [programme.pk for programme in programmes if is_over_for_good(programme, now)]
    kept = BetaSnapshot.objects.filter(programme__in=over).order_by()
    newest = kept.values("programme").annotate(newest=Max("pk")).values("newest")
    found = {snapshot.programme_id: of_report(snapshot.data) for snapshot in kept.filter(pk__in=newest)} if over else {}
    return standings_of([programme for programme in programmes if programme.pk not in found]) | found


def of_report(report: Report) -> Standing:
    people, grave = report["participants"]["count"], report["bugs"]["critical_high_open"]
    figures = figures_of(report["score"]["counts"], people, grave)
    return Standing(figures, report["score"]["nps"], report["conditions"], report["verdict"])


def scores_of(programmes: Sequence[int]) -> dict[int, list[int]]:
    """How many participants gave each score, from 0 to 10. A window over the table would take twice as long."""
    given = BetaFeedback.objects.filter(programme__in=programmes).exclude(nps_score=None).order_by("given_at", "id")
    rows = given.values_list("programme", "participant", "nps_score", "source").iterator(chunk_size=2_000)
    found = {programme: LatestScores() for programme in programmes}
    for programme, participant, score, source in rows:
        found[programme].add(participant, score or 0, source)
    return {programme: scores.counts for programme, scores in found.items()}


def checks_of(programmes: Sequence[BetaProgramme]) -> dict[int, uptime.Figures | None]:
    """What their targets came to between their dates; None for one that has no target."""
    found: dict[int, uptime.Figures | None] = dict.fromkeys([programme.pk for programme in programmes])
    by_key = {programme.pk: programme for programme in programmes}
    owners = {
        target: by_key[owner]
        for target, owner in Target.objects.filter(beta_programme__in=programmes).values_list("pk", "beta_programme")
        if owner is not None
    }
    parts: dict[int, list[uptime.Part]] = {owner.pk: [] for owner in owners.values()}
    since = midnight(min((owner.starts for owner in owners.values()), default=date.max))
    rows = Rollup.objects.of(list(owners), Rollup.Period.DAY, since)
    for target, start, *figures in rows.values_list("target", "start", *uptime.COLUMNS, Value("{}")):
        if owners[target].is_running(start.date()):
            parts[owners[target].pk].append(uptime.Part(uptime.seconds(start), *figures))
    return found | {owner: uptime.summed(of_owner) for owner, of_owner in parts.items()}
