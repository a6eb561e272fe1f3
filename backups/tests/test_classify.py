"""Verdicts as a table of facts and statuses, without files or database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backups.cycles import Cycle
from backups.reasons import make_reason
from backups.scanner.claims import Claim
from backups.scanner.classify import CycleFacts, SizeLimits, classify_cycle, needs_staged_file
from backups.scanner.report import AgentReport
from backups.scanner.verify import MeasuredFile

AT = datetime(2025, 6, 12, 13, tzinfo=UTC)
CYCLE = Cycle(AT, AT - timedelta(minutes=10), AT + timedelta(minutes=30), AT + timedelta(hours=23, minutes=50))
BEFORE, AFTER = AT + timedelta(minutes=5), AT + timedelta(minutes=31)
HASH, OTHER = "a" * 64, "b" * 64
CLAIM = Claim(sha256=HASH, size=100)
REPORT = AgentReport("r.json", AT + timedelta(minutes=4))
FOUND = MeasuredFile(HASH, 100, (1, 2))
GOOD = CycleFacts(now=AFTER, cycle=CYCLE, report=REPORT, claim=CLAIM, staged=FOUND)
ABSENT = make_reason("file_absent", name="x")


def facts(**changes):
    return replace(GOOD, **changes)


NOTHING = {"report": None, "claim": None, "staged": None}
BROKEN = AgentReport("r.json", BEFORE, fault=make_reason("report_not_json"), is_complete=False)
WRONG = AgentReport("r.json", BEFORE, fault=make_reason("report_no_databases"))
SAYS_FAILED = Claim(failed=make_reason("step_failed", section="backup_process"))
FAULTY = Claim(faults=(make_reason("hash_missing", section="compress"),))


@pytest.mark.parametrize(
    ("given", "status", "codes"),
    [
        (facts(), "SUCCESS", ["verified"]),
        # MISSING
        (facts(**NOTHING), "MISSING", ["no_report"]),
        (facts(**NOTHING, now=CYCLE.deadline), None, []),
        (facts(**NOTHING, now=CYCLE.deadline + timedelta(microseconds=1)), "MISSING", ["no_report"]),
        (facts(**NOTHING, other=REPORT), "MISSING", ["not_listed"]),
        (facts(**NOTHING, absence_reason=make_reason("reports_unread", name="x.json", count=1)), "MISSING", ["reports_unread"]),
        (facts(**NOTHING, trouble=make_reason("folder_absent", folder="x")), "MISSING", ["no_report", "folder_absent"]),
        (facts(**NOTHING, may_be_missing=False), None, []),
        # FAILED
        (facts(**NOTHING, other=BROKEN), "FAILED", ["report_not_json"]),
        (facts(**NOTHING, other=BROKEN, now=BEFORE), None, []),
        (facts(**NOTHING, other=WRONG, now=BEFORE), "FAILED", ["report_no_databases"]),
        (facts(claim=SAYS_FAILED, now=BEFORE), "FAILED", ["step_failed"]),
        (facts(claim=FAULTY), "FAILED", ["hash_missing"]),
        (facts(claim=replace(SAYS_FAILED, faults=FAULTY.faults)), "FAILED", ["step_failed", "hash_missing"]),
        (facts(claim=SAYS_FAILED, staged=ABSENT), "FAILED", ["step_failed"]),
        (facts(claim=FAULTY, later="l.json", is_overwritten=True), "FAILED", ["hash_missing"]),
        # TRANSFER_INTEGRITY_FAILED
        (facts(staged=ABSENT), "TRANSFER_INTEGRITY_FAILED", ["file_absent"]),
        (facts(staged=replace(FOUND, sha256=OTHER)), "TRANSFER_INTEGRITY_FAILED", ["hash_differs"]),
        (facts(staged=replace(FOUND, sha256=OTHER, size=99)), "TRANSFER_INTEGRITY_FAILED", ["size_differs", "hash_differs"]),
        (facts(staged=replace(FOUND, size=99)), "TRANSFER_INTEGRITY_FAILED", ["size_differs"]),
        (facts(staged=replace(FOUND, is_stable=False)), "TRANSFER_INTEGRITY_FAILED", ["file_changed"]),
        (facts(staged=ABSENT, previous_hash=HASH), "TRANSFER_INTEGRITY_FAILED", ["file_absent"]),
        (facts(staged=ABSENT, now=BEFORE), None, []),
        (facts(staged=replace(FOUND, sha256=OTHER), now=BEFORE), None, []),
        (facts(staged=replace(FOUND, is_stable=False), now=BEFORE), None, []),
        # UNVERIFIED: the staged file is a later report's
        (facts(staged=None, later="l.json", is_overwritten=True), "UNVERIFIED", ["overwritten"]),
        (facts(staged=replace(FOUND, sha256=OTHER), later="l.json"), "UNVERIFIED", ["overwritten"]),
        (facts(staged=FOUND, later="l.json"), "SUCCESS", ["verified"]),  # the later one failed before it wrote anything
        # HASH_MISMATCH
        (facts(previous_hash=HASH), "HASH_MISMATCH", ["unchanged"]),
        (facts(previous_hash=OTHER), "SUCCESS", ["verified"]),
        (facts(now=BEFORE), "SUCCESS", ["verified"]),
    ],
)  # fmt: skip
def test_the_first_status_that_applies_is_the_verdict(given, status, codes):
    verdict = classify_cycle(given)
    assert (verdict.status, [why["code"] for why in verdict.reasons]) == (status, codes)


@pytest.mark.parametrize(
    ("given", "warnings"),
    [
        (facts(), []),
        (facts(report=replace(REPORT, moment=AT - timedelta(seconds=1))), ["early"]),
        (facts(report=replace(REPORT, moment=AT)), []),
        (facts(report=replace(REPORT, moment=AFTER + timedelta(minutes=6))), ["clock_skew"]),
        (facts(report=replace(REPORT, moment=AFTER + timedelta(minutes=5))), []),
        (facts(staged=replace(FOUND, doubts=("truncated_gzip",))), ["truncated_gzip"]),
        (facts(limits=SizeLimits(min_size=101)), ["too_small"]),
        (facts(limits=SizeLimits(min_size=100)), []),
        (facts(limits=SizeLimits(max_shrink_percent=50, usual=[200, 200, 10_000])), []),
        (facts(limits=SizeLimits(max_shrink_percent=50, usual=[201, 201, 1])), ["shrunk"]),
        (facts(limits=SizeLimits(max_shrink_percent=None, usual=[10_000])), []),
        (facts(limits=SizeLimits(max_shrink_percent=0, usual=[101])), ["shrunk"]),
        (facts(limits=SizeLimits(max_shrink_percent=50, usual=[])), []),
        (facts(previous_hash=HASH, limits=SizeLimits(min_size=101)), ["too_small"]),
        (facts(claim=SAYS_FAILED, report=replace(REPORT, moment=AT - timedelta(minutes=1))), ["early"]),
    ],
)
def test_warnings_accompany_the_status(given, warnings):
    assert list(classify_cycle(given).warnings) == warnings


@pytest.mark.parametrize(("minutes", "late"), [(30, False), (31, True)])
def test_report_after_the_deadline_is_late(minutes, late):
    report = replace(REPORT, moment=AT + timedelta(minutes=minutes))
    assert classify_cycle(facts(report=report, now=AT + timedelta(hours=2))).late == late


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        (facts(), True),
        (facts(later="l.json"), True),
        (facts(later="l.json", is_overwritten=True), False),
        (facts(claim=SAYS_FAILED), False),
        (facts(claim=FAULTY), False),
        (facts(**NOTHING), False),
    ],
)
def test_staged_file_is_needed_only_for_a_complete_claim(given, needed):
    assert needs_staged_file(given) == needed
