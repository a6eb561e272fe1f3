"""A portal with a target for its backups, and commands that are killed on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from portal.tests.helpers.portal_process import Portal

# Runs a command of which one function kills the process, instead of running or after it.
KILLED = """
import importlib, os, signal, sys
import django
from django.core.management import call_command
os.umask(0o077)
django.setup()
step, when, *arguments = sys.argv[1:]
module, _, name = step.rpartition(".")
owner = importlib.import_module(module)
original = getattr(owner, name)
def kill(*given, **named):
    if when == "after":
        original(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, kill)
call_command(*arguments)
"""


@dataclass
class Place:
    """A portal with a key file and a target beside it."""

    portal: Portal
    folder: Path

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def archives(self) -> list[str]:
        return sorted(path.name for path in self.target.iterdir() if path.suffix == ".tar")

    def arguments(self, command: str, where: str = "") -> list[str]:
        """Return a command with its target or archive: `where`, else this folder's target or its first archive."""
        place = self.target if command == "backup_portal" else self.target / self.archives[0]
        return [command, where or str(place), "--passphrase-file", str(self.folder / "key")]

    def kill(self, portal: Portal, step: str, when: str, command: str, where: str = "") -> None:
        code = [sys.executable, "-c", KILLED, f"portal.archives.{step}", when, *self.arguments(command, where)]
        done = subprocess.run(
            code, env=portal.environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr


def portal_at(directory: Path, url: str) -> Portal:
    portal = Portal(directory, url)
    portal.extra = {"DJANGO_SETTINGS_MODULE": "portal.settings"}
    return portal
