"""deploy/install.sh: what it refuses before it changes anything. `tests.deploy.try_install` runs it on fresh systems."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from portal.tests.helpers.programs import require
from tests.deploy.proxies import DEPLOY
from tests.deploy.try_install import read_commands

SCRIPT = DEPLOY / "install.sh"
SUPPORTED = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian"\n'


def run(tmp_path: Path, *arguments: str, system: str = SUPPORTED) -> subprocess.CompletedProcess[str]:
    """Run the script of a checkout on another system. Commands that change the system only say that they were called."""
    checkout, commands = tmp_path / "checkout", tmp_path / "bin"
    for folder in (checkout / "deploy", commands, tmp_path / "etc"):
        folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "etc/os-release").write_text(system)
    (checkout / "requirements.txt").touch()
    shutil.copy(DEPLOY / "Caddyfile", checkout / "deploy")
    changes = {
        "/etc/os-release": f"{tmp_path}/etc/os-release",
        "=/etc/": f"={tmp_path}/etc/",
        "=/var": f"={tmp_path}/var",
    }
    text = SCRIPT.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    (checkout / "deploy/install.sh").write_text(text)
    for name in ("apt-get", "dpkg-query", "useradd", "install", "getent", "service", "systemctl"):
        (commands / name).write_text(f"#!/bin/sh\necho {name} was called >&2\nexit 9\n")
        (commands / name).chmod(0o755)
    (commands / "id").write_text("#!/bin/sh\necho 0\n")
    (commands / "id").chmod(0o755)
    environment = {"PATH": f"{commands}:{os.environ['PATH']}"}
    command = ["bash", str(checkout / "deploy/install.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["install.sh", "vigie"])
def test_script_has_no_fault_that_shellcheck_knows(name: str) -> None:
    require(shutil.which("shellcheck"), "shellcheck", "shellcheck")
    done = subprocess.run(["shellcheck", DEPLOY / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_help_lists_every_option() -> None:
    shown = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    taken = set(re.findall(r"^ {4}(--[a-z]+)\)", SCRIPT.read_text(), re.MULTILINE))
    assert taken == set(re.findall(r"^ {2}(--[a-z]+)", shown, re.MULTILINE))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--domain"], "host name"),
        (["--domain", "https://vigie.example.org"], "host name"),
        (["--domain", "-x.example.org"], "host name"),
        (["--python"], "needs a value"),
        (["--docker"], "--docker is not an option"),
    ],
)
def test_wrong_option_is_refused_before_anything_is_changed(tmp_path: Path, arguments: list[str], reason: str) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, reason in done.stderr, "was called" in done.stderr) == (1, True, False)


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        ("ID=ubuntu\nVERSION_ID=22.04\nPRETTY_NAME=Ubuntu\n", "Ubuntu 22.04 has Python 3.10"),
        ("ID=fedora\nVERSION_ID=41\nPRETTY_NAME=Fedora\n", "not Fedora"),
    ],
)
def test_other_system_is_refused_with_another_way(tmp_path: Path, system: str, reason: str) -> None:
    done = run(tmp_path, system=system)
    assert (done.returncode, reason in done.stderr, "was called" in done.stderr) == (1, True, False)


@pytest.mark.parametrize(
    ("arguments", "files", "reason"),
    [
        (["--postgresql"], {"etc/vigie/vigie.env": "HTTPS=on\n"}, "data in SQLite"),
        (
            ["--domain", "a.example.org"],
            {"etc/vigie/vigie.env": "PORTAL_URL=https://b.example.org\n"},
            "another PORTAL_URL",
        ),
        (["--domain", "a.example.org"], {"etc/caddy/Caddyfile": "b.example.org {\n}\n"}, "may serve other sites"),
        (["--empty"], {"var/lib/vigie/secrets/token_pepper": ""}, "has data"),
    ],
)
def test_what_would_harm_an_installation_is_refused(
    tmp_path: Path, arguments: list[str], files: dict[str, str], reason: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    done = run(tmp_path, *arguments)
    assert (done.returncode, reason in done.stderr, "apt-get" in done.stderr) == (1, True, False), done.stderr


def test_trial_runs_every_block_of_commands_for_debian_in_its_order() -> None:
    starts = [block.split()[:3] for block in read_commands()]
    assert [words[1] for words in starts] == [
        "deploy/install.sh",
        "vigie",
        "--fail-with-body",
        "apt-get",
        *["deploy/install.sh"] * 2,
    ]
