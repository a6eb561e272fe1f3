"""The code of the last release, from the history of the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COMMIT = "18e14fd6f5751f901a44a518bf55b392cd40a546"  # 0.1.0
PARTS = ["manage.py", "portal", "agents", "usage", "backups", "monitoring", "beta", "client/src"]


def list_former_migrations() -> list[tuple[str, str]]:
    """Return app and name of each migration of the last release. Raises RuntimeError in a clone that lacks it."""
    command = ["git", "ls-tree", "-r", "--name-only", COMMIT, *PARTS]
    paths = [Path(path) for path in run_git(command).decode().splitlines()]
    return [(path.parts[0], path.stem) for path in paths if path.match("migrations/0*.py")]


def unpack_former_release(target: Path) -> dict[str, str]:
    """Write the code into the folder, and return the environment in which it runs with this version's packages.

    Raises RuntimeError in a clone that lacks the commit.
    """
    archive = run_git(["git", "archive", COMMIT, *PARTS])
    target.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", target], input=archive, check=True)
    # Its own client before the installed one, and its compiled modules beside it.
    cleared = dict.fromkeys(("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"), "")
    return {"PYTHONPATH": str(target / "client" / "src"), **cleared}


def run_git(command: list[str]) -> bytes:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError("The history lacks the last release. Get it: git fetch --unshallow")
    return done.stdout
