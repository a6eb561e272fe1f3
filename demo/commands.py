"""Run the portal's commands and scripts in its own processes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]


def manage(*arguments: str, capture: bool = False) -> str:
    """Run a command of manage.py. Return its output if captured. Exit if the command fails."""
    pipe = subprocess.PIPE if capture else None
    done = subprocess.run([*MANAGE, *arguments], cwd=ROOT, stdout=pipe, stderr=pipe, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr or "")
        sys.exit(done.returncode)
    return (done.stdout or "").strip()


def portal_command(script: str) -> list[str]:
    """Return the command that runs a script of `demo.portal_side` in a process of the portal."""
    return [*MANAGE, "shell", "-v0", "-c", f"from demo.portal_side.{script} import main; main()"]


def run_in_portal(script: str, data: object) -> str:
    """Run a script of `demo.portal_side` with `data` as JSON on its input. Return its output."""
    done = subprocess.run(
        portal_command(script),
        cwd=ROOT,
        input=json.dumps(data, default=datetime.isoformat),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()
