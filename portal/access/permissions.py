"""Permissions, and what they imply."""

from __future__ import annotations

from typing import Any


def is_allowed(user: Any, permission: str) -> bool:
    """Return whether the user has the permission; one to export counts only beside the one to view."""
    return bool(user.has_perms({permission, permission.replace(".export_", ".view_")}))
