"""Checks that users ask for and wait for: of a form that is not saved yet, and of one target at once."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.cache import cache

from monitoring import controls
from monitoring.checks.active_round import CLAIM_LENGTH
from monitoring.checks.record import UNCLAIMED, FinishedCheck, record_checks
from monitoring.clock import Mark, mark
from monitoring.models import Target
from monitoring.probe.http import ProbeOutcome, probe_http
from monitoring.probe.kinds import NETWORK
from monitoring.querysets import CLOCKS_DIFFER
from portal.work.processes import current_process

# A user waits no longer than this, whatever the timeout of the target.
LONGEST_SECONDS = 10.0
MOST_PER_MINUTE = 20
# Each holds a thread of the web server, which has others to answer.
MOST_AT_ONCE = 3
MINUTE = timedelta(minutes=1)

running = threading.BoundedSemaphore(MOST_AT_ONCE)


def admit_trial(user: Any, run: Callable[[], ProbeOutcome]) -> ProbeOutcome | None:
    """Return the outcome of the trial, or None if it is one too many of the user or of this web process."""
    if not running.acquire(blocking=False):
        return None
    try:
        return run() if count_trial(user) else None
    finally:
        running.release()


def count_trial(user: Any) -> bool:
    """Count one trial of the user. Return whether they are within the limit of this web process."""
    key = f"monitoring.trials.{user.pk}"
    cache.add(key, 0, MINUTE.total_seconds())
    try:
        return cache.incr(key) <= MOST_PER_MINUTE
    except ValueError:  # the minute ended in between
        return True


def try_target(target: Target) -> ProbeOutcome:
    """Probe the target once as it is, saved or not, and record nothing."""
    spec = target.spec()
    spec = replace(spec, timeout=min(spec.timeout, LONGEST_SECONDS))
    return probe_http(spec, allow_private=settings.PROBE_ALLOW_PRIVATE)


def check_at_once(target: Target) -> ProbeOutcome:
    """Probe a saved target and record the outcome, not inside a transaction.

    An error of the network may be the portal's own: the workers check again, who know whether the portal is online.
    """
    started = mark()
    outcome = try_target(target)
    if outcome.error_kind in NETWORK:
        controls.request_checks(Target.objects.filter(pk=target.pk), mark().at)
    else:
        record_outcome(target, FinishedCheck(target, outcome, started.at))
    return outcome


def record_outcome(target: Target, check: FinishedCheck) -> None:
    """Record the check unless the target was changed or checked meanwhile, or a worker is checking it."""
    now, claim = mark(), f"{uuid4()} {current_process()}"
    for claimed in Target.objects.filter(pk=target.pk).claim_by(claim, now.at, now.at + CLAIM_LENGTH):
        if claimed.spec() == target.spec() and not was_checked_since(claimed, check, now):
            record_checks([replace(check, target=claimed)], now)
        else:
            Target.objects.filter(claim=claim).update(**UNCLAIMED)


def was_checked_since(target: Target, check: FinishedCheck, now: Mark) -> bool:
    """Return whether a later check was recorded. One from the future was made before the clock was set back."""
    recorded = target.last_check_at
    return recorded is not None and check.at < recorded <= now.at + CLOCKS_DIFFER
