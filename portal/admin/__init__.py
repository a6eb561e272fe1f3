"""The admin pages of the portal's own models, and the base classes of every app's admin."""

from portal.admin import jobs, notifications, outbox, privacy, search, tokens, trail, users
from portal.connect import page as connect_page
from portal.desk import system

__all__ = ["connect_page", "jobs", "notifications", "outbox", "privacy", "search", "system", "tokens", "trail", "users"]
