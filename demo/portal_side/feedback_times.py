"""Move feedback to the past, and keep the report of a time in the past."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta

from beta.models import BetaProgramme, BetaSnapshot
from beta.report import snapshots
from beta.report.gather import build_report


def main() -> None:
    """Set the times of feedback, then keep the report of `moment`, if there is one.

    Feedback is received when it is given, and a past report has only the checks until then.
    """
    data = json.load(sys.stdin)
    programme = BetaProgramme.objects.get(name=data["programme"])
    for number, given_at in data["given"].items():
        programme.feedback.filter(feedback_id=number).update(given_at=given_at, received_at=given_at)
    if data["moment"]:
        keep_report(programme, datetime.fromisoformat(data["moment"]))


def keep_report(programme: BetaProgramme, moment: datetime) -> None:
    """Write the snapshot, unless an interrupted run of the demo has done so."""
    near = (moment - timedelta(days=2), moment + timedelta(days=2))
    if programme.snapshots.filter(taken_at__range=near).exists():
        return
    ends = programme.ends
    programme.ends = moment.date()
    report = build_report(programme, moment)
    programme.ends = ends
    report["ends"] = str(programme.ends) if programme.ends else None
    snapshots.write_snapshot(programme, report, moment, BetaSnapshot.Reason.VERDICT)
