"""The lines and files on the page of an expected backup are those that the client and the scanner accept."""

import json
import shlex
from datetime import timedelta

import pytest
from django.utils import timezone
from vigie_client.cli.options import parse_arguments

from backups.admin.delivery import describe_delivery, example_report
from backups.models import BackupEntry
from backups.tests.admin_pages import job_page
from backups.tests.factories import dump, sha256
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = [pytest.mark.django_db, pytest.mark.one_database("texts of a page")]
ODD_NAME = 'l\'été "100%" $x'


def lines_of(job):
    delivery = describe_delivery(job)
    return {snippet.file_name: snippet.text for snippet in [*delivery.over_https, *delivery.by_folder]}


class TestTheLines:
    @pytest.mark.parametrize("database", ["crm", ODD_NAME])
    @pytest.mark.parametrize("line", ["delivery-once", "delivery-share"])
    def test_client_accepts_each_line(self, make_job, settings, database, line):
        job = make_job(database, "SRV-1")
        program, *arguments = shlex.split(lines_of(job)[line])
        options = parse_arguments(arguments)
        assert (program, options.command) == ("vigie-client", "deposit")
        given = dict(options.dumps)
        assert given["--database"] == database
        assert shlex.split(given["--command"]) == ["pg_dump", database]
        if line == "delivery-once":
            assert options.server == settings.PORTAL_URL
        else:
            assert (options.agent_id, options.to) == ("SRV-1", "/mnt/uploads")

    @pytest.mark.parametrize(
        ("fields", "cron", "trigger"),
        [
            ({"expected_hour_utc": 1, "expected_minute_utc": 30}, "30 1 * * *", "-Daily -At 01:30"),
            ({"expected_frequency": "weekly"}, "0 0 * * 1", "-Weekly -DaysOfWeek Monday -At 00:00"),
            ({"days_of_week": "SU,TU"}, "0 0 * * 0,2", "-Weekly -DaysOfWeek Tuesday,Sunday -At 00:00"),
            ({"schedule": "5 4 * * 1", "time_zone": "Europe/Paris"}, "5 4 * * 1", "-DaysOfWeek Monday -At 04:05"),
            (
                {"schedule": "5 4 * * *", "time_zone": "Europe/Paris", "expected_frequency": "weekly"},
                *("5 4 * * *", "-Daily -At 04:05"),
            ),
        ],
    )
    def test_lines_run_when_the_backup_is_expected(self, make_job, fields, cron, trigger):
        lines = lines_of(make_job(**{"expected_hour_utc": 0} | fields))
        assert lines["delivery-cron"].splitlines()[1].startswith(f"{cron}  vigie-client deposit ")
        assert trigger in lines["delivery-windows"]

    @pytest.mark.parametrize("schedule", ["5 4 1 * *", "0 */6 * * *"])
    def test_task_of_another_cron_expression_has_no_time(self, make_job, schedule):
        lines = lines_of(make_job(schedule=schedule))
        assert lines["delivery-cron"].splitlines()[1].startswith(f"{schedule}  vigie-client deposit ")
        assert "rigger -" not in lines["delivery-windows"]
        assert "-At " not in lines["delivery-windows"]
        assert lines["delivery-windows"].splitlines()[-1].startswith("# ")

    def test_crontab_of_any_user_can_write_its_log(self, make_job):
        assert lines_of(make_job())["delivery-cron"].endswith(' >>"$HOME/vigie-deposit.log" 2>&1')

    def test_percent_signs_are_escaped_in_a_crontab(self, make_job):
        assert "%" not in lines_of(make_job(ODD_NAME))["delivery-cron"].replace(r"\%", "")

    def test_folders_beyond_the_machine_are_not_reached_over_https(self, make_job):
        lines = lines_of(make_job(agent_deposit_path_template="shared/{agent_id}"))
        assert set(lines) == {"delivery-files", "delivery-report"}
        assert lines["delivery-files"].startswith("shared/SRV-DOUALA-01/compta_db.sql.gz")


def test_files_and_report_as_printed_are_a_verified_backup(job, machine, scan):
    now = timezone.now().replace(hour=13, minute=20)
    content, report = dump(), example_report(job)
    section = report["databases"][job.database_name]
    section["compress_process"] |= {"sha256": sha256(content), "size": len(content)}
    dump_path, report_path = lines_of(job)["delivery-files"].splitlines()
    moment = now - timedelta(minutes=10)
    for path, body in (
        (dump_path, content),
        (report_path.replace("YYYYMMDD_HHMM", f"{moment:%Y%m%d_%H%M}"), json.dumps(report | {"timestamp": moment.isoformat()}).encode()),
    ):  # fmt: skip
        file = machine.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    scan(now)
    assert BackupEntry.objects.latest("cycle_at").status == "SUCCESS"


class TestThePage:
    def test_page_offers_a_token_only_for_a_machine_that_is_not_enrolled(self, client, make_job, make_agent):
        log_in_with_role(client, "operator")
        job = make_job(agent_id="SRV-1")
        assert "kind=enroll&amp;for_machine=SRV-1" in page_text(client.get(job_page(job)))
        make_agent("srv-1")
        page = page_text(client.get(job_page(job)))
        assert "for_machine=SRV-1" not in page
        assert 'data-copy="delivery-once"' in page

    def test_page_escapes_names_in_the_lines(self, admin_client, make_job):
        page = page_text(admin_client.get(job_page(make_job("</pre><b>x"))))
        assert "<b>x" not in page

    def test_viewer_sees_no_lines(self, client, job):
        log_in_with_role(client, "viewer")
        assert "vigie-client" not in page_text(client.get(job_page(job)))
