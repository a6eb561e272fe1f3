"""The origins whose pages may send feedback by a programme's public key: exactly those that it lists."""

import re
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

# As browsers write origins: in lower case, without a path, and without the scheme's default port.
LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
ORIGIN = re.compile(rf"https?://(?:{LABEL}(?:\.{LABEL})*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{{0,4}}))?")
MAX_PORT = 65_535
DEFAULT_PORT = re.compile(r"^(?:http://.*:80|https://.*:443)$")


def refuse_bad_origins(text: str) -> None:
    """Validate the field `allowed_origins`. Migrations refer to this function."""
    for origin in text.split():
        if not is_origin(origin):
            raise ValidationError(_("Enter one origin per line, such as https://www.example.org."))


def is_origin(text: str) -> bool:
    found = ORIGIN.fullmatch(text)
    return found is not None and int(found[1] or 0) <= MAX_PORT and not DEFAULT_PORT.match(text)


def may_send(request: HttpRequest, allowed: str) -> bool:
    """Return True if no web page sends the request, or one of the portal or of an origin listed in `allowed`."""
    origin = request.headers.get("Origin")
    return origin is None or origin in (*allowed.split(), *portal_origins(request))


def portal_origins(request: HttpRequest) -> tuple[str, str]:
    """Return the origin of the request and that of PORTAL_URL: behind a proxy they may differ."""
    portal = urlsplit(settings.PORTAL_URL)
    return f"{request.scheme}://{request.get_host()}", f"{portal.scheme}://{portal.netloc}".lower()
