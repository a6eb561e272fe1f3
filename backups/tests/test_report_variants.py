"""Reports of real agents, from the file to the verdict, and reasons for unreadable ones."""

import hashlib
import json
from datetime import timedelta

import pytest

from backups import findings
from backups.models import DepositArea
from backups.tests.factories import AFTER_DEADLINE, AGENT, DATABASE, EXPECTED, REPORTED, dump, report_section

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
STAGED = f"{DATABASE}.sql.gz"


def python_agent(**root):
    """Return a report of an agent that writes all values as text."""
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


def test_variants_of_a_real_agent_are_read_and_listed_once(machine, entry):
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


def test_documented_report_lists_no_variant(machine, entry):
    machine.deposit()
    assert entry().status == "SUCCESS"
    area = DepositArea.objects.get()
    assert (area.spellings, area.unread) == ([], [])


@pytest.mark.parametrize(
    ("moment", "code", "words"),
    [
        (
            EXPECTED - timedelta(minutes=12),
            "report_early",
            "12 minutes before the scheduled time; the early tolerance is 10",
        ),
        (EXPECTED - timedelta(hours=2), "report_early", "120 minutes before"),
        (EXPECTED - DAY, "no_report", "No report arrived"),
    ],
)
def test_reason_names_a_report_that_came_too_early(machine, entry, moment, code, words):
    machine.deposit(moment=moment)
    found = entry()
    assert (found.status, [why["code"] for why in found.reasons]) == ("MISSING", [code])
    assert words in found.message


@pytest.mark.parametrize("year", ["1970", "2096"])
def test_reason_names_a_report_of_a_wrong_clock(machine, entry, year):
    machine.deposit(moment=REPORTED)
    path = machine.logs / f"OPERATION_20250612_1304_{AGENT}.json"
    path.write_text(path.read_text().replace("2025-06-12T13:04:00", f"{year}-01-01T00:00:00"))
    found = entry()
    assert (found.status, found.reasons[0]["code"]) == ("MISSING", "report_of_another_time")
    assert f"{year}-01-01 00:00 UTC" in found.message


def test_reason_names_a_report_of_1970(machine, entry):
    machine.deposit(moment=EXPECTED.replace(year=1970))
    assert entry().reasons[0]["code"] == "report_of_another_time"


def test_reason_names_a_report_of_a_clock_ahead(machine, entry):
    machine.deposit(moment=REPORTED + DAY)
    entry()
    assert entry(AFTER_DEADLINE + DAY, EXPECTED + DAY).reasons[0]["code"] == "report_ahead"


def test_reason_names_the_report_ahead_of_its_own_cycle(machine, entry):
    machine.deposit(moment=REPORTED + DAY)
    name = machine.deposit(moment=REPORTED + 2 * DAY)
    entry()
    reason = entry(AFTER_DEADLINE + 2 * DAY, EXPECTED + 2 * DAY).reasons[0]
    assert (reason["code"], reason["report"]) == ("report_ahead", name)


def test_unread_json_files_appear_in_reason_and_finding(machine, entry):
    machine.stage()
    for name in ("STATUS.json", f"REPORT_2025_{AGENT}.JSON", ".x.json", "notes.txt"):
        machine.write_log(name, python_agent())
    found = entry()
    assert (found.status, [why["code"] for why in found.reasons]) == ("MISSING", ["reports_unread"])
    assert "STATUS.json" in found.message
    assert DepositArea.objects.get().unread == [f"REPORT_2025_{AGENT}.JSON", "STATUS.json"]
    (finding,) = findings.unread_reports(AFTER_DEADLINE)
    assert "STATUS.json" in finding.text


def test_reports_of_other_machines_in_a_shared_folder_are_no_finding(machine, entry, job):
    job.agent_log_deposit_path_template = "shared"
    job.save(update_fields=["agent_log_deposit_path_template"])
    machine.deposit()
    machine.logs.rename(machine.root / "shared")
    (machine.root / "shared" / "OPERATION_20250612_1304_OTHER.json").write_text("{}")
    assert entry().status == "SUCCESS"
    assert DepositArea.objects.get().unread == []


def test_database_name_is_matched_in_any_unicode_form(machine, make_job, scan):
    composed, decomposed = "Comptabilit\u00e9", "Comptabilite\u0301"
    make_job(composed)
    make_job(decomposed, "OTHER", city="x")
    machine.stage(name="Comptabilite.sql.gz")
    machine.report(databases={decomposed: report_section()})
    other = type(machine)(machine.root, "OTHER")
    other.stage(name="Comptabilite.sql.gz")
    other.report(databases={composed: report_section()})
    assert [one["status"] for one in scan().rows] == ["SUCCESS", "SUCCESS"]
    assert [*DepositArea.objects.values_list("unexpected", flat=True)] == [[], []]


def test_reason_names_a_database_listed_in_another_case(machine, entry):
    machine.report(databases={DATABASE.upper(): report_section()})
    found = entry()
    assert (found.status, found.reasons[0]["code"]) == ("MISSING", "listed_in_other_case")
    assert DATABASE.upper() in found.message


def test_contradictory_report_is_a_success_with_a_warning(machine, entry):
    machine.stage()
    machine.report(overall_status="failed_globally")
    found = entry()
    assert (found.status, found.warnings) == ("SUCCESS", ["overall_failed"])
