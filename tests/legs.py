"""Runs the suite on SQLite, then on PostgreSQL. Both legs always run; arguments go to pytest.

PostgreSQL is the server of TEST_DATABASE_URL, else one started for the run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

from tests.postgres import temporary_postgres

SETTINGS = Path(__file__).parent.parent / "docs" / "settings.md"
# The client package knows no database: once is enough.
PORTAL = ["portal", "agents", "usage", "backups", "tests"]
EVERYTHING = [*PORTAL, "client/tests"]


def clean_environment() -> dict[str, str]:
    """Ours without the settings of an installation: tests meet the defaults."""
    names = re.findall(r"^\| `([A-Z_]+)` \|", SETTINGS.read_text(encoding="utf-8"), re.MULTILINE)
    foreign = {*names, *(f"{name}_FILE" for name in names)}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def leg(name: str, paths: list[str], database_url: str | None) -> int:
    sys.stdout.write(f"== {name}\n")
    sys.stdout.flush()
    chosen = sys.argv[1:]
    if not any(not argument.startswith("-") for argument in chosen):
        chosen = [*paths, *chosen]
    with tempfile.TemporaryDirectory(prefix="vigie-test-") as directory:
        environment = clean_environment() | {"VIGIE_DATA_DIR": directory}
        if database_url:
            environment["DATABASE_URL"] = database_url
        return subprocess.run([sys.executable, "-m", "pytest", *chosen], env=environment, check=False).returncode


def stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    signal.signal(signal.SIGTERM, stop)
    given = os.environ.get("TEST_DATABASE_URL")
    codes = [leg("SQLite", EVERYTHING, None)]
    with nullcontext(given) if given else temporary_postgres() as url:
        codes.append(leg("PostgreSQL", PORTAL, url))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
