"""Targets, what was found at each, rounds and incidents."""

from monitoring.models.figures import MaintenanceWindow, Rollup, Round
from monitoring.models.incidents import Incident, IncidentEvent
from monitoring.models.targets import CheckResult, Exclusion, Target

__all__ = [
    "CheckResult",
    "Exclusion",
    "Incident",
    "IncidentEvent",
    "MaintenanceWindow",
    "Rollup",
    "Round",
    "Target",
]
