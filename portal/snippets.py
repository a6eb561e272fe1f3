"""Snippets for a user's token: the first call of the API."""

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.desk.snippets import Guide, Snippet, guide_sources
from portal.models import ApiToken

CALL = """\
# Save the token in a file named vigie.token, readable only by you. It never appears on the command line.
printf 'Authorization: Bearer %s\\n' "$(cat vigie.token)" |
    curl --fail-with-body --header @- '{url}'
"""


@guide_sources.register
def staff_guide(kind: str) -> Guide | None:
    if kind != ApiToken.Kind.STAFF:
        return None
    text = _("The token has the permissions of its user. All calls are described at %(url)s.")
    url = settings.PORTAL_URL + reverse("agent-fleet")
    docs = settings.PORTAL_URL + reverse("docs")
    return Guide(
        _("Call the API with it"), text % {"url": docs}, [Snippet("curl", "fleet.sh", CALL.format(url=url).strip())]
    )
