"""Find the programme that a name, a public key or a target belongs to, and assign targets to programmes."""

import re
from datetime import date

from django.utils import timezone

from beta.models import KEY_LENGTH, BetaProgramme, ProgrammeTarget
from monitoring.models import Target

DEFAULT = "default"
KEY = re.compile(rf"[0-9A-Za-z]{{{KEY_LENGTH}}}")


class NoSuchProgramme(Exception):
    """The name is unknown."""


class NotOneProgramme(Exception):
    """A name is needed, because `count` programmes are running."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


def find_by_name(name: str, day: date | None = None) -> BetaProgramme:
    """Return the programme of this name. Raises NoSuchProgramme or NotOneProgramme.

    Without a name, take the programmes that ran on the day, or those of today if none did: there must be exactly one.
    """
    if name:
        found = BetaProgramme.objects.filter(name=name).first() if is_storable(name) else None
        if found is None:
            raise NoSuchProgramme
        return found
    running = (day and running_on(day)) or running_on(timezone.localdate())
    if len(running) != 1:
        raise NotOneProgramme(len(running))
    return running[0]


def running_on(day: date) -> list[BetaProgramme]:
    """Return two programmes at most."""
    return list(BetaProgramme.objects.running(day)[:2])


def find_or_create_for_feedback(name: str, day: date | None = None) -> BetaProgramme:
    """Return the programme as `find_by_name` does. The first feedback of an installation creates `default`."""
    try:
        return find_by_name(name, day)
    except (NoSuchProgramme, NotOneProgramme):
        if name not in ("", DEFAULT):
            raise
    if BetaProgramme.objects.exists():
        return find_by_name(name, day)  # a concurrent request may have created it since
    # Of two concurrent requests one creates it, and the other finds it.
    return BetaProgramme.objects.get_or_create(name=DEFAULT)[0]


def find_by_key(key: str) -> BetaProgramme | None:
    return BetaProgramme.objects.filter(public_key=key).first() if KEY.fullmatch(key) else None


def is_storable(text: str) -> bool:
    """Return True if a database can be queried for the text: not with surrogates, and PostgreSQL not with NUL."""
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
