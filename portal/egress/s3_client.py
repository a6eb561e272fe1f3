"""The client of botocore for one store: it sends every request by `portal.egress.connection`, with one deadline.

No answer takes more memory than BODY_LENGTH, and no redirect is followed. botocore is imported with the first call: it
is large, and few processes need it.
"""

from __future__ import annotations

import io
import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from http.client import HTTPException, IncompleteRead
from typing import Any, cast
from urllib.parse import urlsplit

from portal.egress import lookup
from portal.egress.connection import Answer, Connection, Wire, connect
from portal.egress.store_address import StoreAddress
from portal.egress.tls import shared_context, start_tls
from portal.egress.urls import PORTS, ascii_host, request_target, url_port

# --- Errors ----------------------------------------------------------------------------------------------------------

REFUSED, UNREACHABLE, TIMEOUT, FULL = "refused", "unreachable", "timeout", "full"
NOT_FOUND, NO_BUCKET, GARBAGE, ALTERED = "not_found", "no_bucket", "garbage", "altered"
CODES = {
    **dict.fromkeys(("NoSuchBucket",), NO_BUCKET),
    **dict.fromkeys(("NoSuchKey", "NoSuchUpload", "NoSuchVersion", "404"), NOT_FOUND),
    **dict.fromkeys(("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "507"), FULL),
    **dict.fromkeys(("RequestTimeout", "408"), TIMEOUT),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"), REFUSED),
}
STATUSES = {401: REFUSED, 403: REFUSED, 404: NOT_FOUND, 408: TIMEOUT, 429: UNREACHABLE, 507: FULL}
PLAIN_CODE = re.compile(r"[A-Za-z0-9]{1,64}", re.ASCII)


class StoreError(Exception):
    """A call failed; `word` is one of the words above, and `code` the store's own word, if it gave a plain one."""

    def __init__(self, word: str, code: str = "") -> None:
        super().__init__(f"{word} ({code})" if code else word)
        self.word, self.code = word, code


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the errors of botocore, and those of reading an answer that lacks something, into StoreError."""
    from botocore import exceptions as errors  # noqa: PLC0415

    try:
        yield
    except errors.ClientError as error:
        raise translate(error.response) from None
    except errors.ReadTimeoutError:
        raise StoreError(TIMEOUT) from None
    except errors.HTTPClientError as error:
        raise StoreError(UNREACHABLE, type(error.kwargs["error"]).__name__) from None
    except (errors.BotoCoreError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise StoreError(GARBAGE, type(error).__name__) from None


def translate(response: dict[str, Any]) -> StoreError:
    status = int(response["ResponseMetadata"]["HTTPHeaders"][SENT_STATUS])
    found = str(response.get("Error", {}).get("Code") or "")
    code = found if PLAIN_CODE.fullmatch(found) else str(status)
    word = CODES.get(code) or STATUSES.get(status) or (UNREACHABLE if status >= 500 else GARBAGE)
    return StoreError(word, code)


# --- One request -----------------------------------------------------------------------------------------------------

# A request and its answer may take so many seconds, and more for what it carries at the slowest rate in bytes a second.
ANSWER_SECONDS, SLOWEST, ATTEMPTS = 60.0, 32 * 1024, 3
BODY_LENGTH = 8 * 1024 * 1024
# The status as it was sent: botocore turns a 200 whose body it cannot read into a 500.
SENT_STATUS = "x-sent-status"


class ReceivedBody(io.BytesIO):
    """The body of an answer, as botocore reads one."""

    def stream(self) -> Iterator[bytes]:
        yield self.getvalue()


def send(request: Any, **_event: Any) -> Any:
    """Send a prepared request of botocore, and return its response. Raises StoreError and errors of botocore."""
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415
    from botocore.exceptions import HTTPClientError, ReadTimeoutError  # noqa: PLC0415

    sent = request.body.read() if hasattr(request.body, "read") else request.body  # botocore rewinds it
    carried = len(sent or b"") + (BODY_LENGTH if request.stream_output else 0)
    try:
        answer, body = exchange(request, sent, time.monotonic() + ANSWER_SECONDS + carried / SLOWEST)
    except TimeoutError as error:
        raise ReadTimeoutError(endpoint_url="", error=error) from None
    except (OSError, IncompleteRead) as error:  # botocore repeats the request
        raise HTTPClientError(error=error) from None
    except (HTTPException, ValueError) as error:
        raise StoreError(GARBAGE, type(error).__name__) from None
    if 300 <= answer.status < 400:  # botocore would look for the bucket's region, without end
        raise StoreError(GARBAGE, "Redirect")
    if len(body) > BODY_LENGTH:
        raise StoreError(GARBAGE, "EndlessAnswer")
    headers = {**dict(answer.headers.items()), SENT_STATUS: str(answer.status)}
    return AWSResponse(request.url, answer.status, headers, ReceivedBody(body))


def exchange(request: Any, body: bytes | None, deadline: float) -> tuple[Answer, bytes]:
    """Return the answer, and at most a byte more than BODY_LENGTH of its body. Raises OSError and HTTPException."""
    parts = urlsplit(request.url)
    headers = {name: value for name, value in request.headers.items() if name.lower() != "expect"}
    host, port = ascii_host(parts), url_port(parts)
    plain = connect(lookup.system_resolver(host, deadline), port, deadline)
    is_secure = parts.scheme == "https"
    opened = start_tls(plain, shared_context(), host.rstrip("."), deadline) if is_secure else plain
    with closing(opened):
        asking = Connection(host, port, PORTS[parts.scheme], Wire(opened, deadline))
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):  # a store may refuse before it has all
            asking.request(request.method, request_target(parts), body, headers)
        answer = cast(Answer, asking.getresponse())
        return answer, answer.content(BODY_LENGTH + 1)


# --- The client ------------------------------------------------------------------------------------------------------


@cache
def botocore_session() -> Any:
    """Return the session of this process, which takes nothing from the environment or from files of AWS."""
    from botocore.session import Session  # noqa: PLC0415

    nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return Session(session_vars={"profile": (None, None, None, None), **nowhere})


def make_client(address: StoreAddress) -> Any:
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = botocore_session().create_client(
        "s3",
        region_name=address.region,
        endpoint_url=f"{'https' if address.tls else 'http'}://{address.host}",
        aws_access_key_id=address.key,
        aws_secret_access_key=address.secret,
        config=config,
    )
    client.meta.events.register("before-send.s3", send)
    return client
