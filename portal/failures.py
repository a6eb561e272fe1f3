"""What is kept of an exception: its class and one redacted line, never a traceback."""

from __future__ import annotations

from portal.logs import redacted

LENGTH = 500


def sentence(error: BaseException) -> str:
    """Tokens are cut before the text is: a token cut in two would no longer look like one."""
    message = redacted(" ".join(str(error).split()))
    return f"{type(error).__name__}: {message}".rstrip(": ")[:LENGTH]
