"""Runs of doctor: deadlines, failures, what is left out, secrets, and the command."""

import json
import os
import sqlite3
import subprocess
import sys
import threading

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError

from portal.egress.store_address import parse_store_url
from portal.models import Heartbeat
from portal.status.doctor import database, runs
from portal.status.doctor.registry import CheckResult, DoctorCheck, Group, Needs, failure, passed
from portal.tests.helpers.doctor import rows_of


def check_of(body, needs=Needs.NOTHING, name="planted"):
    return DoctorCheck(name, Group.DATABASE, body, needs)


def statuses(*checks, seconds=30):
    return {row.name: row.status for row in runs.run_checks(checks, seconds)}


def test_check_that_raises_is_a_failure_without_its_text():
    def fail():
        raise ValueError("secret value")

    (row,) = runs.run_check(check_of(fail))
    assert row.status == "failed"
    assert "secret" not in row.detail


def test_path_that_this_user_may_not_read_is_named():
    def fail():
        raise PermissionError(13, "Permission denied", "/srv/vigie/secrets")

    (row,) = runs.run_check(check_of(fail))
    assert (row.status, row.detail) == ("failed", "/srv/vigie/secrets: Permission denied")


def test_check_that_hangs_is_a_failure_at_the_deadline(monkeypatch, release):
    def hang():
        release.wait()
        yield passed("never")

    assert statuses(check_of(hang), check_of(lambda: [passed("here")], name="other"), seconds=0.05) == {
        "planted": "failed",
        "other": "ok",
    }
    monkeypatch.setattr(runs, "MOST_AT_ONCE", 1)
    with pytest.raises(runs.TooManyRuns):
        statuses(check_of(hang))


@pytest.fixture
def release():
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(
    ("gate", "needs", "status"),
    [
        ("database", Needs.DATABASE, "warning"),
        ("database", Needs.TABLES, "warning"),
        ("migrations", Needs.DATABASE, "ok"),
        ("migrations", Needs.TABLES, "warning"),
    ],
)
def test_check_is_left_out_where_what_it_needs_has_failed(transactional_db, gate, needs, status):
    gates = {"database": Needs.CONNECTION, "migrations": Needs.DATABASE}
    broken = check_of(lambda: [failure("broken", "fix it")], gates[gate], gate)
    assert statuses(broken, check_of(lambda: [passed("fine")], needs))["planted"] == status


def test_database_is_only_read(transactional_db):
    def write():
        Heartbeat.objects.create(component="pulse")
        yield passed("written")

    check = check_of(write, Needs.DATABASE)
    assert statuses(check) == {"planted": "failed"}
    assert not Heartbeat.objects.exists()


@pytest.mark.parametrize("content", [None, b"no database, but long enough to be taken for one" * 100])
def test_missing_or_broken_file_of_sqlite_is_a_failure_and_stays_as_it_is(monkeypatch, tmp_path, content):
    path = tmp_path / "db.sqlite3"
    if content:
        path.write_bytes(content)
    fake = type("Connection", (), {"vendor": "sqlite", "settings_dict": {"NAME": path}, "close": lambda self: None})()
    monkeypatch.setattr(database, "connection", fake)

    def ask(sql):
        try:
            return sqlite3.connect(path).execute(sql).fetchone()
        except sqlite3.Error as error:
            raise DatabaseError(str(error)) from None

    monkeypatch.setattr(database, "ask", ask)
    assert rows_of("database")["database"].status == "failed"
    assert (path.read_bytes() if path.exists() else None) == content


def test_passwords_of_the_settings_are_taken_out(settings, monkeypatch):
    monkeypatch.setenv("OIDC_CLIENT_SECRET", "of the issuer")
    monkeypatch.setenv("TOKEN_PEPPER", "of the tokens")
    settings.EMAIL_HOST_PASSWORD, settings.DRILL_MYSQL_URL = "hunter22", "mysql://root:swordfish@db"
    settings.OFFSITE_URL = parse_store_url("s3://KEY:offsite%2Fsecret@host/bucket")
    settings.PORTAL_BACKUP_TARGET = "s3://KEY:portal%2Fsecret@host/bucket"
    settings.PORTAL_BACKUP_PASSPHRASE = "# a key file\nAGE-SECRET-KEY-1QQ"
    secrets = ("hunter22", "swordfish", "offsite/secret", "offsite%2Fsecret", "portal/secret", "portal%2Fsecret",
               "AGE-SECRET-KEY-1QQ", "of the issuer", "of the tokens")  # fmt: skip
    for secret in secrets:
        (row,) = runs.run_check(check_of(lambda: [CheckResult("failed", f"{secret} refused", f"not {secret}")]))  # noqa: B023
        assert secret not in row.detail + row.hint


@pytest.mark.parametrize(
    ("checks", "status"), [([passed("fine")], "ok"), ([passed("fine"), failure("bad", "mend")], "failed")]
)
def test_command_prints_json_and_ends_with_1_after_a_failure(monkeypatch, capsys, checks, status):
    check = check_of(lambda: checks)
    monkeypatch.setattr("portal.management.commands.doctor.list_checks", lambda **options: [check])
    try:
        call_command("doctor", "--json")
        code = 0
    except SystemExit as end:
        code = end.code
    said = json.loads(capsys.readouterr().out)
    assert (said["status"], code) == (status, int(status == "failed"))
    assert said["checks"][0] == {"name": "planted", "status": "ok", "detail": "fine", "hint": ""}


def doctor(folder, **environment):
    """Run the command in a process of its own, and return its exit status and report."""
    variables = {
        **os.environ,
        "VIGIE_DATA_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        **environment,
    }
    variables |= {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3"} if "DATABASE_URL" not in environment else {}
    command = [sys.executable, "manage.py", "doctor", "--json"]
    ended = subprocess.run(command, env=variables, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    return ended.returncode, json.loads(ended.stdout)


def test_every_bad_setting_is_reported(tmp_path):
    code, report = doctor(tmp_path, HTTPS="maybe", TELEGRAM_CHAT_ID="bob", SECRET_KEY="short")
    assert (code, report["status"], [check["status"] for check in report["checks"]]) == (1, "failed", ["failed"] * 3)
    named = {check["detail"].split()[0] for check in report["checks"]}
    assert named == {"HTTPS", "TELEGRAM_CHAT_ID", "SECRET_KEY"}


def test_missing_package_is_reported(tmp_path):
    (tmp_path / "csp.py").write_text("raise ImportError('No module named csp')")
    code, report = doctor(tmp_path, PYTHONPATH=str(tmp_path))
    assert (code, [check["name"] for check in report["checks"]]) == (1, ["packages"])


@pytest.mark.parametrize(
    ("database_url", "status"),
    [("", "failed"), ("postgresql://vigie:swordfish@127.0.0.1:1/vigie", "failed")],
    ids=["no database", "server away"],
)
def test_command_on_nothing_reports_it_and_creates_nothing(tmp_path, database_url, status):
    folder = tmp_path / "data"
    code, report = doctor(folder, **({"DATABASE_URL": database_url} if database_url else {}))
    found = {check["name"]: check["status"] for check in report["checks"]}
    assert (code, found["database"], found["vigie_data_dir"], found["tokens"]) == (1, status, "failed", "warning")
    assert not folder.exists()
    assert "swordfish" not in json.dumps(report)
