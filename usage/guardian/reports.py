"""Create usage digests: a row, a mail and a file.

Row and mail are written in one transaction, the file after it. If the file cannot be written, row and mail stay, and
the job fails: a finding says so until a later report is written.
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
from usage.guardian.mail import build_notice
from usage.guardian.summary import build_digest
from usage.models import GuardianReport

EVERY = timedelta(hours=2)
# Time for the tracking buffers to be written: usually a second, longer with a slow database.
OFFSET = timedelta(minutes=2)
FILE = "usage_report.json"


class FileNotWritten(Exception):
    """Row and mail were written, but the file is still that of the report before."""


def create_periodic(lease: Lease) -> dict[str, Any]:
    """Report on the two hours before the lease's cycle. Raises FileNotWritten.

    Idempotent: after a kill, the next attempt finds the row and writes what is missing.
    """
    end = datetime.fromisoformat(lease.cycle_key) - OFFSET
    start = end - EVERY
    report = create(start, end, build_digest(start, end), lease=lease)
    write_file(report)
    return {"report": report.pk, "period": report.period}


def create(
    start: datetime,
    end: datetime,
    data: dict[str, Any],
    requested_by: str = "",
    *,
    is_mailed: bool = True,
    lease: Lease | None = None,
) -> GuardianReport:
    """Write the report and queue its mail. For a periodic report that exists already, return the existing one.

    `data` is computed by the caller, outside of the transaction, which on SQLite blocks all other writers.
    """
    with transaction.atomic():
        if lease is not None:
            lease.extend()
        key = {"period_start": start, "period_end": end, "requested_by": requested_by}
        values = {"created_at": timezone.now(), "data": data}
        if requested_by:
            report = GuardianReport.objects.create(**key, **values)
        else:
            report = GuardianReport.objects.get_or_create(**key, defaults=values)[0]
        if is_mailed:
            with in_portal_language():
                notify(build_notice(report))
    return report


# --- The file --------------------------------------------------------------------------------------------------------


def write_file(report: GuardianReport) -> Path:
    """Replace the file of the last report, atomically. Raises FileNotWritten."""
    path = Path(settings.REPORTS_ROOT) / FILE
    text = json.dumps(report.data, ensure_ascii=False, indent=2)
    try:
        write_whole(path, f"{text}\n")
    except OSError as error:
        raise FileNotWritten(f"{path} could not be written: {error.strerror}") from error
    return path
