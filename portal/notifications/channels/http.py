"""POST without redirects, with a capped response, and errors without the address, which may contain a secret."""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.egress.call import AddressRefused, fetch
from portal.notifications.channels import base
from portal.notifications.channels.base import DeliveryError

ANSWER_LENGTH = 64 * 1024
LONGEST_PAUSE = 24 * 3600.0
# Share of the time limit for reading the response; then a partial body must do, since its status is known.
READING_SHARE = 0.8
ADDRESS_REFUSED = gettext_lazy(
    "The portal does not connect to this address: it is link-local, or private and PROBE_ALLOW_PRIVATE is off."
)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: HTTPMessage

    def json(self) -> Any:
        """Return the parsed body, or None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def retry_after(self) -> float | None:
        """Return the Retry-After header in seconds, from either of its forms."""
        return parse_retry_after(self.headers.get("Retry-After", ""))


def parse_retry_after(value: Any) -> float | None:
    """Return the seconds until a number or date, at most a day; None for anything else."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        try:
            seconds = (parsedate_to_datetime(str(value)) - timezone.now()).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE) if seconds == seconds else None  # NaN


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool, limit: int = ANSWER_LENGTH
) -> Answer:
    """Return the response. Raises DeliveryError if there was none, although the message may have been accepted."""
    sent = {"Content-Type": "application/json", "User-Agent": "Vigie", **headers}
    seconds = base.SEND_SECONDS * READING_SHARE
    try:
        reply = fetch("POST", url, sent, body, seconds=seconds, allow_private=allow_private, limit=limit)
    except (AddressRefused, OSError, HTTPException, ValueError) as error:
        raise delivery_error(error) from None
    return Answer(reply.status, reply.body, reply.headers)


def delivery_error(error: Exception) -> DeliveryError:
    """Return one sentence for each kind of failure, without what the other side said."""
    match error:
        case AddressRefused():
            return DeliveryError(str(ADDRESS_REFUSED), permanent=True)
        case ssl.SSLCertVerificationError():
            return DeliveryError(_("The receiver’s TLS certificate is not valid."))
        case TimeoutError():
            return DeliveryError(_("The receiver did not answer in time."))
        case OSError() | HTTPException():
            return DeliveryError(_("The connection failed or was interrupted."))
    return DeliveryError(
        _("The message could not be sent: %(error)s.") % {"error": type(error).__name__}, permanent=True
    )
