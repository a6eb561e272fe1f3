"""Hostile deposits: one clear entry, and nothing read or written outside of the roots."""

import gzip
import json
import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard
from vigie_client.contract import path_name

from backups import validators
from backups.models import BackupEntry, DepositArea, ExpectedBackupJob
from backups.scanner import orchestration, verify
from backups.scanner.disk import copying, paths
from backups.tests.factories import AFTER_DEADLINE, AGENT, DATABASE, EXPECTED, dump, report_section
from portal.tests.helpers.marks import MANY_MARKS

pytestmark = pytest.mark.django_db
NAME = f"OPERATION_20250612_1304_{AGENT}.json"
STAGED = f"{DATABASE}.sql.gz"


@pytest.fixture
def outside(tmp_path):
    """A folder beside the roots that must be neither read nor written."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / STAGED).write_bytes(dump())
    return folder


def codes(found):
    return [why["code"] for why in found.reasons]


# --- Links and what is no file ---------------------------------------------------------------------------------------


def test_link_in_place_of_a_dump_is_not_followed(machine, entry, outside):
    machine.report()
    machine.dumps.mkdir()
    (machine.dumps / STAGED).symlink_to(outside / STAGED)
    found = entry()
    assert (found.status, codes(found)) == ("TRANSFER_INTEGRITY_FAILED", ["file_not_regular"])
    assert (outside / STAGED).read_bytes() == dump()


def test_link_in_place_of_the_dump_folder_is_not_followed(machine, entry, outside):
    machine.report()
    machine.dumps.symlink_to(outside)
    found = entry()
    assert (found.status, codes(found)) == ("TRANSFER_INTEGRITY_FAILED", ["folder_not_plain"])
    assert (outside / STAGED).exists()


def test_link_in_place_of_the_machine_folder_is_not_followed(machine, entry, outside, settings):
    (outside / "log").mkdir()
    (outside / "log" / NAME).write_text("{}")
    (settings.DEPOSITS_ROOT / AGENT).symlink_to(outside)
    found = entry()
    assert (found.status, codes(found)) == ("MISSING", ["no_report", "folder_not_plain"])
    assert DepositArea.objects.get().trouble == {"code": "folder_not_plain", "folder": AGENT}


def test_link_in_place_of_a_report_is_not_followed(machine, entry, outside):
    machine.stage()
    (outside / NAME).write_text(json.dumps({"secret": "of the portal"}))
    machine.logs.mkdir()
    (machine.logs / NAME).symlink_to(outside / NAME)
    found = entry()
    assert (found.status, codes(found)) == ("FAILED", ["report_unreadable"])


def test_file_in_place_of_a_folder_is_reported(machine, entry, settings):
    (settings.DEPOSITS_ROOT / AGENT).write_text("")
    found = entry()
    assert (found.status, codes(found)) == ("MISSING", ["no_report", "folder_not_plain"])


@pytest.mark.parametrize("what", ["dump", "report"])
def test_pipe_in_place_of_a_dump_does_not_block(machine, entry, what):
    if what == "dump":
        machine.report()
        machine.dumps.mkdir()
        os.mkfifo(machine.dumps / STAGED)
        expected = "TRANSFER_INTEGRITY_FAILED", ["file_not_regular"]
    else:
        machine.logs.mkdir(parents=True)
        os.mkfifo(machine.logs / NAME)
        expected = "FAILED", ["report_unreadable"]
    found = entry()
    assert (found.status, codes(found)) == expected


def test_folder_in_place_of_a_dump_is_reported(machine, entry):
    machine.report()
    (machine.dumps / STAGED).mkdir(parents=True)
    assert codes(entry()) == ["file_not_regular"]


@pytest.mark.parametrize("place", ["ACME", "ACME/_", f"ACME/_/{DATABASE}", f"ACME/_/{DATABASE}/current_version"])
def test_link_below_the_storage_root_is_not_followed(machine, entry, outside, settings, place):
    machine.deposit()
    path = settings.VALIDATED_ROOT / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    found = entry()
    assert (found.status, found.promotion, found.promotion_reason["code"]) == ("SUCCESS", "failed", "folder_not_plain")
    assert sorted(outside.rglob("*")) == before
    assert (machine.dumps / STAGED).exists()


def test_link_in_place_of_a_hidden_copy_is_not_written_through(machine, entry, outside, settings, monkeypatch):
    monkeypatch.setattr(copying.secrets, "token_hex", lambda length: "0" * 2 * length)
    current = settings.VALIDATED_ROOT / "ACME" / "_" / DATABASE / "current_version"
    current.mkdir(parents=True)
    (current / f".{STAGED}.vigie-{'0' * 16}.part").symlink_to(outside / STAGED)
    machine.deposit(dump("-- new\n"))
    assert entry().promotion == "failed"
    assert (outside / STAGED).read_bytes() == dump()


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [MANY_MARKS * 1_000, "x" * 500_000])
def test_name_that_is_too_long_is_compared_as_it_is(text):
    assert paths.normalize_name(text) == text


@pytest.mark.parametrize("name", ["../..", "/etc/passwd", "..", "", "a\0.gz", "/x/.hidden.gz", "x" * 300 + ".gz"])
def test_report_cannot_name_a_file_elsewhere(machine, entry, outside, name):
    machine.deposit(staged_file_name=name)
    found = entry()
    assert (found.status, codes(found)) == ("FAILED", ["staged_name_malformed"])


def test_path_in_a_report_is_reduced_to_its_last_part(machine, entry, outside):
    machine.deposit(staged_file_name=f"../../outside/{STAGED}")
    assert (machine.dumps / STAGED).read_bytes() == dump()
    assert (entry().staged_name, (outside / STAGED).exists()) == (STAGED, True)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("..", "_"), (".", "_"), ("", "_"), ("../../etc", "_.._etc"), ("/etc/passwd", "_etc_passwd"),
        ("Société Générale", "Societe_Generale"), ("a\0b\nc", "a_b_c"), (".hidden", "hidden"), ("日本", "_"),
        ("x" * 500, "x" * 128), ("％ｅ", "_e"), ("a:b", "a_b"),
    ],
)  # fmt: skip
def test_path_name_is_one_plain_name(value, name):
    assert path_name(value) == name


@pytest.mark.parametrize(("value", "name"), [(None, "_"), (2025, "2025"), ("a/b", "a_b")])
def test_template_field_becomes_one_plain_name(value, name):
    assert paths.fill_in_fields("{year}", lambda field: value) == name


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("template", ["../{agent_id}", "/etc/{agent_id}", "{agent_id}/../..", "a//../b"])
def test_template_cannot_leave_its_root(make_job, template):
    job = make_job(agent_deposit_path_template=template)
    assert not {"..", ".", ""} & set(paths.dump_folder(job))
    with pytest.raises(validators.ValidationError):
        validators.validate_template(template)


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "template", ["{agent_id.__class__}", "{agent_id!r}", "{0}", "{secret}", "{agent_id", "é/{city}", "a b", ""]
)
def test_template_with_anything_but_fields_in_braces_is_refused(template):
    with pytest.raises(validators.ValidationError):
        validators.validate_template(template)


@pytest.mark.one_database("computed in Python")
@pytest.mark.parametrize("template", ["{agent_id}/database", "{company_name}/{city}/{database_name}", "x-{year}/y.z"])
def test_plain_template_is_accepted(template):
    validators.validate_template(template)


def test_report_name_in_full_width_digits_is_ignored(machine, entry):
    machine.deposit()
    (machine.logs / NAME).rename(machine.logs / f"OPERATION_２０２５０６１２_1304_{AGENT}.json")
    assert entry().status == "MISSING"


def test_jobs_sharing_a_folder_store_nothing(machine, make_job, scan, current):
    make_job()
    other = make_job(agent_id="OTHER")
    machine.deposit()
    scan()
    found = BackupEntry.objects.get(job__agent_id=AGENT)
    assert (found.status, found.promotion, found.promotion_reason["code"]) == ("SUCCESS", "failed", "storage_shared")
    assert current() == {}
    with pytest.raises(validators.ValidationError):
        other.full_clean()
    ExpectedBackupJob.objects.filter(pk=other.pk).update(is_active=False)
    scan(AFTER_DEADLINE + timedelta(minutes=15))
    assert current() == {STAGED: dump()}


# --- Files that change under our hands -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["truncated", "written to", "replaced"])
def test_file_changed_during_hashing_is_not_verified(machine, scan, job, monkeypatch, how, current):
    content = os.urandom(3 * verify.CHUNK)
    machine.deposit(content)
    path, real = machine.dumps / STAGED, os.readv
    calls = []

    def reading(descriptor, buffers):
        calls.append(None)
        if len(calls) == 2:
            if how == "truncated":
                os.truncate(path, verify.CHUNK)
            elif how == "written to":
                with path.open("r+b") as file:
                    file.write(b"x")
            else:
                path.with_suffix(".new").write_bytes(b"y" * len(content))
                path.with_suffix(".new").rename(path)
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "readv", reading)
    result = scan(EXPECTED + timedelta(minutes=20))
    monkeypatch.undo()
    assert (result.rows[0]["status"], current()) == ("PENDING", {})
    assert path.exists()


def test_writer_with_an_open_descriptor_cannot_change_the_stored_copy(machine, entry, current):
    machine.deposit()
    with (machine.dumps / STAGED).open("r+b") as writer:
        entry()
        writer.write(b"evil")
    assert current() == {STAGED: dump()}


# --- Too much of everything ------------------------------------------------------------------------------------------


@pytest.fixture
def look(elsewhere, tmp_path):
    """Return a function that scans in another process, and returns the status and how much its memory grew, in MiB."""

    def memory(name):
        return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

    def scan_measured():
        before = memory("VmRSS")
        result = orchestration.scan_now(AFTER_DEADLINE)[1]
        (tmp_path / "seen").write_text(f"{result.rows[0]['status']} {memory('VmHWM') - before}")

    def looking():
        assert elsewhere(scan_measured) == 0
        status, growth = (tmp_path / "seen").read_text().split()
        return status, int(growth)

    return looking


@pytest.mark.one_database("memory for the content of files")
@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("a report of 100 MB", "FAILED"),
        ("a report 100,000 deep", "FAILED"),
        ("a report of 60,000 databases", "MISSING"),
        ("500 reports of 500 databases", "SUCCESS"),
        ("a gzip bomb", "SUCCESS"),
        ("a zstd bomb", "SUCCESS"),
        ("a dump of 150 MB", "SUCCESS"),
    ],
)
def test_hostile_deposits_take_less_than_80_mb_of_memory(machine, job, look, what, status):
    match what:
        case "a report of 100 MB":
            machine.write_log(NAME, b'{"a": "' + b"x" * 100_000_000)
        case "a report 100,000 deep":
            machine.write_log(NAME, b'{"databases":' + b"[" * 100_000)
        case "a report of 60,000 databases":
            machine.report(databases={f"d{n}": 1 for n in range(60_000)})
        case "500 reports of 500 databases":
            many = {DATABASE: report_section()} | {f"d{n}": report_section() for n in range(500)}
            content = (machine.logs / machine.report(EXPECTED, many)).read_text()
            for minute in range(1, 500):
                moment = EXPECTED + timedelta(minutes=minute)
                name = f"OPERATION_{moment:%Y%m%d_%H%M}_{AGENT}.json"
                machine.write_log(name, content.replace(EXPECTED.isoformat(), moment.isoformat()).encode())
            machine.stage()
        case "a gzip bomb":
            machine.deposit(gzip.compress(b"\0" * 200_000_000, 1))
        case "a zstd bomb":
            content = zstandard.ZstdCompressor(threads=0).compress(b"\0" * 200_000_000)
            machine.stage(content, f"{DATABASE}.sql.zst")
            machine.report(databases={DATABASE: report_section(content)})
        case "a dump of 150 MB":
            machine.deposit(os.urandom(1_000_000) * 150)
    found, growth = look()
    assert found == status
    assert growth < 80


def test_folder_with_too_many_files_is_reported(machine, entry, monkeypatch):
    monkeypatch.setattr("backups.scanner.disk.opening.MAX_FILES", 3)
    machine.deposit()
    for number in range(3):
        machine.write_log(f"{number}.txt", b"")
    assert codes(entry()) == ["no_report", "too_many_files"]


def test_newest_of_too_many_reports_are_read(machine, entry, monkeypatch):
    monkeypatch.setattr("backups.scanner.disk.report_folders.MAX_REPORTS", 1)
    machine.deposit(moment=EXPECTED)
    machine.report(EXPECTED + timedelta(minutes=9), {})
    assert entry().status == "MISSING"
