"""Telegram's Bot API. The bot's token is part of every address, so no error of the library leaves this package.

A recipient is a chat, or `chat/thread` for a topic of a forum group.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.utils.translation import gettext as _

from portal.base.severity import Severity
from portal.models import NotificationChannel
from portal.notifications.channels.base import DeliveryError, Outgoing
from portal.notifications.channels.http import Answer, post, seconds_of
from portal.notifications.configuration import secret_of

# In UTF-16 code units, markup not counted.
LONGEST = 4096
SIGNS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
OVER = "✅"
# Words of a 400 that refuses one message. Other refusals concern the chat, in too many words to list ("TOPIC_CLOSED",
# "have no rights to send a message"): there every message waits.
ABOUT_THE_MESSAGE = re.compile(r"parse|too[ _]long|text must be|(message|text)( is |_)empty", re.IGNORECASE)
RETRIED = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Reply:
    """What the API said; `status` is its own `error_code` where it names one."""

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
        text = _("Telegram answered %(status)s: %(description)s") % {
            "status": self.status,
            "description": self.description or _("without saying why"),
        }
        if self.status in RETRIED or self.status >= 500 or self.status < 300:
            return DeliveryError(text, retry_after=self.retry_after)
        return DeliveryError(text, permanent=True, only_this=self.refuses_message)


def send(channel: NotificationChannel, outgoing: Outgoing) -> str:
    """The recipient it went to: another one than asked for where a group has moved. Raises DeliveryError."""
    chat, slash, thread = outgoing.address.partition("/")
    token, with_markup = secret_of(channel), True
    for _attempt in range(3):
        reply = ask(token, chat, thread, outgoing, with_markup)
        if reply.ok:
            return f"{chat}{slash}{thread}"
        if reply.moved_to and reply.moved_to != chat:
            chat = reply.moved_to
        elif with_markup and reply.cannot_parse:
            with_markup = False
        else:
            break
    raise reply.error()


def ask(token: str, chat: str, thread: str, outgoing: Outgoing, with_markup: bool) -> Reply:
    text, preview = text_of(outgoing, with_markup), {"is_disabled": True}
    message: dict[str, object] = {"chat_id": chat, "text": text, "link_preview_options": preview}
    if thread:
        message["message_thread_id"] = int(thread)
    if with_markup:
        message["parse_mode"] = "HTML"
    url = f"{settings.TELEGRAM_API_BASE.rstrip('/')}/bot{quote(token, safe=':')}/sendMessage"
    # The environment names the host, so it may be a private one.
    answer = post(url, json.dumps(message).encode(), {}, allow_private=True)
    return reply_of(answer, token)


def reply_of(answer: Answer, token: str) -> Reply:
    """What is no answer of the Bot API, such as a proxy's page, counts by its status alone and never as accepted."""
    said: Any = answer.json()
    said = said if isinstance(said, dict) else {}
    parameters = said.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    code = said.get("error_code")
    return Reply(
        ok=answer.status == 200 and said.get("ok") is True,
        status=code if isinstance(code, int) else answer.status,
        description=str(said.get("description", "")).replace(token, "…"),
        retry_after=seconds_of(parameters.get("retry_after")) or answer.retry_after,
        moved_to=str(parameters.get("migrate_to_chat_id", "")),
    )


def text_of(outgoing: Outgoing, with_markup: bool) -> str:
    """Cut before it is marked up: a tag cut in two would be refused."""
    sign = OVER if outgoing.state == "closed" else SIGNS[Severity(outgoing.severity)]
    head, link = f"{sign} {outgoing.title}", outgoing.url
    left = LONGEST - units(head) - units(link) - 4
    body = cut(outgoing.text.strip(), left)
    parts = [f"<b>{escape(head)}</b>" if with_markup else head]
    parts += [escape(part) if with_markup else part for part in (body, link) if part]
    return "\n\n".join(parts)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def cut(text: str, length: int) -> str:
    if units(text) <= length:
        return text
    return text.encode("utf-16-le")[: (length - 1) * 2].decode("utf-16-le", "ignore") + "…"
