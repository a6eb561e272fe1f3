"""Mails that are sent outside of the request: nothing in its duration tells whether an account exists."""

from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.urls import reverse

from portal.access.accounts import mail
from portal.work.queue import enqueue, task

RESET_MAIL = "portal.access.reset_mail"


def request_reset_mails(email: str, language: str) -> None:
    """Queue the mails to the users with this address. Without any the task is queued too, and does nothing."""
    users = User.objects.filter(email__iexact=email, is_active=True).order_by("pk")[:5]
    enqueue(RESET_MAIL, [user.pk for user in users if user.has_usable_password()], language)


@task(RESET_MAIL)
def send_reset_mails(user_ids: list[int], language: str) -> None:
    """Make the tokens here, so that none is in the queue, and send them to the addresses on record."""
    for user in User.objects.filter(pk__in=user_ids, is_active=True).order_by("pk"):
        key = {"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)}
        mail.send_account_mail(
            "password_reset",
            user.email,
            language,
            username=user.get_username(),
            url=mail.absolute_url(reverse("account_reset_password_from_key", kwargs=key)),
            minutes=settings.PASSWORD_RESET_TIMEOUT // 60,
        )
