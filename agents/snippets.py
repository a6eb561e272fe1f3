"""Guides that enrol a machine with an enrolment token, and the scripts that they download."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _

from portal.connect.files import file_url, wheel_url
from portal.connect.guides import Guide, Snippet, file_sources, guide_sources
from portal.desk.links import Link
from portal.models import ApiToken

SHELL, POWERSHELL, INNO = "vigie.sh", "vigie.ps1", "vigie.iss"
TOKEN_FILE = "enrol.token"  # noqa: S105 - a file's name
RUN_POWERSHELL = "powershell -ExecutionPolicy Bypass -File vigie.ps1"
INSTALLED = "Successfully installed … vigie-client-…"
HEARTBEAT_SENT, UNINSTALLED = "The portal has the heartbeat.", "Uninstalled."
EXAMPLE_SETUP = """\
[Setup]
AppName=My application
AppVersion=1.0
DefaultDirName={autopf}\\My application

#include "vigie.iss"
"""


@file_sources.register
def machine_scripts(portal_url: str) -> dict[str, str]:
    minutes = min(max(settings.HEARTBEAT_INTERVAL_SECONDS // 60, 1), 59)
    values = {"portal_url": portal_url, "minutes": minutes, "seconds": minutes * 60}
    return {
        name: render_to_string(f"agents/snippets/{name}", values).strip() + "\n" for name in (SHELL, POWERSHELL, INNO)
    }


@guide_sources.register
def enrolment_guides(portal_url: str) -> Iterator[Guide]:
    kind = ApiToken.Kind.ENROLL
    text = _(
        "One script enrols the machine, sends its heartbeats by cron and uninstalls it. The machine’s own token is "
        "then in <code>/var/lib/vigie-client</code>, where <code>vigie-client</code> finds it. Run the script again to "
        "renew or repair the enrolment. <code>uninstall</code> always succeeds, even if the portal can’t be reached."
    )
    title, text = _("Linux (shell)"), mark_safe(text)  # noqa: S308 - our own text
    yield Guide("shell", kind, title, text, shell_snippets(portal_url), TOKEN_FILE)
    text = _(
        "Open PowerShell as an administrator. One script enrols the machine, sends its heartbeats by a scheduled task "
        "and uninstalls it. The machine’s own token is then in <code>C:\\ProgramData\\Vigie</code>, where "
        "<code>vigie-client</code> finds it. <code>uninstall</code> always succeeds, even if the portal can’t be "
        "reached."
    )
    title, text, snippets = _("Windows (PowerShell)"), mark_safe(text), powershell_snippets(portal_url)  # noqa: S308 - our own text
    yield Guide("powershell", kind, title, text, snippets, TOKEN_FILE, is_powershell=True)
    text = _(
        "Your Setup enrols the machine, schedules its heartbeats and uninstalls it. Setup reads the token from "
        "<code>enrol.token</code> next to setup.exe or from the file of <code>/TOKENFILE=path</code>, or asks for it. "
        "The uninstaller always goes on, even if the portal can’t be reached."
    )
    title, text, snippets = _("Windows installer (Inno Setup 6)"), mark_safe(text), inno_snippets(portal_url)  # noqa: S308 - our own text
    yield Guide("inno", kind, title, text, snippets, TOKEN_FILE, is_powershell=True)


def is_online() -> str:
    return _("The machine is online in the list.")


def machines_page() -> Link:
    return Link(reverse("admin:agents_agent_changelist"), _("Machines"))


def shell_snippets(portal_url: str) -> list[Snippet]:
    enrolled = "… is enrolled; its token is in /var/lib/vigie-client/token.json."
    download = f"curl --fail --silent --show-error --remote-name '{file_url(portal_url, SHELL)}'"
    return [
        Snippet(
            _("Enrol the machine"),
            "enrol.sh",
            f"{download}\nsudo sh vigie.sh enrol",
            enrolled,
            is_online(),
            machines_page(),
        ),
        Snippet(_("Send a heartbeat"), "heartbeat.sh", "sudo sh vigie.sh heartbeat", HEARTBEAT_SENT),
        Snippet(_("Uninstall the machine"), "uninstall.sh", "sudo sh vigie.sh uninstall", UNINSTALLED),
    ]


def powershell_snippets(portal_url: str) -> list[Snippet]:
    lines = [
        "[Net.ServicePointManager]::SecurityProtocol = 'Tls12'",
        f"Invoke-WebRequest -UseBasicParsing '{file_url(portal_url, POWERSHELL)}' -OutFile vigie.ps1",
        f"{RUN_POWERSHELL} enrol",
    ]
    return [
        Snippet(_("Enrol the machine"), "enrol.ps1", "\n".join(lines), "…: enrolled", is_online(), machines_page()),
        Snippet(_("Send a heartbeat"), "heartbeat.ps1", f"{RUN_POWERSHELL} heartbeat", HEARTBEAT_SENT),
        Snippet(_("Uninstall the machine"), "uninstall.ps1", f"{RUN_POWERSHELL} uninstall", UNINSTALLED),
    ]


def inno_snippets(portal_url: str) -> list[Snippet]:
    downloads = [
        f"Invoke-WebRequest -UseBasicParsing '{file_url(portal_url, name)}' -OutFile {name}"
        for name in (INNO, POWERSHELL)
    ]
    enrolled = _("Setup ends without a message, and the machine is online in the list. Setup’s log says what happened.")
    return [
        Snippet(_("Download both files next to your script"), "download.ps1", "\n".join(downloads)),
        Snippet(_("Include one of them in your script"), "setup.iss", EXAMPLE_SETUP.strip()),
        Snippet(
            _("Compile it and run Setup with the token next to it"),
            "run.ps1",
            'iscc setup.iss\n.\\Output\\mysetup.exe "/TOKENFILE=$PWD\\enrol.token"',
            "",
            enrolled,
            machines_page(),
        ),
    ]


def install_client(portal_url: str) -> Snippet:
    """Return the step that installs the client package in the environment of an application."""
    lines = f"python3 -m venv .venv\n. .venv/bin/activate\npip install '{wheel_url(portal_url)}'"
    return Snippet(_("Install the client (Python 3.9 or later)"), "install.sh", lines, INSTALLED)


def install_command(portal_url: str) -> Snippet:
    """Return the step that installs the command on a server, where cron finds it too."""
    folder = "/opt/vigie-client"
    lines = (
        f"sudo python3 -m venv {folder}\n"
        f"sudo {folder}/bin/pip install '{wheel_url(portal_url)}'\n"
        f"sudo ln -sf {folder}/bin/vigie-client /usr/local/bin/vigie-client"
    )
    return Snippet(_("Install the client (Python 3.9 or later)"), "install-command.sh", lines, INSTALLED)


def enrol_with_client(portal_url: str) -> Snippet:
    enrol = f"vigie-client enroll --server '{portal_url}' --token-file {TOKEN_FILE}"
    return Snippet(
        _("Enrol the computer"), "enrol-client.sh", enrol, '{"status": "enrolled", …}', is_online(), machines_page()
    )
