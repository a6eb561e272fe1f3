"""What runs on other people's machines: enrolment, heartbeats, backups, and reports neither lost nor leaked."""

from .activity import ActivityTracker
from .deposit_places import DepositFolder, DepositPortal
from .deposit_report import DepositedDatabase, DepositResult
from .deposits import deposit
from .dumps import Dump
from .enrolment import Enrolment, enroll, rotate_token, uninstall
from .feedback import FeedbackClient
from .heartbeat import HeartbeatThread, send_heartbeat
from .machine import default_machine_id
from .outcomes import BatchOutcome, Outcome, Result
from .pages import page_count_for
from .payload import build_usage_payload, new_run_id
from .portal_calls import PortalError
from .reporter import UsageReporter
from .sessions import make_session
from .spool import flush_spool, spool_payload, spool_stats
from .spool_limits import SpoolLimits
from .spool_store import SpoolStats
from .telemetry import UsageTelemetryClient
from .token_store import Credentials, TokenStore
from .uploads import Patience
from .version import __version__

__all__ = [
    "ActivityTracker",
    "BatchOutcome",
    "Credentials",
    "DepositFolder",
    "DepositPortal",
    "DepositResult",
    "DepositedDatabase",
    "Dump",
    "Enrolment",
    "FeedbackClient",
    "HeartbeatThread",
    "Outcome",
    "Patience",
    "PortalError",
    "Result",
    "SpoolLimits",
    "SpoolStats",
    "TokenStore",
    "UsageReporter",
    "UsageTelemetryClient",
    "__version__",
    "build_usage_payload",
    "default_machine_id",
    "deposit",
    "enroll",
    "flush_spool",
    "make_session",
    "new_run_id",
    "page_count_for",
    "rotate_token",
    "send_heartbeat",
    "spool_payload",
    "spool_stats",
    "uninstall",
]
