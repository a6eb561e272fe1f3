"""Fuzzing of run reports."""

import json
import re

from hypothesis import event, given
from vigie_client.contract import COUNTERS, DOCUMENT_KEYS, IDENTIFIER, MAX_DOCUMENTS, MAX_INTEGER

from portal.base.problems import Problem
from tests.fuzz.checks import assert_is_refusal, assert_is_storable, body_in
from tests.fuzz.strategies import CASES, PLANTED, bodies
from usage.ingestion.run_payload import OPTIONAL_IDENTIFIERS, read_run

DOCUMENTS = [
    {"ordinal": 0, "page_count": 12, "status": "success", "duration_ms": 840, "extension": ".pdf"},
    {"ordinal": 1, "page_count": None, "status": "failed", "duration_ms": 35, "extension": ".docx"},
]
RUN = {
    "run_id": "0f8fad5bd9cb469fa16570867728950e", "license_ref": "LIC-2041", "machine_id": "PC-LYON-07", "app_name": "gui_v6",
    "app_version": "6.0.3", "document_count": 2, "succeeded_count": 1, "failed_count": 1, "total_pages": 12,
    "documents": DOCUMENTS, "started_at": "2026-03-10T09:20:00Z", "sent_at": "2026-03-10T09:21:03Z",
}  # fmt: skip
LARGER = RUN | {"documents_omitted": 3, "document_count": 5, "succeeded_count": 3, "total_pages": 99}
EMPTY = RUN | dict.fromkeys(COUNTERS, 0) | {"documents": [], "license_ref": None}


@CASES
@given(bodies(RUN, LARGER, EMPTY))
def test_run_is_refused_by_a_code_or_kept_within_its_limits(raw):
    try:
        report = read_run(body_in(raw))
    except Problem as problem:
        return assert_is_refusal(problem, "validation_failed", "counters_mismatch")
    event("accepted")
    kept = vars(report) | {"run_id": report.run_id.hex}
    assert_is_storable(kept)
    assert all(0 <= kept[name] <= MAX_INTEGER for name in (*COUNTERS, "documents_omitted"))
    assert all(re.fullmatch(IDENTIFIER, kept[name]) for name in ("app_name", "app_version"))
    assert all(document.keys() == DOCUMENT_KEYS for document in report.documents)
    assert len(report.documents) <= MAX_DOCUMENTS
    assert PLANTED not in json.dumps(report.documents)
    times = {name: kept[name] and kept[name].isoformat() for name in ("started_at", "sent_at")}
    named = {name: kept[name] or None for name in OPTIONAL_IDENTIFIERS}
    again = read_run(kept | times | named)
    assert (again.digest, again.documents) == (report.digest, report.documents)
    return None
