"""Which pages of the web may send feedback by a programme's public key: those of exactly the origins it lists."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

# As browsers write them: in lower case, without a path, and without the port that goes without saying.
LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
ORIGIN = re.compile(rf"https?://(?:{LABEL}(?:\.{LABEL})*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{{0,4}}))?")
LAST_PORT = 65_535
IMPLIED = re.compile(r"^(?:http://.*:80|https://.*:443)$")


def refuse_bad_origins(text: str) -> None:
    for origin in origins_in(text):
        if not is_origin(origin):
            raise ValidationError(_("One origin a line is expected, such as https://www.example.org."))


def is_origin(text: str) -> bool:
    found = ORIGIN.fullmatch(text)
    return found is not None and int(found[1] or 0) <= LAST_PORT and not IMPLIED.match(text)


def may_send(request: HttpRequest, allowed: str) -> bool:
    """Whether no page sends it, one of the portal's own, or one of the origins that `allowed` lists."""
    origin = request.headers.get("Origin")
    return origin is None or origin in (*origins_in(allowed), *own_origins(request))


def own_origins(request: HttpRequest) -> tuple[str, str]:
    """As it was asked, and as it is called: a proxy may tell the portal another name of it."""
    called = urlsplit(settings.PORTAL_URL)
    return f"{request.scheme}://{request.get_host()}", f"{called.scheme}://{called.netloc}".lower()


def origins_in(text: str) -> list[str]:
    return text.split()
