"""Beta programmes in the admin: whether the product is ready, what participants say, and the reports that were kept."""

from monitoring.admin.beta import programmes, snapshots

__all__ = ["programmes", "snapshots"]
