"""Telegram's Bot API. The bot's token is part of every address, so no error of the library leaves this package.

A recipient is a chat, or `chat/thread` for a topic of a forum group.
"""

import json
import re
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.utils.translation import gettext as _

from portal.base.findings import Severity
from portal.models import NotificationChannel
from portal.notifications.channels.base import DeliveryError, RenderedMessage
from portal.notifications.channels.http import Answer, parse_retry_after, post
from portal.notifications.configuration import secret_of

# In UTF-16 code units, markup not counted.
LONGEST = 4096
SIGNS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
CLOSED_SIGN = "✅"
# Words of a 400 that refuses one message. Other refusals concern the chat, in too many words to list ("TOPIC_CLOSED",
# "have no rights to send a message"): there every message waits.
ABOUT_THE_MESSAGE = re.compile(r"parse|too[ _]long|text must be|(message|text)( is |_)empty", re.IGNORECASE)
RETRIED = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Reply:
    """The API's response; `status` is its `error_code` if it contains one, else the HTTP status."""

    ok: bool
    status: int
    description: str = ""
    retry_after: float | None = None
    moved_to: str = ""

    @property
    def cannot_parse(self) -> bool:
        return self.status == 400 and "parse" in self.description.lower()

    @property
    def refuses_message(self) -> bool:
        return self.status == 400 and ABOUT_THE_MESSAGE.search(self.description) is not None

    def error(self) -> DeliveryError:
        text = _("Telegram answered %(status)s: “%(description)s”") % {
            "status": self.status,
            "description": self.description or _("no reason given"),
        }
        if self.status in RETRIED or self.status >= 500 or self.status < 300:
            return DeliveryError(text, retry_after=self.retry_after)
        return DeliveryError(text, permanent=True, only_this=self.refuses_message)


def send(channel: NotificationChannel, outgoing: RenderedMessage) -> str:
    """Send and return the recipient, which differs from the address if the group has moved. Raises DeliveryError."""
    chat, slash, thread = outgoing.address.partition("/")
    token, with_markup = secret_of(channel), True
    for _attempt in range(3):
        reply = post_message(token, chat, thread, outgoing, with_markup)
        if reply.ok:
            return f"{chat}{slash}{thread}"
        if reply.moved_to and reply.moved_to != chat:
            chat = reply.moved_to
        elif with_markup and reply.cannot_parse:
            with_markup = False
        else:
            break
    raise reply.error()


def post_message(token: str, chat: str, thread: str, outgoing: RenderedMessage, with_markup: bool) -> Reply:
    text, preview = format_text(outgoing, with_markup), {"is_disabled": True}
    message: dict[str, object] = {"chat_id": chat, "text": text, "link_preview_options": preview}
    if thread:
        message["message_thread_id"] = int(thread)
    if with_markup:
        message["parse_mode"] = "HTML"
    url = f"{settings.TELEGRAM_API_BASE.rstrip('/')}/bot{quote(token, safe=':')}/sendMessage"
    # The environment names the host, so it may be a private one.
    answer = post(url, json.dumps(message).encode(), {}, allow_private=True)
    return parse_reply(answer, token)


def parse_reply(answer: Answer, token: str) -> Reply:
    """Parse the response. Anything but the Bot API's JSON, such as a proxy's page, is never a success."""
    body: Any = answer.json()
    body = body if isinstance(body, dict) else {}
    parameters = body.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    code = body.get("error_code")
    return Reply(
        ok=answer.status == 200 and body.get("ok") is True,
        status=code if isinstance(code, int) else answer.status,
        description=str(body.get("description", "")).replace(token, "…"),
        retry_after=parse_retry_after(parameters.get("retry_after")) or answer.retry_after,
        moved_to=str(parameters.get("migrate_to_chat_id", "")),
    )


def format_text(outgoing: RenderedMessage, with_markup: bool) -> str:
    """Format title, text and link, truncated before markup is added: a broken tag would be refused."""
    sign = CLOSED_SIGN if outgoing.state == "closed" else SIGNS[Severity(outgoing.severity)]
    head, link = f"{sign} {outgoing.title}", outgoing.url
    left = LONGEST - count_utf16_units(head) - count_utf16_units(link) - 4
    body = truncate_utf16(outgoing.text.strip(), left)
    parts = [f"<b>{escape(head)}</b>" if with_markup else head]
    parts += [escape(part) if with_markup else part for part in (body, link) if part]
    return "\n\n".join(parts)


def count_utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def truncate_utf16(text: str, length: int) -> str:
    if count_utf16_units(text) <= length:
        return text
    return text.encode("utf-16-le")[: (length - 1) * 2].decode("utf-16-le", "ignore") + "…"
