"""The experiments. Each takes the stage with a portal that may run already, and gives figures with their limits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.db.models import Count, Sum
from django.utils import timezone
from vigie_client import build_usage_payload, new_run_id

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner import orchestration
from bench.figures import Figure
from faults.load import Reporters, expect_backup, send_message
from faults.stage import (
    PARTS,
    Stage,
    at_least,
    at_most,
    container,
    exactly,
    has_containers,
    kill,
    kill_node,
    say,
    seconds_until,
    stage,
)
from monitoring.models import Target
from portal.access.tokens.issuing import issue_token
from portal.base.encryption import encrypt
from portal.models import JobRun, NotificationChannel, OutboxMessage, TaskAttempt
from portal.tests.helpers.portal_process import Portal
from portal.work.jobs import exclusive_lease
from usage import rollups
from usage.models import Run, RunRollup

MIB = 1024 * 1024
CHATS = [f"-100{number}" for number in range(6)]
# A message to each chat; more than ten a minute for one would be sent as a digest.
MESSAGES_SHORT, MESSAGES_WHOLE = 8, 50
PAUSE_SECONDS, MESSAGE_EVERY = 2.0, 7.0
TAKEN_OVER = 20.0
BACK = 30.0


def ensure_running(scene: Stage) -> None:
    if scene.portal.up is None:
        scene.portal.start()


# --- Kills under load ------------------------------------------------------------------------------------------------


def kills(scene: Stage) -> Iterator[Figure]:
    """Every part is killed while runs, messages and scans are under way: nothing is lost, nothing has two effects."""
    ensure_running(scene)
    turns, apps, count = (3, 12, 1_667) if scene.is_whole else (1, 4, 300)
    secret = encrypt("123456:faults")
    NotificationChannel.objects.create(name="faults", kind="telegram", addresses="\n".join(CHATS), secret=secret)
    reporters = Reporters(scene.url, issue_token("client", label="faults")[1], scene.directory, apps, count)
    try:
        told = kill_in_turn(scene, reporters, turns)
        yield at_most("kills: ready again", seconds_until(lambda: scene.portal.readiness()[0] == 200, 90), BACK)
        reporters.wait(600 if scene.is_whole else 90)
    finally:
        reporters.stop()
    yield from judge_runs(reporters)
    yield from judge_messages(scene, told)
    yield from judge_scans()


def kill_in_turn(scene: Stage, reporters: Reporters, turns: int) -> int:
    """The number of messages that were written meanwhile."""
    most = MESSAGES_WHOLE if scene.is_whole else MESSAGES_SHORT
    told, next_message, killed = 0, 0.0, 0
    parts = [*PARTS, "client", *(["postmaster"] if scene.database else [])] * turns
    while killed < len(parts) or told < most:
        if told < most and time.monotonic() >= next_message and send_message(told):
            told, next_message = told + 1, time.monotonic() + (MESSAGE_EVERY if scene.is_whole else PAUSE_SECONDS * 2)
        if killed < len(parts):
            with contextlib.suppress(DatabaseError):
                expect_backup(f"SRV-{killed}", Path(settings.DEPOSITS_ROOT), 40 * MIB)
            ask_for_scans()
            kill_part(scene, reporters, parts[killed], killed)
            killed += 1
        time.sleep(PAUSE_SECONDS)
    return told


def kill_part(scene: Stage, reporters: Reporters, part: str, number: int) -> None:
    if part == "client":
        reporters.kill_one(number)
    elif part == "postmaster":
        assert scene.database is not None
        scene.database.kill()
        scene.database.start()
        close_old_connections()
    else:
        kill(scene.portal, part)


def ask_for_scans() -> None:
    """As the schedule does every quarter of an hour."""
    with contextlib.suppress(DatabaseError):
        orchestration.look_around()
    close_old_connections()


def judge_runs(reporters: Reporters) -> Iterator[Figure]:
    sent = reporters.sent()
    rows = Run.objects.filter(app_name="faults")
    kept = {run_id.hex for run_id in rows.values_list("run_id", flat=True)}
    doubled = rows.values("run_id").annotate(count=Count("pk")).filter(count__gt=1).count()
    yield at_least("kills: runs sent", len(sent), 1)
    yield exactly("kills: runs lost", len(sent - kept))
    yield exactly("kills: runs doubled", doubled)
    seconds_until(lambda: miscounted() == 0, 30)
    yield exactly("kills: runs counted wrongly", miscounted())


def miscounted() -> int:
    """By how many runs the hours differ from the runs themselves, once they are counted up to now."""
    with exclusive_lease("faults.rollups") as lease:
        rollups.roll_up(lease)
    counted: int = RunRollup.objects.filter(app_name="faults").aggregate(runs=Sum("runs"))["runs"] or 0
    return abs(counted - Run.objects.filter(app_name="faults").count())


def judge_messages(scene: Stage, told: int) -> Iterator[Figure]:
    waiting = OutboxMessage.objects.waiting
    seconds_until(lambda: not waiting().exists(), 300 if scene.is_whole else 60)
    telegram = scene.telegram
    yield at_least("kills: messages sent", told * len(CHATS), 1)
    yield exactly("kills: messages lost", telegram.missing(told, CHATS))
    yield exactly("kills: messages out of order", telegram.out_of_order())
    beyond = telegram.doubled() - telegram.unanswered
    note = f"{telegram.doubled()} in all, {telegram.unanswered} of them accepted without an answer"
    # A kill between sending and marking sends one message again: at least once is what is promised.
    yield at_most(
        "kills: messages doubled for another reason", beyond, len(PARTS) * (3 if scene.is_whole else 1), "", note
    )


def judge_scans() -> Iterator[Figure]:
    jobs = ExpectedBackupJob.objects.filter(agent_id__startswith="SRV-")
    done = BackupEntry.objects.filter(job__in=jobs, promotion="promoted")

    def all_done() -> bool:
        ask_for_scans()
        return done.count() == jobs.count()

    seconds_until(all_done, 60)
    entries = BackupEntry.objects.filter(job__in=jobs)
    yield exactly("kills: backups not stored", jobs.count() - done.count())
    yield exactly(
        "kills: cycles with two entries", entries.count() - entries.values("job", "cycle_at").distinct().count()
    )
    torn = sum(stored_hash(entry) != entry.server_sha256 for entry in done)
    yield exactly("kills: stored dumps that are torn", torn)
    left = [path for path in Path(settings.VALIDATED_ROOT).rglob("*") if path.is_file()]
    yield exactly("kills: files left behind", len(left) - done.count())


def stored_hash(entry: BackupEntry) -> str:
    return hashlib.sha256((Path(settings.VALIDATED_ROOT) / entry.stored_path).read_bytes()).hexdigest()


# --- A node that dies ------------------------------------------------------------------------------------------------


def node(scene: Stage) -> Iterator[Figure]:
    """The node that watches and scans dies for good; another one, or the same under another name, takes over."""
    if not has_containers():
        say("node: left out, since this needs `unshare` and the right to use it")
        return
    watch_service(scene)
    ensure_running(scene)
    other = scene.node("node-b") if scene.database else scene.portal
    if scene.database:
        other.start()
    seconds_until(lambda: any(at > time.monotonic() - 2 for at in scene.service.asked), 60)
    dying, others = watcher(scene, other)
    # More than there are slow workers, so that each has one in hand.
    machines = [f"NODE-{number}" for number in range(4 if others else 1)]
    jobs = [expect_backup(machine, Path(settings.DEPOSITS_ROOT), 200 * MIB) for machine in machines]
    begin_scans(jobs, at_once=1 + len(others))
    died, died_at = time.monotonic(), timezone.now()
    kill_node(dying)
    if not others:
        dying.prefix = container("renamed")
        dying.spawn()
    ready = seconds_until(lambda: (others or [dying])[0].readiness()[0] == 200, 60)
    time.sleep(max(0.0, died + ready + TAKEN_OVER + 2.0 - time.monotonic()))
    silence = scene.service.longest_silence(died, time.monotonic())
    name = "node: longest silence of the watch" if others else "node: silence of the watch beyond the start"
    yield at_most(name, silence if others else max(0.0, silence - ready), TAKEN_OVER)
    stored = BackupEntry.objects.filter(job__in=jobs, promotion="promoted")
    seconds_until(lambda: stored.count() == len(jobs), 120)
    last = max(stored.values_list("changed_at", flat=True), default=timezone.now())
    scanned = (last - died_at).total_seconds()
    yield at_most("node: the scans it had in hand are made again", scanned, 60.0)
    Target.objects.all().delete()
    for each in (scene.portal, other):
        kill_node(each)
        each.prefix = []


def watch_service(scene: Stage) -> None:
    """Ten targets, one of which is due each second."""
    for number in range(10):
        Target.objects.create(name=f"T{number}", url=f"{scene.service_url}/{number}", interval=10, retries=0)


def begin_scans(jobs: list[ExpectedBackupJob], at_once: int = 1) -> None:
    """Returns when so many are under way."""
    for job in jobs:
        orchestration.ask("api", job.agent_id)
    running = TaskAttempt.objects.filter(name=orchestration.TASK, finished_at=None)
    seconds_until(lambda: running.count() >= at_once, 20)


def watcher(scene: Stage, other: Portal) -> tuple[Portal, list[Portal]]:
    """The node whose process has the watch's lease, and the other one."""
    if not scene.database:
        return scene.portal, []
    holder = JobRun.objects.get(job="monitoring.watch").holder
    is_other = holder.startswith("node-b/")
    return (other, [scene.portal]) if is_other else (scene.portal, [other])


# --- An outage of the database ---------------------------------------------------------------------------------------


def outage(scene: Stage) -> Iterator[Figure]:
    """The database is away, and meanwhile every part is killed once: 30 seconds after its return all works again."""
    if scene.database is None:
        say("outage: SQLite has no server that could be away")
        return
    ensure_running(scene)
    watch_service(scene)
    job = expect_backup("SRV-OUTAGE", Path(settings.DEPOSITS_ROOT), 200 * MIB)
    begin_scans([job])
    length = 600 if scene.is_whole else 30
    begun = time.monotonic()
    scene.database.kill()
    for part in PARTS:
        kill(scene.portal, part)
        time.sleep(1.0)
    time.sleep(max(0.0, length - (time.monotonic() - begun)))
    scene.database.start()
    close_old_connections()
    back = time.monotonic()
    ready = seconds_until(lambda: scene.portal.readiness()[0] == 200, 120)
    yield at_most("outage: ready again", ready, BACK, note=f"after {length} s")
    seconds_until(lambda: scene.service.asked[-1] > back, 60)
    first = next((at for at in scene.service.asked if at > back), time.monotonic())
    yield at_most("outage: targets are watched again", first - back, BACK)
    token = issue_token("client", label="outage")[1]
    yield at_most("outage: a run is taken", seconds_until(lambda: report(scene.portal, token) == 201, 60), BACK)
    ask_for_scans()  # the next quarter of an hour
    stored = BackupEntry.objects.filter(job=job, promotion="promoted")
    yield at_most("outage: the machine is scanned at the next quarter", seconds_until(stored.exists, 90), 60.0)
    Target.objects.all().delete()


def report(portal: Portal, token: str) -> int:
    return answer_to_run(portal, token).status_code


def answer_to_run(portal: Portal, token: str) -> requests.Response:
    run = build_usage_payload(run_id=new_run_id(), app_name="faults.single", app_version="1", documents=[])
    url = f"http://127.0.0.1:{portal.port}/api/v1/usage/report"
    return requests.post(url, json=run, headers={"Authorization": f"Bearer {token}"}, timeout=30)


# --- A full disk -----------------------------------------------------------------------------------------------------


def disk(scene: Stage) -> Iterator[Figure]:
    """SQLite's disk fills up and is emptied: the portal says what is wrong, and goes on by itself."""
    if scene.database is not None:
        say("disk: left out, since PostgreSQL has a disk of its own")
        return
    folder = scene.directory / "small" / "data"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "small", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        say("disk: left out, since only root may mount one")
        return
    roots = {"DEPOSITS_ROOT": str(folder / "deposits"), "VALIDATED_ROOT": str(folder / "validated")}
    small = Portal(folder, f"sqlite:///{folder}/db.sqlite3", extra=roots)
    try:
        small.manage("migrate")
        token = small.manage("issue_token", "--kind", "client", "--label", "disk").stdout.strip()
        small.start()
        kept = sum(report(small, token) == 201 for _ in range(20))
        fill(folder / "filler")
        said = seconds_until(lambda: code_of(answer_to_run(small, token)) == "disk_full", 60)
        yield at_most("disk: the API says that it is full", said, 60.0)
        yield at_most(
            "disk: /readyz says so", seconds_until(lambda: small.readiness()[1]["code"] == "disk_full", 60), 60.0
        )
        (folder / "filler").unlink()
        yield at_most("disk: a run is taken again", seconds_until(lambda: report(small, token) == 201, 90), BACK)
        yield at_most("disk: ready again", seconds_until(lambda: small.readiness()[0] == 200, 90), 60.0)
        [[found]] = small.sql("SELECT count(*) FROM usage_run")
        yield exactly("disk: runs lost", max(0, kept + 1 - found))
    finally:
        small.clean_up()
        subprocess.run(["umount", "-l", folder], check=False)


def fill(path: Path) -> None:
    """To the last page."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(os.urandom(size))


def code_of(answer: requests.Response) -> str:
    return str(answer.json().get("code", ""))


EXPERIMENTS: dict[str, Callable[[Stage], Iterator[Figure]]] = {
    "kills": kills,
    "node": node,
    "outage": outage,
    "disk": disk,
}
__all__ = ["EXPERIMENTS", "stage"]
