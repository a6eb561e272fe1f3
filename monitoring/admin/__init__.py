"""Monitoring in the admin: what is up, what happened, and what may be done about it."""

from monitoring.admin import beta, checks, history, incidents, rounds, targets, windows

__all__ = ["beta", "checks", "history", "incidents", "rounds", "targets", "windows"]
