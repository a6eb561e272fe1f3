"""Errors of dumps as short lines that may be sent: without secrets and paths."""

from __future__ import annotations

import re

MAX_LENGTH = 200

_SECRETS = (
    # Up to the last @ of the word: a password may contain one too.
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
    """The dump failed. The message may be reported."""


def error_text(error: OSError) -> str:
    """Return the system's message without the path."""
    return error.strerror or type(error).__name__


def sanitize_line(line: str) -> str:
    """Mask secrets, remove control characters and cut to MAX_LENGTH."""
    for pattern, mask in _SECRETS:
        line = pattern.sub(mask, line)
    line = " ".join("".join(char if char.isprintable() else " " for char in line).split())
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"
