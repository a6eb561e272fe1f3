"""The admin of usage: one module for what each list and page is about."""

from usage.admin import history, licences, runs

__all__ = ["history", "licences", "runs"]
