"""Log without disturbing the host program, whose handlers may raise, and without naming paths."""

from __future__ import annotations

import contextlib
import errno
import logging
from typing import Any, Optional

DEFAULT_LOGGER = logging.getLogger("vigie_client")
# A program without a logging configuration must not find our messages on its stderr.
DEFAULT_LOGGER.addHandler(logging.NullHandler())


def log(level: int, message: str, *values: object, logger: Optional[Any] = None) -> None:
    with contextlib.suppress(Exception):
        (logger or DEFAULT_LOGGER).log(level, message, *values)


_CAUSES = {
    errno.ENOSPC: "the disk is full",
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.ENOENT: "the folder is absent",
    errno.ENOTDIR: "the folder is absent",
}


def describe_error(error: BaseException) -> str:
    """Return a text like `the disk is full (ENOSPC)` without the path, which may hold a person's name."""
    if not isinstance(error, OSError) or error.errno is None:
        return type(error).__name__
    name = errno.errorcode.get(error.errno, str(error.errno))
    return f"{_CAUSES.get(error.errno) or error.strerror or type(error).__name__} ({name})"
