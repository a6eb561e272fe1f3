"""Personal data in the audit trail: actors, addresses, and the old and new values of what was changed."""

from collections.abc import Callable
from typing import Any

from django.db.models import Q

from portal.models import AuditEvent
from portal.privacy.registry import PersonalDataTable, Row, personal_data
from portal.privacy.subjects import Subject

# Recorded values that are the name of a user, which may be any word elsewhere.
USERS = ("assignee", "acknowledged_by", "username")
# Names of a person, in events about their account: an earlier user name or address may be like none of today's.
OWN_NAMES = ("first_name", "last_name", "username", "email")
# Texts that people write. They are erased with their author, as in the tables that they were copied from.
WRITTEN = ("comment", "cause")


def event_changes(event: AuditEvent, subject: Subject, pseudonym: str) -> Row:
    """Replace users' names in the values, and delete the address, and the key that groups refusals.

    The key is a hash of the subject, so guesses could be tested.
    """
    about = subject.is_named(event.actor) or subject.is_in(event.subject) or subject.is_in(repr(event.after))
    changes: Row = {"dedupe_key": None} if about else {}
    changes |= {"address": ""} if subject.is_named(event.actor) else {}
    cleared = OWN_NAMES if event.subject.startswith("user:") and subject.is_named(event.subject) else ()
    for name in ("before", "after"):
        values = subject.replaced(getattr(event, name), pseudonym)
        changes[name] = rename_user(values, cleared, lambda text: subject.renamed(text, pseudonym))
    return changes


def rename_user(values: Any, cleared: tuple[str, ...], rename: Callable[[str], str]) -> Any:
    if not isinstance(values, dict):
        return values
    renamed = {name: rename(values[name]) for name in USERS if isinstance(values.get(name), str)}
    return values | renamed | {name: "" for name in cleared if values.get(name)}


# --- Texts -----------------------------------------------------------------------------------------------------------


def events_of_author(subject: Subject) -> Q | None:
    """Select the events about everything that the person wrote a text about.

    The log tells who wrote what also after the account is gone.
    """
    if subject.is_machine or subject.is_participant:
        return None
    names = ("actor", "before__acknowledged_by", "after__acknowledged_by")
    texts = [f"{side}__{name}__isnull" for side in ("before", "after") for name in WRITTEN]
    written = AuditEvent.objects.filter(Q(*((text, False) for text in texts), _connector=Q.OR))
    rows = written.order_by().values_list("subject", *names).distinct()
    subjects = {about for about, *people in rows.iterator() if any(map(subject.is_named, people))}
    return Q(subject__in=subjects) if subjects else None


def without_texts(event: AuditEvent, subject: Subject, pseudonym: str) -> Row:
    """Clear the texts that the person wrote, also where a later event replaced or kept them."""
    changes: Row = {}
    for side in ("before", "after"):
        values = values_of(getattr(event, side))
        own = [name for name in WRITTEN if values.get(name) and is_author(event, side, name, subject)]
        if own:
            changes[side] = values | dict.fromkeys(own, "")
    return changes


def is_author(event: AuditEvent, side: str, name: str, subject: Subject) -> bool:
    """Return True if the subject wrote the text: the event's actor wrote a new one, and someone before them the old."""
    before, after = values_of(event.before), values_of(event.after)
    if side == "after" and before.get(name) != after[name]:
        return subject.is_named(event.actor)
    known = before.get("acknowledged_by") or last_author(event, name)
    return subject.is_named(known or (event.actor if side == "after" else ""))


def last_author(event: AuditEvent, name: str) -> str:
    """Return the actor of the newest earlier event that changed the text, not of one that kept it."""
    earlier = AuditEvent.objects.filter(subject=event.subject, pk__lt=event.pk, **{f"after__{name}__isnull": False})
    rows = earlier.order_by("-pk").values_list("actor", "before", "after")
    return next(
        (actor for actor, old, new in rows.iterator() if values_of(old).get(name) != values_of(new).get(name)), ""
    )


def values_of(recorded: Any) -> dict[str, Any]:
    return recorded if isinstance(recorded, dict) else {}


personal_data.register(
    PersonalDataTable(AuditEvent, names=("actor",), texts=("subject", "before", "after"), also=event_changes)
)
# Registered after the events themselves and therefore erased before them, which still name the author. Other people's
# events are not data about the person, and those of the person are shown above.
personal_data.register(
    PersonalDataTable(
        AuditEvent, owned=events_of_author, also=without_texts, searched=lambda subject: (), is_shown=False
    )
)
