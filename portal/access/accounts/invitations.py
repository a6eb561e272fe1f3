"""Invitations: an inviter names an e-mail address and roles, the invited user chooses the password.

An invitation is a user without a usable password, and a signed link to it. The link is bound to the unusable password,
which is random: accepting, resending or withdrawing replaces it, and ends every link that was sent before.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from allauth.utils import generate_unique_username
from django.contrib.auth.models import Group, User
from django.core import signing
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac

from portal import audit
from portal.access.accounts import mail
from portal.access.signin import trail

SALT = "vigie.access.invitation"
VALID_FOR = timedelta(days=7)


def is_pending(user: User) -> bool:
    """Return whether the user may still accept an invitation."""
    return user.is_active and user.last_login is None and not user.has_usable_password()


def invite_user(request: HttpRequest, email: str, names: tuple[str, str], roles: Iterable[Group]) -> User:
    """Create the user. `invitation_link` leads to the page on which they choose a password."""
    roles = list(roles)
    with transaction.atomic():
        user = User(
            username=generate_unique_username([email]),
            email=email,
            first_name=names[0],
            last_name=names[1],
            is_staff=True,
        )
        user.set_unusable_password()
        user.save()
        user.groups.set(roles)
        after = {"roles": ", ".join(sorted(role.name for role in roles))}
        audit.record_event("user.invited", audit.user_subject(user), request=request, after=after)
    return user


def renew_invitation(request: HttpRequest, user: User) -> None:
    """End the links that were sent, so that a new one can be."""
    with transaction.atomic():
        user.set_unusable_password()
        user.save(update_fields=["password"])
        audit.record_event("user.invited_again", audit.user_subject(user), request=request)


def withdraw_invitation(request: HttpRequest, user: User) -> None:
    """Delete the user, who never signed in."""
    with transaction.atomic():
        audit.record_event("user.invitation_withdrawn", audit.user_subject(user), request=request)
        user.delete()


def accept_invitation(request: HttpRequest, user: User, password: str) -> bool:
    """Set the password, once: False where the invitation has ended meanwhile."""
    unaccepted = User.objects.filter(pk=user.pk, password=user.password, is_active=True, last_login=None)
    user.set_password(password)
    names = {"first_name": user.first_name, "last_name": user.last_name}
    with transaction.atomic():
        if not unaccepted.update(password=user.password, **names):
            return False
        trail.record_user_event("user.invitation_accepted", request, user)
    return True


# --- The link --------------------------------------------------------------------------------------------------------


def fingerprint(user: User) -> str:
    return salted_hmac(SALT, f"{user.pk}:{user.email}:{user.password}", algorithm="sha256").hexdigest()


def invitation_link(user: User) -> str:
    token = signing.dumps({"user": user.pk, "mark": fingerprint(user)}, salt=SALT)
    return mail.absolute_url(reverse("account_invitation", args=[token]))


def find_invited_user(token: str) -> User | None:
    """Return the user whose pending invitation the token is."""
    try:
        payload: dict[str, Any] = signing.loads(token, salt=SALT, max_age=VALID_FOR)
    except signing.BadSignature:
        return None
    user = User.objects.filter(pk=payload["user"]).first()
    if user is None or not is_pending(user) or not constant_time_compare(payload["mark"], fingerprint(user)):
        return None
    return user


def send_invitation(user: User, inviter: User, language: str) -> None:
    """Mail the link. Raises OSError."""
    mail.send_account_mail(
        "invitation",
        user.email,
        language,
        inviter=inviter.get_full_name() or inviter.get_username(),
        username=user.username,
        url=invitation_link(user),
        days=VALID_FOR.days,
    )
