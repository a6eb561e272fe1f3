"""The commands of docs/upgrading.md unpack a release, prepare the database with it, and go back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from portal import __version__
from portal.tests.helpers.portal_process import Portal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("commands of a shell; test_upgrade prepares both", despite=("migrat",)),
]
ROOT = Path(settings.BASE_DIR)
TEXT = (ROOT / "docs/upgrading.md").read_text(encoding="utf-8")
BACK_UP, UNPACK, PREPARE, CHECK, GO_BACK = re.findall(r"^ *```sh\n(.*?)^ *```", TEXT, re.DOTALL | re.MULTILINE)
NAME = f"vigie-{__version__}"


def run(commands: str, folder: Path, environment: dict[str, str] | None = None) -> str:
    script = f"set -e\ncd {folder}\n{commands}"
    done = subprocess.run(["sh"], input=script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Make the files of a release, and return their folder."""
    folder = tmp_path / "release"
    folder.mkdir()
    made = f"git archive --prefix={NAME}/ --output={folder}/{NAME}.tar.gz HEAD"
    run(f"{made}\ncd {folder}\nsha256sum ./* > SHA256SUMS", ROOT)
    return folder


def test_documented_commands_unpack_prepare_and_check_a_release(release: Path, tmp_path: Path) -> None:
    """Leave out the installation of packages, which needs a network: those of this environment are the same."""
    assert UNPACK.splitlines()[-1].strip() == "make .venv/run"
    run(UNPACK.replace("/opt", str(tmp_path)).replace("make .venv/run", ""), release)
    unpacked = tmp_path / NAME
    (unpacked / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "data").mkdir(mode=0o700)
    portal = Portal(tmp_path / "data", f"sqlite:///{tmp_path / 'data/db.sqlite3'}")
    run(PREPARE, unpacked, portal.environment)
    assert portal.sql("SELECT count(*) FROM django_migrations")[0][0] > 10
    assert __version__ in run(f"{CHECK.strip()} || true", unpacked, portal.environment)


def test_documented_commands_go_back_to_the_version_before(tmp_path: Path) -> None:
    for name in ("0.1.0", "0.2.0"):
        (tmp_path / name).mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "0.2.0")
    (tmp_path / "previous").symlink_to(tmp_path / "0.1.0")
    run(GO_BACK.replace("/opt/vigie", str(tmp_path)).replace("sudo systemctl", ": ").replace("sudo ", ""), tmp_path)
    assert (tmp_path / "current").resolve() == tmp_path / "0.1.0"
