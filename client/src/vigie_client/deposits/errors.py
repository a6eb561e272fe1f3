"""Why a dump failed, in words that may travel: no secret, no path of this machine, one short line."""

from __future__ import annotations

import re

LONGEST = 200

_SECRETS = (
    # Up to the last @ of the word: a password may hold one too.
    (re.compile(r"://\S*@"), "://***@"),
    (
        re.compile(
            r"""((?<![\w-])[\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key)[\w-]*["']?\s*[=:]\s*)("[^"]*"?|'[^']*'?|[^\s,;&]+)""",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
    (re.compile(r"(^|\s)-p\S+"), r"\1-p***"),  # of mysqldump
    (re.compile(r"vigie_[a-z]+_\w+"), "***"),
)


class DumpFailed(Exception):
    """There is no dump. The text is fit for the report."""


def error_text(error: OSError) -> str:
    """What the system says, without the path that it says it of."""
    return error.strerror or type(error).__name__


def sanitize_line(line: str) -> str:
    """`line` without secrets and control characters, at most LONGEST characters."""
    for pattern, mask in _SECRETS:
        line = pattern.sub(mask, line)
    line = " ".join("".join(char if char.isprintable() else " " for char in line).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
