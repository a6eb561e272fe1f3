"""What the background does for messages."""

from __future__ import annotations

from portal.notifications.outbox import DELIVER
from portal.tasks import task


@task(DELIVER, is_routine=True)
def deliver(channel: str) -> None:
    """Sends what waits for the channel of this key."""
