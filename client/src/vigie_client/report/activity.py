"""What the users of a program do: sessions, uses of features, errors. Names and durations, never content."""

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
from vigie_client.report.activity_calls import ActivityClient
from vigie_client.report.activity_rules import NAME_RULE, name_error, reduce_endpoint, reduce_feature_name
from vigie_client.report.features import Feature
from vigie_client.report.payload_rules import UNNAMED, to_whole_number
from vigie_client.spool.courier import Courier
from vigie_client.spool.limits import SpoolLimits
from vigie_client.spool.spooling import DEFAULT_LIMITS, SpoolPath
from vigie_client.version import __version__

_METHOD = re.compile(r"[A-Za-z]{1,16}")

ErrorLike = Union[BaseException, type, str]


class _Session(NamedTuple):
    id: str
    start: datetime
    begun: float


def _never_raises(method: Callable[..., None]) -> Callable[..., None]:
    """Whatever goes wrong in here, the host hears of it by its log alone."""

    @functools.wraps(method)
    def call(tracker: ActivityTracker, *given: Any, **named: Any) -> None:
        try:
            method(tracker, *given, **named)
        except Exception as error:
            log(logging.ERROR, "activity can't be noted: %s", type(error).__name__, logger=tracker._logger)

    return call


class ActivityTracker:
    """Notes what the user `user_email` does, for the portal at `base_url`, by way of a spool of its own.

    Each event is on disk before a method returns, and a daemon thread delivers it `deliver_after` seconds later, with
    all that came meanwhile, through `session` (see `make_session`); what the portal could not take, once the spool's
    pause is over. No method raises or waits for the portal, but for `flush` and, for `timeout` seconds at most, the end
    of a `with` block. Where `user_email` is no e-mail address, which is logged, and with VIGIE_TELEMETRY=off, nothing
    is noted.
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
        client = ActivityClient(base_url, session, timeout, logger)
        self._courier = Courier(client, spool_path, limits, deliver_after)
        self._user_email = normalize_email(user_email)
        self._logger = logger
        self._session: Optional[_Session] = None
        self._warned = False
        if not self._user_email and user_email is not None:
            log(logging.WARNING, "activity isn't noted: the portal takes no such address of a user", logger=logger)

    def __enter__(self) -> ActivityTracker:
        self.start_session()
        return self

    def __exit__(self, *_: Any) -> None:
        self.end_session()
        self._courier.finish()

    @_never_raises
    def start_session(self) -> None:
        """Begin a session; the one that was open ends."""
        self.end_session()
        self._session = _Session(uuid.uuid4().hex, _now(), monotonic())
        self._tell_session(self._session, None)

    @_never_raises
    def end_session(self) -> None:
        """End the open session; without one, nothing."""
        session, self._session = self._session, None
        if session is not None:
            # By the monotonic clock: the other one may have been set back meanwhile.
            self._tell_session(session, session.start + timedelta(seconds=monotonic() - session.begun))

    def feature(self, name: str, *, endpoint: Optional[str] = None) -> Feature:
        """The use of the feature `name`: `with tracker.feature("export"):`, or `@tracker.feature("export")`.

        `endpoint` is a route, if there is one. An exception makes the use a failure and an error of its class; ask for
        a new one for each block, since one object times one block at a time.
        """

        def used(at: datetime, seconds: float, failure: Optional[type]) -> None:
            self._tell_use(name, endpoint, at, seconds, failure)

        return Feature(used)

    @_never_raises
    def error(
        self,
        error: ErrorLike,
        *,
        endpoint: Optional[str] = None,
        method: Optional[str] = None,
        code: Optional[int] = None,
    ) -> None:
        """Note an error: an exception, its class, or a name. Of an exception the name of its class is kept alone."""
        now = _now()
        known = {
            "endpoint": reduce_endpoint(endpoint),
            "error_type": name_error(error),
            "error_code": wire_integer(to_whole_number(code)),
        }
        sent_by = method.upper() if isinstance(method, str) and _METHOD.fullmatch(method) else None
        self._tell("errors", {**known, "method": sent_by, "timestamp": format_utc(now)})

    def flush(self, *, force: bool = False) -> int:
        """Deliver now what waits; the number of events delivered. As `flush_spool`, in the thread that calls it."""
        return self._courier.flush(force=force)

    @_never_raises
    def _tell_use(self, name: Any, endpoint: Any, at: datetime, seconds: float, failure: Optional[type]) -> None:
        event = {
            "feature_name": self._named(name),
            "endpoint": reduce_endpoint(endpoint),
            "timestamp": format_utc(at),
            "success": failure is None,
            "duration_ms": min(int(seconds * 1000), MAX_INTEGER),
        }
        self._tell("features", event)
        if failure is not None:
            self.error(failure, endpoint=endpoint)

    def _named(self, name: Any) -> str:
        """The name of a feature; the first one that the portal would not take is reported to the log."""
        kept = reduce_feature_name(name)
        if kept == UNNAMED != name and not self._warned:
            self._warned = True
            log(logging.WARNING, "a feature's name becomes %s: %s", UNNAMED, NAME_RULE, logger=self._logger)
        return kept

    def _tell_session(self, session: _Session, end: Optional[datetime]) -> None:
        event = {
            "id": session.id,
            "session_start": format_utc(session.start),
            "session_end": end and format_utc(end),
            "user_agent": f"vigie-client/{__version__}",
        }
        self._tell("sessions", event)

    def _tell(self, name: str, event: dict[str, Any]) -> None:
        if not self._user_email:
            return
        event = {"id": uuid.uuid4().hex, "user_email": self._user_email, **event}
        self._courier.take({"list": name, "event": event})


def _now() -> datetime:
    return datetime.now(timezone.utc)
