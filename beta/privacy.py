"""Personal data of the beta: feedback, and the reports that quote it.

An erasure keeps feedback without names. Names are searched for as words in comments and in the reports that quote
them, since people write about each other.
"""

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
# Characters of a name before an ellipsis that count as the name: reports cut long comments.
MIN_CUT_NAME = 4
# Fields of feedback that anybody can write.
WRITABLE_TEXTS = ("comment", "page", "app_version", "fix_version")
TRIAGED = "monitoring.feedback_triaged"
# A word in a saved report that is longer than a line, with the rest of the line in which it ends.
BROKEN_WORD = re.compile(r"^(?: {4}| ?\d+\. )?\S{40,}(?:\n *\S{40,}$)*\n *\S.*$", re.MULTILINE)


def pseudonymize_text(text: str, subject: Subject, pseudonym: str) -> str:
    text = subject.replaced(text, pseudonym, as_word=True)
    if subject.is_participant:
        text = name_pattern(subject).sub(pseudonym, text)
    return cut_name_pattern(subject).sub(pseudonym, text) if ELLIPSIS in text else text


def name_pattern(subject: Subject) -> re.Pattern[str]:
    """Match a name as a word, in any spelling and across line ends."""
    return re.compile(f"{BEFORE}(?:{'|'.join(map(spelling_pattern, subject.names))}){AFTER}")


def cut_name_pattern(subject: Subject) -> re.Pattern[str]:
    """Match the beginning of a name that was cut off by an ellipsis."""
    beginnings = [
        spelling_pattern(name[:length]) for name in subject.names for length in range(MIN_CUT_NAME, len(name) + 1)
    ]
    return re.compile(f"{BEFORE}(?:{'|'.join(beginnings) or '(?!)'})(?={ELLIPSIS})")


def lines_naming(text: str, subject: Subject) -> str:
    """Return the lines of a text that name the subject."""
    lines = text.splitlines()
    own = [line for line in lines if pseudonymize_text(line, subject, "") != line]
    return text if len(own) == len(lines) else "\n".join([*own, LEFT_OUT])


# --- Feedback --------------------------------------------------------------------------------------------------------


def is_author(feedback: BetaFeedback, subject: Subject) -> bool:
    """Return True if the subject is the participant. Participants are stored in lower case."""
    if subject.is_machine:
        return False
    names = re.compile("|".join(map(spelling_pattern, subject.names)))
    return names.fullmatch(strip_format_characters(feedback.participant)) is not None or subject.is_named(
        feedback.participant
    )


def anonymize_feedback(feedback: BetaFeedback, subject: Subject, pseudonym: str) -> Row:
    """Remove the name, and the digest of the content: guesses could be tested against it."""
    changes: Row = {name: pseudonymize_text(getattr(feedback, name), subject, pseudonym) for name in WRITABLE_TEXTS}
    if is_author(feedback, subject):
        changes["participant"] = pseudonym
    is_touched = any(value != getattr(feedback, name) for name, value in changes.items())
    return changes | ({"digest": ""} if is_touched or subject.is_named(feedback.source) else {})


def export_feedback(feedback: BetaFeedback, subject: Subject) -> Row:
    """Export feedback of others only where it names the subject."""
    if is_author(feedback, subject):
        return {}
    return {"participant": LEFT_OUT, "comment": lines_naming(feedback.comment, subject)}


def unique_pseudonym(row: Any, subject: Subject, pseudonym: str) -> Row:
    """Replace the name in a unique column, and append the primary key to keep it unique."""
    name = pseudonymize_text(row.name, subject, pseudonym)
    if name == row.name:
        return {}
    number = f" {row.pk}"
    return {"name": name[: row._meta.get_field("name").max_length - len(number)] + number}


def anonymize_tag(tag: FeedbackTag, subject: Subject, pseudonym: str) -> Row:
    """Anonymize a tag, which is in lower case."""
    return unique_pseudonym(tag, lowercase_subject(subject), pseudonym)


def lowercase_subject(subject: Subject) -> Subject:
    return replace(subject, names=tuple(name.lower() for name in subject.names))


def anonymize_triage(event: AuditEvent, subject: Subject, pseudonym: str) -> Row:
    """Anonymize the values of triage in the audit trail, before and after."""
    return {name: anonymize_values(getattr(event, name), subject, pseudonym) for name in ("before", "after")}


def anonymize_values(values: Any, subject: Subject, pseudonym: str) -> Any:
    values = subject.replaced(values, pseudonym)
    for name, spelled in (("tags", lowercase_subject(subject)), ("fix_version", subject)):
        if isinstance(values, dict) and isinstance(values.get(name), str):
            values = values | {name: pseudonymize_text(values[name], spelled, pseudonym)}
    return values


class TriageEvents(PersonalDataTable):
    """The triage events of the audit trail."""

    @property
    def all_rows(self) -> Any:
        return super().all_rows.filter(action=TRIAGED)


class SmallTable(PersonalDataTable):
    """A table of which all rows are read: no database finds names cut off or with invisible characters."""

    def holding_any(self, needles: Any, columns: Any) -> Any:
        return self.all_rows


def origin_remarks(subject: Subject) -> Iterator[str]:
    for programme in BetaProgramme.objects.order_by("pk"):
        if subject.is_in(programme.allowed_origins):
            text = _("The allowed origins of beta programme %(number)d contain the name. Change them in the portal.")
            yield text % {"number": programme.pk}


# --- Reports ---------------------------------------------------------------------------------------------------------


def anonymize_snapshot(snapshot: BetaSnapshot, subject: Subject, pseudonym: str) -> Row:
    """Anonymize the comments of a report. Nothing else ever changes a snapshot."""
    data = subject.replaced(snapshot.data, pseudonym)
    for name, texts in quotes_in(data).items():
        data = data | {name: [anonymize_quote(text, subject, pseudonym) for text in texts]}
    return {"data": data}


def quotes_in(data: Any) -> dict[str, list[Any]]:
    """Return the comments and bugs that a report quotes."""
    known = data if isinstance(data, dict) else {}
    return {name: known[name] for name in ("ux_comments", "open_bugs") if isinstance(known.get(name), list)}


def anonymize_quote(quote: Any, subject: Subject, pseudonym: str) -> Any:
    if isinstance(quote, dict):
        return {name: anonymize_quote(value, subject, pseudonym) for name, value in quote.items()}
    return pseudonymize_text(quote, subject, pseudonym) if isinstance(quote, str) else quote


def export_quotes(snapshot: BetaSnapshot, subject: Subject) -> Row:
    """Export a report without the quotes that do not name the subject."""
    own = {
        name: [quote for quote in quotes if anonymize_quote(quote, subject, "") != quote]
        for name, quotes in quotes_in(snapshot.data).items()
    }
    return {"data": snapshot.data | own} if own else {}


def join_lines(word: str) -> str:
    return re.sub(r"\n *", "", word)


def join_broken_words(text: str, subject: Subject) -> str:
    """Join the words of a saved report that name the subject only once their lines are joined."""

    def join_if_naming(word: re.Match[str]) -> str:
        left = join_lines(pseudonymize_text(word[0], subject, ""))
        return join_lines(word[0]) if pseudonymize_text(left, subject, "") != left else word[0]

    return BROKEN_WORD.sub(join_if_naming, text)


class SavedReportFiles:
    """The reports that were saved as text files. An erasure replaces them atomically.

    Temporary files of writers that were killed are deleted: they may be cut in the middle of a name.
    """

    label = "beta_report_*.txt"

    def paths(self, *names: re.Pattern[str]) -> list[Path]:
        folder = Path(settings.REPORTS_ROOT)
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return [path for name in names for path in files if name.fullmatch(path.name)]

    def files_naming(self, subject: Subject, *names: re.Pattern[str]) -> Iterator[tuple[Path, str]]:
        """Yield the files that name the subject, with their texts."""
        for path in self.paths(*names):
            try:
                text = join_broken_words(path.read_text(encoding="utf-8"), subject)
            except (OSError, UnicodeDecodeError):
                continue
            if pseudonymize_text(text, subject, "") != text:
                yield path, text

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        for path, text in self.files_naming(subject, REPORT, UNFINISHED):
            yield path.name, {"file": path.name, "text": lines_naming(text, subject)}

    def count(self, subject: Subject) -> int:
        return sum(1 for _file in self.files_naming(subject, REPORT, UNFINISHED))

    def erase(self, subject: Subject, pseudonym: str, lease: Lease) -> int:
        changed = self.count(subject)
        for path in self.paths(UNFINISHED):
            path.unlink(missing_ok=True)
        for path, text in self.files_naming(subject, REPORT):
            write_whole(path, pseudonymize_text(text, subject, pseudonym))
        return changed

    def remarks(self, subject: Subject) -> tuple[str, ...]:
        return ()


# Tables are erased in reverse order: feedback before the snapshots made of it, and these before the files.
personal_data.register(SavedReportFiles())
personal_data.register(
    SmallTable(BetaSnapshot, names=("taken_by",), texts=("data",), also=anonymize_snapshot, shown=export_quotes),
)
personal_data.register(
    PersonalDataTable(
        BetaFeedback,
        names=("source",),
        elsewhere=("participant", *WRITABLE_TEXTS),
        indexed=("source",),
        owned=refers_to_users("assignee"),
        also=anonymize_feedback,
        shown=export_feedback,
    )
)
personal_data.register(TriageEvents(AuditEvent, texts=("before", "after"), also=anonymize_triage))
personal_data.register(SmallTable(FeedbackTag, elsewhere=("name",), also=anonymize_tag))
personal_data.register(
    PersonalDataTable(
        BetaProgramme,
        texts=("product",),
        elsewhere=("name", "allowed_origins"),
        also=unique_pseudonym,
        remarks=origin_remarks,
    )
)
