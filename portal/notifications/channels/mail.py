"""E-mail, through the server that EMAIL_URL names."""

from __future__ import annotations

import smtplib
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from portal.notifications.channels.base import DeliveryError, Outgoing
from portal.notifications.known import Known

SENDS_NOTHING = "django.core.mail.backends.dummy.EmailBackend"


def send(channel: Known, outgoing: Outgoing) -> str:
    """The address it went to. Raises DeliveryError."""
    if settings.EMAIL_BACKEND == SENDS_NOTHING:
        raise DeliveryError(_("No mail is sent: EMAIL_URL names no mail server."), permanent=True)
    try:
        mail_of(outgoing).send()
    except smtplib.SMTPRecipientsRefused as error:
        code, words = next(iter(error.recipients.values()), (0, b""))
        raise refused(code, words, only_this=True) from None
    except smtplib.SMTPDataError as error:
        # A server that has trouble says so with 4xx to everybody; with 5xx it means this message.
        raise refused(error.smtp_code, error.smtp_error, only_this=error.smtp_code >= 500) from None
    except smtplib.SMTPResponseException as error:
        raise refused(error.smtp_code, error.smtp_error) from None
    except (smtplib.SMTPException, OSError) as error:
        text = _("The mail server could not be used: %(error)s.") % {"error": type(error).__name__}
        # It offers no login or no TLS, and EMAIL_URL asks for it.
        raise DeliveryError(text, permanent=isinstance(error, smtplib.SMTPNotSupportedError)) from None
    return outgoing.address


def refused(code: int, words: bytes | str, *, only_this: bool = False) -> DeliveryError:
    said = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    text = _("The mail server answered %(code)s: %(words)s") % {"code": code, "words": said}
    return DeliveryError(text, permanent=500 <= code < 600, only_this=only_this)


def mail_of(outgoing: Outgoing) -> EmailMultiAlternatives:
    """The same Message-ID when it is sent again, so that readers show it once."""
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
