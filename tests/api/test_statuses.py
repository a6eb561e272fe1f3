"""docs/statuses.md lists every status, doubt and warning of the code, and no other."""

import re
from pathlib import Path
from typing import get_args

import pytest
from django.db.models import BooleanField
from vigie_client.contract import STATUSES

from agents import enrolment
from agents.models import Agent
from backups.models import BackupEntry, OffsiteCopy, RestoreDrill, Status
from backups.reasons import DOUBTS, SPELLINGS, WARNINGS
from monitoring.api.serializers import OVERALL, STATES
from monitoring.models import Incident
from monitoring.models.targets import Exclusion
from monitoring.probe.kinds import ErrorKind
from portal.base.findings import Severity
from portal.models import JobRun, OutboxMessage
from portal.status import health
from usage.api.serializers import ITEM_STATUSES
from usage.clocks import ClockNote
from usage.models import Run

PAGE = Path(__file__).parent.parent.parent / "docs" / "statuses.md"
WORDS = ("nothing", "wait", "tell")
CODES = {
    "Backup status": Status.values,
    "Doubts": DOUBTS,
    "Warnings": WARNINGS.keys() - DOUBTS,
    "Spellings": SPELLINGS,
    "State of an off-site copy": OffsiteCopy.State.values,
    "Status of a restore drill": RestoreDrill.Status.values,
    "Storage of a backup": BackupEntry.Promotion.values,
    "Machine status": Agent.Status.values,
    "Liveness": Agent.Liveness.values,
    "Enrolment": [enrolment.ENROLLED, enrolment.REACTIVATED, enrolment.REPLAYED],
    "Intake": ITEM_STATUSES,
    "Documents": [*STATUSES, "other"],
    "Quota": [field.name for field in Run._meta.fields if isinstance(field, BooleanField)],
    "Sender's clock": ClockNote.values,
    "Target state": STATES,
    "Overall state": OVERALL,
    "Error kinds": [kind.value for kind in ErrorKind],
    "Excuses": Exclusion.values,
    "Incident rules": Incident.Rule.values,
    "Message status": OutboxMessage.Status.values,
    "Message state": OutboxMessage.State.values,
    "Severity": [str(value) for value in Severity.values],
    "Job status": JobRun.Status.values,
    "Health checks": get_args(health.Word),
}


def tables():
    """Rows of each table by its heading: (code, meaning, what to do)."""
    found, heading = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif match := re.fullmatch(r"\| `([^`]+)` \| (.+) \| (.+) \|", line):
            found.setdefault(heading, []).append(match.groups())
    return found


TABLES = tables()


def test_every_table_is_compared_with_the_code():
    assert list(TABLES) == list(CODES)


@pytest.mark.parametrize("heading", CODES)
def test_table_lists_exactly_the_codes_in_the_code(heading):
    assert [code for code, _, _ in TABLES[heading]] == list(dict.fromkeys(code for code, _, _ in TABLES[heading]))
    assert {code for code, _, _ in TABLES[heading]} == set(CODES[heading])


@pytest.mark.parametrize("heading", CODES)
def test_every_code_has_an_action_for_programs(heading):
    assert {word for _, _, word in TABLES[heading]} <= set(WORDS)
