"""Mails about a user's own account, through the server that EMAIL_URL names."""

from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils import translation

from portal.base.env import DUMMY_EMAIL_BACKEND


def can_send() -> bool:
    return bool(settings.EMAIL_BACKEND != DUMMY_EMAIL_BACKEND)


def absolute_url(path: str) -> str:
    """Return the address under which others reach a page. A request's Host header has no say in it."""
    return f"{settings.PORTAL_URL}{path}"


def send_account_mail(template: str, recipient: str, language: str, **context: Any) -> None:
    """Send `portal/mail/TEMPLATE.txt`, whose first line is the subject. Raises OSError, such as SMTPException."""
    with translation.override(language):
        text = render_to_string(f"portal/mail/{template}.txt", {"portal_url": settings.PORTAL_URL} | context)
    subject, _, body = text.strip().partition("\n")
    headers = {"Auto-Submitted": "auto-generated"}
    EmailMessage(f"[Vigie] {subject}", f"{body.strip()}\n", to=[recipient], headers=headers).send()
