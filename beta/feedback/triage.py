"""Triage: operators set type, severity, status, assignee, duplicates and tags of feedback.

These functions are called in a transaction, after `lock_programmes` and after locking the rows that change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from beta.models import BetaFeedback, BetaProgramme, FeedbackTag

Status = BetaFeedback.Status
FIELDS = ("type", "severity", "status", "duplicate_of", "assignee", "incident", "fix_version")
# What decides, with the status, which bugs wait for an operator.
RATING_FIELDS = {"type", "severity"}
MOST_TAGS = 10
LONGEST_TAG = 40


@dataclass(frozen=True)
class TriageChange:
    """The changes of one row by field, in values for JSON."""

    feedback: BetaFeedback
    before: dict[str, Any]
    after: dict[str, Any]


def lock_programmes(programmes: Iterable[int]) -> None:
    """Lock the programmes as a mutex for changes of `duplicate_of`. New feedback still comes in.

    Call it before reading any of their feedback: decisions on older reads would make cycles.
    """
    list(BetaProgramme.objects.filter(pk__in=programmes).order_by("pk").select_for_update(no_key=True))


def apply_triage(feedback: BetaFeedback, wanted: Mapping[str, Any]) -> list[TriageChange]:
    """Apply the wanted changes and return the changes made, those of its duplicates included.

    `wanted` has new values by field of FIELDS, and tags by `tags`, or by `add_tags` and `remove_tags`. Raises
    ValidationError.
    """
    fields = complete_fields(feedback, wanted)
    changes = {name: fields[name] for name in FIELDS if name in fields and getattr(feedback, name) != fields[name]}
    before = {name: audit_value(getattr(feedback, name)) for name in changes}
    is_reopened = feedback.status not in BetaFeedback.UNSETTLED and changes.get("status") in BetaFeedback.UNSETTLED
    written = dict(changes)
    if is_reopened or changes.keys() & RATING_FIELDS:
        written["triaged_at"] = timezone.now()
    for name, value in written.items():
        setattr(feedback, name, value)
    if written:
        feedback.save(update_fields=written)
    after = {name: audit_value(value) for name, value in changes.items()}
    old, new = tag_changes(feedback, wanted)
    if old != new:
        feedback.tags.set([FeedbackTag.objects.get_or_create(name=name)[0] for name in new])
        before["tags"], after["tags"] = ", ".join(old), ", ".join(new)
    changed = [TriageChange(feedback, before, after)] if after else []
    return changed + (repoint_duplicates(feedback) if changes.get("duplicate_of") else [])


def check_triage(feedback: BetaFeedback, wanted: Mapping[str, Any]) -> None:
    """Raise the ValidationError that `apply_triage` would."""
    complete_fields(feedback, wanted)
    tag_changes(feedback, wanted)


def audit_value(value: Any) -> Any:
    """Convert a value for the audit trail."""
    if isinstance(value, (str, int)) or value is None:
        return value
    return f"user:{value.get_username()}" if hasattr(value, "get_username") else value.pk


# --- Duplicates ------------------------------------------------------------------------------------------------------


def complete_fields(feedback: BetaFeedback, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted fields and their consequences: a duplicate has an original, and no other feedback has one.

    Raises ValidationError.
    """
    fields = {name: wanted[name] for name in FIELDS if name in wanted}
    if not fields.keys() & {"status", "duplicate_of"}:
        return fields
    if fields.get("duplicate_of") and fields.setdefault("status", Status.DUPLICATE) != Status.DUPLICATE:
        status = Status(fields["status"]).label
        text = _("Choose one status: duplicate or %(status)s.") % {"status": status}
        raise ValidationError({"duplicate_of": text})
    if fields.get("status", feedback.status) != Status.DUPLICATE:
        return fields | {"duplicate_of": None}
    chosen = fields.get("duplicate_of", feedback.duplicate_of)
    if chosen is None:
        raise ValidationError({"duplicate_of": _("Enter the number of the original.")})
    original = find_original(chosen)
    check_original(feedback, original)
    return fields | {"duplicate_of": original}


def find_original(feedback: BetaFeedback) -> BetaFeedback:
    """Follow `duplicate_of` to the end; return the feedback itself if it is no duplicate."""
    seen = {feedback.pk}
    while feedback.duplicate_of is not None and feedback.duplicate_of_id not in seen:
        feedback = feedback.duplicate_of
        seen.add(feedback.pk)
    return feedback


def check_original(feedback: BetaFeedback, original: BetaFeedback) -> None:
    """Raise ValidationError if the feedback cannot be a duplicate of `original`."""
    number = {"number": original.pk}
    if original.programme_id != feedback.programme_id:
        raise ValidationError({"duplicate_of": _("#%(number)d belongs to another programme.") % number})
    if original.pk == feedback.pk:
        text = _("#%(number)d is this feedback or one of its duplicates.") % number
        raise ValidationError({"duplicate_of": text})


def repoint_duplicates(feedback: BetaFeedback) -> list[TriageChange]:
    """Move its own duplicates to its original, which is no duplicate: the recursion ends there."""
    changed = []
    for duplicate in feedback.duplicates.select_for_update().order_by("-pk"):
        changed += apply_triage(duplicate, {"duplicate_of": feedback.duplicate_of})
    return changed


def reopen_duplicates(deleted: Iterable[BetaFeedback]) -> list[TriageChange]:
    """Reopen the duplicates of feedback that is about to be deleted."""
    keys = [feedback.pk for feedback in deleted]
    remaining = BetaFeedback.objects.filter(duplicate_of__in=keys).exclude(pk__in=keys).select_for_update()
    return [change for row in remaining.order_by("-pk") for change in apply_triage(row, {"status": Status.OPEN})]


# --- Tags ------------------------------------------------------------------------------------------------------------


def parse_tags(text: str) -> list[str]:
    """Split at commas and return each tag once, in lower case. Raises ValidationError."""
    names = list(dict.fromkeys(filter(None, (" ".join(word.lower().split()) for word in text.split(",")))))
    if any(len(name) > LONGEST_TAG for name in names):
        raise ValidationError(_("A tag can have at most %(count)d characters.") % {"count": LONGEST_TAG})
    check_tag_count(len(names))
    return names


def check_tag_count(count: int) -> None:
    if count > MOST_TAGS:
        raise ValidationError(_("Feedback can have at most %(count)d tags.") % {"count": MOST_TAGS})


def tag_changes(feedback: BetaFeedback, wanted: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the tags before and after, sorted. Raises ValidationError if there are too many."""
    if not wanted.keys() & {"tags", "add_tags", "remove_tags"}:
        return [], []
    old = sorted(tag.name for tag in feedback.tags.all())
    new = {*wanted.get("tags", old), *wanted.get("add_tags", ())} - {*wanted.get("remove_tags", ())}
    try:
        check_tag_count(len(new))
    except ValidationError as error:
        raise ValidationError({"tags": error.messages}) from None
    return old, sorted(new)
