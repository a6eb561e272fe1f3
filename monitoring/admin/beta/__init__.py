"""Beta programmes in the admin: whether the product is ready, what participants say, and the reports that were kept."""

from monitoring.admin.beta import feedback, programmes, snapshots

__all__ = ["feedback", "programmes", "snapshots"]
