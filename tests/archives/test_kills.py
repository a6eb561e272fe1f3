"""Backups and restores of the portal that are killed at each step, and what the next run makes of what they left."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from portal.tests.helpers.portal_process import Portal
from tests.archives.places import Place

pytestmark = [pytest.mark.slow, pytest.mark.each_database]
BACKUP_STEPS = [
    ("snapshots.drop_transient_rows", "before"),
    ("making.prove_archive", "before"),
    ("targets.sync_folder_at", "before"),
]


def test_killed_backup_leaves_no_archive_that_is_not_whole(place: Place) -> None:
    before = len(place.archives)
    for step, when in BACKUP_STEPS:
        place.kill(place.portal, step, when, "backup_portal")
        is_named = step == "targets.sync_folder_at"
        assert len(place.archives) == before + is_named, step
    done = place.portal.manage(*place.arguments("backup_portal"), "--keep", "1")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in place.target.iterdir()] == [done.stdout.strip()]
    assert not (place.portal.directory / "archiving").exists()


RESTORE_STEPS = [
    ("restoring.check_database", "before"),
    ("restoring.place_reports", "after"),
    ("secrets.place", "after"),
]


def row_count(portal: Portal) -> int:
    """Return the number of users, 0 where there is no table of them."""
    if portal.database_url.startswith("sqlite") and not (portal.directory / "db.sqlite3").exists():
        return 0
    with contextlib.suppress(psycopg.errors.UndefinedTable):
        [[count]] = portal.sql("SELECT count(*) FROM auth_user")
        return int(count)
    return 0


def test_killed_restore_is_completed_by_the_same_command(place: Place, emptied: Portal) -> None:
    steps = [*RESTORE_STEPS]
    if not emptied.database_url.startswith("sqlite"):
        steps.append(("rows.reset_sequences", "after"))
    for step, when in steps:
        place.kill(emptied, step, when, "restore_portal")
        assert row_count(emptied) == 0, step
    done = emptied.manage(*place.arguments("restore_portal"))
    assert done.returncode == 0, done.stderr
    assert row_count(emptied) == 1
    assert not (emptied.directory / "restoring").exists()
    assert (emptied.directory / "reports/r.txt").read_text() == "GO"
    pepper = "secrets/token_pepper"
    assert (emptied.directory / pepper).read_text() == (place.portal.directory / pepper).read_text()


def test_restore_killed_at_its_very_end_only_needs_to_be_swept(place: Place, emptied: Portal) -> None:
    last = "place_file" if emptied.database_url.startswith("sqlite") else "copy_to_database"
    place.kill(emptied, f"restoring.{last}", "after", "restore_portal")
    assert row_count(emptied) == 1
    done = emptied.manage(*place.arguments("restore_portal"))
    assert done.returncode == 0, done.stderr
    assert not (emptied.directory / "restoring").exists()
    assert row_count(emptied) == 1


def test_restore_after_a_killed_one_of_another_archive_is_refused(place: Place, emptied: Portal) -> None:
    first = str(place.target / place.archives[0])
    assert place.portal.manage(*place.arguments("backup_portal")).returncode == 0
    second = str(place.target / place.archives[-1])
    place.kill(emptied, "restoring.place_reports", "after", "restore_portal", first)
    done = emptied.manage(*place.arguments("restore_portal", second))
    assert done.returncode == 5, done.stderr
    assert str(emptied.directory / "restoring") in done.stderr
    assert row_count(emptied) == 0
    assert emptied.manage(*place.arguments("restore_portal", first)).returncode == 0
    assert row_count(emptied) == 1
