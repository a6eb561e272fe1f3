"""Problems: every refusal of the API has one shape on the wire (RFC 9457) and one code of this table.

No sentence ever holds a submitted value.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

REALM = 'Bearer realm="vigie"'


@dataclass(frozen=True)
class Code:
    """A stable code: what happened, for a program to branch on and a person to read."""

    status: int
    title: str
    detail: str
    is_audited: bool = False


CODES: dict[str, Code] = {
    "validation_failed": Code(400, "The request is not valid", "One or more fields are missing or not as documented."),
    "bad_request": Code(400, "The request cannot be answered", "The portal does not answer under that name, or the request is malformed."),
    "malformed_json": Code(400, "The body is not JSON", "The body must be one JSON object in UTF-8, without duplicate keys, NaN or infinities."),
    "counters_mismatch": Code(400, "The counters disagree", "The counters of the run do not agree with its documents."),
    "checksum_mismatch": Code(400, "The body is not what was announced", "The SHA-256 of the body is not the one in X-Content-SHA256."),
    "length_mismatch": Code(400, "The body's length is not what was announced", "Content-Length must be given, in digits, and the body must have as many bytes."),
    "body_too_deep": Code(400, "The body is nested too deeply", "A body may be nested 32 levels deep at most."),
    "not_authenticated": Code(401, "A token is needed", "Send a token as Authorization: Bearer.", is_audited=True),
    "invalid_token": Code(401, "This token is not valid", "The token is malformed, unknown, or its secret is wrong.", is_audited=True),
    "token_expired": Code(401, "This token has expired", "Ask for a new token, or rotate before the old one ends.", is_audited=True),
    "token_revoked": Code(401, "This token was revoked", "An operator or an uninstallation revoked the token.", is_audited=True),
    "token_exhausted": Code(403, "This token has no uses left", "Every use the enrolment token allowed has been made.", is_audited=True),
    "insufficient_scope": Code(403, "This token may not do that", "The call needs a token of another kind or with another scope.", is_audited=True),
    "second_factor_required": Code(403, "A second factor must be set up", "Set one up under Sign-in and security."),
    "permission_denied": Code(403, "You may not do that", "The user behind the request lacks the permission.", is_audited=True),
    "machine_mismatch": Code(403, "Another machine's business", "A machine's token speaks for that machine alone.", is_audited=True),
    "app_mismatch": Code(403, "Another application's business", "The token is bound to other applications.", is_audited=True),
    "licence_mismatch": Code(403, "Another licence", "The machine is bound to another licence.", is_audited=True),
    "origin_not_allowed": Code(403, "This page may not send that", "The programme does not list the origin of the page that sent it."),
    "programme_closed": Code(403, "The programme takes no feedback by its key", "It does not run today, or was closed to feedback by its public key."),
    "not_found": Code(404, "Page not found", "No such address."),
    "agent_unknown": Code(404, "No such machine", "No machine with this machine_id was ever enrolled."),
    "programme_unknown": Code(404, "No such programme", "No beta programme has this name or this public key."),
    "method_not_allowed": Code(405, "That method is not allowed here", "See the documentation of the call."),
    "agent_already_active": Code(409, "This machine is enrolled already", "Uninstall it first, or let an operator allow one re-enrolment.", is_audited=True),
    "reactivation_forbidden": Code(409, "This machine was uninstalled", "It may come back when allow_reactivate is true.", is_audited=True),
    "approval_required": Code(409, "An operator must approve this machine", "Ask an operator of the portal to allow the enrolment, then enrol the machine again within 15 minutes.", is_audited=True),
    "run_conflict": Code(409, "This run is known with other content", "A run_id identifies one run: its content cannot change."),
    "event_conflict": Code(409, "This event is known with other content", "An id identifies one event: its content cannot change."),
    "feedback_conflict": Code(409, "This feedback is known with other content", "An id identifies what was said once: its content cannot change."),
    "body_too_large": Code(413, "The body is too large", "A body may have 1 MiB as sent, 8 MiB inflated and 200,000 values at most."),
    "unsupported_encoding": Code(415, "The body's encoding is not supported", "Send UTF-8, as it is or compressed with gzip, and declare what you send."),
    "throttled": Code(429, "Too many failed authentications", "Wait as long as Retry-After says.", is_audited=True),
    "too_many_requests": Code(429, "Too much feedback", "Wait as long as Retry-After says."),
    "internal_error": Code(500, "The portal failed", "The failure was logged. Trying again later may help."),
    "disk_full": Code(503, "The disk is full", "The portal has no space left to write to. Try again later."),
    "not_ready": Code(503, "The portal is not ready", "The database does not answer. Try again later."),
}  # fmt: skip

# Refusals that the audit trail records: access was denied, which is more than a mistyped field.
AUDITED = frozenset(code for code, entry in CODES.items() if entry.is_audited)


@dataclass(frozen=True)
class FieldError:
    """One field's error; the field is named by our own schema, such as `documents[3].page_count`."""

    field: str
    code: str
    message: str


class Problem(Exception):
    """A refusal. `extra` adds members to the answer, `headers` adds headers, `subject` names whom it was about.

    `detail` replaces the code's own sentence, where the portal can say more of itself.
    """

    def __init__(
        self,
        code: str,
        *,
        detail: str = "",
        errors: Iterable[FieldError] = (),
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        subject: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail or CODES[code].detail
        self.errors = list(errors)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        self.subject = subject

    @property
    def status(self) -> int:
        return CODES[self.code].status

    def body(self) -> dict[str, Any]:
        entry = CODES[self.code]
        body: dict[str, Any] = {
            "type": f"{settings.PORTAL_URL}/docs/api#{self.code}",
            "title": entry.title,
            "status": entry.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = [{"field": e.field, "code": e.code, "message": e.message} for e in self.errors]
        return body | self.extra

    def all_headers(self) -> dict[str, str]:
        """RFC 6750: a bare challenge where no token was shown, with the error where one was refused."""
        headers = dict(self.headers)
        if self.code == "not_authenticated":
            headers["WWW-Authenticate"] = REALM
        elif self.status == 401:
            headers["WWW-Authenticate"] = f'{REALM}, error="invalid_token"'
        elif self.code == "insufficient_scope":
            headers["WWW-Authenticate"] = f'{REALM}, error="insufficient_scope"'
        return headers


def invalid_field(field: str, code: str, message: str) -> Problem:
    return Problem("validation_failed", errors=[FieldError(field, code, message)])
