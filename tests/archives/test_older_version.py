"""An archive of an earlier version is migrated forward by its restore."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest
from django.db import connections
from django.utils import timezone

from portal.archives import manifest
from portal.archives.contents import pack
from portal.archives.files import applied_migrations, count_rows, open_database
from portal.archives.passphrases import read_passphrase
from portal.status.health import known_migrations
from portal.tests.helpers.portal_process import Portal
from tests.upgrade.dumps import load

pytestmark = [pytest.mark.slow, pytest.mark.each_database]


@pytest.fixture
def older(tmp_path: Path, django_db_blocker) -> Path:
    """Write an archive as the version of the dump would have, and its key file beside it."""
    content = tmp_path / "content"
    (content / manifest.SECRETS).mkdir(parents=True)
    secrets = load("d5adac3", f"sqlite:///{content}/{manifest.DATABASE}")
    (content / manifest.SECRETS / "token_pepper").write_text(secrets["keys"]["TOKEN_PEPPER"])
    with django_db_blocker.unblock(), open_database(content / manifest.DATABASE) as alias:
        tables = connections[alias].introspection.table_names()
        rows, migrations = count_rows(alias, tables), applied_migrations(alias)
    assert set(migrations) < {".".join(key) for key in known_migrations()}
    (tmp_path / "key").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    described = manifest.build_manifest(content, timezone.now(), "sqlite", migrations, rows)
    pack(content, described, tmp_path / "older.tar", read_passphrase(tmp_path / "key"))
    return tmp_path / "older.tar"


def test_archive_of_an_older_version_is_migrated_to_this_one(older: Path, emptied: Portal) -> None:
    done = emptied.manage("restore_portal", str(older), "--passphrase-file", str(older.parent / "key"))
    assert done.returncode == 0, done.stderr
    assert emptied.sql("SELECT count(*) FROM beta_programmetarget") != [(0,)]
    assert emptied.manage("migrate", "--check").returncode == 0
