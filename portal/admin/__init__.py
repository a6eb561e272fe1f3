"""The portal's own tables in the admin, and what the admin of every app is made of."""

from portal.admin import jobs, logins, notifications, outbox, people, subjects, tokens, trail

__all__ = ["jobs", "logins", "notifications", "outbox", "people", "subjects", "tokens", "trail"]
