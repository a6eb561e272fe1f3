"""The HTTP session that carries the token, and keeps it from everyone but the portal."""

from __future__ import annotations

import re
from typing import Any

import requests
from requests.auth import AuthBase

from .version import __version__

# RFC 6750, b64token. requests would print a bad header value, token included, in its exception.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")


class BearerAuth(AuthBase):
    """As the session's auth rather than a header, it also keeps requests from taking credentials out of ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self) -> str:
        return "BearerAuth(...)"


class PortalSession(requests.Session):
    """A session that follows no redirect: it would carry the token elsewhere, and turn a POST into a GET."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def make_session(token: str, *, user_agent: str = f"vigie-client/{__version__}", verify: Any = True) -> PortalSession:
    """A session for `UsageTelemetryClient` and the agent calls, with `token` as its bearer.

    Proxies and certificate bundles come from the environment as usual; `verify` is that of requests. Raises ValueError,
    without the value, for a token that can't stand in a header.
    """
    if not isinstance(token, str) or not _TOKEN.fullmatch(token.strip()):
        raise ValueError("the token is empty or has characters that no token has")
    session = PortalSession()
    session.auth = BearerAuth(token.strip())
    session.headers["User-Agent"] = user_agent
    session.verify = verify
    return session
