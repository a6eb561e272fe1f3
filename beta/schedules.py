"""Periodic jobs and retention of the beta."""

from datetime import datetime, timedelta
from typing import Any

from django.db import models

from beta.models import BetaFeedback, BetaProgramme, FeedbackWindow
from beta.report import review, snapshots
from portal.work.retention import Retention, retentions
from portal.work.schedules import Job, jobs

# Rate limits count for an hour at most.
WINDOWS_KEPT = timedelta(hours=2)


def outdated_feedback(now: datetime) -> models.QuerySet[Any]:
    """Feedback to programmes that ended long ago. Reports that were kept of it stay.

    The programmes are read first: without any that is over, a database would scan all feedback for theirs.
    """
    over = BetaProgramme.objects.filter(ends__lt=snapshots.retention_cutoff(now)).values_list("pk", flat=True)
    return BetaFeedback.objects.filter(programme__in=list(over))


def outdated_windows(now: datetime) -> models.QuerySet[Any]:
    return FeedbackWindow.objects.filter(window_started_at__lt=now - WINDOWS_KEPT)


# The name is stored with its runs, and older than this app.
jobs.register(Job("monitoring.beta_verdicts", review.review_verdicts, every=timedelta(hours=1), cluster="slow"))
retentions.register(Retention("beta_feedback", outdated_feedback))
retentions.register(Retention("feedback_windows", outdated_windows))
