"""Monitoring in the admin."""

from monitoring.admin import checks, history, incidents, rounds, targets, windows

__all__ = ["checks", "history", "incidents", "rounds", "targets", "windows"]
