"""Admin pages of expected backups and their entries."""

from backups import history
from backups.admin import entries, jobs

__all__ = ["entries", "history", "jobs"]
