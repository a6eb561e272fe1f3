"""Fuzzing of backup reports that machines deposit."""

import json
from datetime import UTC, datetime

from hypothesis import event, given
from hypothesis import strategies as st

from backups.reasons import LONGEST_TEXT, format_reason
from backups.scanner.claims import LARGEST_SIZE, SHA256
from backups.scanner.report import MAX_UNEXPECTED, parse_report
from tests.fuzz.checks import assert_is_storable
from tests.fuzz.strategies import CASES, bodies

AGENT, NAMED_AT = "agent_douala_prod_01", datetime(2025, 6, 12, 13, 0, tzinfo=UTC)
NAME = f"OPERATION_20250612_1300_{AGENT}.json"
WANTED = {"compta_db", "stock_db"}
TIMES = {"start_time": "2025-06-12T13:00:00Z", "end_time": "2025-06-12T13:00:41Z"}
FIRST = {
    "operation_id": "6f1c6f0e-3f0a-4f0f-9a35-2f3a5c1b7d10", "agent_id": AGENT, "timestamp": "2025-06-12T13:04:11Z",
    "databases": {
        name: {
            "backup_process": {"status": True, **TIMES, "size": 131227},
            "compress_process": {"status": True, "sha256": "2e" * 32, "size": 33972},
            "transfer_process": {"status": True, "error_message": None},
        }
        for name in ("compta_db", "stock_db")
    },
}  # fmt: skip
STEP = {"status": True, "message": "ok", **TIMES}
SECOND = {
    "agent_id": AGENT, "operation_start_time": "2025-06-12T20:00:00+00:00", "operation_end_time": "2025-06-12 20:06:00",
    "overall_status": "completed",
    "databases": {
        "compta_db": {
            "staged_file_name": "/home/agent/compta_db.sql.zst",
            "BACKUP": STEP | {"sha256_checksum": "07" * 32, "size": "96992"},
            "COMPRESS": STEP | {"status": "True", "sha256_checksum": "AF" * 32, "size_post_compress": 12152},
            "TRANSFER": STEP | {"error_message": "null"},
        }
    },
}  # fmt: skip
FAILED = {
    "timestamp": "2025-06-12T13:04:11Z",
    "databases": {"compta_db": {"BACKUP": {"status": False, "message": "no space"}}},
}
UTF16 = json.dumps(FIRST).encode("utf-16")


def read(content):
    return parse_report(NAME, NAMED_AT, AGENT, WANTED, content)


@CASES
@given(st.one_of(bodies(FIRST, SECOND, FAILED), st.just(UTF16), st.binary(max_size=50).map(b"\xef\xbb\xbf".__add__)))
def test_report_is_at_fault_by_a_code_or_claims_what_can_be_kept(content):
    report = read(content)
    event(report.fault["code"] if report.fault else "read")
    assert report.moment.tzinfo is UTC
    assert report.claims.keys() <= WANTED
    assert len(report.unexpected) <= MAX_UNEXPECTED
    reasons = [report.fault] if report.fault else []
    for claim in report.claims.values():
        reasons += [*claim.faults, *([claim.failed] if claim.failed else [])]
        assert claim.sha256 == "" or SHA256.fullmatch(claim.sha256)
        assert claim.size is None or 0 <= claim.size <= LARGEST_SIZE
        assert_is_storable([claim.steps, claim.staged_name])
    assert_is_storable([reasons, report.unexpected, sorted(report.spellings)])
    assert all(len(text) <= LONGEST_TEXT and text.isprintable() for text in report.unexpected)
    assert all(format_reason(why).isprintable() and len(format_reason(why)) < 3 * LONGEST_TEXT for why in reasons)
    if report.is_complete and report.fault is None:
        assert read(json.dumps(json.loads(content.decode("utf-8-sig")), indent=1).encode()) == report
