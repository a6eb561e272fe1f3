"""The portal takes what `vigie-client` makes of any value."""

import json
from datetime import UTC, datetime

import pytest
from vigie_client import build_usage_payload, new_run_id

from usage.ingestion.run_payload import read_run
from usage.models import Run

ODD = [None, "", " ", "Éditeur (Pro)", "2026/041", "x" * 200, f"vigie_client_{'a' * 12}_secret", b"x", 7, 7.5, True, [],
       {}, float("nan"), -1, 2**40, "\ud800", "a\nb", "\0", object()]  # fmt: skip


@pytest.mark.parametrize("field", ["run_id", "app_name", "app_version", "license_ref", "machine_id", "started_at"])
@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_field_of_any_value_is_taken(field, value):
    given = {"run_id": new_run_id(), "app_name": "gui", "app_version": "6", field: value}
    read_run(json.loads(json.dumps(build_usage_payload(**given), allow_nan=False)))


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_document_of_any_value_is_taken(value):
    keys = ("ordinal", "page_count", "status", "duration_ms", "extension")
    payload = build_usage_payload(
        run_id=new_run_id(), app_name="gui", app_version="6", documents=[value, *({key: value} for key in keys)]
    )
    assert read_run(json.loads(json.dumps(payload, allow_nan=False))).document_count == 6


@pytest.mark.django_db
@pytest.mark.parametrize("extension", [".pdf", ".abcdefghij"])
def test_run_of_twelve_thousand_documents_is_recorded_once(call, client_token, extension):
    document = {"page_count": 2, "status": "success", "duration_ms": 2**31 - 1, "extension": extension}
    payload = build_usage_payload(
        run_id=new_run_id(),
        app_name="gui",
        app_version="6",
        documents=[document] * 12_000,
        started_at=datetime.now(UTC),
    )
    for status in (201, 200):
        assert call("POST", "usage/report", client_token, body=payload).status_code == status
    stored = Run.objects.get()
    assert (stored.document_count, stored.total_pages) == (12_000, 24_000)
    assert len(stored.documents) + stored.documents_omitted == 12_000
