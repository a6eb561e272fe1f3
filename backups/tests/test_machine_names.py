"""Machine names in any case: of operators, agents and folders."""

import pytest
from django.core.management import call_command

from agents.enrolment import issue_agent_token
from backups.admin.form import JobForm
from backups.imports.planning import plan_import
from backups.models import ExpectedBackupJob
from backups.panels import machine_databases_section
from backups.tests.factories import AFTER_DEADLINE, AGENT, DATABASE, Machine

pytestmark = pytest.mark.django_db
OTHER = AGENT.swapcase()


def test_deposit_in_a_folder_of_another_case_is_scanned(settings, entry, job):
    Machine(settings.DEPOSITS_ROOT, OTHER).deposit()
    assert entry().status == "SUCCESS"
    assert job.entries.get().promotion == "promoted"


@pytest.mark.parametrize(("name", "other"), [(AGENT, OTHER), (OTHER, AGENT)])
def test_folder_of_the_exact_spelling_is_preferred(settings, make_job, scan, name, other):
    job = make_job(agent_id=name)
    Machine(settings.DEPOSITS_ROOT, name).deposit()
    Machine(settings.DEPOSITS_ROOT, other).logs.mkdir(parents=True)
    scan(AFTER_DEADLINE)
    assert job.entries.get().status == "SUCCESS"


@pytest.mark.parametrize("are_enrolled", [True, False])
def test_folder_of_a_separate_machine_is_not_read(settings, make_agent, make_job, scan, are_enrolled):
    if are_enrolled:
        make_agent(AGENT)
        make_agent(OTHER, owns_name=False)
    else:
        make_job()
    job = make_job(agent_id=OTHER)
    Machine(settings.DEPOSITS_ROOT).deposit()
    scan(AFTER_DEADLINE)
    assert job.entries.get().status == "MISSING"


def test_http_deposit_goes_to_the_existing_folder(settings, put, make_agent):
    (settings.DEPOSITS_ROOT / "pc-lyon").mkdir()
    token = issue_agent_token(make_agent("PC-Lyon"))
    assert put(token=token).status_code == 201
    assert [path.name for path in settings.DEPOSITS_ROOT.iterdir()] == ["pc-lyon"]


def test_machine_without_its_name_deposits_in_its_own_folder(settings, put, make_agent):
    for agent in (make_agent("PC:Lyon"), make_agent("pc:lyon", owns_name=False)):
        assert put(token=issue_agent_token(agent)).status_code == 201
    assert sorted(path.name for path in settings.DEPOSITS_ROOT.iterdir()) == ["PC_Lyon", "pc_lyon"]


def test_shared_folder_in_another_case_is_refused(put, make_agent):
    first, second = make_agent("PC_Lyon"), make_agent("pc:lyon")
    assert put(token=issue_agent_token(first)).status_code == 201
    assert put(token=issue_agent_token(second)).json()["code"] == "machine_mismatch"


def test_machine_is_found_in_any_case_by_api_command_and_pages(call, staff_token, job, capsys):
    listed = call("GET", "backups/jobs", staff_token, agent_id=OTHER).json()["results"]
    assert [one["agent_id"] for one in listed] == [AGENT]
    assert call("POST", "backups/scan", staff_token, agent_id=OTHER).status_code == 202
    call_command("scan_backups", "--agent", OTHER)
    assert len(machine_databases_section(OTHER).rows) == 1


def test_import_matches_the_machine_in_any_case(job):
    rows = [
        {"agent_id": OTHER, "database_name": name, "company_name": "Other", "expected_hour_utc": "13"}
        for name in (DATABASE, "new_db")
    ]
    plan = plan_import(rows)
    assert (plan.counts["changed"], plan.counts["created"]) == (1, 1), plan.refused
    assert {row.job.agent_id for row in plan.rows} == {AGENT}


@pytest.mark.parametrize(("typed", "kept"), [(OTHER, AGENT), ("pc-LYON", "PC-Lyon"), ("new-PC", "new-PC")])
def test_form_keeps_the_known_spelling(make_agent, job, typed, kept):
    make_agent("PC-Lyon")
    form = JobForm({"agent_id": typed, "database_name": DATABASE})
    form.is_valid()
    assert form.cleaned_data["agent_id"] == kept
    assert ExpectedBackupJob.objects.spelling_of(kept) == kept
