"""Backups in the admin: which databases are protected, what became of each backup, and what may be done about it."""

from backups import history
from backups.admin import entries, jobs

__all__ = ["entries", "history", "jobs"]
