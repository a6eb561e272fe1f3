"""The portal's own commands, as somebody at its console types them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]


def manage(*arguments: str, capture: bool = False) -> str:
    """What a command of manage.py prints, where it is captured. Ends the demo where the command fails."""
    pipe = subprocess.PIPE if capture else None
    done = subprocess.run([*MANAGE, *arguments], cwd=ROOT, stdout=pipe, stderr=pipe, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr or "")
        sys.exit(done.returncode)
    return (done.stdout or "").strip()


def within(script: str, said: object) -> str:
    """What a script prints that runs in the portal's own process, and reads `said` as JSON from its input."""
    done = subprocess.run(
        [*MANAGE, "shell", "-v0", "-c", script],
        cwd=ROOT,
        input=json.dumps(said, default=datetime.isoformat),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()
