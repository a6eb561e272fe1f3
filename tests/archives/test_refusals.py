"""What a restore refuses, and that it then leaves everything as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection

from portal.archives import emptiness, restoring, secrets
from portal.archives.contents import unpack
from portal.archives.errors import ArchiveError, NewerVersion, NotEmpty
from portal.archives.passphrases import read_passphrase
from portal.tests.helpers.portal_process import Portal
from tests.archives.places import Place

pytestmark = [pytest.mark.slow, pytest.mark.each_database]


@pytest.mark.parametrize(("case", "status"), [("wrong key", 3), ("altered", 4), ("no archive", 4), ("no file", 1)])
def test_refused_archive_leaves_nothing_behind(place: Place, tmp_path: Path, case: str, status: int) -> None:
    """The data directory is not even created, and the database not asked."""
    archive, key = tmp_path / "archive", tmp_path / "key"
    content = (place.target / place.archives[0]).read_bytes()
    if case != "no file":
        archive.write_bytes(
            {"altered": content[:-3000] + b"x" + content[-2999:], "no archive": b"x" * 2000}.get(case, content)
        )
    key.write_text("another passphrase" if case == "wrong key" else (place.folder / "key").read_text())
    portal = Portal(tmp_path / "data", "postgresql:///nowhere?host=/nowhere")
    done = portal.manage("restore_portal", str(archive), "--passphrase-file", str(key))
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"archive", "key"} - ({"archive"} if case == "no file" else set())
    )


@pytest.fixture
def data(tmp_path: Path, settings) -> Path:
    settings.VIGIE_DATA_DIR = tmp_path / "data"
    for name in ("secrets", "reports", "static", "deposits", "validated"):
        (tmp_path / "data" / name).mkdir(parents=True)
    settings.SECRETS_DIR, settings.REPORTS_ROOT = tmp_path / "data/secrets", tmp_path / "data/reports"
    settings.DEPOSITS_ROOT, settings.VALIDATED_ROOT = tmp_path / "data/deposits", tmp_path / "data/validated"
    settings.STATIC_ROOT = tmp_path / "data/static"
    return tmp_path / "data"


def write(data: Path, *names: str) -> None:
    for name in names:
        (data / name).parent.mkdir(exist_ok=True, parents=True)
        (data / name).write_text("x")


@pytest.mark.django_db
def test_directory_with_generated_secrets_counts_as_empty(data: Path) -> None:
    write(data, *(f"secrets/{name}" for name in secrets.GENERATED), "prepare.lock", "static/a.css", "deposits/PC-1")
    write(data, "validated/dump.sql.gz", "reports/vigie.tar", "secrets/my-passphrase")
    emptiness.refuse_full_directory([data / "reports/vigie.tar", data / "secrets/my-passphrase"])


@pytest.mark.django_db
def test_directory_with_files_of_the_system_or_of_its_user_counts_as_empty(data: Path) -> None:
    write(data, ".bashrc", ".cache/pip/http", "lost+found/1", "notes.txt", "reports/lost+found/1", "secrets/.keep")
    emptiness.refuse_full_directory([])


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["reports/r.txt", "secrets/tls.key", "db.sqlite3"])
def test_directory_that_a_portal_has_written_to_is_refused_and_named(data: Path, name: str) -> None:
    write(data, name)
    with pytest.raises(NotEmpty, match=name):
        emptiness.refuse_full_directory([])


@pytest.mark.django_db
def test_migrated_database_without_rows_counts_as_empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # SQLite keeps statistics in a table
    emptiness.refuse_full_database()


def test_place_that_is_not_empty_is_refused_and_named(place: Place) -> None:
    done = place.portal.manage(*place.arguments("restore_portal"))
    assert done.returncode == 5
    assert "auth_user" in done.stderr


def test_archive_of_a_newer_version_is_refused(place: Place) -> None:
    described = unpack(place.target / place.archives[0], read_passphrase(place.folder / "key"))
    restoring.refuse_newer(described)
    with pytest.raises(NewerVersion, match="9999_future"):
        restoring.refuse_newer(replace(described, migrations=[*described.migrations, "portal.9999_future"]))


def test_secret_of_the_environment_that_differs_is_refused(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "token_pepper").write_text("the pepper of the archive")
    monkeypatch.setenv("TOKEN_PEPPER", "the pepper of the archive")
    secrets.refuse_other_settings(tmp_path)
    monkeypatch.setenv("TOKEN_PEPPER", "another pepper")
    with pytest.raises(ArchiveError, match="TOKEN_PEPPER is set"):
        secrets.refuse_other_settings(tmp_path)
