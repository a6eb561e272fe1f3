"""Logging that can't hurt: a host's handler may raise, and must not take the host down through us."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Optional

DEFAULT_LOGGER = logging.getLogger("vigie_client")
# A program that has set up no logging is not to find our lines on its stderr.
DEFAULT_LOGGER.addHandler(logging.NullHandler())


def log(level: int, message: str, *values: object, logger: Optional[Any] = None) -> None:
    with contextlib.suppress(Exception):
        (logger or DEFAULT_LOGGER).log(level, message, *values)
