"""Runs, licences, activity of users, and usage digests."""

from usage.models.activity import FeatureUsage, TrackingWriter, UserError, UserSession
from usage.models.guardian import GuardianReport
from usage.models.licences import Licence, RollupProgress, RunRollup
from usage.models.runs import Run

__all__ = [
    "FeatureUsage",
    "GuardianReport",
    "Licence",
    "RollupProgress",
    "Run",
    "RunRollup",
    "TrackingWriter",
    "UserError",
    "UserSession",
]
