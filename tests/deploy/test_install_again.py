"""deploy/install.sh on servers that are installed already. Only commands that change the system are replaced."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.proxies import DEPLOY

DOMAIN = "a.example.org"
# Each notes its call.
COMMANDS = {
    "id": "echo 0",
    "getent": "exit 0",
    "chown": "exit 0",
    "service": "exit 0",
    "runuser": "exit 0",
    # The system's, without owners.
    "install": 'words=(); while [ $# != 0 ]; do case $1 in -o | -g) shift ;; *) words+=("$1") ;; esac; shift; done\n'
    'exec /usr/bin/install "${words[@]}"',
    "dpkg-query": 'case $* in *Conffiles*) cat "$TEST/conffiles" ;; *) printf installed ;; esac',
    "systemctl": '[ "$1" != restart ] || [ ! -e "$TEST/broken" ]',
    "python": 'case "$*" in *"-m venv"*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;; esac',
}
VIGIE = '#!/bin/sh\necho vigie "$@" >>"$TEST/calls"\n'


class Server:
    """A folder in the place of a server, on which the script runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.deploy = folder, folder / "checkout/deploy"
        for name in ("checkout/deploy", "bin", "etc/caddy", "etc/vigie", "usr/local/bin", "run/systemd/system"):
            (folder / name).mkdir(parents=True)
        (folder / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\nPRETTY_NAME=Debian\n')
        (folder / "checkout/requirements.txt").touch()
        for name in ("Caddyfile", "vigie.service"):
            shutil.copy(DEPLOY / name, self.deploy)
        (self.deploy / "vigie").write_text(VIGIE)
        text = (DEPLOY / "install.sh").read_text()
        text = re.sub(r"(?<![\w./}])/(etc|opt|var|run|usr/local/bin)\b", rf"{folder}/\1", text)
        (self.deploy / "install.sh").write_text(text)
        for name, action in COMMANDS.items():
            (folder / "bin" / name).write_text(f'#!/bin/bash\necho {name} "$@" >>"$TEST/calls"\n{action}\n')
            (folder / "bin" / name).chmod(0o755)
        self.settings, self.caddyfile = folder / "etc/vigie/vigie.env", folder / "etc/caddy/Caddyfile"
        self.caddyfile.write_text(":80 {\n}\n")
        digest = hashlib.md5(self.caddyfile.read_bytes(), usedforsecurity=False).hexdigest()
        (folder / "conffiles").write_text(f"\n {self.caddyfile} {digest}\n")

    def install(self, *arguments: str, status: int = 0) -> list[str]:
        """Run the script and return the calls of commands."""
        calls = self.folder / "calls"
        calls.write_text("")
        environment = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "TEST": str(self.folder)}
        command = ["bash", str(self.deploy / "install.sh"), "--python", f"{self.folder}/bin/python", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return calls.read_text().splitlines()

    def upgrade_checkout(self) -> None:
        (self.folder / "checkout/new").touch()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_second_run_of_the_same_release_does_not_restart(server: Server) -> None:
    assert "systemctl restart vigie" in server.install()
    assert "systemctl restart vigie" not in server.install()


def test_run_after_one_that_failed_restarts_into_the_new_release(server: Server) -> None:
    server.install()
    server.upgrade_checkout()
    (server.folder / "broken").touch()
    server.install(status=1)
    (server.folder / "broken").unlink()
    assert "systemctl restart vigie" in server.install()


def test_domain_of_a_later_run_is_applied_by_a_restart(server: Server) -> None:
    server.install()
    calls = server.install("--domain", DOMAIN)
    assert f"PORTAL_URL=https://{DOMAIN}\n" in server.settings.read_text()
    assert {"systemctl restart vigie", "systemctl reload-or-restart caddy"} <= set(calls)


def test_caddyfile_of_the_package_and_of_the_script_is_replaced(server: Server) -> None:
    server.install("--domain", DOMAIN)
    assert f"{DOMAIN} {{\n" in server.caddyfile.read_text()
    with (server.deploy / "Caddyfile").open("a") as file:
        file.write("# of a later release\n")
    server.install("--domain", DOMAIN)
    assert server.caddyfile.read_text().endswith("# of a later release\n")


@pytest.mark.parametrize(
    "sites",
    [
        f"{DOMAIN} {{\n}}\nb.example.org {{\n}}\n",
        ":80 {\n}\nb.example.org {\n}\n",
    ],
)
def test_caddyfile_with_other_sites_is_refused_and_stays(server: Server, sites: str) -> None:
    server.caddyfile.write_text(sites)
    assert "getent passwd vigie" not in server.install("--domain", DOMAIN, status=1)
    assert (server.caddyfile.read_text(), server.settings.exists()) == (sites, False)


def test_empty_portal_is_neither_enabled_nor_started(server: Server) -> None:
    calls = server.install("--empty")
    assert not {"systemctl enable --quiet vigie", "systemctl restart vigie"} & set(calls)
    assert {"systemctl enable --quiet vigie", "systemctl restart vigie"} <= set(server.install())


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("postgresql://vigie:@/vigie?host={folder}/run/postgresql", True),
        ("postgresql://vigie:secret@db.example.org/vigie", False),
    ],
)
def test_settings_of_another_server_bring_its_local_database(server: Server, url: str, is_local: bool) -> None:
    server.settings.write_text(f"DATABASE_URL={url.format(folder=server.folder)}\n")
    calls = server.install("--empty")
    assert ("service postgresql start" in calls) is is_local
    assert any("CREATE DATABASE vigie" in call for call in calls) is is_local
