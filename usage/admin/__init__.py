"""The admin of usage: one module for what each list and page is about."""

from usage.admin import activity, history, licences, runs

__all__ = ["activity", "history", "licences", "runs"]
