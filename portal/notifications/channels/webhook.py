"""A signed POST of JSON.

`X-Vigie-Signature: t=<unix>,v1=<hex>` is the HMAC-SHA256 of `<unix>.<body>` under the channel's key. `X-Vigie-Id` is
the same for each attempt: delivery is at least once.
"""

import hashlib
import hmac
import json
import time

from django.conf import settings
from django.utils.translation import gettext as _

from portal.base.findings import Severity
from portal.base.moments import format_iso
from portal.models import NotificationChannel
from portal.notifications.channels.base import DeliveryError, RenderedMessage
from portal.notifications.channels.http import Answer, post
from portal.notifications.configuration import secret_of

# Refusals of one message: too large, or understood and refused. Any other 4xx may meet all of them, so they wait.
ABOUT_THE_MESSAGE = frozenset({413, 422})
RETRIED = frozenset({408, 425, 429})


def send(channel: NotificationChannel, outgoing: RenderedMessage) -> str:
    """Send and return the address. Raises DeliveryError."""
    body = json.dumps(build_payload(outgoing), ensure_ascii=False).encode()
    headers = {"X-Vigie-Id": outgoing.id, "X-Vigie-Signature": sign_body(secret_of(channel), body, int(time.time()))}
    answer = post(outgoing.address, body, headers, allow_private=settings.PROBE_ALLOW_PRIVATE)
    if not 200 <= answer.status < 300:
        raise classify_answer(answer)
    return outgoing.address


def build_payload(outgoing: RenderedMessage) -> dict[str, str | None]:
    return {
        "id": outgoing.id,
        "at": format_iso(outgoing.at),
        "subject": outgoing.subject,
        "severity": Severity(outgoing.severity).name.lower(),
        "state": outgoing.state,
        "title": outgoing.title,
        "text": outgoing.text,
        "url": outgoing.url,
    }


def sign_body(key: str, body: bytes, moment: int) -> str:
    digest = hmac.new(key.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def classify_answer(answer: Answer) -> DeliveryError:
    """Return the error for a response. It omits the body: testing a channel must not read other servers."""
    text = _("The receiver answered %(status)s.") % {"status": answer.status}
    if 300 <= answer.status < 400:
        text = _("The receiver answered %(status)s; redirects are not followed.") % {"status": answer.status}
        return DeliveryError(text, permanent=True)
    if answer.status in RETRIED or not 400 <= answer.status < 500:
        return DeliveryError(text, retry_after=answer.retry_after)
    return DeliveryError(text, permanent=True, only_this=answer.status in ABOUT_THE_MESSAGE)
