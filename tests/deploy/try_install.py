"""Install the portal on a fresh Debian by the commands of docs/install.md, lose the server, and restore it on another.

    python -m tests.deploy.try_install bookworm trixie

Commands, their order and their text are those of the document. Only a stand-in for systemd and a certificate of Caddy's
own authority replace what a folder cannot have. It takes root, debootstrap, the ports 80, 443 and 8000, and minutes.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time

from tests.deploy.roots import ROOT, Root, copy_checkout, fresh_root

DOMAIN = "vigie.example.org"
CHECKOUT = "/root/vigie"
ARCHIVE = r"vigie-[a-z0-9.-]+-\d{8}T\d{6}Z\.tar"
# Packages call it before Python is there, and nothing runs then.
SYSTEMCTL = """#!/bin/sh
if [ -x /usr/bin/python3 ]; then exec /usr/bin/python3 /usr/local/lib/systemctl.py "$@"; fi
[ "$1" != is-active ]
"""
# Options of the first server. The other one gets its database by the settings that are copied to it.
OPTIONS = {"trixie": "--postgresql"}
KEPT = ("/etc/vigie/backup.key", "/etc/vigie/vigie.env")


def read_commands() -> list[str]:
    """Return the blocks of commands for Debian and Ubuntu, in their order."""
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    section = text.partition("\n## On Debian or Ubuntu")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def prepare(root: Root) -> None:
    copy_checkout(root, CHECKOUT)
    root.write("/etc/hosts", f"127.0.0.1 localhost {DOMAIN} {socket.gethostname()}\n")
    root.write("/usr/local/lib/systemctl.py", (ROOT / "tests/deploy/systemctl.py").read_text())
    root.write("/usr/bin/systemctl", SYSTEMCTL, 0o755)
    (root.folder / "run/systemd/system").mkdir(parents=True)  # what says that systemd runs


def execute(root: Root, commands: str) -> str:
    """Run documented commands in the checkout and return their output. Raises CalledProcessError."""
    say("".join(f"$ {line}\n" for line in commands.strip().splitlines()))
    begun = time.monotonic()
    try:
        output = root.run("bash", "-ec", commands, cwd=CHECKOUT)
    except subprocess.CalledProcessError as error:
        say(error.output)
        logs = (root.folder / "var/log").glob("vigie*")
        say("\n".join(path.read_text(errors="replace")[-4000:] for path in logs))
        raise
    say(f"{output.rstrip()}\n({time.monotonic() - begun:.0f} s)\n")
    return output


def check_no_failure(root: Root) -> None:
    report = json.loads(root.run("vigie", "doctor", "--json"))
    failed = [check for check in report["checks"] if check["status"] == "failed"]
    assert failed == [], failed
    say("\n".join(f"{check['status']}: {check['name']}: {check['detail']}" for check in report["checks"]))


def beat(root: Root, token: str) -> str:
    """Send a heartbeat and return its status."""
    command = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-X",
        "POST",
        "-H",
        f"Authorization: Bearer {token}",
    ]
    return root.run(*command, f"https://{DOMAIN}/api/v1/agents/heartbeat")


def try_suite(suite: str) -> None:
    install, issue, enrol, back_up, restore, upgrade = read_commands()
    with fresh_root(suite) as first, fresh_root(suite) as second:
        prepare(first)
        printed = execute(first, f"{install.strip()} {OPTIONS.get(suite, '')}")
        assert f"https://{DOMAIN}" in printed
        assert "Password: " in printed
        token = execute(first, issue).strip()
        machine = json.loads(execute(first, enrol.replace("TOKEN", token)))["api_token"]
        archive = re.findall(ARCHIVE, execute(first, back_up))[-1]
        check_no_failure(first)
        before = first.run("readlink", "/opt/vigie/current")
        assert "Installing" not in execute(first, upgrade), "the same release is installed again"
        assert first.run("readlink", "/opt/vigie/current") == before
        assert beat(first, machine) == "200"
        first.run("systemctl", "stop", "vigie", "caddy")
        carry(first, second, archive)
        first.end_processes()
        prepare(second)
        execute(second, re.sub(ARCHIVE, archive, restore))
        check_no_failure(second)
        assert beat(second, machine) == "200"
        second.run("systemctl", "stop", "vigie", "caddy")
    say(f"{suite}: installed, enrolled, backed up, upgraded, restored elsewhere.")


def carry(first: Root, second: Root, archive: str) -> None:
    """Copy what the document says to the new server, where it belongs to root."""
    for name in (*KEPT, f"/srv/vigie/backups/{archive}"):
        target = second.folder / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(first.folder / name.lstrip("/"), target)
        target.chmod(0o640)


if __name__ == "__main__":
    for each in sys.argv[1:] or ["bookworm", "trixie"]:
        try_suite(each)
