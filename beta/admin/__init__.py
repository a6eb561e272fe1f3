"""The admin of the beta: programmes, feedback, snapshots of reports, and the programmes of targets."""

from beta.admin import feedback, history, programmes, snapshots, targets

__all__ = ["feedback", "history", "programmes", "snapshots", "targets"]
