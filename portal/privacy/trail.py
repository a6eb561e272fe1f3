"""Personal data in the audit trail: actors, addresses, and the old and new values of what was changed."""

from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import Q

from portal.audit import user_subject
from portal.models import AuditEvent
from portal.privacy.registry import PersonalDataTable, Row, personal_data
from portal.privacy.subjects import Subject, users_of

# Recorded values that are the name of a user, which may be any word elsewhere.
USERS = ("assignee", "acknowledged_by", "username")
# Names of a person, in events about their account.
OWN_NAMES = ("first_name", "last_name")
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


class WrittenTexts(PersonalDataTable):
    """Events that keep a text of the person, as the old value of a later one too. They are not exported twice."""

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        return iter(())


def events_of_author(subject: Subject) -> Q | None:
    """Select the events about everything that the person wrote a text about."""
    actors = [user_subject(user) for user in users_of(subject)]
    written = Q(*((f"after__{name}__isnull", False) for name in WRITTEN), _connector=Q.OR)
    about = AuditEvent.objects.filter(written, actor__in=actors).order_by().values_list("subject", flat=True)
    subjects = list(about.distinct()) if actors else []
    return Q(subject__in=subjects) if subjects else None


def without_texts(event: AuditEvent, subject: Subject, pseudonym: str) -> Row:
    """Clear the new texts of the person's own events, and the old ones that the person wrote."""
    changes: Row = {}
    if subject.is_named(event.actor):
        changes["after"] = clear_texts(event.after, WRITTEN)
    if isinstance(event.before, dict):
        own = [name for name in WRITTEN if event.before.get(name) and is_author(event, name, subject)]
        changes["before"] = clear_texts(event.before, tuple(own))
    return changes


def is_author(event: AuditEvent, name: str, subject: Subject) -> bool:
    """Return True if the subject wrote the text that an event replaced: the event before it says who did."""
    known = event.before.get("acknowledged_by") if isinstance(event.before, dict) else None
    if known:
        return subject.is_named(known)
    earlier = AuditEvent.objects.filter(subject=event.subject, pk__lt=event.pk, **{f"after__{name}__isnull": False})
    last = earlier.order_by("-pk").values_list("actor", flat=True).first()
    return last is not None and subject.is_named(last)


def clear_texts(values: Any, names: tuple[str, ...]) -> Any:
    return values | {name: "" for name in names if values.get(name)} if isinstance(values, dict) else values


personal_data.register(
    PersonalDataTable(AuditEvent, names=("actor",), texts=("subject", "before", "after"), also=event_changes)
)
# Registered after the events themselves and therefore erased before them, which still name the author.
personal_data.register(
    WrittenTexts(AuditEvent, owned=events_of_author, also=without_texts, searched=lambda subject: ())
)
