"""The commands of docs/operations.md back the portal up, restore it, and open an archive without it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from portal.tests.helpers.portal_process import Portal
from portal.tests.helpers.programs import require
from tests.archives.places import Place

pytestmark = [pytest.mark.slow, pytest.mark.one_database("the commands are the same")]
TEXT = (Path(settings.BASE_DIR) / "docs/operations.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("## Back up the portal")[2].partition("\n## ")[0]
BACK_UP, RESTORE, OPEN = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
NAME = r"vigie-[a-z0-9.-]+-\d{8}T\d{6}Z\.tar"


def run(commands: str, portal: Portal, place: Place, folder: Path | str = settings.BASE_DIR) -> str:
    """Run the commands in a folder, with the paths of this test in the place of the documented ones."""
    made = commands.replace("/srv/vigie/backups", str(place.target)).replace("/etc/vigie", str(place.folder / "vigie"))
    script = f"set -e\ncd {folder}\n{made}"
    done = subprocess.run(["sh"], input=script, env=portal.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_documented_commands_back_up_restore_and_open_an_archive(place: Place, emptied: Portal) -> None:
    require(shutil.which("age"), "age", "age")
    require(shutil.which("zstd"), "zstd", "zstd")
    (place.folder / "vigie").mkdir()
    name = re.search(NAME, run(BACK_UP, place.portal, place))
    assert name is not None
    assert name.group() in place.archives
    assert "Restored" in run(re.sub(NAME, name.group(), RESTORE), emptied, place)
    folder = place.folder / "opened"
    folder.mkdir()
    shutil.copy(place.target / name.group(), folder)
    run(re.sub(NAME, name.group(), OPEN), place.portal, place, folder)
    pepper = "secrets/token_pepper"
    assert (folder / pepper).read_text() == (place.portal.directory / pepper).read_text()
    assert (folder / "database.sqlite3").read_bytes().startswith(b"SQLite format 3")
