"""Why the disk took nothing, in words for a log: without the path, which may hold a person's name."""

from __future__ import annotations

import errno

_WORDS = {
    errno.ENOSPC: "the disk is full",
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.ENOENT: "the folder is absent",
    errno.ENOTDIR: "the folder is absent",
}


def cause_of(error: BaseException) -> str:
    """Return such as `the disk is full (ENOSPC)`, else what the system says, or the name of the exception's class."""
    if not isinstance(error, OSError) or error.errno is None:
        return type(error).__name__
    name = errno.errorcode.get(error.errno, str(error.errno))
    return f"{_WORDS.get(error.errno) or error.strerror or type(error).__name__} ({name})"
