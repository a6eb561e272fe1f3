"""Channel states and the delivery lease.

One process at a time delivers for a channel, which keeps messages in order. It holds a lease with a fencing token,
claimed by a conditional UPDATE: `select_for_update` does nothing on SQLite.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from portal import audit
from portal.models import ChannelState, NotificationChannel
from portal.notifications.configuration import digest_of
from portal.querysets import ChannelStateQuerySet
from portal.work.processes import current_process

# Longer than one sending can take; renewed after each.
LEASE_DURATION = timedelta(seconds=60)
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
random = secrets.SystemRandom()


class DeliveryLeaseLost(Exception):
    """Another process delivers for this channel now."""


def synchronise_states(channels: Iterable[NotificationChannel]) -> dict[str, ChannelState]:
    """Return the states by key, creating missing ones. A channel whose configuration changed is enabled again."""
    digests = {channel.key: digest_of(channel) for channel in channels}
    states = load_states(digests)
    missing = [ChannelState(channel=key, digest=digests[key]) for key in digests.keys() - states.keys()]
    changed = [state for key, state in states.items() if state.digest != digests[key]]
    if missing:
        ChannelState.objects.bulk_create(missing, ignore_conflicts=True)
    for state in changed:
        unchanged = ChannelState.objects.filter(pk=state.pk, digest=state.digest)
        # A new fence: a failure under the old configuration must not disable the new one.
        fresh = {"digest": digests[state.channel], "moved": {}, "fence": F("fence") + 1, "lease_expires_at": None}
        if unchanged.enable(**fresh) and state.disabled_at is not None:
            audit.record_event(
                "channel.enabled", audit_subject(state.channel), actor="system", after={"reason": "changed"}
            )
    return load_states(digests) if missing or changed else states


def load_states(keys: Iterable[str]) -> dict[str, ChannelState]:
    return {state.channel: state for state in ChannelState.objects.filter(channel__in=keys)}


def audit_subject(key: str) -> str:
    """Return the channel's name in the audit log: `channel:7`, `channel:telegram`."""
    return f"channel:{key.removeprefix('channel:')}"


def backoff(failures: int, retry_after: float | None = None) -> timedelta:
    """Return the pause after consecutive failures: 2 s doubling to 5 minutes with jitter, at least `retry_after`."""
    wait = min(FIRST_PAUSE * 2 ** min(failures - 1, 16), LONGEST_PAUSE) * random.uniform(0.8, 1.2)
    return timedelta(seconds=max(wait, retry_after or 0.0))


@dataclass
class DeliveryLease:
    """The right to deliver for one channel until it expires.

    `failures` counts consecutive failures, `moved` maps former chats to new ones; the channel's state stores both.
    """

    channel: NotificationChannel
    fence: int
    failures: int
    moved: dict[str, str]

    def renew(self, **changes: Any) -> None:
        """Extend the lease and write changes to the channel's state. Raises DeliveryLeaseLost."""
        if not self._held().update(lease_expires_at=timezone.now() + LEASE_DURATION, **changes):
            raise DeliveryLeaseLost(f"{self.channel.key}: lease {self.fence} was lost")

    def release(self) -> None:
        """Give the lease back; a lost lease changes nothing."""
        self._held().update(lease_expires_at=None, asked_at=None)

    def _held(self) -> ChannelStateQuerySet:
        return ChannelState.objects.filter(channel=self.channel.key, fence=self.fence)


def acquire_delivery_lease(channel: NotificationChannel) -> DeliveryLease | None:
    """Return a lease, or None if another process holds it or the channel is disabled or paused."""
    now = timezone.now()
    state = synchronise_states([channel])[channel.key]
    claimed = ChannelState.objects.ready(now).filter(pk=state.pk, fence=state.fence)
    claim = {
        "fence": state.fence + 1,
        "holder": current_process(),
        "lease_expires_at": now + LEASE_DURATION,
        "asked_at": None,
    }
    if not claimed.update(**claim):
        return None
    return DeliveryLease(channel, state.fence + 1, state.failures, dict(state.moved))
