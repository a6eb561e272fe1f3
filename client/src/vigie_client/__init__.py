"""Client of a Vigie portal: enrolment, heartbeats, backups, and usage reports that are neither lost nor leaked."""

from vigie_client.deposits.dumps import Dump
from vigie_client.deposits.operation import deposit
from vigie_client.deposits.places import DepositFolder, DepositPortal
from vigie_client.deposits.report import DepositedDatabase, DepositResult
from vigie_client.deposits.uploads import Patience
from vigie_client.http.calls import PortalError
from vigie_client.http.outcomes import BatchOutcome, Outcome, Result
from vigie_client.http.sessions import Credentials, make_session
from vigie_client.machine.enrolment import Enrolment, enroll, rotate_token, uninstall
from vigie_client.machine.heartbeat import HeartbeatThread, send_heartbeat
from vigie_client.machine.host import default_machine_id
from vigie_client.machine.token_store import TokenStore
from vigie_client.report.activity import ActivityTracker
from vigie_client.report.feedback import FeedbackClient
from vigie_client.report.pages import page_count_for
from vigie_client.report.payload import build_usage_payload, new_run_id
from vigie_client.report.reporter import UsageReporter
from vigie_client.report.senders import UsageTelemetryClient
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.spooling import flush_spool, spool_payload, spool_stats
from vigie_client.spool.store import SpoolStats
from vigie_client.version import __version__

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
