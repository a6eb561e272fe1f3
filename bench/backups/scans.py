"""Verifying and promoting large dumps, and scanning ten thousand expected backups."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zstandard

from bench.figures import Figure, median, show
from bench.load import Address

GIB = 1024 * 1024 * 1024
ROUNDS = 5
AGENTS, JOBS_EACH = 500, 20
ROWS = 2_000_000
# Memory, not the disk: the limits are those of the code. How long the disk takes is told beside them.
MEMORY = Path("/dev/shm")


class Scanner:
    """A separate process that scans on request."""

    def __init__(self, root: Path) -> None:
        roots = {"DEPOSITS_ROOT": str(root / "deposits"), "VALIDATED_ROOT": str(root / "validated")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.backups.scan_worker"],
            env=os.environ | roots,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, agent: str = "*") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{agent}\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def scan(self, agent: str = "*") -> dict[str, Any]:
        self.ask(agent)
        return self.answer()

    def end(self) -> None:
        self.process.communicate()


@contextmanager
def scanners(root: Path, number: int) -> Iterator[list[Scanner]]:
    started = [Scanner(root) for _ in range(number)]
    try:
        yield started
    finally:
        for scanner in started:
            scanner.end()


@contextmanager
def roots(parent: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vigie-bench-", dir=parent) as directory:
        root = Path(directory)
        for name in ("deposits", "validated"):
            (root / name).mkdir()
        yield root


def measure(address: Address) -> Iterator[Figure]:
    with roots(MEMORY) as root:
        dump = root / "dump"
        sha256 = write_random_file(dump)
        yield verifying(dump)
        yield from doubting(root)
        yield promoting(root, dump, sha256)
        yield two_at_once(root, dump, sha256)
        with roots(None) as disk:
            yield promoting_to_disk(disk, dump, sha256)
    with roots(None) as root:
        yield from many_jobs(root)


def write_random_file(path: Path) -> str:
    """Write 1 GiB of incompressible data; return its SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(GIB // (16 * 1024 * 1024)):
            part = os.urandom(16 * 1024 * 1024)
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


def timed(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def openssl(path: Path) -> float:
    return timed(["openssl", "dgst", "-sha256", str(path)])


def verifying(dump: Path) -> Figure:
    from backups.scanner import verify  # noqa: PLC0415 - Django's models exist only once its settings do

    ratios = []
    for _ in range(ROUNDS):
        peer, started = openssl(dump), time.monotonic()
        with dump.open("rb", buffering=0) as file:
            verify.measure_file(file.fileno())
        ratios.append((time.monotonic() - started) / peer)
    return show(Figure("verify a warm GiB / openssl dgst -sha256", median(ratios), 1.10, False, "x"))


class Unpacking:
    """An inspector that finds nothing: the least work that unpacking takes."""

    def __init__(self, format: Any) -> None:
        self.member, self.slice = format.decompressor(), format.slice

    def feed(self, data: memoryview) -> None:
        for start in range(0, len(data), self.slice):
            self.member.decompress(data[start : start + self.slice])

    def doubts(self) -> tuple[str, ...]:
        return ()


def doubting(root: Path) -> Iterator[Figure]:
    """Verifying, copying and finding doubts, against the same without looking at what comes out.

    zstd is unpacked 1 KiB at a time to bound memory, so what is done for each slice counts for more.
    """
    from backups.scanner import verify  # noqa: PLC0415
    from backups.scanner.disk.copying import write_all  # noqa: PLC0415
    from backups.scanner.unpack import GZIP, ZSTD, ContentCheck  # noqa: PLC0415

    rows = b"".join(b"%d\tclient\t%s\n" % (number, os.urandom(6).hex().encode()) for number in range(ROWS))
    zst = zstandard.ZstdCompressor().compress(rows)
    for format, packed, limit in ((GZIP, gzip.compress(rows, 6), 1.05), (ZSTD, zst, 1.10)):
        path = root / f"rows{format.suffix}"
        path.write_bytes(packed)

        def took(check: Any, path: Path = path) -> float:
            with path.open("rb", buffering=0) as file, (root / "copy").open("wb", buffering=0) as copy:
                started = time.process_time()
                verify.measure_file(file.fileno(), copy=lambda data: write_all(copy.fileno(), data), check=check)
                return time.process_time() - started

        pairs = [(took(ContentCheck(path.name, packed)), took(Unpacking(format))) for _ in range(ROUNDS)]
        ratio = min(doubts for doubts, _alone in pairs) / min(alone for _doubts, alone in pairs)
        yield show(Figure(f"doubts about a {format.suffix} / unpacking it alone", ratio, limit, False, "x"))


def add_jobs(agent: str, databases: list[str]) -> None:
    """Jobs whose content is not looked into: the peer does not either."""
    from backups.models import ExpectedBackupJob  # noqa: PLC0415

    ExpectedBackupJob.objects.bulk_create(
        ExpectedBackupJob(
            agent_id=agent, database_name=name, company_name=agent, expected_hour_utc=13, deep_check=False
        )
        for name in databases
    )


def write_report(root: Path, agent: str, sections: dict[str, Any]) -> None:
    folder = root / "deposits" / agent / "log"
    folder.mkdir(parents=True, exist_ok=True)
    body = {"agent_id": agent, "timestamp": "2025-06-12T13:04:11Z", "databases": sections}
    (folder / f"OPERATION_20250612_1304_{agent}.json").write_text(json.dumps(body))


def section(sha256: str, size: int) -> dict[str, Any]:
    return {
        "backup_process": {"status": True},
        "compress_process": {"status": True, "sha256": sha256, "size": size},
        "transfer_process": {"status": True, "error_message": None},
    }


def stage(root: Path, agent: str, dump: Path, sha256: str) -> None:
    """Prepare a cycle that was not scanned, with the dump linked under a second name."""
    from backups.models import BackupEntry, ExpectedBackupJob  # noqa: PLC0415

    ExpectedBackupJob.objects.filter(agent_id=agent).update(settled_at=None, previous_successful_hash="")
    BackupEntry.objects.filter(job__agent_id=agent).delete()
    shutil.rmtree(root / "validated" / agent, ignore_errors=True)
    folder = root / "deposits" / agent / "database"
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / "big.sql.gz"
    staged.unlink(missing_ok=True)
    staged.hardlink_to(dump)
    write_report(root, agent, {"big": section(sha256, GIB)})


def verified(found: dict[str, Any], promoted: int = 1) -> float:
    assert (found["statuses"], found["promoted"]) == (["SUCCESS"], promoted), found
    return float(found["seconds"])


def promoting(root: Path, dump: Path, sha256: str) -> Figure:
    add_jobs("LARGE-1", ["big"])
    ratios = []
    with scanners(root, 1) as [scanner]:
        for _ in range(ROUNDS):
            stage(root, "LARGE-1", dump, sha256)
            ratios.append(verified(scanner.scan("LARGE-1")) / openssl(dump))
    return show(Figure("verify and promote a warm GiB / openssl", median(ratios), 2.0, False, "x", "in memory"))


def promoting_to_disk(root: Path, dump: Path, sha256: str) -> Figure:
    """Against what anybody would have to do: hash the file, copy it, have it on disk."""
    large, target = root / "dump", root / "copy"
    shutil.copyfile(dump, large)
    add_jobs("LARGE-D", ["big"])
    ratios, took = [], []
    with scanners(root, 1) as [scanner]:
        for _ in range(3):
            stage(root, "LARGE-D", large, sha256)
            took.append(verified(scanner.scan("LARGE-D")))
            peer = openssl(large) + timed(["dd", f"if={large}", f"of={target}", "bs=1M", "conv=fsync", "status=none"])
            ratios.append(took[-1] / peer)
            target.unlink()
    note = f"{median(took):.2f} s, of which the disk decides"
    return show(Figure("the same on disk / openssl, then dd conv=fsync", median(ratios), 1.3, False, "x", note))


def two_at_once(root: Path, dump: Path, sha256: str) -> Figure:
    """Each with a dump of its own: a second name of one file would change it under the other's hands."""
    dumps = {"LARGE-2": dump, "LARGE-3": root / "dump-3"}
    shutil.copyfile(dump, dumps["LARGE-3"])
    for agent in dumps:
        add_jobs(agent, ["big"])
    ratios = []
    with scanners(root, 2) as both:
        for _ in range(ROUNDS):
            stage_all(root, dumps, sha256)
            one_by_one = sum(verified(both[0].scan(agent)) for agent in dumps)
            stage_all(root, dumps, sha256)
            started = time.monotonic()
            for scanner, agent in zip(both, dumps, strict=True):
                scanner.ask(agent)
            for scanner in both:
                verified(scanner.answer())
            ratios.append(one_by_one / (time.monotonic() - started))
    return show(Figure("two machines on two cores / one after the other", median(ratios), 1.5, True, "x"))


def stage_all(root: Path, dumps: dict[str, Path], sha256: str) -> None:
    for agent, dump in dumps.items():
        stage(root, agent, dump, sha256)


def many_jobs(root: Path) -> Iterator[Figure]:
    from django.db import connection  # noqa: PLC0415

    from backups.models import ExpectedBackupJob  # noqa: PLC0415

    ExpectedBackupJob.objects.all().delete()
    agents = [f"SRV-{number:03}" for number in range(AGENTS)]
    databases = [f"db_{number:02}" for number in range(JOBS_EACH)]
    for agent in agents:
        deposit_small(root, agent, databases)
        add_jobs(agent, databases)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with scanners(root, 1) as [scanner]:
        first, idle = scanner.scan(), scanner.scan()
    jobs = AGENTS * JOBS_EACH
    verified(first, jobs)
    note = f"{first['queries']} queries: {first['queries'] / AGENTS:.1f} a machine, {first['queries'] / jobs:.2f} a job"
    yield show(Figure(f"first scan of {jobs} jobs of {AGENTS} machines", first["seconds"], 60, False, "s", note))
    yield show(Figure("queries of it for each machine", first["queries"] / AGENTS, 40, False))
    note = f"{idle['queries']} queries"
    yield show(Figure("idle scan of the same", idle["seconds"], 3, False, "s", note))
    yield show(Figure("dumps it opened", idle["opened"], 0, False))
    yield show(Figure("peak memory of both", idle["peak_mb"], 150, False, "MB"))


def deposit_small(root: Path, agent: str, databases: list[str]) -> None:
    folder = root / "deposits" / agent / "database"
    folder.mkdir(parents=True)
    sections = {}
    for name in databases:
        content = gzip.compress(f"-- {agent} {name}\n".encode() * 20, mtime=0)
        (folder / f"{name}.sql.gz").write_bytes(content)
        sections[name] = section(hashlib.sha256(content).hexdigest(), len(content))
    write_report(root, agent, sections)
