"""Monitoring in the admin: what is up, what happened, and what may be done about it."""

from monitoring.admin import checks, history, incidents, rounds, targets, windows

__all__ = ["checks", "history", "incidents", "rounds", "targets", "windows"]
