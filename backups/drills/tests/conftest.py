"""Fixtures of restore drills, and those of backups."""

from backups.tests.conftest import channel, job, make_job, roots

__all__ = ["channel", "job", "make_job", "roots"]
