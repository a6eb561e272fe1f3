"""Which programme is meant."""

from __future__ import annotations

import re

from django.utils import timezone

from monitoring.models import BetaProgramme
from monitoring.models.beta import KEY_LENGTH

DEFAULT = "default"
KEY = re.compile(rf"[0-9A-Za-z]{{{KEY_LENGTH}}}")


class NoSuchProgramme(Exception):
    """Nothing is called so, or has that key."""


class NotOneProgramme(Exception):
    """None was named, and not exactly one is running; `count` are."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


def named(name: str) -> BetaProgramme:
    """The one of this name; of none, the only one that runs today. Raises NoSuchProgramme or NotOneProgramme."""
    if name:
        if not is_storable(name):
            raise NoSuchProgramme
        return only(name=name)
    running = list(BetaProgramme.objects.running(timezone.localdate())[:2])
    if len(running) != 1:
        raise NotOneProgramme(len(running))
    return running[0]


def for_feedback(name: str) -> BetaProgramme:
    """As `named`, but the first feedback ever makes the programme `default`."""
    try:
        return named(name)
    except (NoSuchProgramme, NotOneProgramme):
        if name not in ("", DEFAULT):
            raise
    if BetaProgramme.objects.exists():
        return named(name)  # others' first feedback may have made it since it was asked for
    # Of two that come first one makes it, and the other finds it.
    return BetaProgramme.objects.get_or_create(name=DEFAULT)[0]


def of_key(key: str) -> BetaProgramme:
    """The one that has this public key. Raises NoSuchProgramme."""
    if not KEY.fullmatch(key):
        raise NoSuchProgramme
    return only(public_key=key)


def only(**known: str) -> BetaProgramme:
    try:
        return BetaProgramme.objects.get(**known)
    except BetaProgramme.DoesNotExist:
        raise NoSuchProgramme from None


def is_storable(text: str) -> bool:
    """Whether a database can be asked for it: of halves of surrogate pairs none can, of NUL PostgreSQL cannot."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
