"""The experiments. Each gets the stage, on which a portal may run already, and yields figures with their limits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
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
from faults.load import Reporters, create_due_backup, queue_message
from faults.scaling import scaling
from faults.stage import (
    PARTS,
    Stage,
    container,
    expect_at_least,
    expect_at_most,
    expect_zero,
    has_containers,
    kill,
    kill_node,
    print_line,
    seconds_until,
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
# Messages to each chat. More than ten a minute would be sent as a digest.
MESSAGES_SHORT, MESSAGES_WHOLE = 8, 50
PAUSE_SECONDS, MESSAGE_EVERY = 2.0, 7.0
MAX_TAKEOVER = 20.0
MAX_RECOVERY = 30.0


def ensure_running(scene: Stage) -> None:
    if scene.portal.up is None:
        scene.portal.start()


# --- Kills under load ------------------------------------------------------------------------------------------------


def kills(scene: Stage) -> Iterator[Figure]:
    """Kill every part under load: no run, message or scan is lost or has an effect twice."""
    ensure_running(scene)
    turns, apps, count = (3, 12, 1_667) if scene.is_whole else (1, 4, 300)
    secret = encrypt("123456:faults")
    NotificationChannel.objects.create(name="faults", kind="telegram", addresses="\n".join(CHATS), secret=secret)
    reporters = Reporters(scene.url, issue_token("client", label="faults")[1], scene.directory, apps, count)
    try:
        message_count = kill_in_turn(scene, reporters, turns)
        yield expect_at_most(
            "kills: ready again", seconds_until(lambda: scene.portal.readiness()[0] == 200, 90), MAX_RECOVERY
        )
        reporters.wait(600 if scene.is_whole else 90)
    finally:
        reporters.stop()
    yield from check_runs(reporters)
    yield from check_messages(scene, message_count)
    yield from check_scans()


def kill_in_turn(scene: Stage, reporters: Reporters, turns: int) -> int:
    """Kill each part in turn. Return the number of messages written meanwhile."""
    max_messages = MESSAGES_WHOLE if scene.is_whole else MESSAGES_SHORT
    message_count, next_message, killed = 0, 0.0, 0
    parts = [*PARTS, "client", *(["postmaster"] if scene.database else [])] * turns
    while killed < len(parts) or message_count < max_messages:
        if message_count < max_messages and time.monotonic() >= next_message and queue_message(message_count):
            message_count, next_message = (
                message_count + 1,
                time.monotonic() + (MESSAGE_EVERY if scene.is_whole else PAUSE_SECONDS * 2),
            )
        if killed < len(parts):
            with contextlib.suppress(DatabaseError):
                create_due_backup(f"SRV-{killed}", Path(settings.DEPOSITS_ROOT), 40 * MIB)
            queue_scans()
            kill_part(scene, reporters, parts[killed], killed)
            killed += 1
        time.sleep(PAUSE_SECONDS)
    return message_count


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


def queue_scans() -> None:
    """Queue scans, as the schedule does every quarter of an hour."""
    with contextlib.suppress(DatabaseError):
        orchestration.queue_periodic_scan()
    close_old_connections()


def check_runs(reporters: Reporters) -> Iterator[Figure]:
    sent = reporters.sent_runs()
    rows = Run.objects.filter(app_name="faults")
    kept = {run_id.hex for run_id in rows.values_list("run_id", flat=True)}
    doubled = rows.values("run_id").annotate(count=Count("pk")).filter(count__gt=1).count()
    yield expect_at_least("kills: runs sent", len(sent), 1)
    yield expect_zero("kills: runs lost", len(sent - kept))
    yield expect_zero("kills: runs doubled", doubled)
    seconds_until(lambda: roll_up_and_compare() == 0, 30)
    yield expect_zero("kills: runs counted wrongly", roll_up_and_compare())


def roll_up_and_compare() -> int:
    """Roll up, and return the difference between the runs of the rollups and the runs themselves."""
    with exclusive_lease("faults.rollups") as lease:
        rollups.roll_up(lease)
    counted: int = RunRollup.objects.filter(app_name="faults").aggregate(runs=Sum("runs"))["runs"] or 0
    return abs(counted - Run.objects.filter(app_name="faults").count())


def check_messages(scene: Stage, message_count: int) -> Iterator[Figure]:
    waiting = OutboxMessage.objects.waiting
    seconds_until(lambda: not waiting().exists(), 300 if scene.is_whole else 60)
    telegram = scene.telegram
    yield expect_at_least("kills: messages sent", message_count * len(CHATS), 1)
    yield expect_zero("kills: messages lost", telegram.count_missing(message_count, CHATS))
    yield expect_zero("kills: messages out of order", telegram.count_out_of_order())
    beyond = telegram.count_duplicates() - telegram.unanswered
    note = f"{telegram.count_duplicates()} in all, {telegram.unanswered} of them accepted without an answer"
    # Delivery is at least once: a kill between sending and marking repeats one message.
    yield expect_at_most(
        "kills: messages doubled for another reason", beyond, len(PARTS) * (3 if scene.is_whole else 1), "", note
    )


def check_scans() -> Iterator[Figure]:
    jobs = ExpectedBackupJob.objects.filter(agent_id__startswith="SRV-")
    done = BackupEntry.objects.filter(job__in=jobs, promotion="promoted")

    def rescan_until_done() -> bool:
        queue_scans()
        return done.count() == jobs.count()

    seconds_until(rescan_until_done, 60)
    entries = BackupEntry.objects.filter(job__in=jobs)
    yield expect_zero("kills: backups not stored", jobs.count() - done.count())
    yield expect_zero(
        "kills: cycles with two entries", entries.count() - entries.values("job", "cycle_at").distinct().count()
    )
    torn = sum(stored_hash(entry) != entry.server_sha256 for entry in done)
    yield expect_zero("kills: stored dumps that are torn", torn)
    left = [path for path in Path(settings.VALIDATED_ROOT).rglob("*") if path.is_file()]
    yield expect_zero("kills: files left behind", len(left) - done.count())


def stored_hash(entry: BackupEntry) -> str:
    return hashlib.sha256((Path(settings.VALIDATED_ROOT) / entry.stored_path).read_bytes()).hexdigest()


# --- Death of a node -------------------------------------------------------------------------------------------------


def node(scene: Stage) -> Iterator[Figure]:
    """Kill the node that monitors and scans. Another node, or the same with a new name, takes over."""
    if not has_containers():
        print_line("node: left out, since this needs `unshare` and the right to use it")
        return
    create_targets(scene)
    ensure_running(scene)
    other = scene.node("node-b") if scene.database else scene.portal
    if scene.database:
        other.start()
    seconds_until(lambda: any(at > time.monotonic() - 2 for at in scene.service.asked), 60)
    dying, others = find_watching_node(scene, other)
    # More machines than slow workers, so that each worker is busy.
    machines = [f"NODE-{number}" for number in range(4 if others else 1)]
    jobs = [create_due_backup(machine, Path(settings.DEPOSITS_ROOT), 200 * MIB) for machine in machines]
    start_scans(jobs, at_once=1 + len(others))
    died, died_at = time.monotonic(), timezone.now()
    kill_node(dying)
    if not others:
        dying.prefix = container("renamed")
        dying.spawn()
    ready = seconds_until(lambda: (others or [dying])[0].readiness()[0] == 200, 60)
    time.sleep(max(0.0, died + ready + MAX_TAKEOVER + 2.0 - time.monotonic()))
    silence = scene.service.longest_silence(died, time.monotonic())
    name = "node: longest silence of the watch" if others else "node: silence of the watch beyond the start"
    yield expect_at_most(name, silence if others else max(0.0, silence - ready), MAX_TAKEOVER)
    stored = BackupEntry.objects.filter(job__in=jobs, promotion="promoted")
    seconds_until(lambda: stored.count() == len(jobs), 120)
    last = max(stored.values_list("changed_at", flat=True), default=timezone.now())
    scanned = (last - died_at).total_seconds()
    yield expect_at_most("node: the scans it had in hand are made again", scanned, 60.0)
    Target.objects.all().delete()
    for portal in (scene.portal, other):
        kill_node(portal)
        portal.prefix = []


def create_targets(scene: Stage) -> None:
    """Create ten targets, one of which is due each second."""
    for number in range(10):
        Target.objects.create(name=f"T{number}", url=f"{scene.service_url}/{number}", interval=10, retries=0)


def start_scans(jobs: list[ExpectedBackupJob], at_once: int = 1) -> None:
    """Queue the scans, and return when `at_once` are running."""
    for job in jobs:
        orchestration.request_scan("api", job.agent_id)
    running = TaskAttempt.objects.filter(name=orchestration.TASK, finished_at=None)
    seconds_until(lambda: running.count() >= at_once, 20)


def find_watching_node(scene: Stage, other: Portal) -> tuple[Portal, list[Portal]]:
    """Return the node with the watch lease, and the other one."""
    if not scene.database:
        return scene.portal, []
    holder = JobRun.objects.get(job="monitoring.watch").holder
    is_other = holder.startswith("node-b/")
    return (other, [scene.portal]) if is_other else (scene.portal, [other])


# --- Outage of the database ------------------------------------------------------------------------------------------


def outage(scene: Stage) -> Iterator[Figure]:
    """Stop the database and kill every part meanwhile: everything works 30 seconds after its return."""
    if scene.database is None:
        print_line("outage: SQLite has no server that could be away")
        return
    ensure_running(scene)
    create_targets(scene)
    job = create_due_backup("SRV-OUTAGE", Path(settings.DEPOSITS_ROOT), 200 * MIB)
    start_scans([job])
    length = 600 if scene.is_whole else 30
    started = time.monotonic()
    scene.database.kill()
    for part in PARTS:
        kill(scene.portal, part)
        time.sleep(1.0)
    time.sleep(max(0.0, length - (time.monotonic() - started)))
    scene.database.start()
    close_old_connections()
    back = time.monotonic()
    ready = seconds_until(lambda: scene.portal.readiness()[0] == 200, 120)
    yield expect_at_most("outage: ready again", ready, MAX_RECOVERY, note=f"after {length} s")
    seconds_until(lambda: scene.service.asked[-1] > back, 60)
    first = next((at for at in scene.service.asked if at > back), time.monotonic())
    yield expect_at_most("outage: targets are watched again", first - back, MAX_RECOVERY)
    token = issue_token("client", label="outage")[1]
    yield expect_at_most(
        "outage: a run is taken",
        seconds_until(lambda: post_run(scene.portal, token).status_code == 201, 60),
        MAX_RECOVERY,
    )
    queue_scans()  # the next quarter of an hour
    stored = BackupEntry.objects.filter(job=job, promotion="promoted")
    yield expect_at_most("outage: the machine is scanned at the next quarter", seconds_until(stored.exists, 90), 60.0)
    Target.objects.all().delete()


def post_run(portal: Portal, token: str) -> requests.Response:
    run = build_usage_payload(run_id=new_run_id(), app_name="faults.single", app_version="1", documents=[])
    url = f"http://127.0.0.1:{portal.port}/api/v1/usage/report"
    return requests.post(url, json=run, headers={"Authorization": f"Bearer {token}"}, timeout=30)


# --- Full disk -------------------------------------------------------------------------------------------------------


def disk(scene: Stage) -> Iterator[Figure]:
    """Fill and empty SQLite's disk: the portal reports it, and recovers by itself."""
    if scene.database is not None:
        print_line("disk: left out, since PostgreSQL has a disk of its own")
        return
    folder = scene.directory / "small" / "data"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "small", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        print_line("disk: left out, since only root may mount one")
        return
    roots = {"DEPOSITS_ROOT": str(folder / "deposits"), "VALIDATED_ROOT": str(folder / "validated")}
    small = Portal(folder, f"sqlite:///{folder}/db.sqlite3", extra=roots)
    try:
        small.manage("migrate")
        token = small.manage("issue_token", "--kind", "client", "--label", "disk").stdout.strip()
        small.start()
        accepted = sum(post_run(small, token).ok for _ in range(20))
        fill(folder / "filler")
        reported = seconds_until(lambda: post_run(small, token).json().get("code") == "disk_full", 60)
        yield expect_at_most("disk: the API says that it is full", reported, 60.0)
        yield expect_at_most(
            "disk: /readyz says so", seconds_until(lambda: small.readiness()[1]["code"] == "disk_full", 60), 60.0
        )
        (folder / "filler").unlink()
        yield expect_at_most(
            "disk: a run is taken again",
            seconds_until(lambda: post_run(small, token).status_code == 201, 90),
            MAX_RECOVERY,
        )
        yield expect_at_most("disk: ready again", seconds_until(lambda: small.readiness()[0] == 200, 90), 60.0)
        accepted += 1
        [[kept]] = small.sql("SELECT count(*) FROM usage_run")
        yield expect_zero("disk: runs lost", max(0, accepted - kept))
    finally:
        small.clean_up()
        subprocess.run(["umount", "-l", folder], check=False)


def fill(path: Path) -> None:
    """Fill the disk to its last byte."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(os.urandom(size))


EXPERIMENTS = {"kills": kills, "node": node, "outage": outage, "disk": disk, "scaling": scaling}
