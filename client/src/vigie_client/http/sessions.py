"""HTTP sessions that send the token to the portal and to nobody else."""

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
    """The machine's id and token. The repr omits the token."""

    machine_id: str
    api_token: str = field(repr=False)


class CredentialSource:
    """Source of a machine's credentials, read at each call so that a program goes on after a rotation."""

    def load(self) -> Optional[Credentials]:
        """Return the credentials, or None if the machine is not enrolled. Raises OSError."""
        raise NotImplementedError


class NotEnrolled(LookupError):
    """The token store is empty: this machine is not enrolled, or no longer."""


class BearerAuth(AuthBase):
    """Sends the token. As the session's auth, unlike a header, it also keeps requests from reading ~/.netrc."""

    def __init__(self, token: Union[str, CredentialSource]) -> None:
        self._token = token if isinstance(token, CredentialSource) else _validate_token(token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        token = self._token
        if isinstance(token, CredentialSource):
            credentials = token.load()
            if credentials is None:
                raise NotEnrolled("this machine isn't enrolled")
            token = _validate_token(credentials.api_token)
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    def __repr__(self) -> str:
        return "BearerAuth(...)"


class PortalSession(requests.Session):
    """A session that follows no redirects: they would send the token elsewhere and turn a POST into a GET.

    A forked child opens its own connections: two processes on one connection would mix up their calls.
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
        """Give the caller's `verify` priority over REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, unlike requests."""
        settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if verify is None and self._own_verify is not None:
            settings["verify"] = self._own_verify
        return settings

    def renew(self) -> None:
        """Drop the parent's connections."""
        for adapter in self.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                # Same as unpickling: equal options, no connections.
                adapter.__setstate__(adapter.__getstate__())  # type: ignore[attr-defined]


def make_session(
    token: Union[str, CredentialSource], *, user_agent: str = f"vigie-client/{__version__}", verify: Any = None
) -> PortalSession:
    """Return a session for calls to the portal that sends `token` as a bearer token.

    Pass the machine's `TokenStore` rather than its token: the token is then read at each call, so that a program goes
    on after a rotation. Proxies come from the environment, and so do certificate bundles unless `verify` (as in
    requests) is given. Raises ValueError, without the value, for a token that cannot be a header.
    """
    session = PortalSession(verify)
    session.auth = BearerAuth(token)
    session.headers["User-Agent"] = user_agent
    return session


def ensure_session(session_or_token: Any) -> Any:
    """Return a session unchanged; for a token or a token store, make one."""
    return make_session(session_or_token) if isinstance(session_or_token, (str, CredentialSource)) else session_or_token


def _validate_token(token: Any) -> str:
    if not isinstance(token, str) or not _TOKEN.fullmatch(token.strip()):
        raise ValueError("the token is empty or has characters that no token has")
    return token.strip()
