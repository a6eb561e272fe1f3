"""The admin of usage, a module per list."""

from usage.admin import activity, guardian, licences, runs

__all__ = ["activity", "guardian", "licences", "runs"]
