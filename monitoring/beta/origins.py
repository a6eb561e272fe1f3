"""Which pages of the web may send feedback by a programme's public key: those of exactly the origins it lists."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

# As browsers write them: in lower case, without a path, and without the port that goes without saying.
ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
IMPLIED = re.compile(r"^(?:http://.*:80|https://.*:443)$")


def refuse_bad_origins(text: str) -> None:
    for origin in origins_in(text):
        if not ORIGIN.fullmatch(origin) or IMPLIED.match(origin):
            raise ValidationError(_("One origin a line is expected, such as https://www.example.org."))


def origins_in(text: str) -> list[str]:
    return text.split()
