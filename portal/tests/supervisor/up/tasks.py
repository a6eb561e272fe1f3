"""Tasks for tests that kill workers."""

import os
import signal
import time
from pathlib import Path

from portal.work.queue import task


@task("up.nothing")
def nothing() -> None:
    pass


@task("up.sleep")
def sleep(seconds: float) -> None:
    time.sleep(seconds)


@task("up.wait")
def wait(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.1)


@task("up.poison")
def poison() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
