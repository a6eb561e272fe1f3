"""The interface of all channels: their input, their error and their time limit."""

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

# For one whole sending. A socket timeout would start again with each byte that drips in.
SEND_SECONDS = 20.0
REASON_LENGTH = 400


class DeliveryError(Exception):
    """The reason why a message was not sent, in one redacted sentence.

    `permanent`: a retry is useless before someone fixes it. `only_this`: the channel works, but not for this message
    or recipient. `retry_after`: the pause in seconds that the other side asks for.
    """

    def __init__(
        self, text: str, *, permanent: bool = False, only_this: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(redact_tokens(" ".join(text.split()))[:REASON_LENGTH])
        self.permanent = permanent
        self.only_this = only_this
        self.retry_after = retry_after


@dataclass(frozen=True)
class RenderedMessage:
    """A message ready to be sent. `id` is the same for each attempt; `url` may be empty; `at` is the event's time.

    `html` is the same content as the text, for mail; empty if the notice has none.
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


def run_within(send: Callable[[], Result], seconds: float) -> Result:
    """Run `send` in a thread and return its result. Raises DeliveryError, also on a timeout.

    After a timeout the thread goes on until its own socket times out. An unexpected exception concerns this message
    alone and is retried.
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
        raise DeliveryError(
            _("The receiver did not answer within %(seconds)g seconds.") % {"seconds": seconds}
        ) from None
    if error is not None:
        raise as_delivery_error(error) from None
    return result  # type: ignore[return-value]


def as_delivery_error(error: BaseException) -> DeliveryError:
    if isinstance(error, DeliveryError):
        return error
    # Its text and traceback may contain an address with a secret.
    log.error("a channel raised %s", type(error).__name__)
    return DeliveryError(_("The channel failed: %(error)s.") % {"error": type(error).__name__}, only_this=True)
