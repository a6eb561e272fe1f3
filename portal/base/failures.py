"""Descriptions of exceptions to keep: class, one redacted line and stack, but no values."""

import traceback
from typing import NamedTuple

from portal.base.logs import redact_tokens

LENGTH = 500
MOST_FRAMES, FRAME_LENGTH = 30, 200


class Failure(NamedTuple):
    """Why a request failed: the stable code of a refusal, or the class of an exception and the frames it came through.

    A frame is `module:function:line`, the innermost last.
    """

    kind: str
    stack: tuple[str, ...] = ()


def describe_failure(error: BaseException) -> Failure:
    frames = [
        f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_name}:{line}"[:FRAME_LENGTH]
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return Failure(type(error).__name__, tuple(frames[-MOST_FRAMES:]))


def error_line(error: BaseException) -> str:
    """Return `Class: message` in one line. Tokens are cut before the text is: half a token does not look like one."""
    message = redact_tokens(" ".join(str(error).split()))
    return f"{type(error).__name__}: {message}".rstrip(": ")[:LENGTH]
