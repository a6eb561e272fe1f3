"""Sessions of users who are signed in: what is kept of them, and how they end."""

from __future__ import annotations

from typing import Any

from allauth.usersessions.models import UserSession
from django.db.models.signals import pre_save
from django.dispatch import receiver

from portal.access.browsers import reduced


@receiver(pre_save, sender=UserSession)
def keep_known_names(instance: UserSession, **_: Any) -> None:
    """Keep the names of browser and system instead of all that the browser sent."""
    instance.user_agent = reduced(instance.user_agent)
