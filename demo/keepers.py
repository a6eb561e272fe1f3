"""Servers under a process of their own, which ends them when its stdin ends: after kill -9 of whoever asked, too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NotStarted(Exception):
    """The server did not start; its log is on stderr."""


@contextmanager
def run_keeper(product: str, module: str, *arguments: str) -> Iterator[str]:
    """Yield the address that the module prints once its server runs. It ends with the block. Raises NotStarted."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C at the terminal is ours to handle, then the pipe ends
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        url = keeper.stdout.readline().strip()
        if not url:
            raise NotStarted(f"{product} did not start; its log stands above.")
        try:
            yield url
        finally:
            keeper.stdin.close()
            keeper.wait()
