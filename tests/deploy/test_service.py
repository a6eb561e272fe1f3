"""The unit of systemd, by systemd's own analysis, and the command that runs with the unit's settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from getpass import getuser
from pathlib import Path

import pytest

from portal.tests.helpers.programs import require
from tests.deploy.proxies import DEPLOY

UNIT = DEPLOY / "vigie.service"
# systemd rates from 0 (closed) to 100 (open): an unconfined service has 96.
MOST_EXPOSURE = 15
AWKWARD = "s3://KEY:a%2Fb'$(false)`\"@host/b?region=eu west&tls=off"


@pytest.fixture(autouse=True)
def systemd() -> None:
    require(shutil.which("systemd-analyze"), "systemd-analyze", "systemd")


def analyse(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_unit_is_valid(tmp_path: Path) -> None:
    program = tmp_path / "vigie"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/vigie/current/bin/vigie", str(program)))
    done = analyse("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_unit_exposes_little() -> None:
    done = analyse("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", str(UNIT))
    assert done.returncode == 0, done.stdout


def test_unit_writes_to_its_data_and_to_srv_only() -> None:
    text = UNIT.read_text()
    assert "ProtectSystem=strict\n" in text
    assert re.findall(r"^(?:ReadWritePaths|StateDirectory)=(.*)$", text, re.MULTILINE) == ["vigie", "-/srv/vigie"]


def test_unit_keeps_the_first_password_out_of_the_journal() -> None:
    text = UNIT.read_text()
    assert "ExecStartPre=/opt/vigie/current/bin/vigie prepare\n" in text
    assert "StandardOutput=null\n" in text


def test_command_passes_settings_on_as_they_stand(tmp_path: Path) -> None:
    """Run the script with folders of the test in the place of the system's, as the user that it expects."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/vigie"
    program.write_text('#!/bin/sh\nprintf "%s|" "$OFFSITE_URL" "$HTTPS" "$PWD" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "vigie.env").write_text(f"# A comment\nOFFSITE_URL={AWKWARD}\nHTTPS=on\nnot a setting\n#DEBUG=1")
    text = (DEPLOY / "vigie").read_text().replace("/var/lib/vigie", str(tmp_path))
    text = text.replace("/etc/vigie/vigie.env", str(tmp_path / "vigie.env")).replace("!= vigie ", f"!= {getuser()} ")
    environment = {"PATH": os.environ["PATH"], "VIGIE_RELEASE": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", text, "vigie", "doctor", "a b"], env=environment, capture_output=True, text=True, check=True
    )
    assert re.split(r"\|", done.stdout)[:-1] == [AWKWARD, "on", str(tmp_path), "doctor", "a b"]


def test_command_as_root_leaves_the_environment_of_the_caller_behind(tmp_path: Path) -> None:
    for name, action in (("id", '[ "$1" = -u ] && echo 0 || echo root'), ("runuser", "/usr/bin/env; echo ARGS=$*")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{action}\n")
        (tmp_path / name).chmod(0o755)
    text = (DEPLOY / "vigie").read_text()
    assert "PATH=/usr/local/sbin:" in text
    text = text.replace("PATH=/usr/local/sbin:", f"PATH={tmp_path}:")
    of_caller = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/root", "DATABASE_URL": "sqlite:////elsewhere"}
    environment = of_caller | {"PYTHONPATH": "/elsewhere", "LANG": "fr_FR.UTF-8", "VIGIE_RELEASE": "/opt/new"}
    done = subprocess.run(
        ["bash", "-c", text, "vigie", "doctor", "a b"], env=environment, capture_output=True, text=True, check=True
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(seen) - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "TERM", "LANG", "VIGIE_RELEASE", "ARGS"}
    assert (seen["HOME"], seen["LANG"], seen["VIGIE_RELEASE"]) == ("/var/lib/vigie", "fr_FR.UTF-8", "/opt/new")
    assert seen["ARGS"] == "-u vigie -- vigie doctor a b"
