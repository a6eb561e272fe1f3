"""The pulse: looks every second for what is due and enqueues the task that does it. The workers do the work.

Each app's `schedules.py` registers its pulses. A body does one unit and says whether it found work, so that a test
calls it without the loop. Two nodes may find the same thing due: the body's own conditional UPDATE lets one have it.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import Error, close_old_connections, transaction
from django.utils import timezone
from django_q.models import OrmQ

from portal.base.conventions import Collected
from portal.base.failures import error_line
from portal.models import Heartbeat, JobRun
from portal.work import processes
from portal.work.clusters import CLUSTERS
from portal.work.processes import current_process
from portal.work.queue import enqueue
from portal.work.schedules import jobs, synchronise_schedules

log = logging.getLogger("vigie.pulse")
TICK = timedelta(seconds=1)
BEAT_EVERY = timedelta(seconds=5)
# One source must not keep the others waiting: what it has beyond this comes with the next tick.
UNITS_PER_TICK = 100


@dataclass(frozen=True)
class Pulse:
    """`body` is called every `every`, and again at once as long as it returns that it found work."""

    name: str
    body: Callable[[datetime], bool | None]
    every: timedelta = TICK


pulses: Collected[Pulse] = Collected("schedules")


@dataclass
class Rounds:
    """When each pulse was last asked, by its name."""

    asked: dict[str, datetime] = field(default_factory=dict)

    def is_due(self, pulse: Pulse, now: datetime) -> bool:
        """Return True if it is due, to the nearest tick. A clock that was set back delays nothing."""
        last = self.asked.get(pulse.name)
        return last is None or not timedelta(0) <= now - last < pulse.every - TICK / 2

    def tick(self, now: datetime) -> None:
        for pulse in pulses.all():
            if self.is_due(pulse, now):
                self.asked[pulse.name] = now
                run_pulse(pulse, now)


def run_pulse(pulse: Pulse, now: datetime) -> None:
    """A pulse that fails, be it for the database, is asked again when it is due, and stops no other."""
    try:
        for _ in range(UNITS_PER_TICK):
            if not pulse.body(now):
                break
    except Error as error:
        log.warning("the pulse %s found no database: %s", pulse.name, error_line(error))
        close_old_connections()
    except Exception:
        log.exception("the pulse %s failed", pulse.name)


def beat_until(is_ending: Callable[[], bool]) -> None:
    rounds = Rounds()
    while not is_ending():
        started = time.monotonic()
        rounds.tick(timezone.now())
        time.sleep(max(0.0, TICK.total_seconds() - (time.monotonic() - started)))


# --- The portal's own pulses -----------------------------------------------------------------------------------------

SILENCE = timedelta(seconds=15)
MOST_CLAIMS = 3


def ask_for_beats(now: datetime) -> None:
    """Give an idle cluster something to do, so that its heartbeat proves that its workers work."""
    for cluster in CLUSTERS:
        with transaction.atomic():
            is_waiting = OrmQ.objects.filter(key=cluster, lock__lte=timezone.now()).exists()
            if not is_waiting and Heartbeat.objects.ask(cluster, SILENCE, pause=SILENCE):
                enqueue("portal.beat", cluster, cluster=cluster)


def keep_schedules(now: datetime) -> None:
    synchronise_schedules(now)


def retry_cycles(now: datetime) -> None:
    """Enqueue jobs whose current cycle failed or was left behind, with growing pauses, up to MOST_CLAIMS claims."""
    current = {(job.name, job.cycle_key(now)): job for job in jobs.all()}
    ended_badly = JobRun.objects.claimable(now).newest().exclude(status=JobRun.Status.WAITING)
    for run in ended_badly.filter(fence__lt=MOST_CLAIMS):
        job = current.get((run.job, run.cycle_key))
        ended = run.finished_at or run.lease_expires_at or now
        if job is None or now < ended + timedelta(minutes=2**run.fence):
            continue
        with transaction.atomic():
            unchanged = JobRun.objects.filter(pk=run.pk, fence=run.fence, status=run.status)
            if unchanged.update(status=JobRun.Status.WAITING):
                enqueue(job.name, cluster=job.cluster)


pulses.register(Pulse("portal.pulse", lambda now: Heartbeat.objects.beat("pulse", current_process()), BEAT_EVERY))
pulses.register(Pulse("portal.node", lambda now: processes.record_heartbeat(), processes.BEAT_EVERY))
pulses.register(Pulse("portal.beats", ask_for_beats, BEAT_EVERY))
pulses.register(Pulse("portal.schedules", keep_schedules, timedelta(seconds=30)))
pulses.register(Pulse("portal.cycles", retry_cycles, timedelta(seconds=30)))
