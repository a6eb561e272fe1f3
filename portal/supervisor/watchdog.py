"""When a cluster must be ended because it has stopped taking tasks, and which tasks must be given back.

A worker that is stopped or hangs before it starts its task holds that task for ever. What can be seen of it is a task
that waits while a worker is idle and none has started or ended anything for as long. A long queue is not enough (the
workers may be busy getting through it), and neither is silence (there may be nothing to do).

A task that was claimed and never started is judged by when it was claimed. Claimed by an earlier life of the cluster,
which ended with the task in its hands, it is given back: ending the present one for it would be a loop. Claimed in this
life, it is given back as well, since it may have been lost on the way, or another node may hold it behind a long task
(the second of two deliveries finds the first, see `portal.work.attempts`); and it counts as waiting, since each idle
worker of a stalled cluster has claimed one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True)
class Claim:
    """A queued task that was claimed and is in no worker's hands."""

    queue_id: int
    at: datetime


@dataclass(frozen=True)
class Facts:
    """One cluster on this host. `active_at` is when one of its workers last started or ended a task."""

    now: datetime
    started_at: datetime
    workers: int
    busy: int
    active_at: datetime | None = None
    unclaimed_since: datetime | None = None
    unstarted: Sequence[Claim] = ()


@dataclass(frozen=True)
class Verdict:
    """The watchdog's decision: whether to stop the cluster, and the queue ids of tasks to give back first."""

    is_stalled: bool = False
    give_back: Sequence[int] = ()


def decide_ending(facts: Facts, patience: timedelta = PATIENCE) -> Verdict:
    if facts.busy >= facts.workers:
        return Verdict()
    long_ago = facts.now - patience
    overdue = [claim for claim in facts.unstarted if claim.at <= long_ago]
    waits = facts.unclaimed_since is not None and facts.unclaimed_since <= long_ago
    waits |= any(claim.at >= facts.started_at for claim in overdue)
    is_quiet = max(facts.started_at, facts.active_at or facts.started_at) <= long_ago
    if waits and is_quiet:
        return Verdict(is_stalled=True, give_back=[claim.queue_id for claim in facts.unstarted])
    inherited = [claim for claim in facts.unstarted if claim.at < facts.started_at]
    return Verdict(give_back=sorted({claim.queue_id for claim in overdue + inherited}))
