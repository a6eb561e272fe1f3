"""Admin pages of expected backups and their entries."""

from backups import history
from backups.admin import drills, entries, jobs

__all__ = ["drills", "entries", "history", "jobs"]
