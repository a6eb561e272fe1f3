"""The guardian's reports: a row, the mail that is queued with it, and a file for whoever reads files.

The row is the report. Its mail is written in its transaction; the file follows, and a file that cannot be written
undoes neither: the job fails once both are there, which is a finding until a later report is written.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from portal.base.files import write_whole
from portal.notifications import in_portal_language, notify
from portal.work.jobs import Lease
from usage.guardian.mail import notice
from usage.guardian.summary import summary
from usage.models import GuardianReport

EVERY = timedelta(hours=2)
# What is tracked is written within a second or so, and what a slow database kept waiting a little later.
OFFSET = timedelta(minutes=2)
FILE = "usage_report.json"


class FileNotWritten(Exception):
    """The report is kept and its mail queued, but its file is still the one before."""


def write_periodic(lease: Lease) -> dict[str, Any]:
    """The report of the two hours that ended as the lease's cycle began, whenever in it that is. Raises FileNotWritten.

    Done again, after a kill, it finds the row and writes what is missing.
    """
    end = datetime.fromisoformat(lease.cycle_key) - OFFSET
    start = end - EVERY
    report = keep(start, end, summary(start, end), lease=lease)
    save(report)
    return {"report": report.pk, "period": str(report)}


def keep(
    start: datetime,
    end: datetime,
    data: dict[str, Any],
    requested_by: str = "",
    *,
    is_mailed: bool = True,
    lease: Lease | None = None,
) -> GuardianReport:
    """The report, with its mail queued once. Of a period there is one that nobody asked for: the first.

    The figures come from outside: a transaction of SQLite keeps everybody else from writing.
    """
    with transaction.atomic():
        if lease is not None:
            lease.extend()
        report = stored(start, end, requested_by, data)
        if is_mailed:
            with in_portal_language():
                notify(notice(report))
    return report


def stored(start: datetime, end: datetime, requested_by: str, data: dict[str, Any]) -> GuardianReport:
    period = {"period_start": start, "period_end": end, "requested_by": requested_by}
    new = {"created_at": timezone.now(), "data": data}
    if requested_by:
        return GuardianReport.objects.create(**period, **new)
    return GuardianReport.objects.get_or_create(**period, defaults=new)[0]


# --- The file --------------------------------------------------------------------------------------------------------


def save(report: GuardianReport) -> Path:
    """Puts the report in the place of the one before, as a whole or not at all. Raises FileNotWritten."""
    path = Path(settings.REPORTS_ROOT) / FILE
    text = json.dumps(report.data, ensure_ascii=False, indent=2)
    try:
        write_whole(path, f"{text}\n")
    except OSError as error:
        raise FileNotWritten(f"{path} could not be written: {error.strerror}") from error
    return path
