"""The paths of the users of a portal, in a browser."""

from __future__ import annotations

import os
import subprocess

import pytest
from django.core import mail

from agents.models import Agent
from backups.models import ExpectedBackupJob
from beta.models import BetaFeedback
from monitoring.models import Target
from portal.models import ApiToken, AuditEvent, NotificationChannel
from tests.authorisation.world import KEY, MACHINE, session_of

pytestmark = [
    pytest.mark.one_database("what a browser does", despite=("transaction=True", "live_server")),
    pytest.mark.slow,
]


def save(page):
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator(".messagelist .success").first.wait_for()


def run_as_printed(page, folder, *file_names):
    """Run lines that the page shows, as an administrator would who has no cron."""
    lines = "\n".join(page.locator(f"[id='{name}']").text_content() for name in file_names).replace("sudo ", "")
    environment = os.environ | {"VIGIE_STATE": str(folder / "state"), "VIGIE_CRON": str(folder / "none")}
    ran = subprocess.run(["sh", "-ec", lines], cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def first_step(page, name):
    page.goto("/admin/")
    page.locator(".checklist").get_by_role("link", name=name).click()


def test_newcomer_follows_the_checklist_to_a_monitored_portal(newcomer, open_page, live_server, settings, tmp_path):
    settings.PORTAL_URL = live_server.url
    page = open_page(session_of(newcomer))
    page.goto("/admin/")
    assert page.locator(".calm:not(.unknown)").count() == 0

    first_step(page, "Add a notification channel")
    page.get_by_label("Name").fill("Team")
    page.get_by_label("E-mail addresses").fill("team@example.org")
    page.get_by_role("button", name="Send a test").click()
    page.locator(".outcome li").first.wait_for()
    assert [message.to for message in mail.outbox] == [["team@example.org"]]
    assert not NotificationChannel.objects.filter(name="Team").exists()
    save(page)

    first_step(page, "Connect an application")
    page.get_by_role("button", name="Issue a token").click()
    page.get_by_text("Waiting for the first call").wait_for()
    run_as_printed(page, tmp_path, "save-token", "shell-enrol.sh")
    page.evaluate("htmx.trigger('#live', 'refresh')")  # as every few seconds
    page.get_by_text("has arrived").wait_for()
    machine = Agent.objects.get()
    page.goto(f"/admin/agents/agent/{machine.pk}/change/")
    assert page.locator("h1").inner_text() == machine.machine_id

    first_step(page, "backup")
    page.locator("#id_agent_id").fill(machine.machine_id)
    page.locator("#id_database_name").fill("stock")
    save(page)
    assert page.get_by_text("vigie-client deposit").first.is_visible()

    first_step(page, "target")
    page.get_by_label("Name").fill("Portal")
    page.get_by_label("URL").fill(f"{live_server.url}/healthz")
    page.get_by_role("button", name="Test", exact=True).click()
    page.locator(".messagelist .success").first.wait_for()
    assert not Target.objects.exists()
    save(page)

    page.goto("/admin/")
    assert page.locator(".checklist").count() == 0
    assert ExpectedBackupJob.objects.get().agent_id == machine.machine_id
    assert page.faults == []


def test_application_reports_a_run_with_the_lines_shown_with_its_token(
    newcomer, open_page, live_server, settings, tmp_path
):
    settings.PORTAL_URL = live_server.url
    page = open_page(session_of(newcomer))
    page.goto("/admin/portal/apitoken/add/?kind=client")
    page.get_by_label("Description").fill("Page counter")
    page.get_by_role("button", name="Issue").click()
    (tmp_path / "vigie.token").write_text(page.locator("#token").inner_text())
    run_as_printed(page, tmp_path, "curl-report.sh")
    page.goto("/admin/usage/run/")
    assert page.locator("#result_list tbody tr", has_text="LIC-2041").count() == 1
    assert page.faults == []


def test_operator_finds_a_machine_and_revokes_its_tokens_by_keyboard_alone(world, open_page):
    page = open_page(world.callers["session:operator"].session)
    page.goto("/admin/")
    page.keyboard.press("/")
    page.keyboard.type("pc-1")
    page.locator(".search-hit").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/agents/agent/*/change/")
    press_by_tab(page, "Revoke tokens…")
    page.locator(".consequences").wait_for()
    assert ApiToken.objects.filter(kind="agent", revoked_at=None).count() == 1
    press_by_tab(page, "Revoke")
    page.wait_for_url("**/admin/agents/agent/*/change/")
    assert not ApiToken.objects.filter(kind="agent", revoked_at=None).exists()
    assert AuditEvent.objects.filter(action="agent.tokens_revoked", subject=f"agent:{MACHINE}").count() == 1
    assert page.faults == []


def press_by_tab(page, name):
    """Walk to the button of this name with the Tab key, and press it."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("(document.activeElement.value || document.activeElement.textContent).trim()") == name:
            page.keyboard.press("Enter")
            return
    pytest.fail(f"{name} cannot be reached by Tab")


def test_participant_sends_feedback_and_an_operator_triages_it(world, open_page):
    page = open_page()
    page.goto(f"/feedback/{KEY}")
    page.get_by_label("Who are you?").fill("bob@example.org")
    page.get_by_label("What would you like to say?").fill("The export fails with <b>accents</b>")
    page.locator("button[type=submit], input[type=submit]").last.click()
    page.wait_for_load_state()
    feedback = BetaFeedback.objects.get(participant="bob@example.org")
    assert page.faults == []

    page = open_page(world.callers["session:operator"].session)
    page.goto("/admin/beta/betafeedback/?q=export fails")
    page.locator(f"#result_list a[href*='/{feedback.pk}/change/']").click()
    page.wait_for_url(f"**/admin/beta/betafeedback/{feedback.pk}/change/**")
    assert page.get_by_text("<b>accents</b>").first.is_visible()
    assert page.faults == []


def test_staff_download_the_beta_report_and_the_usage_of_a_licence(world, open_page):
    page = open_page(world.callers["session:staff"].session, accept_downloads=True)
    page.goto(f"/admin/beta/betaprogramme/{world.rows['beta/betaprogramme']}/change/")
    page.get_by_text("Download report").first.click()
    with page.expect_download() as report:
        page.get_by_role("button", name="XLSX").first.click()
    assert report.value.suggested_filename.endswith(".xlsx")
    page.goto(f"/admin/usage/licence/{world.rows['usage/licence']}/change/")
    with page.expect_download() as usage:
        page.get_by_role("link", name="CSV").first.click()
    assert usage.value.suggested_filename.endswith(".csv")
    assert page.faults == []
