"""What templates are told about signing in."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

ACCOUNT_PAGES = "accounts/"


def account_pages(request: HttpRequest) -> dict[str, Any]:
    """Give the pages of signing in and of one's own account the frame of the admin: header, menu and sidebar."""
    match = request.resolver_match
    return admin.site.each_context(request) if match and match.route.startswith(ACCOUNT_PAGES) else {}
