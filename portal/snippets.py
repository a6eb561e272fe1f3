"""Guide for a user's token: the first call of the API."""

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext as _

from portal.connect.guides import Guide, Snippet, guide_sources
from portal.models import ApiToken

CALL = """\
# curl reads the token from standard input, so it never appears on the command line.
printf 'Authorization: Bearer %s\\n' "$(cat vigie.token)" |
    curl --fail-with-body --header @- '{url}'
"""


@guide_sources.register
def staff_guide(portal_url: str) -> Iterator[Guide]:
    text = _("The token has the permissions of its user. All calls are described at %(url)s.")
    call = CALL.format(url=portal_url + reverse("agent-fleet")).strip()
    docs = text % {"url": portal_url + reverse("docs")}
    snippet = Snippet(_("List the machines"), "fleet.sh", call)
    yield Guide("api", ApiToken.Kind.STAFF, _("API (curl)"), docs, [snippet], "vigie.token")
