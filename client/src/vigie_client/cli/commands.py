"""The command `vigie-client`.

Results go to stdout as one JSON object, everything else to stderr. Exit status: 0 done, 1 failed or kept for later,
2 wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Optional, Union

from vigie_client.cli.deposit_options import parse_dumps
from vigie_client.cli.options import parse_arguments, read_token
from vigie_client.cli.report_files import describe_documents, find_files
from vigie_client.deposits.operation import deposit
from vigie_client.deposits.places import DepositFolder, DepositPlace, DepositPortal
from vigie_client.deposits.uploads import Patience
from vigie_client.http.calls import PortalError
from vigie_client.http.sessions import make_session
from vigie_client.machine import host
from vigie_client.machine.enrolment import enroll, rotate_token, uninstall
from vigie_client.machine.heartbeat import HeartbeatThread, send_heartbeat
from vigie_client.machine.host import default_state_dir
from vigie_client.machine.token_store import TokenStore
from vigie_client.report.payload import build_usage_payload, new_run_id
from vigie_client.report.senders import UsageTelemetryClient
from vigie_client.spool.client import is_telemetry_off
from vigie_client.spool.spooling import count_quarantined, flush_spool, open_store, spool_payload, spool_stats

DONE, FAILED, USAGE = 0, 1, 2


class UsageError(Exception):
    """Wrong usage of the command line."""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    commands = {
        "enroll": _enroll,
        "report": _report,
        "flush": _flush,
        "quarantine": _quarantine,
        "heartbeat": _heartbeat,
        "deposit": _deposit,
        "rotate": _rotate,
        "uninstall": _uninstall,
    }
    try:
        return commands[options.command](options)
    except UsageError as error:
        return _fail(USAGE, str(error))
    except PortalError as error:
        return _fail(FAILED, f"{options.command}: {error}" + (f": {error.detail}" if error.detail else ""))
    except (OSError, LookupError) as error:
        return _fail(FAILED, f"{options.command}: {error}")
    except KeyboardInterrupt:
        return FAILED


def _enroll(options: argparse.Namespace) -> int:
    token, store = read_token(options.token_file), _token_store(options)
    if token is None and store.load() is None:
        raise UsageError("no enrolment token: use --token-file FILE, --token-file - or VIGIE_TOKEN")
    enrolment = enroll(
        _require_server(options),
        token or "",
        options.machine_id,
        store=store,
        user_name=options.user_name,
        user_email=options.user_email,
        user_id=options.user_id,
        hostname=options.hostname or socket.gethostname(),
        os_info=host.describe_os(),
        version=options.app_version,
        allow_reactivate=not options.no_reactivate,
        timeout=options.timeout,
        session_factory=_make_session,
    )
    return _print_result(options, {"status": enrolment.status, "machine_id": enrolment.credentials.machine_id})


def _report(options: argparse.Namespace) -> int:
    """Spool, then flush, so that the run is safe before any call. Send it directly if the disk fails."""
    if is_telemetry_off():
        return _print_telemetry_off(options)
    started_at, machine_id = datetime.now(timezone.utc), options.machine_id
    if not machine_id:
        own = _token_store(options).load()
        machine_id = own.machine_id if own else host.default_machine_id()
    try:
        files = find_files(options.files)
    except ValueError as error:
        raise UsageError(f"report: {error}") from None
    documents = describe_documents(files)
    try:
        payload = build_usage_payload(
            run_id=new_run_id(),
            app_name=options.app_name,
            app_version=options.app_version,
            license_ref=options.license_ref,
            machine_id=machine_id,
            documents=documents,
            started_at=started_at,
            strict=True,
        )
    except ValueError as error:
        raise UsageError(f"report: {error}") from None
    counts = {key: payload[key] for key in ("run_id", "document_count", "failed_count", "total_pages")}
    if spool_payload(_spool_path(options), payload):
        return _flush(options, counts)
    client = _make_client(options)
    if client is None or not client.report(payload):
        return _fail(FAILED, "report: the run could be neither written to the state directory nor sent")
    return _print_result(options, {**counts, "delivered": 1, "pending": None})


def _flush(options: argparse.Namespace, counts_of_run: Optional[Mapping[str, Any]] = None) -> int:
    if is_telemetry_off():
        return _print_telemetry_off(options)
    spool = _spool_path(options)
    before = spool_stats(spool)
    client = _make_client(options)
    delivered = 0 if client is None else flush_spool(spool, client, force=options.force)
    after = spool_stats(spool)
    counts = {"delivered": delivered, "pending": after.pending, "dropped": sum(after.dropped.values())}
    _print_result(options, {**(counts_of_run or {}), **counts})
    # Another process may have lost items meanwhile: that is worth a failure too.
    has_no_loss = (after.quarantined, after.dropped) == (before.quarantined, before.dropped)
    return DONE if after.pending == 0 and has_no_loss else FAILED


def _make_client(options: argparse.Namespace) -> Optional[UsageTelemetryClient]:
    token = _find_token_source(options)
    if token is None:
        logging.warning("not enrolled: spooled items are kept for later")
        return None
    return UsageTelemetryClient(_require_server(options), _make_session(token), timeout=options.timeout)


def _quarantine(options: argparse.Namespace) -> int:
    store, code = open_store(_spool_path(options)), options.code
    if options.action == "list":
        items = [item for item in store.quarantined() if code in (None, item.get("code"))]
        return _print_result(options, {"items": items})
    if options.action == "retry":
        retried = store.retry_quarantined(code)
        return _print_result(options, {"retried": retried, "pending": store.stats().pending})
    return _print_result(options, {"dropped": store.drop_quarantined(code)})


def _print_telemetry_off(options: argparse.Namespace) -> int:
    """Succeed without doing anything: the user opted out, so this is not a failure, even if a file is missing."""
    logging.warning("VIGIE_TELEMETRY is off: nothing is written or sent; spooled items are kept")
    return _print_result(options, {"telemetry": "off", "delivered": 0})


def _heartbeat(options: argparse.Namespace) -> int:
    session = _make_session(_require_token_source(options))
    known = {"version": options.app_version, "os_info": host.describe_os(), "timeout": options.timeout}
    if options.watch:
        with contextlib.suppress(KeyboardInterrupt):
            HeartbeatThread(_require_server(options), session, **known).run()  # in this thread
        return DONE
    interval = send_heartbeat(_require_server(options), session, hostname=socket.gethostname(), **known)
    return _print_result(options, {"next_heartbeat_seconds": interval})


def _deposit(options: argparse.Namespace) -> int:
    try:
        result = deposit(
            parse_dumps(options.dumps),
            _deposit_place(options),
            agent_id=_choose_agent_id(options),
            state_dir=options.state_dir,
            dump_timeout=options.timeout_dump,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    databases = [vars(each) for each in result.databases]
    _print_result(options, {"status": result.status, "report": result.report, "databases": databases})
    return DONE if result.status == "deposited" else FAILED


def _deposit_place(options: argparse.Namespace) -> DepositPlace:
    if options.to is not None:
        return DepositFolder(options.to)
    server = _require_server(options)
    if not server.lower().startswith(("http://", "https://")):
        raise UsageError("the server address must begin with https:// or http://")
    session = _make_session(_require_token_source(options))
    return DepositPortal(server, session, Patience(deadline=options.deadline, timeout=options.timeout))


def _choose_agent_id(options: argparse.Namespace) -> str:
    credentials = _token_store(options).load()
    if credentials is None:
        if not options.agent_id:
            raise UsageError("this machine isn't enrolled: use --agent-id ID")
    elif options.agent_id is None or options.agent_id.lower() == credentials.machine_id.lower():
        return credentials.machine_id
    elif options.to is None and options.token_file is None:
        raise UsageError("over HTTP a machine can only upload under its own id")
    return str(options.agent_id)


def _rotate(options: argparse.Namespace) -> int:
    store = _token_store(options)
    valid_until = rotate_token(_require_server(options), store, timeout=options.timeout, session_factory=_make_session)
    return _print_result(options, {"status": "rotated", "previous_valid_until": valid_until})


def _uninstall(options: argparse.Namespace) -> int:
    store = _token_store(options)
    uninstall(
        _require_server(options), store, reason=options.reason, timeout=options.timeout, session_factory=_make_session
    )
    return _print_result(options, {"status": "uninstalled"})


def _require_server(options: argparse.Namespace) -> str:
    if not options.server:
        raise UsageError("no server: use --server URL or VIGIE_URL")
    return str(options.server)


def _make_session(token: Union[str, TokenStore]) -> Any:
    try:
        return make_session(token)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _find_token_source(options: argparse.Namespace) -> Union[str, TokenStore, None]:
    """Return the token of --token-file, else this machine's store, else VIGIE_TOKEN, for example an application's."""
    store = _token_store(options)
    if options.token_file is None and store.load() is not None:
        return store
    return read_token(options.token_file)


def _require_token_source(options: argparse.Namespace) -> Union[str, TokenStore]:
    source = _find_token_source(options)
    if source is None:
        raise LookupError("this machine isn't enrolled")
    return source


def _token_store(options: argparse.Namespace) -> TokenStore:
    """Return the token store, by default also that of the installers."""
    return TokenStore(None if options.state_dir == default_state_dir() else options.state_dir)


def _spool_path(options: argparse.Namespace) -> str:
    return getattr(options, "spool", None) or os.path.join(options.state_dir, "spool.jsonl")


def _print_result(options: argparse.Namespace, result: Mapping[str, Any]) -> int:
    """Print the result with the size of the quarantine, which every command shows."""
    sys.stdout.write(json.dumps({**result, "quarantined": count_quarantined(_spool_path(options))}) + "\n")
    return DONE


def _fail(status: int, sentence: str) -> int:
    sys.stderr.write(f"vigie-client {sentence}\n")
    return status
