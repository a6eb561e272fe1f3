"""Snippets that enrol a machine with an enrolment token, and keep the token off every command line."""

from __future__ import annotations

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _

from portal.desk.snippets import Guide, Snippet, guide_sources
from portal.models import ApiToken

FILES = (
    ("Linux (curl)", "enrol.sh"),
    ("Windows (PowerShell 5.1)", "enrol.ps1"),
    ("Windows (Inno Setup 6)", "inno.iss"),
)


@guide_sources.register
def enrolment_guide(kind: str) -> Guide | None:
    if kind != ApiToken.Kind.ENROLL:
        return None
    text = _(
        "Save the token in a file named <code>enrol.token</code> next to the installer or script, readable only by the "
        "person who installs. Then run <code>sudo sh enrol.sh</code> on Linux, or <code>powershell -ExecutionPolicy "
        "Bypass -File enrol.ps1</code> as an administrator on Windows. The token never appears on the command line, so "
        "it can’t leak into logs; the file is deleted after enrolment. The machine’s own token is then in "
        "<code>/var/lib/vigie</code> or <code>C:\\ProgramData\\Vigie</code>, where <code>vigie-client</code> finds "
        "it. Run the script or installer again to renew or repair it."
    )
    return Guide(_("Enrol machines with this token"), mark_safe(text), enrolment_snippets())  # noqa: S308 - our own text


def enrolment_snippets() -> list[Snippet]:
    urls = {
        "enroll_url": settings.PORTAL_URL + reverse("agent-enroll"),
        "uninstall_url": settings.PORTAL_URL + reverse("agent-uninstall"),
    }
    return [Snippet(title, name, render_to_string(f"agents/snippets/{name}", urls).strip()) for title, name in FILES]
