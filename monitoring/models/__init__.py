"""Targets, what was found at each, rounds, incidents, and beta programmes with what is said in them."""

from monitoring.models.beta import BetaFeedback, BetaProgramme, BetaSnapshot, FeedbackTag, FeedbackWindow
from monitoring.models.figures import MaintenanceWindow, Rollup, Round
from monitoring.models.incidents import Incident, IncidentEvent
from monitoring.models.targets import CheckResult, Exclusion, Target

__all__ = [
    "BetaFeedback",
    "BetaProgramme",
    "BetaSnapshot",
    "CheckResult",
    "Exclusion",
    "FeedbackTag",
    "FeedbackWindow",
    "Incident",
    "IncidentEvent",
    "MaintenanceWindow",
    "Rollup",
    "Round",
    "Target",
]
