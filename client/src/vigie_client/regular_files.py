"""Files to be read from their bytes: opening a pipe that is called like a document would wait for ever."""

from __future__ import annotations

import os
import stat
from typing import Any, BinaryIO


def open_regular(path: Any) -> BinaryIO:
    """The file at `path`, for reading. Raises OSError where it is absent, or no regular file."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a regular file")
    return open(path, "rb")
