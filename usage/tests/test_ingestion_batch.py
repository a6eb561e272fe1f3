"""Batches of runs."""

import pytest

from usage.api.runs import split_runs
from usage.models import Run
from usage.tests.payloads import run_payload

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(call, client_token):
    return lambda runs: call("POST", "usage/report/batch", client_token, body={"runs": runs})


def test_batch_returns_a_status_per_run_in_order(batch, call, client_token):
    known, conflicting = run_payload(), run_payload()
    for body in (known, conflicting):
        call("POST", "usage/report", client_token, body=body)
    fresh = run_payload()
    sent = [
        fresh,
        known,
        conflicting | {"license_ref": "LIC-1"},
        run_payload(total_pages=1),
        {"run_id": "C:\\secret"},
        7,
        fresh,
        fresh | {"app_version": "9"},
    ]
    answer = batch(sent)
    assert answer.status_code == 200
    assert answer.json() == {
        "results": [
            {"run_id": fresh["run_id"], "status": "recorded", "code": None},
            {"run_id": known["run_id"], "status": "duplicate", "code": None},
            {"run_id": conflicting["run_id"], "status": "conflict", "code": "run_conflict"},
            {"run_id": None, "status": "invalid", "code": "counters_mismatch"},
            {"run_id": None, "status": "invalid", "code": "validation_failed"},
            {"run_id": None, "status": "invalid", "code": "validation_failed"},
            {"run_id": fresh["run_id"], "status": "duplicate", "code": None},
            {"run_id": fresh["run_id"], "status": "conflict", "code": "run_conflict"},
        ],
        "recorded": 1,
        "duplicates": 2,
        "conflicts": 2,
        "invalid": 3,
    }
    assert Run.objects.count() == 3


def test_large_batch_is_recorded_in_groups_in_the_order_sent(batch, monkeypatch):
    """Recorded together, 100 runs of 10,000 documents would take half a gigabyte."""
    monkeypatch.setattr("usage.api.runs.MAX_DOCUMENTS", 3)
    first, second = run_payload(), run_payload()
    sent = [first, 7, second, first, run_payload() | {"documents": 8}, second | {"app_version": "9"}]
    assert [len(group) for group in split_runs([*sent])] == [3, 3]
    answer = batch(sent)
    statuses = [result["status"] for result in answer.json()["results"]]
    assert statuses == ["recorded", "invalid", "recorded", "duplicate", "invalid", "conflict"]
    assert Run.objects.count() == 2


def test_batch_of_machine_refuses_runs_of_others(call, agent_token):
    answer = call(
        "POST", "usage/report/batch", agent_token, body={"runs": [run_payload(), run_payload(machine_id="PC-2")]}
    )
    assert [result["code"] for result in answer.json()["results"]] == [None, "machine_mismatch"]


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("runs", [None, {}, "x", [run_payload()] * 101])
def test_batch_other_than_list_of_100_is_refused(call, client_token, runs):
    answer = call("POST", "usage/report/batch", client_token, body={"runs": runs})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "runs")
    assert not Run.objects.exists()


def test_empty_batch_is_accepted(batch):
    assert batch([]).json()["results"] == []


def test_batch_of_100_needs_same_queries_as_one(batch, django_assert_max_num_queries):
    batch([run_payload()])
    with django_assert_max_num_queries(3):
        assert batch([run_payload() for _ in range(100)]).json()["recorded"] == 100


def test_batch_is_inserted_sorted_by_run_id(batch):
    """Otherwise two batches of the same runs in another order deadlock on PostgreSQL."""
    runs = sorted((run_payload() for _ in range(20)), key=lambda body: body["run_id"], reverse=True)
    batch(runs)
    written = [run_id.hex for run_id in Run.objects.order_by("id").values_list("run_id", flat=True)]
    assert written == [body["run_id"] for body in reversed(runs)]
