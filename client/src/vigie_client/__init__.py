"""Client of a Vigie portal: enrolment, heartbeats, backups, and usage reports that are neither lost nor leaked."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vigie_client.version import __version__

if TYPE_CHECKING:
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

# An application loads only what it uses: importing everything takes a tenth of a second.
_MODULES = {
    "ActivityTracker": "report.activity",
    "BatchOutcome": "http.outcomes",
    "Credentials": "http.sessions",
    "DepositFolder": "deposits.places",
    "DepositPortal": "deposits.places",
    "DepositResult": "deposits.report",
    "DepositedDatabase": "deposits.report",
    "Dump": "deposits.dumps",
    "Enrolment": "machine.enrolment",
    "FeedbackClient": "report.feedback",
    "HeartbeatThread": "machine.heartbeat",
    "Outcome": "http.outcomes",
    "Patience": "deposits.uploads",
    "PortalError": "http.calls",
    "Result": "http.outcomes",
    "SpoolLimits": "spool.limits",
    "SpoolStats": "spool.store",
    "TokenStore": "machine.token_store",
    "UsageReporter": "report.reporter",
    "UsageTelemetryClient": "report.senders",
    "build_usage_payload": "report.payload",
    "default_machine_id": "machine.host",
    "deposit": "deposits.operation",
    "enroll": "machine.enrolment",
    "flush_spool": "spool.spooling",
    "make_session": "http.sessions",
    "new_run_id": "report.payload",
    "page_count_for": "report.pages",
    "rotate_token": "machine.enrolment",
    "send_heartbeat": "machine.heartbeat",
    "spool_payload": "spool.spooling",
    "spool_stats": "spool.spooling",
    "uninstall": "machine.enrolment",
}


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # it would let any name pass

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value
