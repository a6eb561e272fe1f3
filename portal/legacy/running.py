"""Import files: first all of one kind, then the next, so that backups find the databases that they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from portal import audit
from portal.legacy.errors import UnreadableFile
from portal.legacy.files import LegacyFile, open_legacy_file
from portal.legacy.registry import ACTOR, ImportOptions, LegacyKind, legacy_kinds
from portal.legacy.reports import ImportReport

Result = TypeVar("Result")
UNRECOGNIZED = UnreadableFile("unrecognized", "it holds no data that can be imported")


@dataclass
class FileReport:
    """Reports on one file, by kind. With an `error`, it could not be read, or not to its end."""

    path: Path
    reports: list[ImportReport] = field(default_factory=list)
    error: UnreadableFile | None = None

    @property
    def is_whole(self) -> bool:
        return self.error is None and not any(report.unreadable for report in self.reports)

    def as_json(self) -> dict[str, Any]:
        error = self.error and {"code": self.error.code, "text": str(self.error)}
        return {"path": str(self.path), "error": error, "imports": [report.as_json() for report in self.reports]}


def import_files(paths: Iterable[Path], options: ImportOptions) -> list[FileReport]:
    """Import the files, or find out what that would do. Raises DatabaseError: what was written by then stays."""
    found = [FileReport(path) for path in paths]
    files = [attempt(report, open_legacy_file, report.path) for report in found]
    for kind in legacy_kinds.all():
        for report, file in zip(found, files, strict=True):
            if file is not None and kind.matches(file):
                attempt(report, import_kind, kind, file, report, options)
    for report in found:
        if not report.reports and report.error is None:
            report.error = UNRECOGNIZED
    return found


def attempt(report: FileReport, work: Callable[..., Result], *arguments: Any) -> Result | None:
    """Return what the work returns. The first failure to read the file goes to its report."""
    try:
        return work(*arguments)
    except UnreadableFile as error:
        report.error = report.error or error
    except OSError as error:
        report.error = report.error or UnreadableFile("unreadable", f"it can’t be read: {error.strerror}")
    return None


def import_kind(kind: LegacyKind, file: LegacyFile, report: FileReport, options: ImportOptions) -> None:
    found = ImportReport(kind.name)
    report.reports.append(found)
    try:
        kind.load(file, found, options)
    finally:
        if options.applies and found.written:
            after = {"data": kind.name, **{effect: found.counts[effect] for effect in ("created", "updated")}}
            audit.record_event("portal.imported", actor=ACTOR, after=after)
