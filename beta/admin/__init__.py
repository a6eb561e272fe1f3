"""The admin of the beta: programmes with their verdicts, feedback, reports that were kept, and targets' programmes."""

from beta.admin import feedback, history, programmes, snapshots, targets

__all__ = ["feedback", "history", "programmes", "snapshots", "targets"]
