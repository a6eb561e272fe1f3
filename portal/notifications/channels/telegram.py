"""Telegram's Bot API. The bot's token is part of every address, so no error of the library leaves this package.

A recipient is a chat, or `chat/thread` for a topic of a forum group.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.utils.translation import gettext as _

from portal.base.findings import Severity
from portal.models import NotificationChannel
from portal.notifications.channels.base import DeliveryError, RenderedMessage
from portal.notifications.channels.http import ANSWER_LENGTH, Answer, parse_retry_after, post
from portal.notifications.configuration import secret_of

# In UTF-16 code units, markup not counted.
LONGEST = 4096
SIGNS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
CLOSED_SIGN = "✅"
# Words of a 400 that refuses one message. Other refusals concern the chat, in too many words to list ("TOPIC_CLOSED",
# "have no rights to send a message"): there every message waits.
ABOUT_THE_MESSAGE = re.compile(r"parse|too[ _]long|text must be|(message|text)( is |_)empty", re.IGNORECASE)
RETRIED = frozenset({408, 425, 429})
# Up to 100 updates, each with a message and its markup.
UPDATES_LENGTH = 2 * 1024 * 1024
MOST_CHATS, LONGEST_NAME = 20, 80


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
    return parse_reply(call_method(token, "sendMessage", message), token)


def call_method(token: str, method: str, parameters: dict[str, object], limit: int = ANSWER_LENGTH) -> Answer:
    url = f"{settings.TELEGRAM_API_BASE.rstrip('/')}/bot{quote(token, safe=':')}/{method}"
    # The environment names the host, so it may be a private one.
    return post(url, json.dumps(parameters).encode(), {}, allow_private=True, limit=limit)


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


def find_bot(token: str) -> str:
    """Return the bot's username. Raises DeliveryError."""
    answer = call_method(token, "getMe", {})
    reply = parse_reply(answer, token)
    if not reply.ok:
        raise reply.error()
    bot = answer.json().get("result")
    return str(bot.get("username", ""))[:LONGEST_NAME] if isinstance(bot, dict) else ""


@dataclass(frozen=True)
class Chat:
    """A chat in which the bot was written to, or a topic of one. `id` is what a channel takes as its recipient."""

    id: str
    name: str


def find_chats(token: str) -> list[Chat]:
    """Return the chats of the bot's recent updates, latest first. Raises DeliveryError.

    The updates stay unconfirmed, so they are found again the next time.
    """
    answer = call_method(token, "getUpdates", {"timeout": 0}, UPDATES_LENGTH)
    reply = parse_reply(answer, token)
    if not reply.ok:
        raise reply.error()
    updates = answer.json().get("result")
    chats = (chat for update in reversed(updates if isinstance(updates, list) else []) for chat in chats_of(update))
    return list({chat.id: chat for chat in chats}.values())[:MOST_CHATS]


def chats_of(update: Any) -> Iterator[Chat]:
    """Yield the chat of an update, which is under a key for its type: `message`, `channel_post`, `my_chat_member`."""
    for event in update.values() if isinstance(update, dict) else ():
        chat = event.get("chat") if isinstance(event, dict) else None
        if isinstance(chat, dict) and isinstance(chat.get("id"), int):
            names = (chat.get("title"), chat.get("first_name"), chat.get("last_name"))
            name = " ".join(str(part) for part in names if part) or str(chat.get("username", ""))
            thread = event.get("message_thread_id") if event.get("is_topic_message") else None
            yield Chat(f"{chat['id']}/{thread}" if isinstance(thread, int) else str(chat["id"]), name[:LONGEST_NAME])


def count_utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def truncate_utf16(text: str, length: int) -> str:
    if count_utf16_units(text) <= length:
        return text
    return text.encode("utf-16-le")[: (length - 1) * 2].decode("utf-16-le", "ignore") + "…"
