"""The machine of a backup is one machine in whatever case it is written: by the operator, its agent, or its folder."""

import pytest
from django.core.management import call_command

from agents.enrolment import issue_agent_token
from backups.admin.form import JobForm
from backups.imports.planning import planned
from backups.models import ExpectedBackupJob
from backups.panels import databases_of_machine
from backups.tests.conftest import AFTER_DEADLINE, AGENT, DATABASE, Machine

pytestmark = pytest.mark.django_db
OTHER = AGENT.swapcase()


def test_deposit_in_a_folder_of_another_case_is_scanned(settings, entry, job):
    Machine(settings.DEPOSITS_ROOT, OTHER).deposit()
    assert entry().status == "SUCCESS"
    assert job.entries.get().promotion == "promoted"


@pytest.mark.parametrize(("name", "other"), [(AGENT, OTHER), (OTHER, AGENT)])
def test_folder_of_the_exact_name_comes_first(settings, make_job, scan, name, other):
    job = make_job(agent_id=name)
    Machine(settings.DEPOSITS_ROOT, name).deposit()
    Machine(settings.DEPOSITS_ROOT, other).logs.mkdir(parents=True)
    scan(AFTER_DEADLINE)
    assert job.entries.get().status == "SUCCESS"


@pytest.mark.parametrize("are_enrolled", [True, False])
def test_folder_of_the_other_machine_of_an_old_pair_is_not_read(settings, make_agent, make_job, scan, are_enrolled):
    if are_enrolled:
        make_agent(AGENT)
        make_agent(OTHER, owns_name=False)
    else:
        make_job()
    job = make_job(agent_id=OTHER)
    Machine(settings.DEPOSITS_ROOT).deposit()
    scan(AFTER_DEADLINE)
    assert job.entries.get().status == "MISSING"


def test_http_deposit_goes_to_the_folder_there_is(settings, put, make_agent):
    (settings.DEPOSITS_ROOT / "pc-lyon").mkdir()
    token = issue_agent_token(make_agent("PC-Lyon"))
    assert put(token=token).status_code == 201
    assert [path.name for path in settings.DEPOSITS_ROOT.iterdir()] == ["pc-lyon"]


def test_machine_that_lost_its_name_deposits_in_its_own_folder(settings, put, make_agent):
    for agent in (make_agent("PC:Lyon"), make_agent("pc:lyon", owns_name=False)):
        assert put(token=issue_agent_token(agent)).status_code == 201
    assert sorted(path.name for path in settings.DEPOSITS_ROOT.iterdir()) == ["PC_Lyon", "pc_lyon"]


def test_names_that_lead_to_one_folder_in_another_case_are_refused(put, make_agent):
    first, second = make_agent("PC_Lyon"), make_agent("pc:lyon")
    assert put(token=issue_agent_token(first)).status_code == 201
    assert put(token=issue_agent_token(second)).json()["code"] == "machine_mismatch"


def test_calls_commands_and_pages_find_the_backups(call, staff_token, job, capsys):
    listed = call("GET", "backups/jobs", staff_token, agent_id=OTHER).json()["results"]
    assert [one["agent_id"] for one in listed] == [AGENT]
    assert call("POST", "backups/scan", staff_token, agent_id=OTHER).status_code == 202
    call_command("scan_backups", "--agent", OTHER)
    assert len(databases_of_machine(OTHER).rows) == 1


def test_import_changes_the_backup_under_another_spelling(job):
    rows = [
        {"agent_id": OTHER, "database_name": name, "company_name": "Other", "expected_hour_utc": "13"}
        for name in (DATABASE, "new_db")
    ]
    plan = planned(rows)
    assert (plan.counts["changed"], plan.counts["created"]) == (1, 1), plan.refused
    assert {row.job.agent_id for row in plan.rows} == {AGENT}


@pytest.mark.parametrize(("typed", "kept"), [(OTHER, AGENT), ("pc-LYON", "PC-Lyon"), ("new-PC", "new-PC")])
def test_form_spells_the_machine_as_it_is_known(make_agent, job, typed, kept):
    make_agent("PC-Lyon")
    form = JobForm({"agent_id": typed, "database_name": DATABASE})
    form.is_valid()
    assert form.cleaned_data["agent_id"] == kept
    assert ExpectedBackupJob.objects.spelling_of(kept) == kept
