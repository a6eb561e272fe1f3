"""What the workers do for monitoring."""

from __future__ import annotations

from monitoring import rounds
from portal.work.queue import task


@task(rounds.TASK, is_routine=True)
def watch_for_a_round() -> None:
    rounds.run_round()
