"""Which pages of the web may read the answers to the feedback that they send."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest

from beta import programmes
from beta.feedback.origins import ORIGIN, origins_in


def may_read(request: HttpRequest, **_: Any) -> bool:
    """Asked of every request: whether it is feedback by the key of a programme that lists exactly its origin."""
    origin, key = request.headers.get("Origin", ""), request.GET.get("key", "")
    if not ORIGIN.fullmatch(origin) or not key or not re.match(settings.CORS_URLS_REGEX, request.path_info):
        return False
    try:
        return origin in origins_in(programmes.of_key(key).allowed_origins)
    except (programmes.NoSuchProgramme, DatabaseError):  # the answer is what the call makes of it
        return False
