"""Run the suite on SQLite and, at the same time, on PostgreSQL; arguments go to pytest.

The output of the PostgreSQL leg is printed below that of SQLite. PostgreSQL is the server of TEST_DATABASE_URL, else one
started for the run. Without paths, each leg runs in several workers, and the PostgreSQL leg leaves out the tests that
cannot differ between databases. With paths, both legs run all of them, in one process each (`-n 2` for more).
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
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from tests.postgres import temporary_postgres

ROOT = Path(__file__).parent.parent
SETTINGS = ROOT / "docs" / "settings.md"
# Compiled modules are kept here, so that the tree stays clean and each of the many processes starts faster.
COMPILED = ROOT / ".venv" / "compiled"
# PostgreSQL has a third of the work. Together there are more workers than processors, since some wait for processes.
PROCESSORS = os.cpu_count() or 1
WORKERS, WORKERS_ON_POSTGRESQL = PROCESSORS, (PROCESSORS + 1) // 2
IN_WORKERS = ["-p", "tests.workers", "--dist", "loadfile", "--no-loadscope-reorder"]


def paths_of_tests() -> list[str]:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(found["tool"]["pytest"]["ini_options"]["testpaths"])


def clean_environment() -> dict[str, str]:
    """Ours without the settings of an installation: tests meet the defaults."""
    names = re.findall(r"^\| `([A-Z_]+)` \|", SETTINGS.read_text(encoding="utf-8"), re.MULTILINE)
    foreign = {*names, *(f"{name}_FILE" for name in names)}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def uses_workers(given: list[str]) -> bool:
    """Return whether the whole suite runs, not the tests of named paths."""
    return not any((ROOT / argument.partition("::")[0]).exists() for argument in given)


def arguments(given: list[str], *, is_second: bool) -> list[str]:
    """Return the arguments of one leg's pytest."""
    if not uses_workers(given):
        return given
    if is_second:
        return [*IN_WORKERS, "-n", str(WORKERS_ON_POSTGRESQL), "--what-databases-differ-in", *given]
    return [*IN_WORKERS, "-n", str(WORKERS), *given]


def compile_once() -> None:
    """Let one process compile all modules and tests the first time; each worker would do it for itself."""
    if not COMPILED.exists():
        with pytest_process(["--collect-only"], None, subprocess.DEVNULL) as running:
            running.wait()


def leg(database_url: str | None, output: IO[bytes] | None) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run the tests on one database."""
    return pytest_process(arguments(sys.argv[1:], is_second=database_url is not None), database_url, output)


@contextmanager
def pytest_process(
    given: list[str], database_url: str | None, output: IO[bytes] | int | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run pytest in a data directory of its own; it is ended with the block."""
    with tempfile.TemporaryDirectory(prefix="vigie-test-") as directory:
        environment = clean_environment() | {"VIGIE_DATA_DIR": directory, "PYTHONPYCACHEPREFIX": str(COMPILED)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if database_url:
            environment["DATABASE_URL"] = database_url
        command = [sys.executable, "-m", "pytest", *given]
        with subprocess.Popen(command, env=environment, stdout=output, stderr=output) as running:
            try:
                yield running
            finally:
                end(running)


def end(running: subprocess.Popen[bytes]) -> None:
    """End pytest with its workers and whatever they started, if it still runs."""
    with suppress(psutil.NoSuchProcess):
        for process in [*psutil.Process(running.pid).children(recursive=True), running]:
            process.terminate()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    signal.signal(signal.SIGTERM, stop)
    given = os.environ.get("TEST_DATABASE_URL")
    if uses_workers(sys.argv[1:]):
        compile_once()
    with (
        nullcontext(given) if given else temporary_postgres(is_durable=False) as url,
        tempfile.TemporaryFile() as kept,
        leg(url, kept) as second,
        leg(None, None) as first,
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
