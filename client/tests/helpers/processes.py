"""Other programs, and processes that are killed at a chosen instant.

An instant is right before a call that changes the disk, or in the middle of a write. Opening a file that exists and
syncing change nothing. The child is killed at its n-th instant; n grows until a child ends by itself, so that every state
of the disk is tested.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, NoReturn

PATIENCE = 120
"""Seconds to wait for anything, however busy the machine is. Passing tests never wait as long."""

SOURCE = str(Path(__file__).resolve().parents[2] / "src")
CHANGES = ("write", "replace", "unlink", "ftruncate", "open", "link", "mkdir")


def start_program(source: str, *arguments: Any, folder: Path) -> subprocess.Popen[str]:
    """Start a Python program in `folder` that can import vigie_client."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def die_at(instant: int) -> None:
    """Make this process kill itself at its `instant`-th instant: a write has one before and one in its middle."""
    left = instant

    def deadly(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if name == "open" and os.path.exists(arguments[0]):
                return real(*arguments, **options)
            left -= 2 if name == "write" else 1
            if name == "write" and left == 0:
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            if left <= 0:
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
    """Play `scene` in a new folder for each instant until it returns False. Return that last instant."""
    for instant in range(1, 300):
        stage = folder / str(instant)
        stage.mkdir()
        if not scene(stage, instant):
            return instant
    raise AssertionError("no child ended by itself")
