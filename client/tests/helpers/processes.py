"""Processes that are killed at a chosen instant.

An instant is a call that changes the disk. The child is killed right before its n-th one, or in the middle of a write;
n grows until a child ends by itself, so that every instant is tested.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Callable, NoReturn

PATIENCE = 120
"""Seconds to wait for anything, however busy the machine is. Passing tests never wait as long."""

CHANGES = ("write", "fsync", "replace", "unlink", "ftruncate", "open", "link", "mkdir")


def die_at(instant: int) -> None:
    """Make this process kill itself at its `instant`-th change of the disk."""
    left = instant

    def deadly(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return change

    for name in CHANGES:
        setattr(os, name, deadly(name, getattr(os, name)))


def fork(work: Callable[[], Any], instant: int) -> int:
    """Start `work` in a child that dies at `instant`. Return its process id."""
    child = os.fork()
    if child == 0:
        _live(work, instant)
    return child


def _live(work: Callable[[], Any], instant: int) -> NoReturn:
    status = 1
    try:
        die_at(instant)
        work()
        status = 0
    finally:
        os._exit(status)


def was_killed(child: int) -> bool:
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def every_instant(folder: Path, scene: Callable[[Path, int], bool]) -> int:
    """Play `scene` in a new folder for each instant until it returns False. Return the number of instants."""
    for instant in range(1, 300):
        stage = folder / str(instant)
        stage.mkdir()
        if not scene(stage, instant):
            return instant
    raise AssertionError("no child ended by itself")
