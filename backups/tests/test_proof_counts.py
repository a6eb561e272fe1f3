"""Figures, finding, digest, metrics, list and API count proofs of the same databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from backups import findings
from backups.drills import proofs, runs
from backups.drills.outcomes import PROVEN, UNSUPPORTED
from backups.drills.tests.dumps import sqlite_dump, store
from backups.models import ExpectedBackupJob, RestoreDrill, Status
from backups.panels import backups_tile, count_jobs, describe_proof, machine_databases_section
from backups.scanner import digest
from backups.tests.admin_pages import listed_databases
from backups.tests.factories import AGENT, make_finished_scan, set_status
from portal.base.findings import SHOWN, Severity
from portal.models import OutboxMessage
from portal.status.metrics import render_metrics
from portal.work import jobs

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LOST = [{"code": "not_restorable", "error": "no such table"}]

# What is so of each database: its status, its fields, and whether it is monitored, protected, proven, or lost its proof.
# Times are offsets from now.
CASES = {
    "proven": (Status.SUCCESS, {"proven_at": -DAY, "proven_until": 8 * DAY}, "monitored protected proven"),
    "proven_missing": (Status.MISSING, {"proven_at": -DAY, "proven_until": 8 * DAY}, "monitored proven"),
    "proven_paused": (Status.SUCCESS, {"proven_at": -DAY, "paused_until": HOUR}, "proven"),
    "proven_inactive": (Status.SUCCESS, {"proven_at": -DAY, "is_active": False}, "proven"),
    "proven_resumed": (
        Status.SUCCESS,
        {"proven_at": -30 * DAY, "proven_until": -21 * DAY, "paused_until": -HOUR},
        "monitored protected proven",
    ),
    "proven_without_drills": (
        Status.SUCCESS,
        {"proven_at": -99 * DAY, "drill_every_days": 0},
        "monitored protected proven",
    ),
    "expired": (Status.SUCCESS, {"proven_at": -10 * DAY, "proven_until": -DAY}, "monitored protected lost"),
    "expired_inactive": (
        Status.SUCCESS,
        {"proven_at": -10 * DAY, "proven_until": -DAY, "is_active": False},
        "proven",
    ),
    "lost": (
        Status.SUCCESS,
        {"proven_at": -9 * DAY, "proof_lost": LOST, "proof_lost_at": -DAY},
        "monitored protected lost",
    ),
    "lost_failed": (Status.FAILED, {"proof_lost": LOST, "proof_lost_at": -2 * DAY}, "monitored lost"),
    "lost_inactive": (Status.SUCCESS, {"proof_lost": LOST, "proof_lost_at": -DAY, "is_active": False}, "lost"),
    "never": (Status.SUCCESS, {}, "monitored protected"),
    "never_without_drills": (Status.SUCCESS, {"drill_every_days": 0, "next_drill_at": None}, "monitored protected"),
    "unsupported": (Status.SUCCESS, {}, "monitored protected"),
    "proven_then_unsupported": (
        Status.SUCCESS,
        {"proven_at": -3 * DAY, "proven_until": 6 * DAY},
        "monitored protected proven",
    ),
}
GO = b"-- a script of another system\nGO\nCREATE TABLE a (id integer);\n"


def named(*words: str) -> set[str]:
    """Return the databases of which all these words are so."""
    return {name for name, (_status, _fields, what) in CASES.items() if set(words) <= set(what.split())}


WATCHED, PROTECTED = len(named("monitored")), len(named("monitored", "protected"))
WATCHED_PROVEN, WATCHED_LOST = named("monitored", "proven"), named("monitored", "lost")


@pytest.fixture(autouse=True)
def databases(make_job, channel):
    """Make a database of each case, drill those that no sandbox supports, and expire what is too old."""
    cache.clear()
    now = timezone.now()
    for name, (status, fields, _what) in CASES.items():
        moments = {key: now + value if isinstance(value, timedelta) else value for key, value in fields.items()}
        job = make_job(name, **{"next_drill_at": now + DAY} | moments)
        set_status(job, status)
        if "unsupported" in name:
            store(job, GO)
            runs.request_drills([job])
    runs.run_due()
    proofs.expire_proofs(now)
    make_finished_scan()


def by_name() -> dict[str, ExpectedBackupJob]:
    return {job.database_name: job for job in ExpectedBackupJob.objects.all()}


def test_cases_differ_wherever_a_wrong_set_would_be_counted():
    """Each set of databases has a size of its own."""
    sizes = [
        len(CASES),
        WATCHED,
        PROTECTED,
        len(named("proven")),
        len(WATCHED_PROVEN),
        len(named("protected", "proven")),
    ]
    sizes += [len(named("lost")), len(WATCHED_LOST), len(named("lost", "protected"))]
    assert sizes == [15, 11, 9, 8, 5, 4, 4, 3, 2]
    assert RestoreDrill.objects.filter(status=UNSUPPORTED).count() == 2


def test_tile_counts_protected_and_proven_databases_of_the_monitored_ones():
    counts = count_jobs(timezone.now())
    assert (counts.watched, counts.protected, counts.proven) == (11, 9, 5)
    tile = backups_tile(timezone.now())
    assert (tile.figure, tile.caption) == ("9 of 11", "databases protected, 5 proven")


def test_digest_counts_and_names_what_is_not_proven():
    lease = jobs.claim_cycle("backups.digest", "this week")
    assert lease is not None
    digest.send_weekly_digest(lease)

    message = OutboxMessage.objects.get(subject="backups:digest")
    assert message.title == "Backups: 9 of 11 databases are protected, 5 proven"
    unproven = [line.split()[0] for line in message.text.splitlines() if ": not proven. " in line]
    assert unproven == sorted(WATCHED_LOST)
    assert message.severity == Severity.WARNING


def test_finding_names_monitored_databases_that_lost_their_proof_the_longest_ago_first():
    jobs_ = by_name()
    found = list(findings.unproven_databases(timezone.now()))
    assert [finding.key for finding in found] == [
        f"backups.proof:{jobs_[name].pk}" for name in ("lost_failed", "lost", "expired")
    ]
    assert {finding.severity for finding in found} == {Severity.CRITICAL}
    assert [finding.since for finding in found] == [
        jobs_[name].proof_lost_at for name in ("lost_failed", "lost", "expired")
    ]


def test_further_databases_without_proof_are_counted_in_one_finding(make_job):
    for number in range(SHOWN):
        make_job(f"more{number}", proof_lost=LOST, proof_lost_at=timezone.now())

    found = list(findings.unproven_databases(timezone.now()))

    assert len(found) == SHOWN + 1
    assert found[-1].text == f"The backups of {len(WATCHED_LOST)} more databases are not proven."
    assert found[-1].url.endswith("?proof=lost")


def test_metrics_count_monitored_databases():
    families = text_string_to_metric_families(render_metrics(timezone.now()).decode())
    found = {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
    names = ("protected", "proven", "proof_lost", "failing")
    assert [found[f"vigie_backups_{name}"] for name in names] == [9, 5, 3, 2]


def test_api_says_of_each_database_whether_it_is_proven(call, staff_token):
    results = call("GET", "backups/jobs", staff_token, limit=100).json()["results"]
    assert {row["database_name"] for row in results if row["proven"]} == named("proven")
    assert {row["database_name"] for row in results if row["protected"]} == named("monitored", "protected")
    assert {row["database_name"] for row in results if row["proven_at"]} == named("proven") | {"lost", "expired"}


@pytest.mark.parametrize(
    ("proof", "names"),
    [
        ("yes", named("proven")),
        ("lost", named("lost")),
        ("never", {"never", "never_without_drills", "unsupported"}),
    ],
)
def test_list_is_filtered_by_proof_whether_monitored_or_not(admin_client, proof, names):
    assert listed_databases(admin_client, proof=proof) == names


def test_badge_says_proven_not_proven_or_no_drill_yet():
    words: dict[str, set[str]] = {}
    for name, job in by_name().items():
        words.setdefault(describe_proof(job)[0], set()).add(name)
    assert words == {
        "proven": named("proven"),
        "not proven": named("lost"),
        "no drill yet": {"never", "never_without_drills", "unsupported"},
    }
    section = machine_databases_section(AGENT)
    assert sum("badge-bad" in row[2] for row in section.rows) == len(named("lost"))


def test_codes_say_why_the_proof_is_lost():
    codes = {name: [why["code"] for why in job.proof_lost] for name, job in by_name().items() if job.proof_lost}
    assert codes == {
        "expired": ["proof_expired"],
        "lost": ["not_restorable"],
        "lost_failed": ["not_restorable"],
        "lost_inactive": ["not_restorable"],
    }


def test_good_drill_of_a_lost_one_is_counted_at_once(make_job):
    job = by_name()["lost"]
    store(job, sqlite_dump(a=1))
    runs.request_drills([job])

    runs.run_due()

    assert RestoreDrill.objects.get(job=job).status == PROVEN
    counts = count_jobs(timezone.now())
    assert (counts.proven, counts.protected) == (6, 9)
    assert len(list(findings.unproven_databases(timezone.now()))) == 2
