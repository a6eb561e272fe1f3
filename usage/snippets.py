"""Guides for applications: report runs from Python, or from any language with curl."""

from collections.abc import Iterator

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from agents.snippets import TOKEN_FILE, enrol_with_client, install_client
from portal.connect.guides import Guide, Snippet, guide_sources
from portal.desk.links import Link
from portal.models import ApiToken


@guide_sources.register
def application_guides(portal_url: str) -> Iterator[Guide]:
    text = _(
        "Runs, heartbeats and feedback. Enrol the computer once: the application then finds its token by itself. On "
        "your customers’ computers, the installer does the same. Runs and feedback are first written to disk, so "
        "nothing is lost while the portal can’t be reached. In PowerShell, save the token by “Set-Content "
        "enrol.token”, which asks for it, then begin with “py -m venv .venv” and “.venv\\Scripts\\activate”."
    )
    yield Guide("python", ApiToken.Kind.ENROLL, _("Python application"), text, python_snippets(portal_url), TOKEN_FILE)
    text = _(
        "For programs in any language: each call reports one run with the application’s token. Replace the name, "
        "version and licence key with your own."
    )
    script = render_to_string("usage/snippets/report.sh.txt", {"report_url": portal_url + reverse("usage-report")})
    snippet = Snippet(_("Report a run"), "report.sh", script.strip(), '{"status": "recorded", …}', page=runs_page())
    yield Guide("curl", ApiToken.Kind.CLIENT, _("Any language (curl)"), text, [snippet], "vigie.token")


def python_snippets(portal_url: str) -> list[Snippet]:
    script = render_to_string("usage/snippets/app.py.txt", {"portal_url": portal_url})
    sent = _("The run and the feedback are in their lists.")
    return [
        install_client(portal_url),
        enrol_with_client(portal_url),
        Snippet(_("Save as app.py"), "app.py", script.strip()),
        Snippet(
            _("Run it"), "run-app.sh", "python app.py", "Heartbeat sent. Still waiting on disk: 0.", sent, runs_page()
        ),
    ]


def runs_page() -> Link:
    return Link(reverse("admin:usage_run_changelist"), _("Runs"))
