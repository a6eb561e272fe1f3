"""Put each mutant into a copy of the project, run its tests there, and report which mutants they kill.

    python -m tests.mutants -n 2                                      all mutants, on the last commit
    python -m tests.mutants --commit REVISION --python PYTHON         on an earlier one, with its packages
    python -m tests.mutants --against RESULTS beta-promoters          fails if RESULTS has a kill that is none now

First every test file runs without a fault: a mutant whose tests fail anyway is reported as broken. Uncommitted changes
are not copied. The results are written as they come: a line a mutant with its id, its result and the seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from queue import SimpleQueue

from tests.legs import clean_environment
from tests.mutants import ROOT, DoesNotApply, Mutant, load_mutants
from tests.postgres import temporary_postgres

# A mutant that loops without end is killed by its tests. Without faults all tests of a package run in one go.
TIMEOUT_SECONDS, TIMEOUT_WITHOUT_FAULTS = 600.0, 3_600.0
FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s:]+)", re.MULTILINE)
KILLED, SURVIVED, BROKEN = "killed", "survived", "broken"
# pytest's exit codes: all passed, some failed, and collection that ended with an error
PASSED, WITH_FAILURES = 0, (1, 2)


class Sources:
    """A copy of a commit in a folder of its own, in which one pytest runs at a time."""

    def __init__(self, commit: str, python: str, folder: Path) -> None:
        self.root, self.python = folder / "sources", python
        self.root.mkdir()
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", self.root], input=archive, check=True)

    def write(self, file: str, content: str) -> None:
        path = self.root / file
        path.write_text(content, encoding="utf-8")
        # Two versions of one second and size look alike to Python, which would run the compiled one of before.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()

    def run_pytest(self, arguments: Sequence[str], database_url: str, timeout: float) -> tuple[int | None, str]:
        """Return the exit code, None after the timeout, and the output."""
        with tempfile.TemporaryDirectory(prefix="vigie-mutant-") as data, tempfile.TemporaryFile() as output:
            client = str(self.root / "client" / "src")
            environment = clean_environment() | {"VIGIE_DATA_DIR": data, "PYTHONPATH": client}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            if database_url:
                environment["DATABASE_URL"] = database_url
            command = [self.python, "-m", "pytest", *arguments]
            with subprocess.Popen(
                command, cwd=self.root, env=environment, stdout=output, stderr=output, start_new_session=True
            ) as running:
                try:
                    code = running.wait(timeout)
                except subprocess.TimeoutExpired:
                    code = None
                finally:
                    with suppress(ProcessLookupError):
                        os.killpg(running.pid, signal.SIGKILL)  # and whatever the tests left running
            output.seek(0)
            return code, output.read().decode(errors="replace")

    def failing_files(self, files: Sequence[str], database_url: str) -> set[str]:
        """Return which of these test files fail without a fault; all of them if pytest does not get to its end."""
        code, output = self.run_pytest(["-rfE", "--tb=short", *files], database_url, TIMEOUT_WITHOUT_FAULTS)
        if code == PASSED:
            return set()
        found = set(FAILED.findall(output))
        say(f"These fail without a fault: {', '.join(sorted(found)) or 'nobody knows which'}.\n{output[-3000:]}")
        return {file for file in files if any(each.startswith(file) for each in found)} if found else set(files)

    def try_mutant(self, mutant: Mutant, database_url: str) -> str:
        original = (self.root / mutant.file).read_text(encoding="utf-8")
        self.write(mutant.file, mutant.mutate(self.root))
        try:
            code, output = self.run_pytest(["-x", "--tb=no", *mutant.tests], database_url, TIMEOUT_SECONDS)
        finally:
            self.write(mutant.file, original)
        if code == PASSED:
            return SURVIVED
        if code is None or code in WITH_FAILURES:
            return KILLED
        say(output[-3000:])
        return BROKEN


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def read_results(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: result for name, result, *_seconds in map(str.split, lines)}


def choose_mutants(ids: Sequence[str]) -> list[Mutant]:
    mutants = load_mutants()
    unknown = set(ids) - {mutant.id for mutant in mutants}
    if unknown:
        sys.exit(f"There is no mutant {', '.join(sorted(unknown))}.")
    return [mutant for mutant in mutants if not ids or mutant.id in ids]


class MutationRun:
    """The mutants, the copies that they are tried in, and the results so far."""

    def __init__(self, mutants: Sequence[Mutant], copies: Sequence[Sources], output: Path) -> None:
        self.copies: SimpleQueue[Sources] = SimpleQueue()
        for copy in copies:
            self.copies.put(copy)
        self.pool = ThreadPoolExecutor(len(copies))
        self.output, self.results = output, dict[str, str]()
        self.on_postgresql = threading.Lock()  # its test database has one name
        self.database_url = ""
        self.mutants: list[Mutant] = []
        output.write_text("", encoding="utf-8")
        for mutant in mutants:
            try:
                self.mutants.append(mutant.for_sources(copies[0].root))
            except DoesNotApply as error:
                say(str(error))
                self.note(mutant, BROKEN, 0.0)

    def note(self, mutant: Mutant, result: str, seconds: float) -> None:
        self.results[mutant.id] = result
        line = f"{mutant.id} {result} {seconds:.0f}"
        with self.output.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        say(f"{len(self.results)} {line}{'' if result == KILLED else f': {mutant.breaks}'}")

    def find_failing_files(self) -> set[tuple[str, str]]:
        """Return the database and the path of the test files that fail without a fault."""
        files: dict[tuple[str, str], set[str]] = defaultdict(set)
        for mutant in self.mutants:
            for test in mutant.tests:
                files[mutant.database, test.split("/tests/")[0]].add(test)
        return set().union(*self.pool.map(self.failing_files, [key[0] for key in files], map(sorted, files.values())))

    def failing_files(self, database: str, files: Sequence[str]) -> set[tuple[str, str]]:
        with self.copy_for(database) as (copy, database_url):
            return {(database, file) for file in copy.failing_files(files, database_url)}

    def try_mutant(self, mutant: Mutant) -> tuple[str, float]:
        with self.copy_for(mutant.database) as (copy, database_url):
            started = time.monotonic()
            return copy.try_mutant(mutant, database_url), time.monotonic() - started

    @contextmanager
    def copy_for(self, database: str) -> Iterator[tuple[Sources, str]]:
        """Yield a free copy and the address of the database, empty for SQLite."""
        is_sqlite = database == "sqlite"
        with nullcontext() if is_sqlite else self.on_postgresql:
            copy = self.copies.get()
            try:
                yield copy, "" if is_sqlite else self.database_url
            finally:
                self.copies.put(copy)

    def try_all(self) -> None:
        failing = self.find_failing_files()
        tries = {}
        for mutant in self.mutants:
            if any((mutant.database, test) in failing for test in mutant.tests):
                self.note(mutant, BROKEN, 0.0)
            else:
                tries[self.pool.submit(self.try_mutant, mutant)] = mutant
        for future in as_completed(tries):
            self.note(tries[future], *future.result())

    def try_all_on_databases(self) -> None:
        if all(mutant.database == "sqlite" for mutant in self.mutants):
            return self.try_all()
        with temporary_postgres(is_durable=False) as self.database_url:
            return self.try_all()


def summarize(results: dict[str, str], against: Path | None) -> int:
    counts = {kind: list(results.values()).count(kind) for kind in (KILLED, SURVIVED, BROKEN)}
    say(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    if against is None:
        return int(counts[BROKEN] > 0)
    known = read_results(against)
    lost = sorted(name for name, result in results.items() if result != KILLED and known.get(name) == KILLED)
    say(f"Killed before and not now: {', '.join(lost) or 'none'}.")
    return int(bool(lost))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ids", nargs="*", metavar="MUTANT", help="its id; all unless given")
    parser.add_argument("--commit", default="HEAD", help="the commit to test")
    parser.add_argument("--python", default=sys.executable, help="the interpreter with the packages of that commit")
    parser.add_argument("-n", type=int, default=1, metavar="COPIES", help="how many mutants are tried at a time")
    parser.add_argument("--output", type=Path, default=Path(tempfile.gettempdir()) / "mutants.txt", help="for results")
    parser.add_argument("--against", type=Path, metavar="RESULTS", help="an output whose kills must be kills again")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    mutants = choose_mutants(options.ids)
    with tempfile.TemporaryDirectory(prefix="vigie-mutants-") as directory:
        folders = [Path(directory) / str(number) for number in range(options.n)]
        for folder in folders:
            folder.mkdir()
        run = MutationRun(mutants, [Sources(options.commit, options.python, each) for each in folders], options.output)
        try:
            run.try_all_on_databases()
        finally:
            run.pool.shutdown(cancel_futures=True)
    return summarize(run.results, options.against)


if __name__ == "__main__":
    sys.exit(main())
