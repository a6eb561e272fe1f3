"""Targets, what was found at each, the rounds in which it was looked, and the incidents that came of it."""

from monitoring.models.figures import MaintenanceWindow, Rollup, Round
from monitoring.models.incidents import Incident, IncidentEvent
from monitoring.models.targets import CheckResult, Excuse, Target

__all__ = [
    "CheckResult",
    "Excuse",
    "Incident",
    "IncidentEvent",
    "MaintenanceWindow",
    "Rollup",
    "Round",
    "Target",
]
