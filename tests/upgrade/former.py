"""The code of the last release, from the history of the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COMMIT = "18e14fd6f5751f901a44a518bf55b392cd40a546"  # 0.1.0
PARTS = ["manage.py", "portal", "agents", "usage", "backups", "monitoring", "beta", "client/src"]


def unpack_former_release(target: Path) -> dict[str, str]:
    """Write the code into the folder, and return the environment in which it runs with this version's packages.

    Raises RuntimeError in a clone that lacks the commit.
    """
    archived = subprocess.run(["git", "archive", COMMIT, *PARTS], cwd=ROOT, capture_output=True, check=False)
    if archived.returncode:
        raise RuntimeError("The history lacks the last release. Get it: git fetch --unshallow")
    target.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", target], input=archived.stdout, check=True)
    # Its own client before the installed one, and its compiled modules beside it.
    cleared = dict.fromkeys(("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"), "")
    return {"PYTHONPATH": str(target / "client" / "src"), **cleared}
