"""Personal data of usage: runs, sessions, features, errors, licences and reports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from portal.base.files import temporary_files, write_whole
from portal.privacy import PersonalDataTable, Row, Subject, personal_data
from portal.work.jobs import Lease
from usage.guardian.reports import FILE
from usage.models import FeatureUsage, GuardianReport, Licence, Run, UserError, UserSession

# The token that reported a row. Not indexed, so the tables are scanned only if a token has a name of the subject.
REPORTER = "source"


def clear_location(session: UserSession, subject: Subject, pseudonym: str) -> Row:
    is_own = subject.is_named(session.user_email)
    return {"ip": "", "user_agent": ""} if is_own else {}


def clear_digest(run: Run, subject: Subject, pseudonym: str) -> Row:
    """Clear the hash, since guesses of the machine's id could be tested against it: all its other input is stored."""
    return {"digest": ""} if subject.is_machine_called(run.machine_id) else {}


def hide_other_person(row: Any, subject: Subject) -> Row:
    """Hide the person of a row if the subject is only its reporter."""
    if subject.is_named(row.user_email):
        return {}
    return {name: "" for name in ("user_email", "ip", "user_agent") if hasattr(row, name)}


def reporter_columns(subject: Subject) -> Sequence[str]:
    return (REPORTER,) if subject.bears else ()


def run_reporter_columns(subject: Subject) -> Sequence[str]:
    """Search by token, except for machines: they report only their own runs, which the index on their id finds."""
    return ("reported_by",) if subject.bears and not subject.is_machine else ()


def own_data(report: GuardianReport, subject: Subject) -> Row:
    return {"data": keep_own_users(report.data, subject)}


def keep_own_users(data: Any, subject: Subject) -> Any:
    """Remove the other people from a report."""
    if not isinstance(data, dict) or not isinstance(data.get("users"), list):
        return data
    return data | {"users": [user for user in data["users"] if subject.is_in(json.dumps(user, ensure_ascii=False))]}


def read_json(text: str) -> Any:
    """Return the decoded text, or None if it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


class ReportFile:
    """The file of the newest report, which is replaced atomically. Registered like a PersonalDataTable.

    Temporary files of writers that were killed are exported too, and deleted. If their writer is still running, it
    fails, and the next report writes the file again.
    """

    label = FILE

    @property
    def path(self) -> Path:
        return Path(settings.REPORTS_ROOT) / self.label

    @property
    def unfinished(self) -> list[Path]:
        return sorted(temporary_files(self.path)) if self.path.parent.is_dir() else []

    def text(self, path: Path, subject: Subject) -> str | None:
        """Return the content, or None if the file is missing or does not name the subject."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        return text if subject.is_in(text) or self.pseudonymize(text, subject, "") != text else None

    def pseudonymize(self, text: str, subject: Subject, pseudonym: str) -> str:
        """Replace the subject's names. A file that is not JSON becomes empty."""
        data = read_json(text)
        if data is None:
            return ""
        replaced = subject.replaced(data, pseudonym)
        return text if replaced == data else json.dumps(replaced, indent=2, ensure_ascii=False) + "\n"

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        for path in (self.path, *self.unfinished):
            text = self.text(path, subject)
            if text is not None:
                yield path.name, {"file": path.name, "data": keep_own_users(read_json(text), subject)}

    def count(self, subject: Subject) -> int:
        return sum(self.text(path, subject) is not None for path in (self.path, *self.unfinished))

    def erase(self, subject: Subject, pseudonym: str, lease: Lease) -> int:
        """Pseudonymize the file, and delete temporary ones, which may end in the middle of a name."""
        changed = self.count(subject)
        for path in self.unfinished:
            path.unlink(missing_ok=True)
        text = self.text(self.path, subject)
        if text is not None:
            content = self.pseudonymize(text, subject, pseudonym)
            if content:
                write_whole(self.path, content)
            else:
                self.path.unlink(missing_ok=True)
        return changed

    def remarks(self, subject: Subject) -> tuple[str, ...]:
        return ()


# Erasure runs in reverse order of registration: reports are derived from activity, and files from reports.
personal_data.register(ReportFile())
personal_data.register(PersonalDataTable(GuardianReport, names=("requested_by",), texts=("data",), shown=own_data))
for activity, texts in ((FeatureUsage, ("feature_name", "endpoint")), (UserError, ("endpoint", "error_message"))):
    personal_data.register(
        PersonalDataTable(
            activity,
            names=("user_email", REPORTER),
            texts=texts,
            indexed=("user_email",),
            searched=reporter_columns,
            shown=hide_other_person,
        )
    )
personal_data.register(
    PersonalDataTable(
        UserSession,
        names=("user_email", REPORTER),
        indexed=("user_email",),
        searched=reporter_columns,
        also=clear_location,
        shown=hide_other_person,
    )
)
personal_data.register(
    PersonalDataTable(
        Run,
        names=("reported_by",),
        machines=("machine_id",),
        indexed=("machine_id",),
        searched=run_reporter_columns,
        also=clear_digest,
        unread=("documents",),
    )
)
personal_data.register(PersonalDataTable(Licence, texts=("customer",)))
