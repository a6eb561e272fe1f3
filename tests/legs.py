"""Runs the suite on SQLite and, at the same time, on PostgreSQL. Both legs always run; arguments go to pytest.

What the second leg says stands below the first's. PostgreSQL is the server of TEST_DATABASE_URL, else one started for
the run.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import IO

from tests.postgres import temporary_postgres

ROOT = Path(__file__).parent.parent
SETTINGS = ROOT / "docs" / "settings.md"
# The client package knows no database: once is enough.
ONCE = {"client/tests"}


def paths_of_tests() -> list[str]:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(found["tool"]["pytest"]["ini_options"]["testpaths"])


def clean_environment() -> dict[str, str]:
    """Ours without the settings of an installation: tests meet the defaults."""
    names = re.findall(r"^\| `([A-Z_]+)` \|", SETTINGS.read_text(encoding="utf-8"), re.MULTILINE)
    foreign = {*names, *(f"{name}_FILE" for name in names)}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def chosen(paths: list[str]) -> list[str]:
    """What pytest is given: the paths named by whoever runs this, else those of the leg."""
    given = sys.argv[1:]
    return given if any(not argument.startswith("-") for argument in given) else [*paths, *given]


@contextmanager
def leg(paths: list[str], database_url: str | None, output: IO[bytes] | None) -> Iterator[subprocess.Popen[bytes]]:
    """Pytest at work in a data directory of its own; it is ended with the block."""
    with tempfile.TemporaryDirectory(prefix="vigie-test-") as directory:
        environment = clean_environment() | {"VIGIE_DATA_DIR": directory}
        if database_url:
            environment["DATABASE_URL"] = database_url
        command = [sys.executable, "-m", "pytest", *chosen(paths)]
        with subprocess.Popen(command, env=environment, stdout=output, stderr=output) as running:
            try:
                yield running
            finally:
                running.terminate()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    signal.signal(signal.SIGTERM, stop)
    given, everything = os.environ.get("TEST_DATABASE_URL"), paths_of_tests()
    on_both = [path for path in everything if path not in ONCE]
    with (
        nullcontext(given) if given else temporary_postgres() as url,
        tempfile.TemporaryFile() as kept,
        leg(on_both, url, kept) as second,
        leg(everything, None, None) as first,
    ):
        say("== SQLite")
        codes = [first.wait(), second.wait()]
        say("== PostgreSQL")
        kept.seek(0)
        shutil.copyfileobj(kept, sys.stdout.buffer)
        sys.stdout.flush()
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
