"""Enrol a machine, rotate its token, uninstall it. The wire and the public function spell it `enroll`."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

from vigie_client.contract import DESCRIPTION, MACHINE_ID, NEVER_CUT, machine_name, reduce_description
from vigie_client.disk.durable import remove_file, replace_file
from vigie_client.http.calls import PortalError, post_json, require_text
from vigie_client.http.outcomes import Result, no_answer
from vigie_client.http.sessions import Credentials, make_session
from vigie_client.machine.host import default_machine_id
from vigie_client.machine.token_store import TokenStore

SessionFactory = Callable[[str], Any]
"""Makes a session that sends the given token."""

ENROL_PATH = "/api/v1/agents/enroll"
UNINSTALL_PATH = "/api/v1/agents/uninstall"
ROTATE_PATH = "/api/v1/agents/token/rotate"


@dataclass(frozen=True)
class Enrolment:
    """The result of an enrolment: `status` is `enrolled`, `reactivated` or `replayed`, `agent` the portal's view."""

    status: str
    credentials: Credentials
    agent: Mapping[str, Any]


@dataclass(frozen=True)
class _Attempt:
    """An enrolment under way, whose ids are repeated until the machine has a token."""

    machine_id: str
    enrollment_id: str


def enroll(
    base_url: str,
    enrolment_token: str,
    machine_id: Optional[str] = None,
    *,
    store: TokenStore,
    user_name: Optional[str] = None,
    user_email: Optional[str] = None,
    user_id: Optional[str] = None,
    hostname: Optional[str] = None,
    os_info: Optional[str] = None,
    version: Optional[str] = None,
    allow_reactivate: bool = True,
    timeout: float = 15.0,
    session_factory: SessionFactory = make_session,
) -> Enrolment:
    """Enrol this machine and save its token in `store`. `machine_id` defaults to the host name.

    A machine that has a token renews it, which needs no enrolment token. If the portal no longer accepts that token,
    the machine is enrolled again under the same name.

    Idempotent: call it again after a failure. If the answer to an enrolment was lost, the portal knows the machine but
    the machine has no token, and only the same `enrollment_id`, on disk since before the first attempt, gets it one.
    Raises PortalError, OSError, and ValueError for an invalid token.
    """
    details = {
        "user_name": user_name,
        "user_email": user_email,
        "user_id": user_id,
        "hostname": hostname,
        "os_info": os_info,
        "version": version,
    }
    with store.exclusive():
        own = _find_own_credentials(store, machine_id)
        description = _describe_machine(details)
        url = _url(base_url, ENROL_PATH)
        answer = None
        if own is not None:
            session = session_factory(own.api_token)
            answer = _renew_token(session, url, description, timeout, has_alternative=bool(enrolment_token))
        if answer is None:
            session = session_factory(enrolment_token)
            attempt = _load_or_create_attempt(store, own.machine_id if own is not None else machine_id)
            body = {**description, **vars(attempt), "allow_reactivate": allow_reactivate}  # its fields are wire names
            answer = post_json(session, url, body, timeout)
        credentials = Credentials(require_text(answer, "machine_id"), require_text(answer, "api_token"))
        store.save(credentials)
        remove_file(_attempt_path(store))
    agent = answer.get("agent")
    return Enrolment(str(answer.get("status")), credentials, agent if isinstance(agent, Mapping) else {})


def rotate_token(
    base_url: str, store: TokenStore, *, timeout: float = 15.0, session_factory: SessionFactory = make_session
) -> Optional[str]:
    """Replace the stored token by a new one. Return until when the old one stays valid (ISO 8601).

    If the answer is lost, the old token still works: call again. Raises PortalError, OSError, and LookupError if this
    machine is not enrolled.
    """
    with store.exclusive():
        credentials = store.load()
        if credentials is None:
            raise LookupError("this machine isn't enrolled")
        session = session_factory(credentials.api_token)
        answer = post_json(session, _url(base_url, ROTATE_PATH), {}, timeout)
        machine_id = str(answer.get("machine_id") or credentials.machine_id)
        store.save(Credentials(machine_id, require_text(answer, "api_token")))
    valid_until = answer.get("previous_valid_until")
    return valid_until if isinstance(valid_until, str) else None


def uninstall(
    base_url: str,
    store: TokenStore,
    *,
    reason: Optional[str] = None,
    timeout: float = 4.0,
    session_factory: SessionFactory = make_session,
) -> None:
    """Uninstall this machine at the portal, then delete its token. Idempotent.

    Raises PortalError, keeping the token for another attempt, and OSError. An uninstaller must not wait for success.
    """
    with store.exclusive():
        credentials = store.load()
        if credentials is None:
            return
        session = session_factory(credentials.api_token)
        body = {} if reason is None else {"reason": reason}  # the token identifies the machine
        try:
            answer = post_json(session, _url(base_url, UNINSTALL_PATH), body, timeout)
            if answer.get("status") != "uninstalled":  # JSON of a proxy
                raise PortalError(no_answer("no_receipt"))
        except PortalError as error:
            if error.code not in ("agent_unknown", "token_revoked"):  # already uninstalled
                raise
        store.clear()
        remove_file(_attempt_path(store))


def _url(base_url: str, path: str) -> str:
    return base_url.rstrip("/") + path


def _find_own_credentials(store: TokenStore, machine_id: Optional[str]) -> Optional[Credentials]:
    """Return the stored credentials, or None if `machine_id` names another machine."""
    own = store.load()
    if own is None or machine_id is None or _normalize_machine_id(machine_id).lower() == own.machine_id.lower():
        return own
    return None


def _renew_token(
    session: Any, url: str, description: Mapping[str, Any], timeout: float, *, has_alternative: bool
) -> Optional[Mapping[str, Any]]:
    """Renew the machine's own token. Return None if it is refused and `has_alternative`. Raises PortalError."""
    try:
        return post_json(session, url, description, timeout)
    except PortalError as error:
        if error.outcome.result is Result.AUTH and has_alternative:
            return None
        raise


def _describe_machine(details: Mapping[str, Optional[str]]) -> dict[str, str]:
    """Reduce the description to what the portal accepts: no invalid value may fail the enrolment."""
    description = {}
    for name, value in details.items():
        if value is None:
            continue
        text = reduce_description(str(value), DESCRIPTION[name], may_cut=name not in NEVER_CUT)
        if text is not None:
            description[name] = text
    return description


def _normalize_machine_id(machine_id: str) -> str:
    """Return a valid machine_id unchanged, else its reduced form: a GUID may come in braces."""
    return machine_id if re.fullmatch(MACHINE_ID, machine_id) else machine_name(machine_id) or machine_id


def _load_or_create_attempt(store: TokenStore, machine_id: Optional[str]) -> _Attempt:
    """Return the attempt under way, or save a new one before anything is sent. Without `machine_id`, any id is kept."""
    machine_id = None if machine_id is None else _normalize_machine_id(machine_id)
    stored = _load_attempt(store)
    if stored is not None and machine_id in (None, stored.machine_id):
        return stored
    attempt = _Attempt(machine_id or default_machine_id(), uuid.uuid4().hex)
    replace_file(_attempt_path(store), json.dumps(vars(attempt)).encode())
    return attempt


def _load_attempt(store: TokenStore) -> Optional[_Attempt]:
    try:
        with open(_attempt_path(store), "rb") as file:
            stored = json.load(file)
        return _Attempt(str(stored["machine_id"]), str(stored["enrollment_id"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _attempt_path(store: TokenStore) -> str:
    return os.path.join(store.directory, "enrolment.json")
