"""The HTTP session that carries the token, and keeps it from everyone but the portal."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from vigie_client.disk.forks import renew_after_fork
from vigie_client.version import __version__

# RFC 6750, b64token. requests would print a bad header value, token included, in its exception.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")


@dataclass(frozen=True)
class Credentials:
    """Who this machine is to the portal. Its repr leaves the token out."""

    machine_id: str
    api_token: str = field(repr=False)


class CredentialSource:
    """Keeps the credentials of a machine, and is read at each call: a program goes on after a rotation."""

    def load(self) -> Optional[Credentials]:
        """The credentials, or None before the machine is enrolled. Raises OSError."""
        raise NotImplementedError


class NotEnrolled(LookupError):
    """The token store is empty: this machine is not enrolled, or not any more."""


class BearerAuth(AuthBase):
    """As the session's auth rather than a header, it also keeps requests from taking credentials out of ~/.netrc."""

    def __init__(self, token: Union[str, CredentialSource]) -> None:
        self._token = token if isinstance(token, CredentialSource) else _checked(token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        token = _load_token(self._token) if isinstance(self._token, CredentialSource) else self._token
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    def __repr__(self) -> str:
        return "BearerAuth(...)"


class PortalSession(requests.Session):
    """A session that follows no redirect: it would carry the token elsewhere, and turn a POST into a GET.

    A forked child opens connections of its own: two processes on one connection would mix up their calls.
    """

    __attrs__ = [*requests.Session.__attrs__, "_own_verify"]

    def __init__(self, verify: Any = None) -> None:
        super().__init__()
        self._own_verify = verify
        if verify is not None:
            self.verify = verify
        renew_after_fork(self)

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Let the caller's `verify` outrank REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, which requests prefers."""
        settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if verify is None and self._own_verify is not None:
            settings["verify"] = self._own_verify
        return settings

    def renew(self) -> None:
        """Leave the parent's connections to the parent."""
        for adapter in self.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                # As when unpickled: the same options and no connection.
                adapter.__setstate__(adapter.__getstate__())  # type: ignore[attr-defined]


def make_session(
    token: Union[str, CredentialSource], *, user_agent: str = f"vigie-client/{__version__}", verify: Any = None
) -> PortalSession:
    """Return a session for the portal's calls, with `token` as its bearer.

    Give the machine's `TokenStore` rather than a token of it: the token is then read at each call, so that a program
    goes on after a rotation. Proxies come from the environment, certificate bundles too unless `verify` (that of
    requests) is given. Raises ValueError, without the value, for a token that can't stand in a header.
    """
    session = PortalSession(verify)
    session.auth = BearerAuth(token)
    session.headers["User-Agent"] = user_agent
    return session


def ensure_session(given: Any) -> Any:
    """Return `given` if it is a session already, else a session for the token or token store that it is."""
    return make_session(given) if isinstance(given, (str, CredentialSource)) else given


def _load_token(source: CredentialSource) -> str:
    credentials = source.load()
    if credentials is None:
        raise NotEnrolled("this machine isn't enrolled")
    return _checked(credentials.api_token)


def _checked(token: Any) -> str:
    if not isinstance(token, str) or not _TOKEN.fullmatch(token.strip()):
        raise ValueError("the token is empty or has characters that no token has")
    return token.strip()
