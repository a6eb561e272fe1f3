"""Which programme is meant."""

from __future__ import annotations

import re
from datetime import date

from django.utils import timezone

from beta.models import KEY_LENGTH, BetaProgramme, ProgrammeTarget
from monitoring.models import Target

DEFAULT = "default"
KEY = re.compile(rf"[0-9A-Za-z]{{{KEY_LENGTH}}}")


class NoSuchProgramme(Exception):
    """Nothing is called so, or has that key."""


class NotOneProgramme(Exception):
    """None was named, and not exactly one is running; `count` are."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


def named(name: str, day: date | None = None) -> BetaProgramme:
    """The one of this name; of none, the only one that ran on that day or, where none did, that runs today.

    Raises NoSuchProgramme or NotOneProgramme.
    """
    if name:
        if not is_storable(name):
            raise NoSuchProgramme
        return only(name=name)
    running = (day and running_on(day)) or running_on(timezone.localdate())
    if len(running) != 1:
        raise NotOneProgramme(len(running))
    return running[0]


def running_on(day: date) -> list[BetaProgramme]:
    """At most two."""
    return list(BetaProgramme.objects.running(day)[:2])


def for_feedback(name: str, day: date | None = None) -> BetaProgramme:
    """As `named`, but the first feedback ever makes the programme `default`."""
    try:
        return named(name, day)
    except (NoSuchProgramme, NotOneProgramme):
        if name not in ("", DEFAULT):
            raise
    if BetaProgramme.objects.exists():
        return named(name, day)  # others' first feedback may have made it since it was asked for
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


def programme_of_target(target: Target) -> BetaProgramme | None:
    return BetaProgramme.objects.filter(targets=target).first()


def assign_target(target: Target, programme: BetaProgramme | None) -> None:
    """Let the target count for the programme from now on, or for none."""
    if programme is None:
        ProgrammeTarget.objects.filter(target=target).delete()
    else:
        ProgrammeTarget.objects.update_or_create(target=target, defaults={"programme": programme})
