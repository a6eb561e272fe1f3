"""What all channels share: what they are given, how they fail, and the time they have."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import TypeVar

from django.utils.translation import gettext as _

from portal.base.logs import redact_tokens

log = logging.getLogger("vigie.notifications")
Result = TypeVar("Result")

# For all of one sending. A timeout of sockets would begin anew with each byte that drips in.
SEND_SECONDS = 20.0
REASON_LENGTH = 400


class DeliveryError(Exception):
    """Why something was not sent, in one redacted sentence.

    `permanent`: trying again is of no use before somebody mends it. `only_this`: the channel works, but not for this
    message or this recipient. `retry_after`: seconds the other side asks for.
    """

    def __init__(
        self, text: str, *, permanent: bool = False, only_this: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(redact_tokens(" ".join(text.split()))[:REASON_LENGTH])
        self.permanent = permanent
        self.only_this = only_this
        self.retry_after = retry_after


@dataclass(frozen=True)
class Outgoing:
    """A text ready to go. `id` stays the same when it is sent again; `url` may be empty; `at` is when it happened.

    `html` says the same as the text for readers of mail, where somebody laid it out.
    """

    id: str
    address: str
    subject: str
    severity: int
    state: str
    title: str
    text: str
    url: str
    at: datetime
    html: str = ""


def limited(send: Callable[[], Result], seconds: float) -> Result:
    """What `send` returns or raises. Raises DeliveryError once the time is over, by the monotonic clock.

    A thread that is left behind ends with its socket. What it raises is told as it is where it is a DeliveryError;
    anything else concerns this message alone, and is tried again.
    """
    outcome: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def sending() -> None:
        try:
            outcome.put((send(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=sending, name="vigie-send", daemon=True).start()
    try:
        result, error = outcome.get(timeout=seconds)
    except Empty:
        raise DeliveryError(_("There was no answer within %(seconds)g seconds.") % {"seconds": seconds}) from None
    if error is not None:
        raise as_delivery_error(error) from None
    return result  # type: ignore[return-value]


def as_delivery_error(error: BaseException) -> DeliveryError:
    if isinstance(error, DeliveryError):
        return error
    # Its text and traceback may hold an address with a secret in it.
    log.error("a channel raised %s", type(error).__name__)
    return DeliveryError(_("The channel failed: %(error)s.") % {"error": type(error).__name__}, only_this=True)
