"""Tasks for tests that kill workers."""

import os
import signal
import time

from portal.work.queue import task


@task("up.nothing")
def nothing() -> None:
    pass


@task("up.sleep")
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@task("up.poison")
def poison() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
