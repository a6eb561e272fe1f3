"""Follow the workers: `beta_monitor --watch` reads the rounds they store, and checks nothing itself."""

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from monitoring.checks import worker_rounds
from monitoring.checks.sweeps import IsEnding, Show
from monitoring.models import CheckResult, Round
from portal.base.failures import error_line

log = logging.getLogger("vigie.monitoring")
STEP_SECONDS = 0.5
# A round that ended within this time is shown at once, so that nobody waits a minute for the first line.
RECENT = timedelta(seconds=2.5 * worker_rounds.LENGTH_SECONDS)
# Workers that are starting, or that replace a killed one, begin to watch within a few seconds.
PATIENCE_SECONDS = 10.0


class NobodyWatches(Exception):
    """Raised if no worker checks the targets."""


class Follower:
    """The rounds stored from now on, and their results."""

    def __init__(self) -> None:
        newest = Round.objects.order_by("-pk").first()
        is_recent = newest is not None and newest.finished_at > timezone.now() - RECENT
        self.last_pk = 0 if newest is None else newest.pk - 1 if is_recent else newest.pk
        self.read_until: datetime | None = None
        self.last: Round | None = None
        self.was_watched = False
        self.unwatched_since: float | None = None
        self.is_unwatched = False

    def rounds(self, interval: float, is_ending: IsEnding, show: Show) -> Iterator[Round]:
        """Yield each new round, which is looked for every `interval` seconds, until the watch is to end.

        Raises NobodyWatches if no worker has checked the targets since the watch began. If the workers end later, they
        are waited for.
        """
        next_look = time.monotonic()
        while not is_ending():
            try:
                if time.monotonic() >= next_look:
                    next_look += interval
                    yield from self.new_rounds()
                self.look_for_workers()
                show(seconds_left(timezone.now()))
            except DatabaseError as error:
                log.warning("the rounds could not be read: %s", error_line(error))
                close_old_connections()
            time.sleep(STEP_SECONDS)

    def new_rounds(self) -> Iterator[Round]:
        for found in Round.objects.filter(pk__gt=self.last_pk).order_by("pk"):
            self.last, self.last_pk = found, found.pk
            yield found

    def look_for_workers(self) -> None:
        if not worker_rounds.is_unwatched(timezone.now()):
            self.was_watched, self.is_unwatched, self.unwatched_since = True, False, None
            return
        self.unwatched_since = self.unwatched_since or time.monotonic()
        if self.is_unwatched or time.monotonic() - self.unwatched_since < PATIENCE_SECONDS:
            return
        self.is_unwatched = True
        if not self.was_watched:
            raise NobodyWatches
        log.warning("no worker checks the targets: waiting for one")

    def results_before(self, found: Round) -> list[CheckResult]:
        """Return the results not yet read that belong to the rounds before this one.

        Results of a round may still be stored after its end, so its own are read with the next round.
        """
        return self.results_until(found.started_at)

    def last_results(self) -> list[CheckResult]:
        """Return the results of the last round, at the end of the watch."""
        return self.results_until(self.last.finished_at) if self.last else []

    def results_until(self, until: datetime) -> list[CheckResult]:
        since, self.read_until = self.read_until or until, until
        return list(CheckResult.objects.filter(at__gte=since, at__lt=until).order_by("at").prefetch_related("target"))


def seconds_left(now: datetime) -> float:
    """Return the seconds until the workers' round under way ends; 0 if there is none."""
    started_at = worker_rounds.lease_rows().values_list("started_at", flat=True).first()
    length = timedelta(seconds=worker_rounds.LENGTH_SECONDS)
    return max(0.0, (started_at + length - now).total_seconds()) if started_at else 0.0
