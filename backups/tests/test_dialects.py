"""Reports as real agents write them, from the file to the verdict, and what is said of those that cannot be read."""

import hashlib
import json
from datetime import timedelta

import pytest

from backups import findings
from backups.models import DepositArea
from backups.tests.conftest import AFTER_DEADLINE, AGENT, DATABASE, EXPECTED, REPORTED, dump, section

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
STAGED = f"{DATABASE}.sql.gz"


def python_agent(**root):
    """A report of an agent that writes everything as text."""
    times = {"start_time": "2025-06-12 13:00:40.264128", "end_time": "2025-06-12 13:01:51.762465"}
    step = {"status": "True", **times}
    size, sha256 = str(len(dump())), hashlib.sha256(dump()).hexdigest()
    steps = {
        "BACKUP": step | {"sha256": "0" * 64, "size": "62233088"},
        "COMPRESS": step | {"sha256": sha256, "size": size},
        "TRANSFER": step | {"error_message": "null"},
        "staged_file_name": f"/home/agent/Backup/{STAGED}",
    }
    body = {"operation_end_time": "2025-06-12 13:04:35.142592", "agent_id": AGENT, "databases": {DATABASE: steps}}
    return json.dumps(body | root).encode()


def test_report_of_a_real_agent_is_read_and_its_variants_noted_once(machine, entry):
    machine.stage()
    machine.write_log(f"2025-06-12_13-04-00_{AGENT.lower()}.json", python_agent())
    found = entry()
    assert (found.status, found.staged_name) == ("SUCCESS", STAGED)
    assert found.steps["backup"] == {
        "status": True, "start_time": "2025-06-12T13:00:40Z", "end_time": "2025-06-12T13:01:51Z", "size": 62233088,
    }  # fmt: skip
    assert DepositArea.objects.get().spellings == [
        "agent_case", "dashed_name", "no_zone", "size_as_text", "staged_path", "status_as_text",
    ]  # fmt: skip
    (finding,) = findings.report_spellings(AFTER_DEADLINE)
    assert AGENT in finding.text


def test_documented_report_leaves_no_note(machine, entry):
    machine.deposit()
    assert entry().status == "SUCCESS"
    area = DepositArea.objects.get()
    assert (area.spellings, area.unread) == ([], [])


@pytest.mark.parametrize(
    ("moment", "code", "words"),
    [
        (EXPECTED - timedelta(minutes=12), "report_early", "12 minutes before the expected time; at most 10"),
        (EXPECTED - timedelta(hours=2), "report_early", "120 minutes before"),
        (EXPECTED - DAY, "no_report", "No report arrived"),
    ],
)
def test_report_that_came_too_early_is_named_in_the_reason(machine, entry, moment, code, words):
    machine.deposit(moment=moment)
    found = entry()
    assert (found.status, [why["code"] for why in found.reasons]) == ("MISSING", [code])
    assert words in found.message


@pytest.mark.parametrize("year", ["1970", "2096"])
def test_report_of_a_wrong_clock_is_named_in_the_reason(machine, entry, year):
    machine.deposit(moment=REPORTED)
    path = machine.logs / f"OPERATION_20250612_1304_{AGENT}.json"
    path.write_text(path.read_text().replace("2025-06-12T13:04:00", f"{year}-01-01T00:00:00"))
    found = entry()
    assert (found.status, found.reasons[0]["code"]) == ("MISSING", "report_of_another_time")
    assert f"{year}-01-01 00:00 UTC" in found.message


def test_report_named_and_dated_1970_is_named_in_the_reason(machine, entry):
    machine.deposit(moment=EXPECTED.replace(year=1970))
    assert entry().reasons[0]["code"] == "report_of_another_time"


def test_report_of_a_clock_a_day_ahead_is_named_in_the_reason(machine, entry):
    machine.deposit(moment=REPORTED + DAY)
    entry()
    assert entry(AFTER_DEADLINE + DAY, EXPECTED + DAY).reasons[0]["code"] == "report_ahead"


def test_json_files_that_no_rule_reads_are_in_the_reason_and_a_finding(machine, entry):
    machine.stage()
    for name in ("STATUS.json", f"REPORT_2025_{AGENT}.JSON", ".x.json", "notes.txt"):
        machine.write_log(name, python_agent())
    found = entry()
    assert (found.status, [why["code"] for why in found.reasons]) == ("MISSING", ["reports_unread"])
    assert "STATUS.json" in found.message
    assert DepositArea.objects.get().unread == [f"REPORT_2025_{AGENT}.JSON", "STATUS.json"]
    (finding,) = findings.unread_reports(AFTER_DEADLINE)
    assert "STATUS.json" in finding.text


def test_reports_of_others_in_a_shared_folder_are_no_finding(machine, entry, job):
    job.agent_log_deposit_path_template = "shared"
    job.save(update_fields=["agent_log_deposit_path_template"])
    machine.deposit()
    machine.logs.rename(machine.root / "shared")
    (machine.root / "shared" / "OPERATION_20250612_1304_OTHER.json").write_text("{}")
    assert entry().status == "SUCCESS"
    assert DepositArea.objects.get().unread == []


def test_name_in_another_form_of_unicode_is_the_expected_database(machine, make_job, scan):
    composed, decomposed = "Comptabilit\u00e9", "Comptabilite\u0301"
    make_job(composed)
    make_job(decomposed, "OTHER", city="x")
    machine.stage(name="Comptabilite.sql.gz")
    machine.report(databases={decomposed: section()})
    other = type(machine)(machine.root, "OTHER")
    other.stage(name="Comptabilite.sql.gz")
    other.report(databases={composed: section()})
    assert [one["status"] for one in scan().results] == ["SUCCESS", "SUCCESS"]
    assert [*DepositArea.objects.values_list("unexpected", flat=True)] == [[], []]


def test_name_in_other_case_is_said_to_be_listed_so(machine, entry):
    machine.report(databases={DATABASE.upper(): section()})
    found = entry()
    assert (found.status, found.reasons[0]["code"]) == ("MISSING", "listed_in_other_case")
    assert DATABASE.upper() in found.message


def test_report_that_calls_the_whole_failed_is_a_success_with_a_warning(machine, entry):
    machine.stage()
    machine.report(overall_status="failed_globally")
    found = entry()
    assert (found.status, found.warnings) == ("SUCCESS", ["overall_failed"])
