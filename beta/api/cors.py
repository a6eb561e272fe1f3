"""CORS: the web pages that may read the answers to the feedback that they send."""

import re
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest

from beta import programmes
from beta.feedback.origins import ORIGIN


def is_origin_allowed(request: HttpRequest, **_: Any) -> bool:
    """Return True for feedback by the key of a programme that lists exactly its origin. Called for every request."""
    origin, key = request.headers.get("Origin", ""), request.GET.get("key", "")
    if not ORIGIN.fullmatch(origin) or not key or not re.match(settings.CORS_URLS_REGEX, request.path_info):
        return False
    try:
        programme = programmes.find_by_key(key)
    except DatabaseError:  # the call itself answers for this
        return False
    return programme is not None and origin in programme.allowed_origins.split()
