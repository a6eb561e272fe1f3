"""Promotion of verified dumps, with kills, full disks and simultaneous scans."""

import errno
import gzip
import os
import shutil
import signal
import stat
import subprocess
from datetime import timedelta

import pytest
import zstandard

from backups.models import BackupEntry, ExpectedBackupJob
from backups.scanner import orchestration
from backups.scanner.disk import copying
from backups.tests.factories import AFTER_DEADLINE, DATABASE, EXPECTED, REPORTED, dump, report_section
from portal.models import JobRun, OutboxMessage
from portal.work.jobs import LeaseLost

pytestmark = pytest.mark.django_db
STAGED = f"{DATABASE}.sql.gz"
DAY, QUARTER = timedelta(days=1), timedelta(minutes=15)
OLD, NEW = dump("-- old\n"), dump("-- new\n")
DOUBTFUL = dump("-- much longer than it will be once it is cut\n")[:-5]
ZST = zstandard.ZstdCompressor().compress(b"-- zst\n")


@pytest.fixture
def old_version(machine, entry):
    """Store a success of the day before."""
    machine.deposit(OLD, REPORTED - DAY)
    return entry(AFTER_DEADLINE - DAY, EXPECTED - DAY)


def test_former_current_version_becomes_a_version(machine, entry, old_version, current, versions):
    machine.deposit(NEW)
    found = entry()
    old_version.refresh_from_db()
    assert (found.promotion, old_version.promotion) == ("promoted", "archived")
    assert (current(), versions()) == ({STAGED: NEW}, {f"20250611T1300Z_{STAGED}": OLD})


def test_dump_in_another_format_replaces_the_current_version(machine, entry, old_version, current, versions):
    content = ZST
    machine.stage(content, f"{DATABASE}.sql.zst")
    machine.deposit(content, staged_file_name=f"{DATABASE}.sql.zst")
    entry()
    assert (current(), versions()) == ({f"{DATABASE}.sql.zst": content}, {f"20250611T1300Z_{STAGED}": OLD})


def test_unrecorded_current_file_is_kept_as_a_version(machine, entry, settings, current, versions):
    folder = settings.VALIDATED_ROOT / "ACME" / "_" / DATABASE / "current_version"
    folder.mkdir(parents=True)
    (folder / STAGED).write_bytes(OLD)
    machine.deposit(NEW)
    entry()
    assert current() == {STAGED: NEW}
    assert [*versions().values()] == [OLD]


def test_dump_in_doubt_becomes_a_version_beside_a_good_one(machine, entry, old_version, current, versions):
    machine.deposit(DOUBTFUL)
    found = entry()
    old_version.refresh_from_db()
    assert (found.status, found.promotion, old_version.promotion) == ("SUCCESS", "archived", "promoted")
    assert (current(), versions()) == ({STAGED: OLD}, {f"20250612T1300Z_{STAGED}": DOUBTFUL})
    assert found.stored_path == f"ACME/_/{DATABASE}/versions/20250612T1300Z_{STAGED}"
    assert not (machine.dumps / STAGED).exists()


def test_dump_in_doubt_is_current_until_a_good_one_arrives(machine, entry, current, versions):
    seen, good = [], dump("-- as long as those that are cut, so that it did not shrink\n")
    for day, content in enumerate([DOUBTFUL, DOUBTFUL[:-1], good, DOUBTFUL]):
        machine.deposit(content, REPORTED + day * DAY)
        entry(AFTER_DEADLINE + day * DAY)
        seen.append([*current().values()])
    assert seen == [[DOUBTFUL], [DOUBTFUL[:-1]], [good], [good]]
    assert {*versions().values()} == {DOUBTFUL, DOUBTFUL[:-1]}
    assert len(versions()) == 3
    promotions = BackupEntry.objects.order_by("cycle_at").values_list("promotion", flat=True)
    assert [*promotions] == ["archived", "archived", "promoted", "archived"]


def test_good_dump_of_an_earlier_cycle_replaces_a_later_one_in_doubt(machine, entry, current, versions):
    machine.deposit(DOUBTFUL)
    entry()
    shutil.rmtree(machine.logs)
    machine.deposit(OLD, REPORTED - DAY)
    entry(AFTER_DEADLINE - DAY, EXPECTED - DAY)
    assert (current(), versions()) == ({STAGED: OLD}, {f"20250612T1300Z_{STAGED}": DOUBTFUL})


def test_dump_in_doubt_replaces_a_damaged_current_version(machine, entry, old_version, current):
    ExpectedBackupJob.objects.update(damage={"code": "current_differs"})
    machine.deposit(DOUBTFUL)
    assert (entry().promotion, current()) == ("promoted", {STAGED: DOUBTFUL})


def test_filesystem_without_hard_links_gets_copies(machine, entry, old_version, current, versions, monkeypatch):
    def refusing(*arguments, **options):
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refusing)
    machine.deposit(NEW)
    entry()
    assert (current(), versions()) == ({STAGED: NEW}, {f"20250611T1300Z_{STAGED}": OLD})


def test_filesystem_without_folder_sync_is_accepted(machine, entry, old_version, current, versions, monkeypatch):
    real = os.fsync

    def refusing(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no folders here")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    machine.deposit(NEW)
    entry()
    assert (current(), versions()) == ({STAGED: NEW}, {f"20250611T1300Z_{STAGED}": OLD})


def test_staged_file_replaced_after_verification_is_kept(machine, entry, current, monkeypatch):
    machine.deposit(NEW)
    later = dump("-- later\n")

    def replacing(step):
        if step == "installed":
            (machine.dumps / "x").write_bytes(later)
            (machine.dumps / "x").rename(machine.dumps / STAGED)

    monkeypatch.setattr(copying, "step_reached", replacing)
    assert entry().promotion == "promoted"
    assert (current(), (machine.dumps / STAGED).read_bytes()) == ({STAGED: NEW}, later)


def test_scan_of_an_old_moment_never_replaces_a_newer_version(machine, entry, current):
    machine.deposit(NEW)
    entry()
    shutil.rmtree(machine.logs)
    machine.deposit(OLD, REPORTED - 3 * DAY)
    found = entry(AFTER_DEADLINE - 3 * DAY, EXPECTED - 3 * DAY)
    assert (found.status, found.promotion, current()) == ("SUCCESS", "none", {STAGED: NEW})


def test_current_version_is_found_after_a_long_pause(machine, entry, current, versions):
    machine.deposit(OLD)
    entry()
    machine.deposit(NEW, REPORTED + 40 * DAY)
    entry(AFTER_DEADLINE + 40 * DAY)
    assert versions() == {f"20250612T1300Z_{STAGED}": OLD}
    former = BackupEntry.objects.get(cycle_at=EXPECTED)
    assert (former.promotion, former.stored_path) == ("archived", f"ACME/_/{DATABASE}/versions/20250612T1300Z_{STAGED}")


@pytest.mark.parametrize("how", ["gone", "of another size", "known to be damaged"])
def test_unchanged_dump_replaces_an_unusable_current_version(machine, entry, job, current, settings, how):
    machine.deposit()
    entry()
    path = settings.VALIDATED_ROOT / "ACME" / "_" / DATABASE / "current_version" / STAGED
    if how == "gone":
        path.unlink()
    elif how == "of another size":
        path.write_bytes(dump()[:-1])
    else:
        path.write_bytes(b"x" * len(dump()))
        ExpectedBackupJob.objects.update(damage={"code": "current_differs"})
    machine.deposit(moment=REPORTED + DAY)
    found = entry(AFTER_DEADLINE + DAY, EXPECTED + DAY)
    assert (found.status, found.promotion, current()) == ("HASH_MISMATCH", "promoted", {STAGED: dump()})
    assert ExpectedBackupJob.objects.get().damage is None
    if how == "known to be damaged":
        assert BackupEntry.objects.get(cycle_at=EXPECTED).promotion == "none"


def test_changed_storage_folder_loses_nothing(machine, entry, job, current, settings):
    machine.deposit(OLD)
    entry()
    job.refresh_from_db()
    job.company_name = "NEWCO"
    job.save()
    machine.deposit(OLD, REPORTED + DAY)
    assert entry(AFTER_DEADLINE + DAY, EXPECTED + DAY).promotion == "promoted"
    assert (current(company="ACME"), current(company="NEWCO")) == ({STAGED: OLD}, {STAGED: OLD})
    ExpectedBackupJob.objects.update(keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    machine.deposit(NEW, REPORTED + 2 * DAY)
    entry(AFTER_DEADLINE + 2 * DAY)
    assert (current(company="ACME"), current(company="NEWCO")) == ({}, {STAGED: NEW})


def test_two_jobs_of_one_machine_in_one_folder_store_nothing(machine, make_job, scan, settings):
    for name in ("a", "b"):
        make_job(name, final_storage_path_template="{company_name}")
        machine.stage(dump(name), f"{name}.sql.gz")
    machine.report(databases={name: report_section(dump(name)) for name in ("a", "b")})
    for minutes in (0, 15):
        scan(AFTER_DEADLINE + timedelta(minutes=minutes))
    assert {entry.promotion_reason["code"] for entry in BackupEntry.objects.all()} == {"storage_shared"}
    assert [*settings.VALIDATED_ROOT.rglob("*.gz")] == []


def test_interrupted_scan_leaves_no_descriptor_and_no_copy(machine, scan, job, monkeypatch, settings):
    machine.deposit()

    def overtaken(*arguments, **options):
        raise LeaseLost("taken")

    monkeypatch.setattr("backups.scanner.examine.measure_file", overtaken)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        scan()
    assert len(os.listdir("/proc/self/fd")) == before
    assert [path for path in settings.VALIDATED_ROOT.rglob("*") if path.is_file()] == []


# --- Killed ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def kill_at(elsewhere):
    """Return a function that kills a scan at a step, and lets the lease of the dead process expire."""

    def killing(step, at=AFTER_DEADLINE):
        def scan_until_killed():
            copying.step_reached = lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached == step else None
            orchestration.scan_now(at)

        assert elsewhere(scan_until_killed) == -signal.SIGKILL
        JobRun.objects.filter(status="running").update(lease_expires_at="2020-01-01T00:00:00Z")

    return killing


@pytest.mark.one_database("files; a kill at each step is tested on both", despite=("transactional_db",))
@pytest.mark.parametrize("step", ["archived", "replaced", "installed"])
def test_kill_during_a_format_change_leaves_one_current_version(
    machine, old_version, kill_at, scan, current, versions, step
):
    machine.stage(ZST, f"{DATABASE}.sql.zst")
    machine.report(databases={DATABASE: report_section(ZST) | {"staged_file_name": f"{DATABASE}.sql.zst"}})
    kill_at(step)
    scan(AFTER_DEADLINE + QUARTER)
    assert (current(), versions()) == ({f"{DATABASE}.sql.zst": ZST}, {f"20250611T1300Z_{STAGED}": OLD})


@pytest.mark.one_database("files; a kill at each step is tested on both", despite=("transactional_db",))
@pytest.mark.parametrize("step", ["archived", "replaced"])
def test_kill_without_hard_links_does_not_block_storing(
    machine, old_version, kill_at, scan, current, versions, monkeypatch, step
):
    """Refuse links as the kernel does, after a look at the target's name."""

    def refusing(source, target, **folders):
        if target in os.listdir(folders["dst_dir_fd"]):
            raise FileExistsError(errno.EEXIST, "it exists")
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refusing)
    machine.deposit(NEW)
    kill_at(step)
    scan(AFTER_DEADLINE + QUARTER)
    assert (current(), versions()) == ({STAGED: NEW}, {f"20250611T1300Z_{STAGED}": OLD})


@pytest.mark.parametrize("step", ["begun", "sealed", "recorded", "archived", "replaced", "installed", "cleared"])
def test_kill_at_any_step_leaves_an_intact_current_version(
    channel, machine, old_version, kill_at, scan, current, versions, step
):
    machine.deposit(NEW)
    kill_at(step)
    whole = {name: content for name, content in current().items() if not name.startswith(".")}
    assert whole in ({STAGED: OLD}, {STAGED: NEW})
    scan(AFTER_DEADLINE + QUARTER)
    assert (current(), versions()) == ({STAGED: NEW}, {f"20250611T1300Z_{STAGED}": OLD})
    assert not (machine.dumps / STAGED).exists()
    found = BackupEntry.objects.get(cycle_at=EXPECTED)
    assert (found.status, found.promotion) == ("SUCCESS", "promoted")
    assert OutboxMessage.objects.count() == 0


@pytest.mark.parametrize("step", ["begun", "sealed", "recorded", "installed", "cleared"])
def test_kill_while_storing_a_doubtful_dump_leaves_it_a_version(
    machine, old_version, kill_at, scan, current, versions, step
):
    machine.deposit(DOUBTFUL)
    kill_at(step)
    whole = {name: content for name, content in current().items() if not name.startswith(".")}
    assert whole == {STAGED: OLD}
    scan(AFTER_DEADLINE + QUARTER)
    assert (whole, versions()) == ({STAGED: OLD}, {f"20250612T1300Z_{STAGED}": DOUBTFUL})
    assert not (machine.dumps / STAGED).exists()
    assert BackupEntry.objects.get(cycle_at=EXPECTED).promotion == "archived"


def test_dump_lost_before_storing_is_marked_lost(channel, machine, job, kill_at, scan, current):
    machine.deposit(NEW)
    kill_at("recorded")
    (machine.dumps / STAGED).unlink()
    scan(AFTER_DEADLINE + QUARTER)
    found = BackupEntry.objects.get()
    assert (found.promotion, found.promotion_reason["code"]) == ("lost", "staged_gone")
    assert OutboxMessage.objects.get().title.endswith("was verified but not stored")


def test_replaced_staged_file_is_never_stored(machine, job, kill_at, scan, current):
    machine.deposit(NEW)
    kill_at("recorded")
    machine.stage(OLD)
    scan(AFTER_DEADLINE + QUARTER)
    found = BackupEntry.objects.get()
    assert (found.promotion, found.promotion_reason["code"], current()) == ("lost", "staged_replaced", {})
    assert (machine.dumps / STAGED).read_bytes() == OLD


@pytest.mark.parametrize("status", ["SUCCESS", "MISSING"])
def test_simultaneous_scanners_make_one_entry_and_one_notice(channel, machine, make_job, start_elsewhere, status):
    for number in range(10):
        make_job(f"db{number}", agent_id=f"SRV-{number}")
        if status == "SUCCESS":
            own = type(machine)(machine.root, f"SRV-{number}")
            own.deposit(dump(f"-- {number}\n"), database=f"db{number}")
    both = [start_elsewhere(lambda: orchestration.scan_now(AFTER_DEADLINE)) for _ in range(2)]
    assert [os.waitpid(child, 0)[1] for child in both] == [0, 0]
    assert [*BackupEntry.objects.values_list("status", flat=True)] == [status] * 10
    assert OutboxMessage.objects.count() == (0 if status == "SUCCESS" else 10)


# --- No room ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path, settings):
    """Mount a file system of 256 KiB as the storage root."""
    settings.VALIDATED_ROOT = tmp_path / "small"
    settings.VALIDATED_ROOT.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", settings.VALIDATED_ROOT], capture_output=True, check=False
    )
    if mounted.returncode:  # not root: the same answer from the kernel by a limit of one's own
        yield None
        return
    yield settings.VALIDATED_ROOT
    subprocess.run(["umount", settings.VALIDATED_ROOT], check=True)


def test_full_disk_keeps_the_old_version_until_the_new_one_fits(
    small_disk, channel, machine, scan, job, current, monkeypatch
):
    real = os.write

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    machine.deposit(OLD, REPORTED - DAY)
    scan(AFTER_DEADLINE - DAY)
    large = gzip.compress(b"-- " + os.urandom(1_000_000).hex().encode())
    machine.deposit(large)
    if small_disk is None:
        monkeypatch.setattr(os, "write", full)
    result = scan()
    monkeypatch.setattr(os, "write", real)
    assert (result.rows[-1]["status"], result.rows[-1]["promoted"]) == ("SUCCESS", False)
    found = BackupEntry.objects.get(cycle_at=EXPECTED)
    assert (found.promotion, found.promotion_reason["code"]) == ("failed", "storage_full")
    assert (current(), (machine.dumps / STAGED).read_bytes()) == ({STAGED: OLD}, large)
    scan(AFTER_DEADLINE + QUARTER) if small_disk else None
    assert OutboxMessage.objects.count() == 1
    if small_disk:
        subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    scan(AFTER_DEADLINE + 2 * QUARTER)
    assert current() == {STAGED: large}
    assert not (machine.dumps / STAGED).exists()


def test_missing_storage_root_delays_storing(settings, channel, machine, scan, old_version, current):
    gone = settings.VALIDATED_ROOT.rename(settings.VALIDATED_ROOT.with_name("unmounted"))
    machine.deposit()
    assert scan().rows[0]["status"] == "SUCCESS"
    assert BackupEntry.objects.get(cycle_at=EXPECTED).promotion_reason["code"] == "storage_absent"
    assert OutboxMessage.objects.count() == 1
    assert not settings.VALIDATED_ROOT.exists()
    gone.rename(settings.VALIDATED_ROOT)
    scan(AFTER_DEADLINE + QUARTER)
    assert current() == {STAGED: dump()}


def test_storage_root_is_created_for_the_first_backup(settings, machine, entry, current):
    settings.VALIDATED_ROOT = settings.VALIDATED_ROOT / "not" / "there"
    machine.deposit()
    assert (entry().promotion, current()) == ("promoted", {STAGED: dump()})


def test_newer_version_ends_the_storing_of_an_older_one(settings, machine, scan, job, current):
    settings.VALIDATED_ROOT.rmdir()
    settings.VALIDATED_ROOT.write_text("in the way")
    machine.deposit(OLD)
    scan()
    settings.VALIDATED_ROOT.unlink()
    settings.VALIDATED_ROOT.mkdir()
    machine.deposit(NEW, REPORTED + DAY)
    scan(AFTER_DEADLINE + DAY)
    promotions = dict(BackupEntry.objects.values_list("cycle_at", "promotion"))
    assert (promotions, current()) == ({EXPECTED: "none", EXPECTED + DAY: "promoted"}, {STAGED: NEW})


def test_stored_dump_is_readable_by_its_owner_alone(machine, entry, settings):
    machine.deposit()
    entry()
    path = settings.VALIDATED_ROOT / "ACME" / "_" / DATABASE / "current_version" / STAGED
    assert path.stat().st_mode & 0o777 == 0o600
    assert ExpectedBackupJob.objects.get().storage_folder == f"ACME/_/{DATABASE}"


def raising(error):
    def refuse(*arguments, **options):
        raise error

    return refuse


# --- A later dump of the same cycle ----------------------------------------------------------------------------------

LATER = timedelta(minutes=15)


@pytest.mark.parametrize("ending", [".sql.gz", ".sql.zst"])
@pytest.mark.parametrize("has_history", [False, True])
def test_good_dump_of_the_same_cycle_replaces_the_doubtful_one(
    machine, entry, request, current, versions, has_history, ending
):
    if has_history:
        request.getfixturevalue("old_version")
    machine.deposit(DOUBTFUL)
    entry()
    good = NEW if ending == ".sql.gz" else ZST
    machine.stage(good, f"{DATABASE}{ending}")
    machine.report(REPORTED + LATER, {DATABASE: report_section(good) | {"staged_file_name": f"{DATABASE}{ending}"}})
    found = entry(AFTER_DEADLINE + LATER)
    assert (found.status, found.warnings, found.promotion) == ("SUCCESS", [], "promoted")
    assert current() == {f"{DATABASE}{ending}": good}
    assert versions() == ({f"20250611T1300Z_{STAGED}": OLD} if has_history else {})


def test_another_dump_in_doubt_of_the_same_cycle_replaces_the_first(machine, entry, old_version, current, versions):
    for content, ago in ((DOUBTFUL[:-1], 0 * LATER), (DOUBTFUL, LATER)):
        machine.deposit(content, REPORTED + ago)
        found = entry(AFTER_DEADLINE + ago)
    assert (found.promotion, current()) == ("archived", {STAGED: OLD})
    assert versions() == {f"20250612T1300Z_{STAGED}": DOUBTFUL}


@pytest.mark.parametrize("smaller", [b"", DOUBTFUL[:-1]])
def test_smaller_dump_in_doubt_of_the_same_cycle_replaces_nothing(machine, entry, current, versions, smaller):
    machine.deposit(DOUBTFUL)
    entry()
    machine.deposit(smaller, REPORTED + LATER)
    for ago in (LATER, 2 * LATER):
        found = entry(AFTER_DEADLINE + ago)
    assert (found.warnings, found.promotion) == (["truncated_gzip", "later_failed"], "promoted")
    assert (current(), versions()) == ({STAGED: DOUBTFUL}, {})
    machine.deposit(NEW, REPORTED + 2 * LATER)
    assert (entry(AFTER_DEADLINE + 3 * LATER).warnings, current()) == ([], {STAGED: NEW})


def test_unchanged_dump_of_the_same_cycle_removes_the_doubtful_one(machine, entry, old_version, current, versions):
    machine.deposit(DOUBTFUL)
    entry()
    machine.deposit(OLD, REPORTED + LATER)
    found = entry(AFTER_DEADLINE + LATER)
    assert (found.status, found.promotion) == ("HASH_MISMATCH", "none")
    assert (current(), versions()) == ({STAGED: OLD}, {})


def test_doubtful_dump_reported_again_stays_in_place(machine, entry, current, versions):
    for ago in (0 * LATER, LATER):
        machine.deposit(DOUBTFUL, REPORTED + ago)
        found = entry(AFTER_DEADLINE + ago)
    assert (found.promotion, current(), versions()) == ("promoted", {STAGED: DOUBTFUL}, {})


def test_failure_reported_later_leaves_the_dump_in_doubt_stored(machine, entry, current):
    machine.deposit(DOUBTFUL)
    entry()
    machine.report(REPORTED + LATER, {DATABASE: report_section(backup={"status": False})})
    found = entry(AFTER_DEADLINE + LATER)
    assert (found.status, found.promotion, current()) == ("SUCCESS", "promoted", {STAGED: DOUBTFUL})


def test_failed_storing_removes_no_dump_of_its_cycle(machine, entry, current, monkeypatch):
    machine.deposit(DOUBTFUL)
    entry()
    machine.deposit(NEW, REPORTED + LATER)
    monkeypatch.setattr(copying, "require_space", raising(OSError(errno.ENOSPC, "full")))
    machine.report(REPORTED + DAY, {DATABASE: report_section(backup={"status": False})})
    assert entry(AFTER_DEADLINE + DAY).promotion == "failed"
    assert BackupEntry.objects.get(cycle_at=EXPECTED + DAY).status == "FAILED"
    assert current() == {STAGED: DOUBTFUL}


@pytest.mark.one_database("files; a kill at each step is tested on both", despite=("transactional_db",))
@pytest.mark.parametrize("step", ["recorded", "replaced", "installed", "cleared"])
def test_kill_while_replacing_a_doubtful_dump_leaves_one_file(
    machine, old_version, kill_at, scan, current, versions, step
):
    machine.deposit(DOUBTFUL)
    scan()
    machine.deposit(NEW, REPORTED + LATER)
    kill_at(step, AFTER_DEADLINE + LATER)
    scan(AFTER_DEADLINE + 2 * LATER)
    assert (current(), versions()) == ({STAGED: NEW}, {f"20250611T1300Z_{STAGED}": OLD})
