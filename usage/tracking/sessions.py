"""Django's session engine, which tracks the portal's own sessions: a row from login to logout."""

from __future__ import annotations

import logging
from ipaddress import ip_address, ip_network
from typing import Any

from allauth.usersessions.models import UserSession as AllauthSession
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import SessionBase
from django.db import Error, transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from portal.access.signin.user_agents import summarize_user_agent
from portal.base import disks
from usage.models import UserSession
from usage.tracking.identity import user_email_or_name

log = logging.getLogger("vigie.tracking")
IN_SESSION = "usage_session"
NETWORK_BITS = {4: 24, 6: 48}


class SessionStore(db.SessionStore):
    """End a user's row wherever Django ends the session: at a logout, at a login as another user, after a changed
    password. A signal would come too late: by then the session has forgotten its row.
    """

    def flush(self) -> None:
        try:
            with transaction.atomic():
                end_session(self)
        except Error as error:
            log.error("a logout could not be tracked: %s", disks.describe_error(error))
        super().flush()

    def cycle_key(self) -> None:
        """A changed password gives the session another key: it stays one session in the user's list."""
        before = self.session_key
        super().cycle_key()
        if before is not None:
            AllauthSession.objects.filter(session_key=before).update(session_key=self.session_key)


@receiver(user_logged_in)
def start_session(request: HttpRequest | None, user: AbstractBaseUser, **_: Any) -> None:
    """Track a login. An error of the database does not prevent it."""
    if not settings.TRACKING or request is None:
        return
    try:
        with transaction.atomic():
            end_session(request.session)  # the same user logs in again without a logout
            session = UserSession.objects.create(
                user_email=user_email_or_name(user),
                session_start=timezone.now(),
                ip=truncate_ip(request.META.get("REMOTE_ADDR", "")),
                user_agent=summarize_user_agent(request.headers.get("User-Agent", "")),
            )
    except Error as error:
        log.error("a login could not be tracked: %s", disks.describe_error(error))
    else:
        request.session[IN_SESSION] = session.pk


def end_session(session: SessionBase) -> None:
    """End the row of this session, even if TRACKING was switched off since."""
    pk = session.get(IN_SESSION)
    if pk is not None:
        UserSession.objects.filter(pk=pk).end(timezone.now())


def truncate_ip(address: str) -> str:
    """Return the network, such as `192.0.2.0/24` or `2001:db8::/48`; empty for an invalid address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ip_network((ip, NETWORK_BITS[ip.version]), strict=False))
