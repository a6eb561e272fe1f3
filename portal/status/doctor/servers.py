"""Checks that connect to other servers: mail, Telegram, and the portal's own public address."""

import ssl
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.base.env import DUMMY_EMAIL_BACKEND
from portal.egress.call import AddressRefused, fetch, find_certificate_end
from portal.notifications.channels import mail, telegram
from portal.notifications.channels.base import DeliveryError
from portal.status.doctor.registry import CheckResult, Group, doctor_check, failure, passed, warning

# Less than the deadline of all checks, so that each can say what happened.
SECONDS = 8.0
SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
LOCAL_SENDER = "@localhost"
EXPIRES_SOON = timedelta(days=14)
ANSWER_LENGTH = 64 * 1024


@doctor_check("mail", Group.CONNECTIONS, calls_out=True)
def check_mail() -> Iterator[CheckResult]:
    """Connect, greet and log in. Nothing is sent."""
    if settings.EMAIL_BACKEND == DUMMY_EMAIL_BACKEND:
        if settings.GUARDIAN_RECIPIENTS:
            text = _("GUARDIAN_RECIPIENTS is set and EMAIL_URL is not: no usage digest is sent.")
            yield warning(text, _("Set EMAIL_URL."))
        else:
            yield passed(_("Not configured: no mail is sent."))
        return
    if settings.EMAIL_BACKEND != SMTP_BACKEND:
        yield passed(_("Mail is not sent but kept: EMAIL_URL is for tests."))
        return
    where = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT or 25}"
    try:
        mail.try_server(SECONDS)
    except DeliveryError as error:
        hint = _("Compare EMAIL_URL with the server’s address, port, encryption, user and password.")
        yield failure(f"{where}: {error}", hint)
        return
    if settings.DEFAULT_FROM_EMAIL.endswith(LOCAL_SENDER):
        text = _("Mail is sent from %(sender)s, which many servers refuse.") % {"sender": settings.DEFAULT_FROM_EMAIL}
        yield warning(text, _("Set DEFAULT_FROM_EMAIL to an address of your domain."))
    else:
        yield passed(_("%(server)s accepts mail") % {"server": where})


@doctor_check("telegram", Group.CONNECTIONS, calls_out=True)
def check_telegram() -> Iterator[CheckResult]:
    token, chat = settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_CHAT_ID
    if not token and not chat:
        yield passed(_("Not configured: TELEGRAM_BOT_TOKEN is not set."))
    elif not (token and chat):
        text = _("Telegram is off: only one of TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID is set. Set both.")
        yield warning(text, _("Both come from @BotFather and the chat: docs/operations.md says how."))
    else:
        try:
            yield passed(_("The bot @%(name)s answers") % {"name": telegram.find_bot(token)})
        except DeliveryError as error:
            hint = _("Compare TELEGRAM_BOT_TOKEN with the bot’s token from @BotFather, and check the firewall.")
            yield failure(str(error), hint)


@doctor_check("certificate", Group.CONNECTIONS, calls_out=True)
def check_certificate() -> Iterator[CheckResult]:
    """Verify the chain that PORTAL_URL's server sends, and how long it is valid."""
    if not settings.PORTAL_URL.startswith("https:"):
        yield passed(_("None: PORTAL_URL is an http address."))
        return
    try:
        end = find_certificate_end(settings.PORTAL_URL, SECONDS)
    except ssl.SSLCertVerificationError as error:
        text = _("Browsers refuse the certificate: %(error)s.") % {"error": error.verify_message}
        yield failure(text, _("Renew the certificate, and let the proxy send it with its intermediate certificates."))
        return
    except (OSError, AddressRefused, ValueError) as error:
        yield unreachable(error)
        return
    left = end - timezone.now()
    if left < EXPIRES_SOON:
        text = ngettext("Expires in %(count)d day.", "Expires in %(count)d days.", left.days)
        yield warning(text % {"count": left.days}, _("Renew it, and check why it was not renewed by itself."))
    else:
        text = ngettext("Valid for %(count)d more day", "Valid for %(count)d more days", left.days)
        yield passed(text % {"count": left.days})


@doctor_check("public_address", Group.CONNECTIONS, calls_out=True)
def check_public_address() -> Iterator[CheckResult]:
    """Open the sign-in page at PORTAL_URL, through whatever proxies users pass."""
    url = settings.PORTAL_URL + reverse("account_login")
    try:
        reply = fetch("GET", url, {"User-Agent": "Vigie"}, seconds=SECONDS, allow_private=True, limit=ANSWER_LENGTH)
    except (OSError, AddressRefused, HTTPException, ValueError) as error:
        yield unreachable(error)
        return
    words = {"url": url, "status": reply.status}
    if 300 <= reply.status < 400 and urljoin(url, reply.headers.get("Location", "")) == url:
        text = _("%(url)s is redirected to itself.") % words
        hint = _("Let the proxy send X-Forwarded-Proto, and list its address in TRUSTED_PROXIES.")
        yield failure(text, hint)
    elif reply.status == 400:
        text = _("The portal refuses %(url)s with status 400: the proxy sends another host name.") % words
        yield failure(text, _("Let the proxy pass the Host header on, as in “proxy_set_header Host $host”."))
    elif reply.status >= 400:
        text = _("%(url)s answers with status %(status)d.") % words
        yield failure(text, _("Check that the portal runs, and that PORTAL_URL and the proxy lead to it."))
    else:
        yield passed(_("%(url)s answers") % {"url": settings.PORTAL_URL})


def unreachable(error: Exception) -> CheckResult:
    """Return a warning: a portal behind a router may not reach its own public address."""
    reason = getattr(error, "strerror", "") or type(error).__name__
    text = _("This machine can’t reach %(host)s: %(reason)s.")
    words = {"host": urlsplit(settings.PORTAL_URL).netloc, "reason": reason}
    return warning(text % words, _("Check PORTAL_URL, its name in the DNS, the proxy and the firewall."))
