"""Runs: recorded, resent, conflicting and refused."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from portal.base.problems import Problem
from usage.ingestion.run_payload import read_run
from usage.models import Licence, Run
from usage.tests.payloads import document_payload, run_payload

pytestmark = pytest.mark.django_db


@pytest.fixture
def report(call, client_token):
    return lambda body: call("POST", "usage/report", client_token, body=body)


def fields_refused(answer):
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    assert not Run.objects.exists()
    return [error["field"] for error in answer.json()["errors"]]


def fields_invalid(**changes):
    """Return the fields that the reader of a run refuses."""
    with pytest.raises(Problem) as refusal:
        read_run(run_payload() | changes)
    assert refusal.value.code == "validation_failed"
    return [error.field for error in refusal.value.errors]


def test_run_is_recorded(report):
    body = run_payload()
    answer = report(body)
    stored = Run.objects.get()
    assert answer.status_code == 201
    assert answer.json() == {
        "status": "recorded",
        "run_id": body["run_id"],
        "received_at": answer.json()["received_at"],
        "dropped_keys": 0,
        "over_quota": False,
    }
    assert (stored.run_id.hex, stored.license_ref, stored.machine_id) == (body["run_id"], "LIC-2041", "PC-1")
    assert (stored.document_count, stored.succeeded_count, stored.failed_count, stored.total_pages) == (2, 1, 1, 12)
    assert (stored.started_at, stored.reported_by) == (datetime(2026, 3, 10, 9, 20, tzinfo=UTC), "client:gui_v6")
    assert stored.documents[1] == {
        "ordinal": 1,
        "page_count": None,
        "status": "failed",
        "duration_ms": 35,
        "extension": "docx",
    }


def test_resent_run_is_a_duplicate_with_the_same_response(report):
    body = run_payload()
    first = report(body)
    again = report(body | {"sent_at": "2026-03-11T00:00:00Z"})
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert again.json() | {"status": "recorded"} == first.json()
    assert Run.objects.count() == 1


def test_equivalent_spelling_is_a_duplicate(report):
    body = run_payload()
    report(body)
    same = dict(reversed(body.items())) | {
        "run_id": str(uuid.UUID(body["run_id"])).upper(),
        "started_at": "2026-03-10T10:20:00+01:00",
        "license_ref": " LIC-2041 ",
        "file_name": "secret.pdf",
    }
    assert report(same).json()["status"] == "duplicate"


@pytest.mark.parametrize(
    "change", [{"license_ref": None}, {"app_version": "6.0.4"}, {"started_at": None}, {"documents": [document_payload(), document_payload(status="failed", page_count=None)]}]
)  # fmt: skip
def test_known_run_id_with_other_content_conflicts(report, change):
    body = run_payload()
    report(body)
    answer = report(body | change)
    assert (answer.status_code, answer.json()["code"]) == (409, "run_conflict")
    assert Run.objects.get().license_ref == "LIC-2041"


@pytest.mark.parametrize(
    "given", ["0f8fad5bd9cb469fa16570867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e", "0F8FAD5BD9CB469FA16570867728950E", "0F8FAD5B-D9CB-469F-A165-70867728950E"]
)  # fmt: skip
def test_run_id_may_be_hex_or_with_dashes(report, given):
    assert report(run_payload(run_id=given)).json()["run_id"] == "0f8fad5bd9cb469fa16570867728950e"


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "given",
    [None, "", "x", 7, True, "{0f8fad5b-d9cb-469f-a165-70867728950e}", "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5bd9cb469fa16570867728950",
     "0f8fad5b-d9cb469fa165-70867728950e", " 0f8fad5bd9cb469fa16570867728950e", "0f8fad5bd9cb469fa16570867728950e\n", "０f8fad5bd9cb469fa16570867728950e", ["x"]],
)  # fmt: skip
def test_other_run_id_is_refused(given):
    assert fields_invalid(run_id=given) == ["run_id"]


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("value", [True, False, "2", 2.0, 2.5, -1, 2**31, 10**30, [], {}, None])
def test_counter_other_than_integer_is_refused(value):
    assert fields_invalid(total_pages=value) == ["total_pages"]


def test_each_counter_and_document_number_is_an_integer(report):
    counters = ["document_count", "succeeded_count", "failed_count", "total_pages"]
    numbers = ["ordinal", "page_count", "duration_ms"]
    body = run_payload() | dict.fromkeys(counters, -1)
    body["documents"] = [document_payload(), document_payload() | dict.fromkeys(numbers, "2")]
    assert fields_refused(report(body)) == [*counters, *(f"documents[1].{name}" for name in numbers)]


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "change",
    [{"document_count": 3}, {"succeeded_count": 2}, {"failed_count": 0}, {"total_pages": 11}, {"documents": []}],
)
def test_counters_that_contradict_documents_are_refused(report, change):
    answer = report(run_payload() | change)
    assert (answer.status_code, answer.json()["code"]) == (400, "counters_mismatch")
    assert not Run.objects.exists()


def test_document_fields_may_be_null_or_absent(report):
    documents = [{}, dict.fromkeys(document_payload(), None)]
    assert report(run_payload(documents)).status_code == 201
    assert Run.objects.get().documents == [dict.fromkeys(document_payload(), None)] * 2


@pytest.mark.parametrize("status", ["SUCCESS", "skipped", "C:\\a.pdf", 7, True, [], {}])
def test_unknown_status_becomes_other(status):
    run = read_run(run_payload([document_payload(status=status)], succeeded_count=0, failed_count=0))
    assert run.documents[0]["status"] == "other"


@pytest.mark.one_database("computed in Python")
@pytest.mark.parametrize(
    ("given", "stored"),
    [(".pdf", "pdf"), ("pdf", "pdf"), (".PDF", "pdf"), ("7z", "7z"), ("", "other"), (".", "other"), ("..pdf", "other"), ("a/b", "other"),
     ("report.pdf", "other"), ("abcdefghijk", "other"), (".pdf ", "other"), ("pdf\n", "other"), (7, "other"), (["pdf"], "other"), ("ｐｄｆ", "other"), (None, None)],
)  # fmt: skip
def test_unknown_extension_becomes_other(given, stored):
    assert read_run(run_payload([document_payload(extension=given)])).documents[0]["extension"] == stored


@pytest.mark.parametrize("field", ["license_ref", "machine_id"])
def test_licence_and_machine_are_optional(report, field):
    absent = run_payload()
    del absent[field]
    for body in (absent, run_payload(**{field: None})):
        assert report(body).status_code == 201
    assert set(Run.objects.values_list(field, flat=True)) == {""}


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "value", ["", "   ", "x" * 129, "C:\\secret", "a/b", "é", "a\nb", "M1\n", "\tM1", "a\x00", 7, True, [], {}]
)
def test_identifier_with_path_or_control_character_is_refused(value):
    fields = ["license_ref", "machine_id", "app_name", "app_version"]
    assert fields_invalid(**dict.fromkeys(fields, value)) == fields


def test_missing_required_fields_are_refused(report):
    required = ["run_id", "app_name", "app_version", "document_count", "succeeded_count", "failed_count", "total_pages"]
    required.append("documents")
    answer = report({name: value for name, value in run_payload().items() if name not in required})
    assert fields_refused(answer) == required
    assert {error["code"] for error in answer.json()["errors"]} == {"required"}


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "value", ["2026-03-10", "2026-03-10T09:20:00", "yesterday", "", 1773134400, True, "２026-03-10T09:20:00Z", "2026-02-30T00:00:00Z", {}]
)  # fmt: skip
def test_timestamp_without_offset_is_refused(value):
    assert fields_invalid(started_at=value, sent_at=value) == ["started_at", "sent_at"]


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("documents", [{}, "x", 7, [7], ["C:\\secret.pdf"], [[]], [None]])
def test_documents_other_than_list_of_objects_are_refused(documents):
    assert fields_invalid(documents=documents)[0].startswith("documents")


def test_more_than_10000_documents_are_refused(report):
    assert report(run_payload([{}] * 10_000)).status_code == 201
    Run.objects.all().delete()
    assert fields_refused(report(run_payload([{}] * 10_001))) == ["documents"]


LISTED = [document_payload(page_count=2), document_payload(ordinal=1, page_count=3, status="failed")]
COUNTED = {"document_count": 5, "succeeded_count": 1, "failed_count": 1, "total_pages": 5, "documents_omitted": 3}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 201),
        ({"succeeded_count": 2, "failed_count": 3, "total_pages": 5_000}, 201),
        ({"document_count": 2}, 400),
        ({"document_count": 6}, 400),
        ({"succeeded_count": 0}, 400),
        ({"total_pages": 4}, 400),
        ({"succeeded_count": 3, "failed_count": 3}, 400),
        ({"document_count": 2, "documents_omitted": 0, "total_pages": 6}, 400),
        ({"document_count": 2, "documents_omitted": None}, 201),
    ],
)
def test_counters_include_omitted_documents(report, changes, status):
    answer = report(run_payload(LISTED, **COUNTED | changes))
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["code"] == "counters_mismatch"


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("omitted", [-1, "3", 2.0, True])
def test_documents_omitted_other_than_integer_is_refused(omitted):
    assert fields_invalid(documents=LISTED, **COUNTED | {"documents_omitted": omitted}) == ["documents_omitted"]


def test_run_with_omitted_documents_is_kept_once_with_their_number(report):
    body = run_payload(LISTED, **COUNTED)
    assert [report(body).status_code, report(body).status_code] == [201, 200]
    stored = Run.objects.get()
    assert (stored.document_count, stored.documents_omitted, len(stored.documents)) == (5, 3, 2)


def test_run_without_omitted_documents_keeps_the_digest_of_earlier_versions():
    report = read_run(run_payload([], run_id="00000000000000000000000000000001", started_at=None))
    assert report.digest == "e088274d7381790b4039b1b403c1698e4a886afc42aec86fb922837344a1d1fa"


def test_first_20_errors_are_reported(report):
    body = run_payload() | {"run_id": "x", "app_name": 7, "documents": [{"ordinal": "x"}] * 50}
    fields = fields_refused(report(body))
    assert fields[:2] == ["run_id", "app_name"]
    assert len(fields) == 20


def test_machine_may_report_only_its_own_runs(call, agent_token):
    assert call("POST", "usage/report", agent_token, body=run_payload(machine_id="PC-1")).status_code == 201
    answer = call("POST", "usage/report", agent_token, body=run_payload(machine_id="PC-2"))
    assert (answer.status_code, answer.json()["code"]) == (403, "machine_mismatch")
    assert Run.objects.count() == 1


def test_report_needs_at_most_three_queries(call, agent_token, django_assert_max_num_queries):
    call("POST", "agents/heartbeat", agent_token)
    body = run_payload()
    for status in (201, 200):
        with django_assert_max_num_queries(3):
            assert call("POST", "usage/report", agent_token, body=body).status_code == status


def test_run_over_quota_is_recorded_and_flagged(call, client_token):
    now = timezone.now()
    Licence.objects.create(ref="LIC-2041", exceeded_until=now + timedelta(days=3))
    Licence.objects.create(ref="LIC-2042", exceeded_until=now - timedelta(seconds=1))
    sent = run_payload()
    answer = call("POST", "usage/report", client_token, body=sent)
    assert (answer.status_code, answer.json()["over_quota"]) == (201, True)
    again = call("POST", "usage/report", client_token, body=sent)
    assert (again.status_code, again.json()["over_quota"]) == (200, True)
    assert (
        call("POST", "usage/report", client_token, body=run_payload(license_ref="LIC-2042")).json()["over_quota"]
        is False
    )
    assert call("POST", "usage/report", client_token, body=run_payload(license_ref=None)).json()["over_quota"] is False


@pytest.mark.parametrize(
    ("started", "hour"),
    [("2026-03-10T09:59:59.999Z", "2026-03-10T09:00"), ("2099-01-01T00:00:00Z", None), (None, None)],
)
def test_run_belongs_to_its_hour_but_not_to_a_future_one(call, client_token, started, hour):
    call("POST", "usage/report", client_token, body=run_payload(started_at=started))
    stored = Run.objects.get()
    assert f"{stored.hour:%Y-%m-%dT%H:%M}" == (hour or f"{stored.received_at:%Y-%m-%dT%H:00}")
