"""What usage holds of a subject: whose runs, whose sessions, whose errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from portal.base.files import unfinished_of, write_whole
from portal.privacy import PersonalDataTable, Row, Subject, personal_data
from portal.work.jobs import Lease
from usage.guardian.reports import FILE
from usage.models import FeatureUsage, GuardianReport, Licence, Run, UserError, UserSession

# The names of tokens: no index serves them, so these tables are read where a token carries a name of the subject.
TOLD_BY = "source"


def without_place(session: UserSession, subject: Subject, pseudonym: str) -> Row:
    own = subject.is_named(session.user_email)
    return {"ip": "", "user_agent": ""} if own else {}


def without_digest(run: Run, subject: Subject, pseudonym: str) -> Row:
    """It is a hash over the machine's id too, and all else it is made of stands beside it: a guess could be tested."""
    return {"digest": ""} if subject.is_machine_called(run.machine_id) else {}


def without_others(row: Any, subject: Subject) -> Row:
    """Who told of it, an application or a machine, is the subject: of whom stays out."""
    if subject.is_named(row.user_email):
        return {}
    return {name: "" for name in ("user_email", "ip", "user_agent") if hasattr(row, name)}


def told_by(subject: Subject) -> Sequence[str]:
    return (TOLD_BY,) if subject.bears else ()


def reported_by(subject: Subject) -> Sequence[str]:
    """A machine reports for itself alone, so its own index finds those."""
    return ("reported_by",) if subject.bears and not subject.is_machine else ()


def own_figures(report: GuardianReport, subject: Subject) -> Row:
    return {"data": figures_of(report.data, subject)}


def figures_of(data: Any, subject: Subject) -> Any:
    """A report without the other people in it."""
    if not isinstance(data, dict) or not isinstance(data.get("users"), list):
        return data
    return data | {"users": [user for user in data["users"] if subject.is_in(json.dumps(user, ensure_ascii=False))]}


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


class ReportFile:
    """The newest report as a file, which is replaced as it was written: whole or not at all.

    What never took its place, because its writer was killed, is shown with it, and goes. A writer who is still at it
    fails, says so, and is done again by the next report.
    """

    label = FILE

    @property
    def path(self) -> Path:
        return Path(settings.REPORTS_ROOT) / self.label

    @property
    def unfinished(self) -> list[Path]:
        return sorted(unfinished_of(self.path)) if self.path.parent.is_dir() else []

    def text(self, path: Path, subject: Subject) -> str | None:
        """None where there is none, or it does not name the subject."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        return text if subject.is_in(text) or self.renamed(text, subject, "") != text else None

    def renamed(self, text: str, subject: Subject, pseudonym: str) -> str:
        """What is no JSON is no report of ours, and goes."""
        try:
            data = json.loads(text)
        except ValueError:
            return ""
        replaced = subject.replaced(data, pseudonym)
        return text if replaced == data else json.dumps(replaced, indent=2, ensure_ascii=False) + "\n"

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        for path in (self.path, *self.unfinished):
            text = self.text(path, subject)
            if text is not None:
                yield path.name, {"file": path.name, "data": figures_of(parsed(text), subject)}

    def count(self, subject: Subject) -> int:
        return sum(self.text(path, subject) is not None for path in (self.path, *self.unfinished))

    def erase(self, subject: Subject, pseudonym: str, lease: Lease) -> int:
        """All that is unfinished goes: it may be cut in the middle of a name."""
        changed = self.count(subject)
        for path in self.unfinished:
            path.unlink(missing_ok=True)
        text = self.text(self.path, subject)
        if text is not None:
            renamed = self.renamed(text, subject, pseudonym)
            if renamed:
                write_whole(self.path, renamed)
            else:
                self.path.unlink(missing_ok=True)
        return changed

    def remarks(self, subject: Subject) -> tuple[str, ...]:
        return ()


# Reports are made of what people did, their files of reports: they come first, and are erased last.
personal_data.register(ReportFile())
personal_data.register(PersonalDataTable(GuardianReport, names=("requested_by",), texts=("data",), shown=own_figures))
for activity, texts in ((FeatureUsage, ("feature_name", "endpoint")), (UserError, ("endpoint", "error_message"))):
    personal_data.register(
        PersonalDataTable(
            activity,
            names=("user_email", TOLD_BY),
            texts=texts,
            indexed=("user_email",),
            searched=told_by,
            shown=without_others,
        )
    )
personal_data.register(
    PersonalDataTable(
        UserSession,
        names=("user_email", TOLD_BY),
        indexed=("user_email",),
        searched=told_by,
        also=without_place,
        shown=without_others,
    )
)
personal_data.register(
    PersonalDataTable(
        Run,
        names=("reported_by",),
        machines=("machine_id",),
        indexed=("machine_id",),
        searched=reported_by,
        also=without_digest,
        unread=("documents",),
    )
)
personal_data.register(PersonalDataTable(Licence, texts=("customer",)))
