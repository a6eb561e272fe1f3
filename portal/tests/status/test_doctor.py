"""The checks of `manage.py doctor`: a healthy portal passes, and each planted mistake is found by name."""

import os
from dataclasses import dataclass
from datetime import date, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from django_q.models import OrmQ

from portal.access.tokens.issuing import issue_token
from portal.base import disks
from portal.base.private_files import GENERATED_SECRETS
from portal.models import ApiToken, AuditEvent, ChannelState, Heartbeat, JobRun, NotificationChannel
from portal.status.doctor import configuration, database, files, runs, versions
from portal.tests.helpers.doctor import rows_of
from portal.tests.helpers.receiver import TOKEN

COMPONENTS = ("quick", "slow", "pulse")
SMTP = "django.core.mail.backends.smtp.EmailBackend"


@dataclass
class World:
    """A healthy portal with folders of its own, in which a mistake can be planted."""

    settings: Any
    patch: pytest.MonkeyPatch
    folder: Path


@pytest.fixture
def world(settings, monkeypatch, tmp_path):
    for name in ("VIGIE_DATA_DIR", "DEPOSITS_ROOT", "VALIDATED_ROOT", "REPORTS_ROOT", "STATIC_ROOT"):
        folder = tmp_path / name.lower()
        folder.mkdir(mode=0o700)
        setattr(settings, name, folder)
    (settings.STATIC_ROOT / files.MANIFEST).write_text('{"paths": {}}')
    monkeypatch.setattr(files, "list_sources", lambda: [])
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    settings.ALLOWED_HOSTS = ["localhost"]
    monkeypatch.setattr(runs, "DEADLINE_SECONDS", 30)
    return World(settings, monkeypatch, tmp_path)


@pytest.fixture
def beats(transactional_db):
    Heartbeat.objects.bulk_create(Heartbeat(component=name, at=timezone.now()) for name in COMPONENTS)


def test_healthy_portal_has_no_warning(world, beats):
    JobRun.objects.create(job="portal.backup", cycle_key="a.tar", status="done", finished_at=timezone.now())
    rows = runs.run_checks(runs.list_checks(calls_out=False))
    without_trigrams = {"search"} if connection.vendor == "postgresql" else set()  # the test server lacks them
    assert [(row.name, row.detail) for row in rows if row.status != "ok" and row.name not in without_trigrams] == []
    assert {"database", "migrations", "quick", "deposits_root", "vigie", "python", "search"} <= {
        row.name for row in rows
    }


# --- Planted mistakes ------------------------------------------------------------------------------------------------


def misspelt_setting(world):
    world.patch.delenv("PORTAL_URL", raising=False)
    world.patch.setenv("PORTAL_ULR", "https://vigie.example")


def debug_on(world):
    world.settings.DEBUG = True


def weak_secret_key(world):
    world.settings.SECRET_KEY = "a" * 50


def plain_http_for_others(world):
    world.settings.ALLOWED_HOSTS = ["vigie.example"]


def https_beside_an_http_address(world):
    world.settings.HTTPS, world.settings.PORTAL_URL = True, "http://vigie.example"


def data_that_others_may_read(world):
    world.settings.VIGIE_DATA_DIR.chmod(0o755)


def origin_without_a_scheme(world):
    world.settings.CSRF_TRUSTED_ORIGINS = ["vigie.example"]


def any_host_allowed(world):
    world.settings.ALLOWED_HOSTS = ["*"]


def links_to_this_machine(world):
    world.settings.PORTAL_URL, world.settings.ALLOWED_HOSTS = "http://127.0.0.1:8000", ["vigie.example"]


def https_without_a_proxy(world):
    world.settings.HTTPS, world.settings.TRUSTED_PROXIES = True, []


def every_client_trusted(world):
    world.settings.TRUSTED_PROXIES = [ip_network("0.0.0.0/0")]


def callers_with_one_address(world):
    world.settings.PORTAL_URL, now = "https://vigie.example", timezone.now()
    for _number in range(configuration.FEWEST_EVENTS):
        AuditEvent.objects.create(action="user.logged_in", address="127.0.0.1", at=now, last_at=now)


def secret_that_others_may_read(world):
    path = world.folder / "password"
    path.write_text("x")
    path.chmod(0o644)
    world.patch.setenv("METRICS_TOKEN_FILE", str(path))


def secret_not_generated(world):
    world.settings.SECRETS_DIR = world.folder / "nowhere"


def migration_missing(world):
    MigrationRecorder(connection).record_unapplied("portal", "0001_initial")


def migration_of_a_later_version(world):
    MigrationRecorder(connection).record_applied("portal", "9999_later")


def clock_set_back(world):
    Heartbeat.objects.create(component="pulse", at=timezone.now() + timedelta(hours=1))


def workers_stopped(world):
    Heartbeat.objects.create(component="quick", at=timezone.now() - timedelta(hours=1))


def task_waiting(minutes):
    def plant(world):
        OrmQ.objects.create(key="quick", payload="", lock=timezone.now() - timedelta(minutes=minutes))

    return plant


def channel_disabled(world):
    channel = NotificationChannel.objects.create(name="Ops", kind="email", addresses="ops@example.org")
    ChannelState.objects.create(channel=channel.key, disabled_at=timezone.now())


def encryption_key_replaced(world):
    NotificationChannel.objects.create(name="Hook", kind="webhook", addresses="https://a.example", secret="other key")


def pepper_replaced(world):
    issue_token("client", label="gui")
    ApiToken.objects.update(pepper_version=9)


def folder_missing(world):
    world.settings.DEPOSITS_ROOT = world.folder / "not mounted"


def file_in_place_of_a_folder(world):
    world.settings.REPORTS_ROOT = world.folder / "file"
    world.settings.REPORTS_ROOT.write_text("")


def read_only_folder(world):
    world.patch.setattr(files, "write_and_remove", raising(PermissionError(13, "Permission denied")))


def full_disk(world):
    world.patch.setattr(disks, "find_disk", lambda folder: disks.Disk((folder,), 0, 10**12))


def disk_nearly_full(world):
    world.settings.DISK_WARNING_MIB = 2**40


def folder_that_others_may_write(world):
    world.settings.VALIDATED_ROOT.chmod(0o777)


def one_folder_for_two_roots(world):
    world.settings.VALIDATED_ROOT = world.settings.DEPOSITS_ROOT


def foreign_data(world):
    world.patch.setattr(os, "geteuid", lambda: 12345)


def open_umask(world):
    world.patch.setattr(files, "PROCESS", written(world, "Name:\tpython\nUmask:\t0022\n"))


def little_memory(world):
    world.patch.setattr(files, "MEMORY", written(world, "MemAvailable:   2048 kB\n"))


def static_files_not_collected(world):
    (world.settings.STATIC_ROOT / files.MANIFEST).unlink()


def static_files_of_another_version(world):
    source = written(world, "new")
    world.patch.setattr(
        files, "list_sources", lambda: [("portal/js/rows.js", source.rename(source.with_suffix(".js")))]
    )
    (world.settings.STATIC_ROOT / "old.js").write_text("old")
    (world.settings.STATIC_ROOT / files.MANIFEST).write_text('{"paths": {"portal/js/rows.js": "old.js"}}')


def old_python(world):
    world.patch.setattr(versions, "PYTHON", {(3, minor): date(2020, 1, 1) for minor in range(11, 15)})


def python_with_few_days_left(world):
    soon = timezone.localdate() + timedelta(days=30)
    world.patch.setattr(versions, "PYTHON", {(3, minor): soon for minor in range(11, 15)})


def untested_django(world):
    world.patch.setattr(versions, "DJANGO", {(4, 2): date(2030, 1, 1)})


def recipients_without_a_mail_server(world):
    world.settings.GUARDIAN_RECIPIENTS = ["ops@example.org"]


def no_mail_server_there(world):
    world.settings.EMAIL_BACKEND, world.settings.EMAIL_HOST, world.settings.EMAIL_PORT = SMTP, "127.0.0.1", 1


def half_of_telegram(world):
    world.settings.TELEGRAM_BOT_TOKEN, world.settings.TELEGRAM_CHAT_ID = TOKEN, ""


def address_that_nobody_listens_at(world):
    world.settings.PORTAL_URL = "https://127.0.0.1:1"


def raising(error):
    def fail(*args):
        raise error

    return fail


def written(world, text):
    path = world.folder / "written"
    path.write_text(text)
    return path


MISTAKES = [
    (misspelt_setting, "settings", "settings", "warning"),
    (debug_on, "system_checks", "debug", "warning"),
    (weak_secret_key, "system_checks", "secret_key", "warning"),
    (plain_http_for_others, "system_checks", "https", "warning"),
    (https_beside_an_http_address, "system_checks", "https", "failed"),
    (data_that_others_may_read, "system_checks", "private_files", "warning"),
    (origin_without_a_scheme, "system_checks", "csrf_trusted_origins", "failed"),
    (any_host_allowed, "allowed_hosts", "allowed_hosts", "warning"),
    (links_to_this_machine, "portal_url", "portal_url", "warning"),
    (https_without_a_proxy, "trusted_proxies", "trusted_proxies", "failed"),
    (every_client_trusted, "trusted_proxies", "trusted_proxies", "failed"),
    (callers_with_one_address, "proxy_headers", "proxy_headers", "warning"),
    (secret_that_others_may_read, "secrets", "secrets", "warning"),
    (secret_not_generated, "secrets", "secrets", "warning"),
    (migration_missing, "migrations", "migrations", "failed"),
    (migration_of_a_later_version, "migrations", "migrations", "warning"),
    (clock_set_back, "clock", "clock", "failed"),
    (workers_stopped, "workers", "quick", "failed"),
    (task_waiting(5), "queue", "queue", "warning"),
    (task_waiting(15), "queue", "queue", "failed"),
    (channel_disabled, "channels", "channels", "failed"),
    (encryption_key_replaced, "channels", "channels", "failed"),
    (pepper_replaced, "tokens", "tokens", "failed"),
    (folder_missing, "deposits_root", "deposits_root", "failed"),
    (file_in_place_of_a_folder, "reports_root", "reports_root", "failed"),
    (read_only_folder, "vigie_data_dir", "vigie_data_dir", "failed"),
    (full_disk, "temporary_folder", "temporary_folder", "failed"),
    (disk_nearly_full, "reports_root", "reports_root", "warning"),
    (folder_that_others_may_write, "validated_root", "validated_root", "warning"),
    (one_folder_for_two_roots, "validated_root", "validated_root", "failed"),
    (foreign_data, "user", "user", "warning"),
    (open_umask, "umask", "umask", "warning"),
    (little_memory, "memory", "memory", "warning"),
    (static_files_not_collected, "static_files", "static_files", "failed"),
    (static_files_of_another_version, "static_files", "static_files", "failed"),
    (old_python, "python", "python", "warning"),
    (python_with_few_days_left, "python", "python", "warning"),
    (untested_django, "django", "django", "warning"),
    (recipients_without_a_mail_server, "mail", "mail", "warning"),
    (no_mail_server_there, "mail", "mail", "failed"),
    (half_of_telegram, "telegram", "telegram", "warning"),
    (address_that_nobody_listens_at, "certificate", "certificate", "warning"),
    (address_that_nobody_listens_at, "public_address", "public_address", "warning"),
]


@pytest.mark.parametrize(
    ("plant", "check", "name", "status"), MISTAKES, ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.django_db
def test_planted_mistake_is_found_with_a_hint(world, plant, check, name, status):
    plant(world)
    row = rows_of(check)[name]
    assert (row.status, bool(row.detail), bool(row.hint)) == (status, True, status != "ok")


@pytest.mark.parametrize("mean", ["environment", "file"])
def test_secret_that_is_set_need_not_be_generated(world, mean):
    secret_not_generated(world)
    for name in GENERATED_SECRETS:
        (world.folder / name).write_text("x" * 50)
        world.patch.setenv(*((name, "x" * 50) if mean == "environment" else (f"{name}_FILE", str(world.folder / name))))
    assert rows_of("secrets")["secrets"].detail == "All there"


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({"encoding": "LATIN1"}, "failed"),
        ({"datcollversion": "2.31"}, "warning"),
        ({"actual": None}, "ok"),
        ({}, "ok"),
    ],
)
@pytest.mark.postgresql
@pytest.mark.django_db
def test_encoding_and_collation_of_postgresql_are_compared(monkeypatch, answers, status):
    values = {"encoding": "UTF8", "datcollate": "C.UTF-8", "datcollversion": "2.36", "actual": "2.36"} | answers
    encoding, *collation = values.values()
    monkeypatch.setattr(database, "ask", lambda sql: (encoding,) if sql is database.ENCODING else tuple(collation))
    monkeypatch.setattr(database, "COLLATION_SINCE", (0,))
    assert rows_of("encoding")["encoding"].status == status


@pytest.mark.parametrize(
    ("used", "most", "status"), [(98, 100, "failed"), (80, 100, "warning"), (9, 20, "warning"), (9, 97, "ok")]
)
@pytest.mark.postgresql
@pytest.mark.django_db
def test_connections_of_postgresql_are_counted(monkeypatch, used, most, status):
    monkeypatch.setattr(database, "ask", lambda sql: (used, most))
    assert rows_of("database_connections")["database_connections"].status == status


@pytest.mark.parametrize(("seconds", "status"), [(-90, "failed"), (10, "warning"), (1, "ok")])
@pytest.mark.postgresql
@pytest.mark.django_db
def test_clock_that_differs_from_postgresql_is_found(monkeypatch, seconds, status):
    monkeypatch.setattr(database, "measure_database_clock", lambda: timezone.now() + timedelta(seconds=seconds))
    assert rows_of("clock")["clock"].status == status


def test_journal_of_sqlite_that_is_not_wal_is_a_warning(monkeypatch):
    monkeypatch.setattr(database, "connection", type("Connection", (), {"vendor": "sqlite"}))
    monkeypatch.setattr(database, "ask", lambda sql: ("delete",))
    assert [result.status for result in database.check_journal()] == ["warning"]
