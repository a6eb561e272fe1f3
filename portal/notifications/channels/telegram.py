"""Telegram's Bot API. The bot's token is part of every address, so no error of the library leaves this package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.utils.translation import gettext as _

from portal.notifications.channels.base import DeliveryError, Outgoing
from portal.notifications.channels.http import post, seconds_of
from portal.notifications.known import Known
from portal.severity import Severity

# In UTF-16 code units, markup not counted.
LONGEST = 4096
SIGNS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
OVER = "✅"
# Refusals with 400 that concern the chat and so every message, not the one that was sent.
ABOUT_THE_CHAT = ("chat not found", "chat_id is empty", "peer_id_invalid", "not enough rights", "kicked", "deactivated")


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

    def error(self) -> DeliveryError:
        text = _("Telegram answered %(status)s: %(description)s") % {
            "status": self.status,
            "description": self.description or _("without saying why"),
        }
        if self.status in {408, 429} or self.status >= 500 or self.status < 300:
            return DeliveryError(text, retry_after=self.retry_after)
        about_chat = any(words in self.description.lower() for words in ABOUT_THE_CHAT)
        return DeliveryError(text, permanent=True, only_this=self.status in {400, 413} and not about_chat)


def send(channel: Known, outgoing: Outgoing) -> str:
    """The chat it went to: another one than asked for where a group has moved. Raises DeliveryError."""
    token, chat, with_markup = channel.secret(), outgoing.address, True
    for _attempt in range(3):
        reply = ask(token, chat, outgoing, with_markup)
        if reply.ok:
            return chat
        if reply.moved_to and reply.moved_to != chat:
            chat = reply.moved_to
        elif with_markup and reply.cannot_parse:
            with_markup = False
        else:
            break
    raise reply.error()


def ask(token: str, chat: str, outgoing: Outgoing, with_markup: bool) -> Reply:
    message = {"chat_id": chat, "text": text_of(outgoing, with_markup), "link_preview_options": {"is_disabled": True}}
    if with_markup:
        message["parse_mode"] = "HTML"
    url = f"{settings.TELEGRAM_API_BASE.rstrip('/')}/bot{quote(token, safe=':')}/sendMessage"
    answer = post(url, json.dumps(message).encode(), {})
    return reply_of(answer.status, answer.json(), token)


def reply_of(status: int, said: Any, token: str) -> Reply:
    """What is no answer of the Bot API, such as a proxy's page, counts by its status alone and never as accepted."""
    said = said if isinstance(said, dict) else {}
    parameters = said.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    code = said.get("error_code")
    return Reply(
        ok=status == 200 and said.get("ok") is True,
        status=code if isinstance(code, int) else status,
        description=str(said.get("description", "")).replace(token, "…"),
        retry_after=seconds_of(parameters.get("retry_after")),
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
