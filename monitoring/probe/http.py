"""One HTTP check of one target, within its deadline whatever the network and the other side do."""

import errno
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected, UnknownProtocol
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import SplitResult, quote, urldefrag, urljoin, urlsplit
from urllib.request import Request

from monitoring.probe import expect
from monitoring.probe.kinds import ErrorKind
from monitoring.probe.spec import METHODS, Spec, parse_statuses
from portal.egress.call import AddressRefused, allowed_addresses
from portal.egress.connection import (
    Answer,
    BadChunk,
    BadLength,
    HeadTooLong,
    TooManyInterim,
    Wire,
    connect,
    send_request,
)
from portal.egress.lookup import Resolver, system_resolver
from portal.egress.tls import certificate_end, shared_context, start_tls
from portal.egress.urls import UNQUOTED, ascii_host, clean_url, url_port

DETAIL_LENGTH = 200
MOST_REDIRECTS = 10
MOST_COOKIES = 200
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REQUEST_HEADERS = {"User-Agent": "Vigie", "Accept": "*/*", "Connection": "close"}
PROTOCOL_FAULTS: Mapping[type[HTTPException], str] = {
    BadChunk: "chunk",
    BadLength: "content_length",
    BadStatusLine: "status_line",
    HeadTooLong: "head_too_long",
    LineTooLong: "line_too_long",
    TooManyInterim: "too_many_interim",
    UnknownProtocol: "version",
}


@dataclass(frozen=True)
class ProbeOutcome:
    """Outcome of one attempt. `error_kind` and `detail` are "" if it succeeded; `detail` is a code, never content.

    `latency_ms` is None if the check failed: a quick refusal must not count as a fast answer. `status` is that of the
    last answer, be it a redirect. `certificate_until` is the earliest end of the certificates seen, even on failure.
    """

    error_kind: str = ""
    detail: str = ""
    status: int | None = None
    latency_ms: float | None = None
    certificate_until: datetime | None = None

    @property
    def is_ok(self) -> bool:
        return not self.error_kind


class CheckFailure(Exception):
    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


def probe_http(
    spec: Spec,
    *,
    allow_private: bool = True,
    resolve: Resolver = system_resolver,
    context: ssl.SSLContext | None = None,
) -> ProbeOutcome:
    """Probe a target once. Raises ValueError for an invalid spec, and nothing for what the network does."""
    check = HttpCheck(spec, allow_private, resolve, context)
    try:
        ended = check.run()
    except CheckFailure as failure:
        return check.outcome(failure)
    except (OSError, HTTPException) as error:
        return check.outcome(classify_error(error, check.step))
    return check.outcome(None, (ended - check.started) * 1000)


class HttpCheck:
    def __init__(self, spec: Spec, allow_private: bool, resolve: Resolver, context: ssl.SSLContext | None) -> None:
        if spec.method not in METHODS:
            raise ValueError("method")
        self.spec, self.allow_private, self.resolve, self.context = spec, allow_private, resolve, context
        self.expected = parse_statuses(spec.expected_statuses)
        self.url = clean_url(spec.url)
        self.method = spec.method
        if spec.json_path:
            expect.compile_json_path(spec.json_path)
        self.started = time.monotonic()
        self.deadline = self.started + spec.timeout
        self.step = "dns"
        self.cookies: CookieJar | None = None
        self.status: int | None = None
        self.certificate_until: datetime | None = None

    def outcome(self, failure: CheckFailure | None, latency_ms: float | None = None) -> ProbeOutcome:
        kind, detail = (failure.kind.value, failure.detail[:DETAIL_LENGTH]) if failure else ("", "")
        return ProbeOutcome(kind, detail, self.status, latency_ms, self.certificate_until)

    def run(self) -> float:
        """Return when the last byte was read. Raises CheckFailure, OSError or HTTPException."""
        for _ in range(MOST_REDIRECTS + 1):
            parts = urlsplit(self.url)
            with closing(self.connect(parts)) as connection:
                answer = self.send(connection, parts)
                location = self.redirect_location(answer)
                if location is None:
                    return self.check_answer(answer)
            self.keep_cookies(answer)
            self.follow(location)
        raise CheckFailure(ErrorKind.REDIRECT, "too_many")

    def connect(self, parts: SplitResult) -> socket.socket:
        """Connect to an address checked here: a second lookup might return another (DNS rebinding)."""
        host = ascii_host(parts)
        addresses = self.resolve_allowed(host)
        self.step = "connect"
        plain = connect(addresses, url_port(parts), self.deadline)
        if parts.scheme == "http":
            return plain
        self.step = "tls"
        secure = start_tls(plain, self.context or shared_context(), host.rstrip("."), self.deadline)
        ends = [self.certificate_until, certificate_end(secure)]
        self.certificate_until = min((end for end in ends if end is not None), default=None)
        return secure

    def resolve_allowed(self, host: str) -> list[str]:
        self.step = "dns"
        try:
            found = allowed_addresses(host, self.deadline, self.allow_private, self.resolve)
        except AddressRefused as refused:
            raise CheckFailure(ErrorKind.BLOCKED, refused.address) from None
        if not found:
            raise CheckFailure(ErrorKind.DNS, "EAI_NODATA")
        return found

    def send(self, connection: socket.socket, parts: SplitResult) -> Answer:
        self.step = "headers"
        wire = Wire(connection, self.deadline)
        answer = send_request(wire, self.method, parts, REQUEST_HEADERS | self.cookie_header())
        self.status = answer.status
        return answer

    def cookie_header(self) -> dict[str, str]:
        if self.cookies is None:
            return {}
        request = Request(self.url)  # noqa: S310 - nothing opens it
        self.cookies.add_cookie_header(request)
        # A bare CR would end a line of our request. It counts as a space (RFC 9112, 2.2).
        return {name: value.replace("\r", " ") for name, value in request.header_items()}

    def keep_cookies(self, answer: Answer) -> None:
        """Keep cookies for the rest of the redirects by the rules of browsers, unless there are too many.

        Without a Domain, a cookie goes to the host that set it only. Domains of public suffixes are refused.
        """
        if 0 < len(answer.headers.get_all("Set-Cookie", [])) <= MOST_COOKIES:
            self.cookies = self.cookies or CookieJar(DefaultCookiePolicy(strict_domain=True))
            self.cookies.extract_cookies(answer, Request(self.url))  # noqa: S310 - nothing opens it

    def redirect_location(self, answer: Answer) -> str | None:
        """Return the redirect's location, or None if the answer is final."""
        if not self.spec.follow_redirects or answer.status not in REDIRECTS:
            return None
        return answer.headers.get("Location") or None

    def follow(self, location: str) -> None:
        if self.status == 303 or (self.status in (301, 302) and self.method == "POST"):
            self.method = "HEAD" if self.method == "HEAD" else "GET"
        try:
            joined = urljoin(self.url, quote(location.strip().encode("latin-1"), safe=UNQUOTED))
            self.url = clean_url(urldefrag(joined).url)
        except ValueError as error:
            detail = str(error) if str(error) in ("scheme", "credentials") else "location"
            raise CheckFailure(ErrorKind.REDIRECT, detail) from None

    def check_answer(self, answer: Answer) -> float:
        if not any(first <= answer.status <= last for first, last in self.expected):
            raise CheckFailure(ErrorKind.STATUS, str(answer.status))
        self.step = "body"
        is_endless = answer.is_stream and not self.spec.expects_body
        body = b"" if is_endless else answer.content(expect.BODY_LENGTH)
        ended = time.monotonic()
        broken = expect.find_broken_expectation(self.spec, answer.headers, body)
        if broken:
            raise CheckFailure(ErrorKind.ASSERTION, broken)
        return ended


def classify_error(error: OSError | HTTPException, step: str) -> CheckFailure:
    match error:
        case _ if step == "dns":
            return CheckFailure(
                ErrorKind.DNS, "timeout" if isinstance(error, TimeoutError) else resolver_error_code(error)
            )
        case TimeoutError():
            return CheckFailure(ErrorKind.TIMEOUT, step)
        case ssl.SSLCertVerificationError():
            # The rest of the message may hold the wrong name, which a redirect may have brought.
            return CheckFailure(ErrorKind.TLS, error.verify_message.partition(",")[0])
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | RemoteDisconnected():
            return CheckFailure(ErrorKind.CONNECT, "closed")
        case ssl.SSLError():
            return CheckFailure(ErrorKind.TLS, error.reason or "TLS")
        case IncompleteRead(partial=partial):
            return CheckFailure(ErrorKind.CONNECT, "incomplete" if partial or step != "headers" else "closed")
        case OSError():
            return CheckFailure(ErrorKind.CONNECT, errno.errorcode.get(error.errno or 0, type(error).__name__))
    return CheckFailure(ErrorKind.PROTOCOL, PROTOCOL_FAULTS.get(type(error), "invalid"))


def resolver_error_code(error: BaseException) -> str:
    """Return the symbolic name of the resolver's error. Its message would be in the system's language."""
    code = error.args[0] if error.args else None
    names = (name for name in dir(socket) if name.startswith("EAI_") and getattr(socket, name) == code)
    return next(names, "lookup")
