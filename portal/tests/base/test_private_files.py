"""Permissions of the data directory and the files in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from portal.base import private_files
from portal.base.private_files import close_private_paths, exposed_paths
from portal.management.commands import prepare

NAMES = ("db.sqlite3", "db.sqlite3-wal", "log", "reports", "mails", "exports", "secrets")


@pytest.fixture
def data(monkeypatch, tmp_path):
    """Create a data directory as an older version left it, with a shared deposit root in it."""
    found = tmp_path / "data"
    for name in ("reports", "mails", "exports", "secrets", "static", "validated", "sftp"):
        (found / name).mkdir(parents=True)
    for name in ("db.sqlite3", "db.sqlite3-wal", "log"):
        (found / name).touch()
    for path in found.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)
    (found / "sftp").chmod(0o2770)
    (found / "link").symlink_to(tmp_path)
    found.chmod(0o755)
    tmp_path.chmod(0o755)
    its_settings = SimpleNamespace(
        VIGIE_DATA_DIR=found,
        STATIC_ROOT=found / "static",
        DEPOSITS_ROOT=found / "sftp",
        VALIDATED_ROOT=found / "validated",
        DATABASES={"default": {"ENGINE": private_files.SQLITE, "NAME": str(found / "db.sqlite3")}},
        **dict.fromkeys(private_files.SECRETS, "given"),
    )
    monkeypatch.setattr(private_files, "settings", its_settings)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def found_by_check() -> list[str]:
    return [str(message.msg) for message in run_checks() if message.id == "vigie.W001"]


def test_old_data_directory_is_closed_but_shared_roots_are_not(data):
    assert set(exposed_paths()) == {data, *(data / name for name in NAMES)}
    close_private_paths()
    assert exposed_paths() == []
    assert {name: mode(data / name) for name in ("reports", "log", "sftp", "validated")} == {
        "reports": 0o700,
        "log": 0o600,
        "sftp": 0o2770,
        "validated": 0o755,
    }
    assert mode(data) == 0o700
    assert mode(data.parent) == 0o755  # where the link leads


@pytest.mark.parametrize("bits", [0o2770, 0o707])
def test_data_directory_stays_passable_while_others_deposit_below_it(data, bits):
    folder = data / "sftp" / "PC-1"
    folder.mkdir()
    folder.chmod(bits)
    close_private_paths()
    assert (mode(data), mode(folder), mode(data / "reports")) == (0o711, bits, 0o700)
    (message,) = [each for each in run_checks() if each.id == "vigie.W001"]
    assert str(message.msg) == f"Other users of this machine may enter or read {data}."
    assert "Set DEPOSITS_ROOT" in str(message.hint)
    private_files.settings.DEPOSITS_ROOT = data.parent / "elsewhere"
    close_private_paths()
    assert found_by_check() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")
def test_data_directory_stays_passable_for_owners_of_deposit_folders(data):
    folder = data / "sftp" / "PC-1"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12_345, -1)
    close_private_paths()
    assert mode(data) == 0o711


def test_data_directory_is_closed_if_the_portal_wrote_all_deposits(data):
    (data / "sftp" / "PC-1").mkdir()
    (data / "sftp" / "PC-1").chmod(0o755)
    close_private_paths()
    assert mode(data) == 0o700


def test_database_behind_a_symlink_is_closed(data, tmp_path):
    outside = tmp_path / "linked.sqlite3"
    outside.touch()
    outside.chmod(0o644)
    (data / "db.sqlite3").unlink()
    (data / "db.sqlite3").symlink_to(outside)
    assert outside in exposed_paths()
    close_private_paths()
    assert mode(outside) == 0o600


def test_database_elsewhere_is_closed_with_its_journals(data, tmp_path):
    outside = tmp_path / "elsewhere.sqlite3"
    for path in (outside, tmp_path / "elsewhere.sqlite3-wal", tmp_path / "other"):
        path.touch(0o644)
        path.chmod(0o644)
    private_files.settings.DATABASES["default"]["NAME"] = str(outside)
    close_private_paths()
    assert (mode(outside), mode(tmp_path / "elsewhere.sqlite3-wal")) == (0o600, 0o600)
    assert mode(tmp_path / "other") == 0o644


@pytest.mark.parametrize("bits", [0o700, 0o701, 0o710, 0o704, 0o777])
def test_check_names_a_directory_that_others_may_enter(data, bits):
    close_private_paths()
    data.chmod(bits)
    assert found_by_check() == ([] if bits == 0o700 else [f"Other users of this machine may enter or read {data}."])


@pytest.mark.parametrize("name", NAMES)
def test_check_names_files_in_the_data_directory_that_others_can_read(data, name):
    close_private_paths()
    (data / name).chmod(0o640)
    assert found_by_check() == [f"Other users of this machine may enter or read {data / name}."]


def test_files_of_another_owner_are_left_to_the_check(data, monkeypatch):
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refuse)
    close_private_paths()
    assert found_by_check() == [f"Other users of this machine may enter or read {data} and {len(NAMES)} more."]


def test_prepare_closes_the_data_directory_before_the_checks_run(data, monkeypatch, capsys):
    monkeypatch.setattr(prepare.Command, "handle", lambda *args, **options: None)
    call_command("prepare", skip_checks=False)
    assert exposed_paths() == []
    assert "W001" not in capsys.readouterr().err
