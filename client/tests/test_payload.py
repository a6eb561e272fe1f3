from __future__ import annotations

import json
import re
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from vigie_client import build_usage_payload, new_run_id

DOCUMENT_KEYS = {"ordinal", "page_count", "status", "duration_ms", "extension"}


def payload_of(*documents: Any, **more: Any) -> dict[str, Any]:
    return build_usage_payload(
        run_id="r", app_name="gui", app_version="1", license_ref="L", machine_id="m", documents=documents, **more
    )


def document_of(**given: Any) -> dict[str, Any]:
    document: dict[str, Any] = payload_of(given)["documents"][0]
    return document


def test_it_makes_run_ids_of_32_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{32}", new_run_id())
    assert new_run_id() != new_run_id()


def test_it_carries_only_the_whitelist() -> None:
    secrets = dict.fromkeys(("path", "name", "status", "extension", "page_count", "ordinal"), "/home/bob/secret.pdf")
    payload = payload_of(secrets)
    assert set(payload["documents"][0]) == DOCUMENT_KEYS
    assert "secret" not in json.dumps(payload)


def test_it_derives_the_counters_from_the_documents() -> None:
    payload = payload_of(
        {"status": "success", "page_count": 12},
        {"status": "failed", "page_count": 3},
        {"status": "skipped", "page_count": 4},
        {"status": None, "page_count": None},
        {"status": "success", "page_count": True},
    )
    counters = ("document_count", "succeeded_count", "failed_count", "total_pages")
    assert [payload[key] for key in counters] == [5, 2, 1, 19]


def test_it_makes_an_empty_run_of_no_documents() -> None:
    payload = payload_of()
    assert (payload["document_count"], payload["total_pages"], payload["documents"]) == (0, 0, [])


def test_it_numbers_documents_that_have_no_ordinal() -> None:
    assert [row["ordinal"] for row in payload_of({}, {"ordinal": 7}, {"ordinal": None})["documents"]] == [0, 7, 2]


@pytest.mark.parametrize("value", [True, 3.0, float("nan"), "3", -1, 2**31, 10**30, [3], None])
@pytest.mark.parametrize("key", ["page_count", "duration_ms"])
def test_it_takes_only_plain_integers(key: str, value: Any) -> None:
    assert document_of(**{key: value})[key] is None


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1])
def test_it_takes_integers_up_to_the_bound(value: int) -> None:
    assert document_of(page_count=value)["page_count"] == value


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        (".PDF", ".pdf"), ("pdf", "pdf"), (".a1b2c3d4e5", ".a1b2c3d4e5"), (None, None), ("", "other"), (".", "other"),
        (".a1b2c3d4e5f", "other"), (".pdf\n", "other"), ("../etc/x", "other"), ("é", "other"), (5, "other"),
    ],
)  # fmt: skip
def test_it_normalises_the_extension(given: Any, carried: Any) -> None:
    assert document_of(extension=given)["extension"] == carried


@pytest.mark.parametrize(
    ("given", "carried"),
    [("success", "success"), ("failed", "failed"), ("Success", "other"), (1, "other"), (None, None)],
)
def test_it_reduces_the_status_to_what_the_portal_stores(given: Any, carried: Any) -> None:
    assert document_of(status=given)["status"] == carried


@pytest.mark.parametrize("document", [None, "a.pdf", 3, ["page_count"]])
def test_it_survives_a_document_that_is_no_mapping(document: Any) -> None:
    assert payload_of(document)["documents"][0]["page_count"] is None


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
def test_it_writes_the_start_in_utc(started_at: Any) -> None:
    assert payload_of(started_at=started_at)["started_at"] == "2026-03-10T09:20:00Z"


def test_it_leaves_out_a_start_that_is_not_given() -> None:
    assert "started_at" not in payload_of()


def test_it_refuses_a_start_that_is_no_time_without_repeating_it() -> None:
    with pytest.raises(ValueError, match=r"^not an ISO 8601 time$"):
        payload_of(started_at="/home/bob/secret.pdf")


def test_it_takes_a_run_id_as_uuid() -> None:
    run_id = uuid.uuid4()
    assert build_usage_payload(run_id=run_id, app_name="a", app_version="1")["run_id"] == run_id.hex
