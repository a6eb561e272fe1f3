"""A session of `requests` whose calls pass the guard, for libraries that call by `requests`."""

import math
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from http.client import HTTPException
from io import BytesIO
from typing import Any

import requests
from django.conf import settings
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers, urldefragauth

from portal.egress.call import Reply, fetch

SECONDS = 16.0
BODY_LENGTH = 1024 * 1024
_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


def start_shared_deadline() -> None:
    """Let all guarded calls that follow in this thread end within SECONDS from now, however many a library makes."""
    _deadline.set(time.monotonic() + SECONDS)


class GuardedAdapter(BaseAdapter):
    """Makes each call by `fetch`. Raises AddressRefused, which is no RequestException, so that no library hides it.

    Timeouts, `verify`, client certificates and proxies that a caller asks for are ignored.
    """

    def __init__(self, allow_private: bool) -> None:
        super().__init__()
        self.allow_private = allow_private

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        try:
            reply = fetch(
                str(request.method),
                urldefragauth(str(request.url)),
                {name: decode_header(value) for name, value in request.headers.items()},
                body,
                seconds=min(SECONDS, _deadline.get() - time.monotonic()),
                allow_private=self.allow_private,
                limit=BODY_LENGTH,
            )
        except ssl.SSLError as error:
            raise requests.exceptions.SSLError(error, request=request) from None
        except TimeoutError as error:
            raise requests.exceptions.Timeout(error, request=request) from None
        except (OSError, HTTPException) as error:
            raise requests.exceptions.ConnectionError(error, request=request) from None
        except ValueError as error:
            raise requests.exceptions.InvalidURL(str(error), request=request) from None
        return build_response(request, reply)

    def close(self) -> None:
        """Do nothing: no connection is kept open."""


class GuardedSession(requests.Session):
    """A session that follows no redirects and ignores the environment's proxies and .netrc.

    `allow_private` is for hosts that the environment names; PROBE_ALLOW_PRIVATE decides for hosts that people enter.
    """

    def __init__(self, *, allow_private: bool = False) -> None:
        super().__init__()
        adapter = GuardedAdapter(allow_private or settings.PROBE_ALLOW_PRIVATE)
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"
        self.adapters.clear()
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def request(self, *args: Any, **options: Any) -> requests.Response:
        return super().request(*args, **options | {"allow_redirects": False})


def build_response(request: requests.PreparedRequest, reply: Reply) -> requests.Response:
    response = requests.Response()
    response.status_code, response.reason = reply.status, reply.reason
    response.headers = CaseInsensitiveDict(reply.headers.items())
    response.encoding = get_encoding_from_headers(response.headers)
    response.url, response.request = str(request.url), request
    response.raw = BytesIO(reply.body)
    return response


def decode_header(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
