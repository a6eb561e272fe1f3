"""Tasks of the workers for monitoring."""

from monitoring.checks import worker_rounds
from portal.work.queue import task


@task(worker_rounds.TASK, is_routine=True)
def watch_for_a_round() -> None:
    worker_rounds.run_round()
