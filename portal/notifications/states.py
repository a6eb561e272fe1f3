"""How each channel stands, and whose turn it is to deliver by it.

One deliverer per channel at a time keeps messages in order. A turn is a lease with a fence, claimed by a conditional
UPDATE: `select_for_update` does nothing on SQLite.
"""

from __future__ import annotations

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

# It must outlive the longest sending, and is renewed after each.
LEASE = timedelta(seconds=60)
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
random = secrets.SystemRandom()


class TurnLost(Exception):
    """Somebody else delivers by this channel now."""


def synchronise(channels: Iterable[NotificationChannel]) -> dict[str, ChannelState]:
    """The states by key, made where there is none. A configuration that changed is tried again, whatever was wrong."""
    digests = {channel.key: digest_of(channel) for channel in channels}
    states = states_of(digests)
    missing = [ChannelState(channel=key, digest=digests[key]) for key in digests.keys() - states.keys()]
    changed = [state for key, state in states.items() if state.digest != digests[key]]
    if missing:
        ChannelState.objects.bulk_create(missing, ignore_conflicts=True)
    for state in changed:
        same = ChannelState.objects.filter(pk=state.pk, digest=state.digest)
        # Whoever delivers by the old configuration at this moment must not judge the new one by it.
        fresh = {"digest": digests[state.channel], "moved": {}, "fence": F("fence") + 1, "lease_expires_at": None}
        if same.enable(**fresh) and state.disabled_at is not None:
            audit.record_event("channel.enabled", subject(state.channel), actor="system", after={"reason": "changed"})
    return states_of(digests) if missing or changed else states


def states_of(keys: Iterable[str]) -> dict[str, ChannelState]:
    return {state.channel: state for state in ChannelState.objects.filter(channel__in=keys)}


def subject(key: str) -> str:
    """What the audit trail calls a channel: `channel:7`, `channel:telegram`."""
    return f"channel:{key.removeprefix('channel:')}"


def pause(failures: int, retry_after: float | None = None) -> timedelta:
    """How long to wait after so many failures in a row: from 2 s doubling to 5 minutes, and what was asked for."""
    wait = min(FIRST_PAUSE * 2 ** min(failures - 1, 16), LONGEST_PAUSE) * random.uniform(0.8, 1.2)
    return timedelta(seconds=max(wait, retry_after or 0.0))


@dataclass
class Turn:
    """The right to deliver by one channel, until its lease runs out.

    `failures` in a row, and `moved` (from which chat to which) are kept in the channel's state as well.
    """

    channel: NotificationChannel
    fence: int
    failures: int
    moved: dict[str, str]

    def renew(self, **changes: Any) -> None:
        """Writes to the channel's state, and has another LEASE from now on. Raises TurnLost."""
        if not self._held().update(lease_expires_at=timezone.now() + LEASE, **changes):
            raise TurnLost(f"{self.channel.key}: turn {self.fence} was overtaken")

    def end(self) -> None:
        """Of no consequence where the turn is lost."""
        self._held().update(lease_expires_at=None, asked_at=None)

    def _held(self) -> ChannelStateQuerySet:
        return ChannelState.objects.filter(channel=self.channel.key, fence=self.fence)


def begin(channel: NotificationChannel) -> Turn | None:
    """A turn, or None where somebody has it, or the channel is disabled or pauses after a failure."""
    now = timezone.now()
    state = synchronise([channel])[channel.key]
    claimed = ChannelState.objects.ready(now).filter(pk=state.pk, fence=state.fence)
    mine = {"fence": state.fence + 1, "holder": current_process(), "lease_expires_at": now + LEASE, "asked_at": None}
    if not claimed.update(**mine):
        return None
    return Turn(channel, state.fence + 1, state.failures, dict(state.moved))
