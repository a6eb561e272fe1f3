"""Access to the test's database for processes that a test starts."""

from __future__ import annotations

from django.db import connection


def own_address() -> str:
    """Return the DATABASE_URL of the test's own database."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    host = found["OPTIONS"].get("host") or found["HOST"]
    port = found["OPTIONS"].get("port") or found["PORT"] or 5432
    return f"postgresql://{found['USER']}:{found['PASSWORD']}@/{found['NAME']}?host={host}&port={port}"
