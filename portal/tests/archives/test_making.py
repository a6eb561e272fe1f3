"""Making archives: names, retention, what is swept, and what a failure leaves."""

import platform
import sqlite3
from contextlib import closing
from datetime import timedelta

import pyrage
import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import OrmQ

from portal.archives import making, snapshots
from portal.archives.contents import unpack
from portal.archives.errors import ArchiveError
from portal.archives.making import delete_older, make_archive, new_name, own_archives, own_prefix, working_alone
from portal.archives.passphrases import Passphrase
from portal.archives.targets import open_target
from portal.base.encryption import encrypt
from portal.models import JobRun
from portal.tasks import ERASE
from portal.work.jobs import exclusive_lease
from portal.work.queue import enqueue

KEY = Passphrase("", pyrage.x25519.Identity.generate())


@pytest.fixture
def make(target, data, quick_snapshot, archive_database):
    def making_one(keep=None):
        with working_alone() as scratch:
            return make_archive(target, KEY, scratch, keep)

    return making_one


def test_archive_holds_secrets_in_use_and_reports(make, target, data, tmp_path, monkeypatch):
    (data / "secrets/token_pepper").write_text("a generated one")
    (data / "secrets/secret_key").symlink_to(tmp_path / "mounted")
    (tmp_path / "mounted").write_text("of a container's secret")
    (data / "reports/2026").mkdir()
    (data / "reports/2026/r.txt").write_text("GO")
    (data / "reports/.r.txt.AbCdEf12").write_text("half a report")
    (data / "reports/link").symlink_to("/etc/passwd")
    monkeypatch.setenv("TOKEN_PEPPER", "the one of the environment, in use")
    archive = make()
    unpack(target.path / archive.name, KEY, tmp_path / "out")
    names = {"database.sqlite3", "secrets/token_pepper", "secrets/secret_key", "reports/2026/r.txt"}
    assert set(archive.manifest.files) == names
    assert (tmp_path / "out/secrets/token_pepper").read_text() == "the one of the environment, in use"
    assert (tmp_path / "out/secrets/secret_key").read_text() == "of a container's secret"
    assert (tmp_path / "out/reports/2026/r.txt").read_text() == "GO"


@pytest.mark.parametrize("plant", [lambda path: path.mkdir(), lambda path: path.symlink_to("/nowhere")])
def test_secret_that_cannot_be_read_is_refused_and_named(make, target, data, plant):
    plant(data / "secrets/tls")
    with pytest.raises(ArchiveError, match="secrets/tls"):
        make()
    assert target.names() == []


def test_reports_that_are_not_mounted_are_refused(make, target, settings, tmp_path):
    settings.REPORTS_ROOT = tmp_path / "not mounted"
    with pytest.raises(ArchiveError, match="REPORTS_ROOT"):
        make()
    assert target.names() == []


def test_success_leaves_only_the_archive(make, target, data):
    archive = make()
    assert target.names() == [archive.name]
    assert (target.path / archive.name).stat().st_mode & 0o777 == 0o600
    assert not (data / "archiving").exists()


def test_only_newest_archives_of_this_portal_are_kept(make, target):
    foreign = ["vigie-00000000-20200101T000000Z.tar", "notes.txt", f"{own_prefix()}readme.tar"]
    for name in foreign:
        (target.path / name).write_text("")
    made = [make(keep=2).name for _ in range(3)]
    assert set(target.names()) == {*foreign, *made[1:]}


def test_archives_of_a_clock_that_was_ahead_are_not_counted_but_reported(make, target):
    ahead = [f"{own_prefix()}2099010{day}T000000Z.tar" for day in (3, 2, 1)]
    for name in ahead:
        (target.path / name).write_text("")
    _, second, third = (make(keep=2) for _ in range(3))
    assert own_archives(target) == [*ahead, third.name, second.name]
    assert ahead[-1] in third.not_deleted


@pytest.mark.parametrize(
    ("url", "owner"),
    [("https://Vigie.example.org", "vigie.example.org"), ("https://example.org:8443/vigie", "example.org-8443-vigie"),
     ("http://127.0.0.1:8000", "srv1-8000"), ("http://localhost", "srv1")],
)  # fmt: skip
def test_names_tell_whose_the_archives_are_by_address_or_machine(settings, monkeypatch, url, owner):
    monkeypatch.setattr(platform, "node", lambda: "SRV1")
    settings.PORTAL_URL = url
    assert own_prefix() == f"vigie-{owner}-"


def test_copy_at_another_address_deletes_nothing_of_the_original(make, target, settings):
    settings.PORTAL_URL = "https://vigie.example.org"
    original = make().name
    (target.path / f"{original}.part").write_text("being made")
    settings.PORTAL_URL = "https://vigie"
    copy = make(keep=1).name
    assert set(target.names()) == {copy, original, f"{original}.part"}


def test_new_secret_key_changes_no_name(settings):
    before = own_prefix()
    settings.SECRET_KEY = "another" * 10
    assert own_prefix() == before


def test_name_that_is_taken_is_not_used_again():
    first = new_name([])
    assert new_name([first]) > first


def test_leftovers_of_a_killed_process_are_swept(make, target, data):
    for path in (target.path / f"{own_prefix()}20200101T000000Z.tar.part", data / "archiving"):
        path.mkdir() if path.suffix == "" else path.write_text("half")
    other = target.path / "vigie-00000000-20200101T000000Z.tar.part"
    other.write_text("of another portal")
    archive = make()
    assert set(target.names()) == {archive.name, other.name}


def test_failure_leaves_nothing_and_deletes_nothing(make, target, data, monkeypatch):
    first = make().name
    monkeypatch.setattr(making, "prove_archive", lambda *_: None)
    with pytest.raises(ArchiveError):
        make(keep=1)
    assert target.names() == [first]
    assert not (data / "archiving").exists()


def test_disk_without_space_is_refused_before_the_snapshot(make, target, settings):
    settings.DISK_RESERVE_MIB = 2**40
    with pytest.raises(OSError, match="No space left"):
        make()
    assert target.names() == []


def test_two_backups_at_a_time_are_refused(make):
    with exclusive_lease(making.MAKING, timedelta(minutes=1)), pytest.raises(ArchiveError, match="Another backup"):
        make()


@pytest.mark.parametrize("keep", [1, 3])
def test_retention_counts_the_new_archive(target, db, keep):
    names = [f"{own_prefix()}2026010{day}T000000Z.tar" for day in range(1, 6)]
    for name in names:
        (target.path / name).write_text("")
    delete_older(target, names[-1], keep)
    assert own_archives(target) == names[::-1][:keep]


@pytest.mark.parametrize("text", ["/nowhere/at/all", "ftp://host/x", "s3://host/x"])
def test_unusable_target_is_refused(text):
    with pytest.raises(ArchiveError):
        open_target(text)


# --- The command -----------------------------------------------------------------------------------------------------


def test_command_prints_the_name_alone_and_records_success(
    target, data, quick_snapshot, archive_database, tmp_path, capsys
):
    (tmp_path / "key").write_text(f"{KEY.identity}\n")
    call_command("backup_portal", str(target.path), passphrase_file=tmp_path / "key", keep=1)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == target.names()
    assert "DEPOSITS_ROOT" in printed.err
    run = JobRun.objects.get(job="portal.backup")
    assert (run.status, run.result["archive"]) == ("done", target.names()[0])


@pytest.mark.parametrize("keep", ["0", "-1", "x"])
def test_keeping_no_archive_is_refused(target, keep):
    with pytest.raises(CommandError):
        call_command("backup_portal", str(target.path), "--passphrase-file", "x", "--keep", keep)
    assert target.names() == []


# --- The snapshot ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_snapshot_leaves_sessions_and_queued_tasks_out_but_keeps_erasures(archive_database, tmp_path):
    enqueue("portal.beat", "quick")
    enqueue(ERASE, encrypt("alice@example.org"), "user:bob")
    Session.objects.create(session_key="a-session-key-to-be-forgotten", expire_date=timezone.now())
    JobRun.objects.create(job="j", cycle_key="c")
    snapshots.take_snapshot(tmp_path / "file")
    with closing(sqlite3.connect(tmp_path / "file")) as file:
        counts = {
            name: file.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("django_session", "django_q_ormq", "portal_jobrun")
        }
    assert counts == {"django_session": 0, "django_q_ormq": 1, "portal_jobrun": 1}
    assert b"a-session-key-to-be-forgotten" not in (tmp_path / "file").read_bytes()
    assert (Session.objects.count(), OrmQ.objects.count()) == (1, 2)
