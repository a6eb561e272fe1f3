"""Snippets for an application's token: report one run with curl, or from Python with `vigie_client`."""

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.desk.snippets import Guide, Snippet, guide_sources
from portal.models import ApiToken

FILES = (("curl", "report.sh"), ("Python", "report.py"))


@guide_sources.register
def application_guide(kind: str) -> Guide | None:
    if kind != ApiToken.Kind.CLIENT:
        return None
    text = _(
        "Save the token in a file named vigie.token, readable only by the application. Replace the name, version and "
        "licence key with your own. Each call reports one run, which appears under Runs."
    )
    return Guide(_("Report usage with it"), text, application_snippets())


def application_snippets() -> list[Snippet]:
    urls = {"portal_url": settings.PORTAL_URL, "report_url": settings.PORTAL_URL + reverse("usage-report")}
    return [Snippet(title, name, render_to_string(f"usage/snippets/{name}.txt", urls).strip()) for title, name in FILES]
