"""`manage.py scan_backups`."""

import json

import pytest
from django.core.management import CommandError, call_command

from backups.models import BackupEntry
from backups.tests.factories import AFTER_DEADLINE, AGENT, DATABASE, dump

pytestmark = pytest.mark.django_db
AT = AFTER_DEADLINE.isoformat()


def test_json_output_is_one_object(machine, job, capsys):
    machine.deposit()
    call_command("scan_backups", at=AT, json=True)
    body = json.loads(capsys.readouterr().out)
    assert isinstance(body.pop("duration_ms"), int)
    assert body == {
        "results": [
            {
                "agent_id": AGENT,
                "database_name": DATABASE,
                "cycle_at": "2025-06-12T13:00:00Z",
                "status": "SUCCESS",
                "late": False,
                "warnings": [],
                "promoted": True,
            }
        ],
        "bytes_hashed": len(dump()),
    }


def test_text_output_has_a_line_per_cycle(machine, job, capsys):
    machine.deposit()
    call_command("scan_backups", at=AT)
    out, errors = capsys.readouterr()
    assert out == f"2025-06-12T13:00:00Z  SUCCESS                    {AGENT} {DATABASE}  stored\n"
    assert errors.startswith(f"1 cycles, {len(dump())} bytes hashed, ")


def test_results_are_sorted_by_cycle(make_job, capsys):
    make_job("later", expected_hour_utc=13)
    make_job("earlier", expected_hour_utc=2)
    call_command("scan_backups", at=AT, json=True)
    results = json.loads(capsys.readouterr().out)["results"]
    assert [one["database_name"] for one in results] == ["earlier", "later"]


@pytest.mark.parametrize("at", ["2025-06-12T13:31:00Z", "2025-06-12T14:31:00+01:00", "2025-06-12T13:31"])
def test_moment_is_accepted_in_several_forms(machine, job, at):
    call_command("scan_backups", at=at)
    assert BackupEntry.objects.get().recorded_at == AFTER_DEADLINE.replace(second=0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"at": "noon"}, "--at must be a time"),
        ({"agent": "NOBODY"}, "There are no expected backups for this machine."),
    ],
)
def test_invalid_option_is_refused_with_a_sentence(job, options, sentence):
    with pytest.raises(CommandError, match=sentence):
        call_command("scan_backups", **options)


def test_missing_root_is_an_error(settings, job):
    settings.DEPOSITS_ROOT.rmdir()
    with pytest.raises(CommandError, match="The upload area is unavailable"):
        call_command("scan_backups", at=AT)


def test_single_machine_can_be_scanned(make_job, capsys):
    make_job(), make_job(agent_id="OTHER")
    call_command("scan_backups", at=AT, agent="OTHER", json=True)
    assert [one["agent_id"] for one in json.loads(capsys.readouterr().out)["results"]] == ["OTHER"]
