"""What the beta programme holds of a subject: what he said, and where reports repeat it.

What participants said stays, without their names. A name is looked for as a word in comments and in the reports that
quote them, for people write of each other as they please.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot, FeedbackTag
from portal.base.files import write_whole
from portal.models import AuditEvent
from portal.privacy import PersonalDataTable, Row, Subject, personal_data
from portal.privacy.own import LEFT_OUT, refers_to_users
from portal.privacy.subjects import AFTER, BEFORE, spelling_pattern, strip_format_characters
from portal.work.jobs import Lease

REPORT = re.compile(r"beta_report_\d{8}_\d{6}\.txt")
UNFINISHED = re.compile(rf"\.{REPORT.pattern}\.[A-Za-z0-9]+")
ELLIPSIS = "…"
# So much of a name before an ellipsis is taken for it: a report shows the beginning of a long comment.
CUT = 4
# Of feedback, what anybody may write into.
SAID = ("comment", "page", "app_version", "fix_version")
TRIAGED = "monitoring.feedback_triaged"
# In a saved report, a word that is longer than a line, and the rest of the line it ends in.
BROKEN_WORD = re.compile(r"^(?: {4}| ?\d+\. )?\S{40,}(?:\n *\S{40,}$)*\n *\S.*$", re.MULTILINE)


def without_name(text: str, subject: Subject, pseudonym: str) -> str:
    text = subject.replaced(text, pseudonym, as_word=True)
    if subject.is_participant:
        text = as_word(subject).sub(pseudonym, text)
    return cut_off(subject).sub(pseudonym, text) if ELLIPSIS in text else text


def as_word(subject: Subject) -> re.Pattern[str]:
    """In whatever letters, and over the end of a line."""
    return re.compile(f"{BEFORE}(?:{'|'.join(map(spelling_pattern, subject.names))}){AFTER}")


def cut_off(subject: Subject) -> re.Pattern[str]:
    """The beginning of a name where a text was cut in the middle of it."""
    beginnings = [spelling_pattern(name[:length]) for name in subject.names for length in range(CUT, len(name) + 1)]
    return re.compile(f"{BEFORE}(?:{'|'.join(beginnings) or '(?!)'})(?={ELLIPSIS})")


def lines_naming(text: str, subject: Subject) -> str:
    """Of what may be about many, the lines that name the subject."""
    lines = text.splitlines()
    own = [line for line in lines if without_name(line, subject, "") != line]
    return text if len(own) == len(lines) else "\n".join([*own, LEFT_OUT])


# --- Feedback --------------------------------------------------------------------------------------------------------


def is_own(feedback: BetaFeedback, subject: Subject) -> bool:
    """Whether he said it. Participants are kept in lower case."""
    if subject.is_machine:
        return False
    names = re.compile("|".join(map(spelling_pattern, subject.names)))
    return names.fullmatch(strip_format_characters(feedback.participant)) is not None or subject.is_named(
        feedback.participant
    )


def unsaid(feedback: BetaFeedback, subject: Subject, pseudonym: str) -> Row:
    """Without the name, and without the hash of what was sent: a guess could be tested against it."""
    changes: Row = {name: without_name(getattr(feedback, name), subject, pseudonym) for name in SAID}
    if is_own(feedback, subject):
        changes["participant"] = pseudonym
    is_touched = any(value != getattr(feedback, name) for name, value in changes.items())
    return changes | ({"digest": ""} if is_touched or subject.is_named(feedback.source) else {})


def own_words(feedback: BetaFeedback, subject: Subject) -> Row:
    """What another said shows only where it names the subject."""
    if is_own(feedback, subject):
        return {}
    return {"participant": LEFT_OUT, "comment": lines_naming(feedback.comment, subject)}


def unique_name(row: Any, subject: Subject, pseudonym: str) -> Row:
    """Two that differ in how they name somebody must not become the same."""
    name = without_name(row.name, subject, pseudonym)
    if name == row.name:
        return {}
    number = f" {row.pk}"
    return {"name": name[: row._meta.get_field("name").max_length - len(number)] + number}


def renamed_tag(tag: FeedbackTag, subject: Subject, pseudonym: str) -> Row:
    """Tags are in lower case."""
    return unique_name(tag, in_lower_case(subject), pseudonym)


def in_lower_case(subject: Subject) -> Subject:
    return replace(subject, names=tuple(name.lower() for name in subject.names))


def triaged(event: AuditEvent, subject: Subject, pseudonym: str) -> Row:
    """What operators wrote of feedback is in the audit trail too, as it was and as it became."""
    return {name: rewritten(getattr(event, name), subject, pseudonym) for name in ("before", "after")}


def rewritten(told: Any, subject: Subject, pseudonym: str) -> Any:
    told = subject.replaced(told, pseudonym)
    for name, whom in (("tags", in_lower_case(subject)), ("fix_version", subject)):
        if isinstance(told, dict) and isinstance(told.get(name), str):
            told = told | {name: without_name(told[name], whom, pseudonym)}
    return told


class Triages(PersonalDataTable):
    """Of the audit trail, what was made of feedback."""

    @property
    def all_rows(self) -> Any:
        return super().all_rows.filter(action=TRIAGED)


class Tags(PersonalDataTable):
    """They are few, and all are read: no database finds what is written with something unseen."""

    def holding_any(self, needles: Any, columns: Any) -> Any:
        return self.all_rows


def about_origins(subject: Subject) -> Iterator[str]:
    for programme in BetaProgramme.objects.order_by("pk"):
        if subject.is_in(programme.allowed_origins):
            text = _("The beta programme %(number)d names the subject in its allowed origins: change it in the admin.")
            yield text % {"number": programme.pk}


# --- Reports ---------------------------------------------------------------------------------------------------------


def requoted(snapshot: BetaSnapshot, subject: Subject, pseudonym: str) -> Row:
    """The report with other words in its comments. Nothing else ever changes one."""
    data = subject.replaced(snapshot.data, pseudonym)
    for name, texts in quoted(data).items():
        data = data | {name: [renamed_quote(text, subject, pseudonym) for text in texts]}
    return {"data": data}


def quoted(data: Any) -> dict[str, list[Any]]:
    """What a report quotes: comments, and bugs."""
    known = data if isinstance(data, dict) else {}
    return {name: known[name] for name in ("ux_comments", "open_bugs") if isinstance(known.get(name), list)}


def renamed_quote(quote: Any, subject: Subject, pseudonym: str) -> Any:
    if isinstance(quote, dict):
        return {name: renamed_quote(value, subject, pseudonym) for name, value in quote.items()}
    return without_name(quote, subject, pseudonym) if isinstance(quote, str) else quote


def own_quotes(snapshot: BetaSnapshot, subject: Subject) -> Row:
    """A report without what does not name him."""
    own = {
        name: [quote for quote in quotes if renamed_quote(quote, subject, "") != quote]
        for name, quotes in quoted(snapshot.data).items()
    }
    return {"data": snapshot.data | own} if own else {}


class KeptReports(PersonalDataTable):
    """A name that was cut in two is found by no database. They are few, and all are read."""

    def holding_any(self, needles: Any, columns: Any) -> Any:
        return self.all_rows


def in_one_line(word: str) -> str:
    return re.sub(r"\n *", "", word)


def rejoined(text: str, subject: Subject) -> str:
    """A saved report, with a word that was broken at the end of a line made whole where it names him."""

    def whole(found: re.Match[str]) -> str:
        left = in_one_line(without_name(found[0], subject, ""))
        return in_one_line(found[0]) if without_name(left, subject, "") != left else found[0]

    return BROKEN_WORD.sub(whole, text)


class SavedReports:
    """The reports that were saved as text. Each is replaced by one without the name, whole or not at all.

    What never took its place, because its writer was killed, goes: it may be cut in the middle of a name.
    """

    label = "beta_report_*.txt"

    def paths(self, name: re.Pattern[str]) -> list[Path]:
        folder = Path(settings.REPORTS_ROOT)
        return sorted(found for found in folder.iterdir() if name.fullmatch(found.name)) if folder.is_dir() else []

    def naming(self, name: re.Pattern[str], subject: Subject) -> Iterator[tuple[Path, str]]:
        """The files that name the subject, and their texts."""
        for path in self.paths(name):
            try:
                text = rejoined(path.read_text(encoding="utf-8"), subject)
            except (OSError, UnicodeDecodeError):
                continue
            if without_name(text, subject, "") != text:
                yield path, text

    def both(self, subject: Subject) -> Iterator[tuple[Path, str]]:
        yield from self.naming(REPORT, subject)
        yield from self.naming(UNFINISHED, subject)

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        for path, text in self.both(subject):
            yield path.name, {"file": path.name, "text": lines_naming(text, subject)}

    def count(self, subject: Subject) -> int:
        return sum(1 for _found in self.both(subject))

    def erase(self, subject: Subject, pseudonym: str, lease: Lease) -> int:
        changed = self.count(subject)
        for path in self.paths(UNFINISHED):
            path.unlink(missing_ok=True)
        for path, text in self.naming(REPORT, subject):
            write_whole(path, without_name(text, subject, pseudonym))
        return changed

    def remarks(self, subject: Subject) -> tuple[str, ...]:
        return ()


# Reports are made of feedback, and their files of reports: they come first, and are erased last.
personal_data.register(SavedReports())
personal_data.register(
    KeptReports(BetaSnapshot, names=("taken_by",), texts=("data",), also=requoted, shown=own_quotes),
)
personal_data.register(
    PersonalDataTable(
        BetaFeedback,
        names=("source",),
        elsewhere=("participant", *SAID),
        indexed=("source",),
        owned=refers_to_users("assignee"),
        also=unsaid,
        shown=own_words,
    )
)
personal_data.register(Triages(AuditEvent, texts=("before", "after"), also=triaged))
personal_data.register(Tags(FeedbackTag, elsewhere=("name",), also=renamed_tag))
personal_data.register(
    PersonalDataTable(
        BetaProgramme,
        texts=("product",),
        elsewhere=("name", "allowed_origins"),
        also=unique_name,
        remarks=about_origins,
    )
)
