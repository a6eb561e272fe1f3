"""The admin of usage: one module for what each list and page is about."""

from usage.admin import activity, guardian, history, licences, runs

__all__ = ["activity", "guardian", "history", "licences", "runs"]
