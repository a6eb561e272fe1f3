from __future__ import annotations

import json
import re
import uuid
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from vigie_client import build_usage_payload, contract, new_run_id

RUN_ID = "0f8fad5bd9cb469fa16570867728950e"
TOKYO = timezone(timedelta(hours=9))
DOCUMENT_KEYS = {"ordinal", "page_count", "status", "duration_ms", "extension"}


def payload_of(*documents: Any, **more: Any) -> dict[str, Any]:
    given = {"run_id": RUN_ID, "app_name": "gui", "app_version": "1", "license_ref": "L", "machine_id": "m"}
    return build_usage_payload(**{**given, **more}, documents=documents)


def document_of(**given: Any) -> dict[str, Any]:
    document: dict[str, Any] = payload_of(given)["documents"][0]
    return document


def test_new_run_id_has_32_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{32}", new_run_id())
    assert new_run_id() != new_run_id()


def test_payload_has_only_whitelisted_keys() -> None:
    secrets = dict.fromkeys(("path", "name", "status", "extension", "page_count", "ordinal"), "/home/bob/secret.pdf")
    payload = payload_of(secrets)
    assert set(payload["documents"][0]) == DOCUMENT_KEYS
    assert "secret" not in json.dumps(payload)


def test_counters_are_derived_from_the_documents() -> None:
    payload = payload_of(
        {"status": "success", "page_count": 12},
        {"status": "failed", "page_count": 3},
        {"status": "skipped", "page_count": 4},
        {"status": None, "page_count": None},
        {"status": "success", "page_count": True},
    )
    counters = ("document_count", "succeeded_count", "failed_count", "total_pages")
    assert [payload[key] for key in counters] == [5, 2, 1, 19]


def test_run_without_documents_has_zero_counters() -> None:
    payload = payload_of()
    assert (payload["document_count"], payload["total_pages"], payload["documents"]) == (0, 0, [])


def test_missing_ordinal_is_the_position() -> None:
    assert [row["ordinal"] for row in payload_of({}, {"ordinal": 7}, {"ordinal": None})["documents"]] == [0, 7, 2]


@pytest.mark.parametrize(
    "value", [True, float("nan"), float("inf"), "3 pages", "", -1, 2**31, 10**30, [3], {}, b"3", Decimal("sNaN")]
)
@pytest.mark.parametrize("key", ["ordinal", "page_count", "duration_ms"])
def test_invalid_count_is_refused_or_left_out(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^documents\[0\]\.{key}: an integer from 0 to 2147483647 is expected$"):
        payload_of({key: value}, strict=True)
    assert document_of(**{key: value})[key] is None


@pytest.mark.parametrize(
    ("given", "carried"),
    [(3.0, 3), ("3", 3), (" 12 ", 12), (Fraction(4), 4), (Decimal("5"), 5), (None, None)],
)
@pytest.mark.parametrize("key", ["page_count", "duration_ms"])
def test_count_of_another_type_is_converted(key: str, given: Any, carried: Any) -> None:
    assert payload_of({key: given}, strict=True)["documents"][0][key] == carried


def test_duration_is_rounded_and_a_fraction_of_a_page_refused() -> None:
    assert payload_of({"duration_ms": 840.6}, strict=True)["documents"][0]["duration_ms"] == 841
    with pytest.raises(ValueError, match="page_count"):
        payload_of({"page_count": 2.5}, strict=True)


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1])
def test_largest_integer_is_accepted(value: int) -> None:
    assert document_of(page_count=value)["page_count"] == value


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        (".PDF", ".pdf"), ("pdf", "pdf"), (".a1b2c3d4e5", ".a1b2c3d4e5"), (None, None), ("", "other"), (".", "other"),
        (".a1b2c3d4e5f", "other"), (".pdf\n", "other"), ("../etc/x", "other"), ("é", "other"), (5, "other"),
    ],
)  # fmt: skip
def test_extension_is_lowercased_or_other(given: Any, carried: Any) -> None:
    assert document_of(extension=given)["extension"] == carried


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        ("success", "success"), ("failed", "failed"), ("Success", "success"), ("ok", "success"), ("FAILURE", "failed"),
        ("error", "failed"), (True, "success"), (False, "failed"), ("other", "other"), (None, None),
    ],
)  # fmt: skip
def test_synonym_of_a_status_is_converted(given: Any, carried: Any) -> None:
    assert payload_of({"status": given}, strict=True)["documents"][0]["status"] == carried


@pytest.mark.parametrize("given", ["skipped", "/home/bob/secret.pdf", 1, ["ok"]])
def test_unknown_status_is_refused_or_other(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^documents\[0\]\.status: success, failed or other is expected$"):
        payload_of({"status": given}, strict=True)
    assert document_of(status=given)["status"] == "other"


@pytest.mark.parametrize("documents", [[None], ["a.pdf"], [3], [["page_count"]], "a.pdf", {"page_count": 3}, 7])
def test_document_that_is_not_a_mapping_is_refused_or_counted(documents: Any) -> None:
    given = {"run_id": new_run_id(), "app_name": "gui", "app_version": "1", "documents": documents}
    with pytest.raises(ValueError, match=r"^documents"):
        build_usage_payload(**given, strict=True)
    payload = build_usage_payload(**given)
    assert payload["document_count"] == 1
    assert payload["documents"][0]["status"] is None


@pytest.mark.parametrize(
    "started_at",
    [
        datetime(2026, 3, 10, 9, 20, tzinfo=timezone.utc),
        datetime(2026, 3, 10, 10, 20, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 3, 10, 9, 20),
        "2026-03-10T09:20:00Z",
        "2026-03-10T10:20:00+01:00",
        "2026-03-10T09:20:00",
    ],
)
def test_start_is_sent_in_utc(started_at: Any) -> None:
    assert payload_of(started_at=started_at)["started_at"] == "2026-03-10T09:20:00Z"


def test_missing_start_is_left_out() -> None:
    assert "started_at" not in payload_of()


@pytest.mark.parametrize("started_at", ["/home/bob/secret.pdf", "", 1773134400, datetime.min.replace(tzinfo=TOKYO)])
def test_invalid_start_is_refused_or_left_out(started_at: Any) -> None:
    with pytest.raises(ValueError, match=r"^started_at: a datetime or an ISO 8601 time is expected$"):
        payload_of(started_at=started_at, strict=True)
    assert "started_at" not in payload_of(started_at=started_at)


NAMES = ("app_name", "app_version", "machine_id", "license_ref")


@pytest.mark.parametrize(
    ("given", "reduced"),
    [
        ("Éditeur PDF", "Editeur PDF"), ("Editor (Pro)", "Editor Pro"), ("bob@example.org", "bob example.org"),
        ("2026/041", "2026 041"), ("PC-FRANÇOIS", "PC-FRANCOIS"), ("x" * 129, "x" * 128), ("编辑器", "unnamed"),
        (f"vigie_client_{'a' * 12}_secret", "unnamed"), (b"gui", "unnamed"), (["gui"], "unnamed"), (True, "unnamed"),
        (float("nan"), "unnamed"), (10**40, "unnamed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", NAMES)
def test_invalid_name_is_refused_or_reduced(
    field: str, given: Any, reduced: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: 1 to 128 of A-Z"):
        payload_of(**{field: given}, strict=True)
    payload = payload_of(**{field: given})
    expected = {"license_ref": None, "machine_id": None if reduced == "unnamed" else contract.machine_name(given)}
    assert payload[field] == expected.get(field, reduced)
    (record,) = caplog.records
    assert field in record.getMessage()
    assert str(given)[:40] not in record.getMessage()


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize(
    ("given", "carried"), [(" LIC 1 ", "LIC 1"), ("LIC-1\n", "LIC-1"), (2041, "2041"), (6.1, "6.1")]
)
def test_name_of_another_type_is_converted(field: str, given: Any, carried: str) -> None:
    assert payload_of(**{field: given}, strict=True)[field] == carried


@pytest.mark.parametrize("given", [None, ""])
def test_missing_name_is_refused_unless_it_is_optional(given: Any) -> None:
    payload = payload_of(license_ref=given, machine_id=given, strict=True)
    assert (payload["license_ref"], payload["machine_id"]) == (None, None)
    for field in ("app_name", "app_version"):
        with pytest.raises(ValueError, match=f"^{field}: "):
            payload_of(**{field: given}, strict=True)
        assert payload_of(**{field: given})[field] == "unnamed"


def test_valid_payload_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    payload_of({"page_count": 3, "status": "success", "duration_ms": 12.5, "extension": ""})
    assert caplog.records == []


def test_many_mistakes_are_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    payload_of(*[{"page_count": "many"}] * 50, app_version=None)
    (record,) = caplog.records
    assert record.getMessage().endswith("; and 48 more")


@pytest.mark.parametrize(("given", "carried"), [("{0F8FAD5B-D9CB-469F-A165-70867728950E}", RUN_ID), (RUN_ID, RUN_ID)])
def test_run_id_in_braces_is_accepted(given: str, carried: str) -> None:
    assert payload_of(run_id=given, strict=True)["run_id"] == carried


def test_invalid_run_id_always_gives_the_same_uuid() -> None:
    with pytest.raises(ValueError, match=r"^run_id: a UUID"):
        payload_of(run_id="run 1", strict=True)
    first, again, other, none, empty = (payload_of(run_id=given)["run_id"] for given in ("r1", "r1", "r2", None, ""))
    assert first == again
    assert len({first, other, none, empty}) == 4


def test_large_run_lists_what_fits_one_call_and_counts_all() -> None:
    documents = [{"page_count": 2, "status": "success", "extension": ".pdf"}] * 10_000 + [{"status": "failed"}] * 2_000
    payload = payload_of(*documents, strict=True)
    assert (len(payload["documents"]), payload["documents_omitted"]) == (10_000, 2_000)
    counters = ("document_count", "succeeded_count", "failed_count", "total_pages")
    assert [payload[key] for key in counters] == [12_000, 10_000, 2_000, 20_000]
    largest = {"ordinal": 2**31 - 1, "status": "success", "duration_ms": 2**31 - 1, "extension": ".abcdefghij"}
    payload = payload_of(*[largest] * 10_000, strict=True)
    assert len(json.dumps(payload)) < contract.MAX_BODY
    assert payload["documents_omitted"] == 10_000 - len(payload["documents"]) > 0
    assert "documents_omitted" not in payload_of({})


def test_total_pages_beyond_the_largest_integer_are_refused_or_not_counted() -> None:
    documents = [{"page_count": 2**31 - 1}, {"page_count": 1}]
    with pytest.raises(ValueError, match=r"^total_pages: "):
        payload_of(*documents, strict=True)
    payload = payload_of(*documents)
    assert (payload["total_pages"], payload["documents"][1]["page_count"]) == (2**31 - 1, None)


def test_strict_is_the_default_in_development_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    invalid: dict[str, Any] = {"run_id": uuid.uuid4(), "app_name": "gui", "app_version": None}
    for is_dev in (False, True):
        flags = SimpleNamespace(dev_mode=is_dev)
        monkeypatch.setattr("vigie_client.report.payload.sys", SimpleNamespace(flags=flags))
        with pytest.raises(ValueError, match="app_version") if is_dev else nullcontext():
            build_usage_payload(**invalid)


def test_run_id_may_be_a_uuid_object() -> None:
    run_id = uuid.uuid4()
    assert build_usage_payload(run_id=run_id, app_name="a", app_version="1")["run_id"] == run_id.hex
