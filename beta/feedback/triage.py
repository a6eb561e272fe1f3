"""What operators make of feedback: what it is, how grave, whose it is, and what became of it.

What stands here is called in a transaction, with the programmes held and then the rows that are to change locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from beta.models import BetaFeedback, BetaProgramme, FeedbackTag

Status = BetaFeedback.Status
FIELDS = ("type", "severity", "status", "duplicate_of", "assignee", "incident", "fix_version")
MOST_TAGS = 10
LONGEST_TAG = 40


@dataclass(frozen=True)
class Changed:
    """What was changed of one, by field, in values that JSON can hold."""

    feedback: BetaFeedback
    before: dict[str, Any]
    after: dict[str, Any]


def hold(programmes: Iterable[int]) -> None:
    """Until the transaction ends nobody else changes what is a duplicate of what in these; feedback comes in as ever.

    To be called before any of their feedback is read: who judges by what he read before makes circles.
    """
    list(BetaProgramme.objects.filter(pk__in=programmes).order_by("pk").select_for_update(no_key=True))


def triage(feedback: BetaFeedback, wanted: Mapping[str, Any]) -> list[Changed]:
    """Changes what is wanted of it and nothing else; what has changed: nothing, it, and its duplicates with it.

    `wanted` holds new values by field, of those in FIELDS, and the words of `tags`, or of `add_tags` and `remove_tags`.
    Raises ValidationError.
    """
    fields = consistent(feedback, {name: wanted[name] for name in FIELDS if name in wanted})
    changes = {name: value for name, value in fields.items() if getattr(feedback, name) != value}
    before = {name: told(getattr(feedback, name)) for name in changes}
    for name, value in changes.items():
        setattr(feedback, name, value)
    if changes:
        feedback.save(update_fields=list(changes))
    after = {name: told(value) for name, value in changes.items()}
    old, new = tags_before_and_after(feedback, wanted)
    if old != new:
        feedback.tags.set([FeedbackTag.objects.get_or_create(name=name)[0] for name in new])
        before["tags"], after["tags"] = ", ".join(old), ", ".join(new)
    changed = [Changed(feedback, before, after)] if after else []
    return changed + (followed(feedback) if changes.get("duplicate_of") else [])


def check(feedback: BetaFeedback, wanted: Mapping[str, Any]) -> None:
    """Raises ValidationError, by field, where `triage` would."""
    consistent(feedback, {name: wanted[name] for name in FIELDS if name in wanted})
    tags_before_and_after(feedback, wanted)


def told(value: Any) -> Any:
    """A value as the audit trail keeps it."""
    if isinstance(value, (str, int)) or value is None:
        return value
    return f"user:{value.get_username()}" if hasattr(value, "get_username") else value.pk


# --- Duplicates ------------------------------------------------------------------------------------------------------


def consistent(feedback: BetaFeedback, wanted: dict[str, Any]) -> dict[str, Any]:
    """The fields wanted, and what follows from them: a duplicate is one of something, and nothing else is.

    Raises ValidationError.
    """
    if not wanted.keys() & {"status", "duplicate_of"}:
        return wanted
    if wanted.get("duplicate_of"):
        wanted = {"status": Status.DUPLICATE} | wanted
        if wanted["status"] != Status.DUPLICATE:
            status = Status(wanted["status"]).label
            text = _("It is either a duplicate or %(status)s: say which.") % {"status": status}
            raise ValidationError({"duplicate_of": text})
    if wanted.get("status", feedback.status) != Status.DUPLICATE:
        return wanted | {"duplicate_of": None}
    named = wanted.get("duplicate_of", feedback.duplicate_of)
    if named is None:
        raise ValidationError({"duplicate_of": _("Say of which it is a duplicate.")})
    original = original_of(named)
    refuse_original(feedback, original)
    return wanted | {"duplicate_of": original}


def original_of(feedback: BetaFeedback) -> BetaFeedback:
    """What it is a duplicate of; itself where it is none."""
    seen = {feedback.pk}
    while feedback.duplicate_of is not None and feedback.duplicate_of_id not in seen:
        feedback = feedback.duplicate_of
        seen.add(feedback.pk)
    return feedback


def refuse_original(feedback: BetaFeedback, original: BetaFeedback) -> None:
    """Raises ValidationError where it cannot be a duplicate of this one."""
    number = {"number": original.pk}
    if original.programme_id != feedback.programme_id:
        raise ValidationError({"duplicate_of": _("#%(number)d is of another programme.") % number})
    if original.pk == feedback.pk:
        text = _("That is #%(number)d itself, or a duplicate of it.") % number
        raise ValidationError({"duplicate_of": text})


def followed(feedback: BetaFeedback) -> list[Changed]:
    """Its own duplicates are from now on those of its original."""
    changed = []
    for duplicate in feedback.duplicates.select_for_update().order_by("-pk"):
        changed += triage(duplicate, {"duplicate_of": feedback.duplicate_of})
    return changed


def reopen_duplicates(going: Iterable[BetaFeedback]) -> list[Changed]:
    """Before these are deleted: what was said to be the same as one of them stands for itself again."""
    keys = [feedback.pk for feedback in going]
    left = BetaFeedback.objects.filter(duplicate_of__in=keys).exclude(pk__in=keys).select_for_update()
    return [changed for duplicate in left.order_by("-pk") for changed in triage(duplicate, {"status": Status.OPEN})]


# --- Tags ------------------------------------------------------------------------------------------------------------


def tag_names(text: str) -> list[str]:
    """The words between commas, in lower case, each once. Raises ValidationError."""
    names = list(dict.fromkeys(filter(None, (" ".join(word.lower().split()) for word in text.split(",")))))
    if any(len(name) > LONGEST_TAG for name in names):
        raise ValidationError(_("A tag has at most %(count)d characters.") % {"count": LONGEST_TAG})
    refuse_too_many(names)
    return names


def refuse_too_many(names: Sequence[str]) -> None:
    if len(names) > MOST_TAGS:
        raise ValidationError(_("At most %(count)d tags are possible.") % {"count": MOST_TAGS})


def tags_before_and_after(feedback: BetaFeedback, wanted: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Both in the order of the alphabet. Raises ValidationError where they would become too many."""
    if not wanted.keys() & {"tags", "add_tags", "remove_tags"}:
        return [], []
    old = sorted(tag.name for tag in feedback.tags.all())
    new = set(wanted.get("tags", old)) | set(wanted.get("add_tags", ()))
    new -= set(wanted.get("remove_tags", ()))
    try:
        refuse_too_many(sorted(new))
    except ValidationError as error:
        raise ValidationError({"tags": error.messages}) from None
    return old, sorted(new)
