"""Guides to connect machines and applications. An app's `snippets.py` registers those for its calls.

A guide is shown with a token just issued, and on the page *Connect an application*. The scripts that its snippets
download are files that the portal serves to everybody below `/client/`: they hold its address, and no token.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

from portal.base.addresses import is_this_machine
from portal.base.conventions import Collected
from portal.desk.links import Link


@dataclass(frozen=True)
class Snippet:
    """Lines to copy. They never contain the token, which would then be in every copy.

    The reader should then see `output`, which is never translated, and `result`; `page` is where the portal shows it.
    """

    title: Any
    file_name: str
    text: str
    output: str = ""
    result: Any = ""
    page: Link | None = None


@dataclass(frozen=True)
class Guide:
    """The steps that connect something with a token of this kind, which is first saved to `token_file`."""

    key: str
    kind: str
    title: Any
    text: Any
    snippets: list[Snippet]
    token_file: str
    is_powershell: bool = False

    def save_token(self, token: str) -> str:
        """Return the lines that save the token in a file of its own, readable only by the user where files have modes:
        a file that exists would keep its mode.

        `printf` is part of the shell, so the token is on no command line that others see.
        """
        if self.is_powershell:
            return f"Set-Content -Path {self.token_file} -Value '{token}'"
        return f"(umask 077; rm -f {self.token_file}; printf '%s\\n' '{token}' > {self.token_file})"


# Returns the guides of an app, given the portal's address.
GuideSource = Callable[[str], Iterable[Guide]]
guide_sources: Collected[GuideSource] = Collected("snippets")
# Returns the content of each file by its name, given the portal's address.
FileSource = Callable[[str], dict[str, str]]
file_sources: Collected[FileSource] = Collected("snippets")


def list_guides(portal_url: str) -> list[Guide]:
    return [guide for source in guide_sources.all() for guide in source(portal_url)]


def guides_for(kind: str, portal_url: str) -> list[Guide]:
    """Return the guides for this kind of token."""
    return [guide for guide in list_guides(portal_url) if guide.kind == kind]


def find_address(request: HttpRequest) -> str:
    """Return PORTAL_URL, or the address of the request if only this machine can reach PORTAL_URL."""
    url = str(settings.PORTAL_URL)
    return f"{request.scheme}://{request.get_host()}" if is_local(url) else url


def is_local(url: str) -> bool:
    """Return True if only this machine can reach the address."""
    return is_this_machine(urlsplit(url).hostname or "")
