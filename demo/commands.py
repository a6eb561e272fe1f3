"""The portal's own commands, as somebody at its console types them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]


def manage(*arguments: str, capture: bool = False) -> str:
    """What a command of manage.py prints, where it is captured. Ends the demo where the command fails."""
    pipe = subprocess.PIPE if capture else None
    done = subprocess.run([*MANAGE, *arguments], cwd=ROOT, stdout=pipe, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return (done.stdout or "").strip()
