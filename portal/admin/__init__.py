"""The admin pages of the portal's own models, and the base classes of every app's admin."""

from portal.admin import jobs, notifications, outbox, people, subjects, tokens, trail

__all__ = ["jobs", "notifications", "outbox", "people", "subjects", "tokens", "trail"]
