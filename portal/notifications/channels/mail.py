"""E-mail, through the server that EMAIL_URL names."""

import re
import smtplib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from portal.base.env import DUMMY_EMAIL_BACKEND
from portal.models import NotificationChannel
from portal.notifications.channels.base import DeliveryError, RenderedMessage
from portal.notifications.configuration import recipients_of

# An enhanced status code (RFC 3463): its second number says what the refusal is about.
ENHANCED = re.compile(r"5\.(\d{1,3})\.(\d{1,3})\b")
MAILBOX_REPLIES = frozenset({550, 551, 553})


def send(channel: NotificationChannel, outgoing: RenderedMessage) -> str:
    """Send and return the address. Raises DeliveryError."""
    if settings.EMAIL_BACKEND == DUMMY_EMAIL_BACKEND:
        raise DeliveryError(_("No mail can be sent: EMAIL_URL is not set."), permanent=True)
    with refusals_of_server():
        try:
            build_mail(outgoing).send()
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()), (0, b""))
            raise build_refusal(code, words, only_this=refuses_address(channel, code, decode_reply(words))) from None
        except smtplib.SMTPDataError as error:
            raise build_refusal(error.smtp_code, error.smtp_error, only_this=refuses_message(error)) from None
    return outgoing.address


def try_server(seconds: float) -> None:
    """Connect to the server, greet it and log in, without sending. Raises DeliveryError."""
    mailer = get_connection(timeout=seconds)
    with refusals_of_server(), closing(mailer):
        mailer.open()


@contextmanager
def refusals_of_server() -> Iterator[None]:
    """Raise DeliveryError for an error of the connection or the server."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise build_refusal(error.smtp_code, error.smtp_error) from None
    except (smtplib.SMTPException, OSError) as error:
        text = _("The connection to the mail server failed: %(error)s.") % {"error": type(error).__name__}
        # It offers no login or no TLS, and EMAIL_URL asks for it.
        raise DeliveryError(text, permanent=isinstance(error, smtplib.SMTPNotSupportedError)) from None


def refuses_address(channel: NotificationChannel, code: int, words: str) -> bool:
    """Return True if the other addresses of the channel may work.

    A refusal for good must name the mailbox: one for reasons of policy (5.7.x) would meet all of them.
    """
    if code < 500:
        return True
    about = ENHANCED.match(words)
    names_mailbox = about[1] in {"1", "2"} if about else code in MAILBOX_REPLIES
    return names_mailbox and len(recipients_of(channel)) != 1


def refuses_message(error: smtplib.SMTPDataError) -> bool:
    """Return True if the server refuses the size or content of this message."""
    about = ENHANCED.match(decode_reply(error.smtp_error))
    if about:
        return about[1] == "6" or about[0] in {"5.2.3", "5.3.4"}
    return error.smtp_code == 552


def build_refusal(code: int, words: bytes | str, *, only_this: bool = False) -> DeliveryError:
    text = _("The mail server answered %(code)s: “%(words)s”") % {"code": code, "words": decode_reply(words)}
    return DeliveryError(text, permanent=500 <= code < 600, only_this=only_this)


def decode_reply(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words


def build_mail(outgoing: RenderedMessage) -> EmailMultiAlternatives:
    """Build the mail. Its Message-ID is the same for each attempt, so that mail clients show it once."""
    text = "\n\n".join(part for part in (outgoing.text, outgoing.url) if part)
    host = urlsplit(settings.PORTAL_URL).hostname or "localhost"
    mail = EmailMultiAlternatives(
        subject=f"[Vigie] {' '.join(outgoing.title.split())}",
        body=text or outgoing.title,
        to=[outgoing.address],
        headers={"Message-ID": f"<{outgoing.id}@{host}>", "Auto-Submitted": "auto-generated"},
    )
    html = outgoing.html or render_to_string("portal/message.html", {"message": outgoing})
    mail.attach_alternative(html, "text/html")
    return mail
