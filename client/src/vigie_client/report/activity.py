"""Track what the users of a program do: sessions, feature uses, errors. Names and durations, never content."""

from __future__ import annotations

import functools
import logging
import re
import uuid
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Any, Callable, NamedTuple, Optional, Union

from vigie_client.contract import MAX_INTEGER, normalize_email, wire_integer
from vigie_client.disk.logs import log
from vigie_client.http.times import format_utc
from vigie_client.report.features import FeatureTimer
from vigie_client.report.payload_rules import (
    FEATURE_NAME_RULE,
    UNNAMED,
    name_error,
    reduce_endpoint,
    reduce_feature_name,
    to_whole_number,
)
from vigie_client.report.senders import ActivitySender
from vigie_client.spool.background import BackgroundSpool
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.spooling import DEFAULT_LIMITS, SpoolPath
from vigie_client.version import __version__

_METHOD = re.compile(r"[A-Za-z]{1,16}")

ErrorLike = Union[BaseException, type, str]


class _Session(NamedTuple):
    id: str
    started_at: datetime
    started_monotonic: float


def _never_raises(method: Callable[..., None]) -> Callable[..., None]:
    """Decorate a method whose exceptions must only reach the log."""

    @functools.wraps(method)
    def call(tracker: ActivityTracker, *args: Any, **kwargs: Any) -> None:
        try:
            method(tracker, *args, **kwargs)
        except Exception as error:
            log(logging.ERROR, "activity can't be recorded: %s", type(error).__name__, logger=tracker._logger)

    return call


class ActivityTracker:
    """Records the activity of the user `user_email` for the portal at `base_url` through a spool of its own.

    Each event is on disk before a method returns. A daemon thread delivers it `deliver_after` seconds later, with all
    events that came meanwhile, through `session` (see `make_session`), and retries once the spool's pause is over. No
    method raises or waits for the portal, except `flush` and, at most `timeout` seconds, the end of a `with` block.
    Nothing is recorded if `user_email` is not an e-mail address, which is logged, or with VIGIE_TELEMETRY=off.
    """

    def __init__(
        self,
        base_url: str,
        session: Any,
        user_email: Optional[str],
        *,
        spool_path: SpoolPath,
        timeout: float = 4.0,
        limits: SpoolLimits = DEFAULT_LIMITS,
        deliver_after: float = 5.0,
        logger: Optional[Any] = None,
    ) -> None:
        client = ActivitySender(base_url, session, timeout, logger)
        self._spool = BackgroundSpool(client, spool_path, limits, deliver_after)
        self._user_email = normalize_email(user_email)
        self._logger = logger
        self._session: Optional[_Session] = None
        self._warned = False
        if not self._user_email and user_email is not None:
            log(logging.WARNING, "activity isn't recorded: the portal refuses this e-mail address", logger=logger)

    def __enter__(self) -> ActivityTracker:
        self.start_session()
        return self

    def __exit__(self, *_: Any) -> None:
        self.end_session()
        self._spool.finish()

    @_never_raises
    def start_session(self) -> None:
        """Start a session, after ending the open one."""
        self.end_session()
        self._session = _Session(uuid.uuid4().hex, _now(), monotonic())
        self._record_session(self._session, None)

    @_never_raises
    def end_session(self) -> None:
        """End the open session, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            # The monotonic clock: the wall clock may have been set back meanwhile.
            self._record_session(
                session, session.started_at + timedelta(seconds=monotonic() - session.started_monotonic)
            )

    def feature(self, name: str, *, endpoint: Optional[str] = None) -> FeatureTimer:
        """Time a use of the feature `name`: `with tracker.feature("export"):` or `@tracker.feature("export")`.

        `endpoint` is an optional route. An exception makes the use a failure and records an error of its class. Blocks
        of one object may be nested, but threads must not share it.
        """
        return FeatureTimer(functools.partial(self._record_use, name, endpoint))

    @_never_raises
    def error(
        self,
        error: ErrorLike,
        *,
        endpoint: Optional[str] = None,
        method: Optional[str] = None,
        code: Optional[int] = None,
    ) -> None:
        """Record an error: an exception, its class, or a name. Only the class name of an exception is kept."""
        now = _now()
        fields = {
            "endpoint": reduce_endpoint(endpoint),
            "error_type": name_error(error),
            "error_code": wire_integer(to_whole_number(code)),
        }
        http_method = method.upper() if isinstance(method, str) and _METHOD.fullmatch(method) else None
        self._spool_event("errors", {**fields, "method": http_method, "timestamp": format_utc(now)})

    def flush(self, *, force: bool = False) -> int:
        """Deliver waiting events now, in the calling thread, like `flush_spool`. Return the number delivered."""
        return self._spool.flush(force=force)

    @_never_raises
    def _record_use(self, name: Any, endpoint: Any, at: datetime, seconds: float, failure: Optional[type]) -> None:
        event = {
            "feature_name": self._reduce_name(name),
            "endpoint": reduce_endpoint(endpoint),
            "timestamp": format_utc(at),
            "success": failure is None,
            "duration_ms": min(int(seconds * 1000), MAX_INTEGER),
        }
        self._spool_event("features", event)
        if failure is not None:
            self.error(failure, endpoint=endpoint)

    def _reduce_name(self, name: Any) -> str:
        """Return a valid feature name. The first invalid one is logged."""
        kept = reduce_feature_name(name)
        if kept == UNNAMED != name and not self._warned:
            self._warned = True
            log(logging.WARNING, "a feature's name becomes %s: %s", UNNAMED, FEATURE_NAME_RULE, logger=self._logger)
        return kept

    def _record_session(self, session: _Session, end: Optional[datetime]) -> None:
        event = {
            "id": session.id,
            "session_start": format_utc(session.started_at),
            "session_end": end and format_utc(end),
            "user_agent": f"vigie-client/{__version__}",
        }
        self._spool_event("sessions", event)

    def _spool_event(self, name: str, event: dict[str, Any]) -> None:
        if not self._user_email:
            return
        event = {"id": uuid.uuid4().hex, "user_email": self._user_email, **event}
        self._spool.add({"list": name, "event": event})


def _now() -> datetime:
    return datetime.now(timezone.utc)
