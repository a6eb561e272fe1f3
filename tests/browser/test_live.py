"""Open pages that keep themselves up to date: nothing is taken from the reader, and what is out of date says so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import Agent
from portal.base.findings import Finding, Severity
from portal.desk import findings
from portal.models import OutboxMessage

pytestmark = [
    pytest.mark.one_database("what a browser does", despite=("transaction=True", "live_server")),
    pytest.mark.slow,
]
EVERY = 12_000
INDEX, MESSAGES, MACHINES = "/admin/", "/admin/portal/outboxmessage/", "/admin/agents/agent/"
ROWS = "#result_list tbody tr"


@pytest.fixture
def page(world, open_page):
    """Return the page of a superuser, whose clock the test sets forward."""
    page = open_page(world.callers["session:superuser"].session)
    page.clock.install()
    return page


@pytest.fixture
def found(monkeypatch):
    shown = [finding("roof"), finding("cellar")]
    monkeypatch.setattr(findings.finding_sources, "all", lambda: [lambda now: shown])
    return shown


def finding(key, severity=Severity.INFO):
    return Finding(severity, f"The {key} leaks.", url=INDEX, key=key, since=timezone.now() - timedelta(days=1))


def is_poll(message):
    request = getattr(message, "request", message)
    return request.headers.get("hx-target") == "live"


def wait_for_poll(page):
    """Let the time of one poll pass, and return its answer once the page has seen it."""
    with page.expect_response(is_poll) as answer:
        page.clock.fast_forward(EVERY)
    answer.value.finished()
    page.locator("#live:not(.htmx-request)").wait_for(state="attached")
    return answer.value


def focused(page):
    return page.evaluate(
        "[document.activeElement.closest('[data-key]')?.dataset.key, document.activeElement.textContent]"
    )


def test_list_shows_what_has_changed(page):
    page.goto(MESSAGES)
    assert page.locator(ROWS).count() == 1
    OutboxMessage.objects.update(title="The roof leaks")
    wait_for_poll(page)
    assert page.locator(ROWS).get_by_text("The roof leaks").is_visible()


def test_half_typed_form_and_ticked_row_survive_a_poll(page, world):
    page.goto(f"/admin/monitoring/target/{world.rows['monitoring/target']}/change/")
    page.get_by_label("Name").fill("Portal of")
    wait_for_poll(page)
    assert page.get_by_label("Name").input_value() == "Portal of"
    assert page.evaluate("document.activeElement.id") == "id_name"

    page.goto(MACHINES)
    page.locator(f"{ROWS} input.action-select").first.check()
    page.locator("select[name=action]").select_option(index=1)
    page.evaluate("document.activeElement.blur()")
    wait_for_poll(page)
    assert page.locator("input.action-select:checked").count() == 1
    assert page.locator("select[name=action]").input_value()


def test_focused_button_keeps_its_row_when_another_comes_above_it(page, found):
    page.goto(INDEX)
    page.locator("[data-key=cellar]").get_by_role("link", name="Acknowledge").focus()
    before = focused(page)
    found.append(finding("kitchen", Severity.CRITICAL))
    wait_for_poll(page)
    assert page.locator(".finding").count() == 3
    assert focused(page) == before


def test_focus_goes_to_a_heading_when_its_row_has_gone(page, found):
    page.goto(INDEX)
    page.locator("[data-key=roof]").get_by_role("link", name="Acknowledge").focus()
    del found[0]
    wait_for_poll(page)
    assert page.locator(".finding").count() == 1
    assert page.evaluate("document.activeElement.tagName") == "H2"


def test_emptied_list_empties_and_fills_again(page):
    OutboxMessage.objects.update(status=OutboxMessage.Status.WAITING)
    page.goto(f"{MESSAGES}?status=waiting")
    assert page.locator(ROWS).count() == 1
    OutboxMessage.objects.update(status=OutboxMessage.Status.SENT)
    wait_for_poll(page)
    assert page.locator(ROWS).count() == 0
    assert page.locator(".empty-list").is_visible()
    OutboxMessage.objects.update(status=OutboxMessage.Status.WAITING)
    wait_for_poll(page)
    page.locator(f"{ROWS} input.action-select").check()
    assert page.locator(".action-counter").inner_text() == "1 of 1 selected"


def test_list_that_fills_gets_its_search_box_and_loses_it_when_it_empties(page):
    rows = list(OutboxMessage.objects.all())
    OutboxMessage.objects.all().delete()
    page.goto(MESSAGES)
    assert page.locator("#searchbar").count() == 0
    OutboxMessage.objects.bulk_create(rows)
    with page.expect_navigation():
        page.clock.fast_forward(EVERY)
    page.locator("#searchbar").wait_for()
    assert page.locator("#changelist-filter").count() == 1
    assert page.locator(ROWS).count() == len(rows)
    OutboxMessage.objects.all().delete()
    with page.expect_navigation():
        page.clock.fast_forward(EVERY)
    page.locator(".empty-list").wait_for()
    assert page.locator("#searchbar").count() == 0


def test_list_that_fills_waits_while_the_reader_types_in_the_header(page):
    rows = list(OutboxMessage.objects.all())
    OutboxMessage.objects.all().delete()
    page.goto(MESSAGES)
    search = page.locator("#search-box")
    search.fill("PC-")
    OutboxMessage.objects.bulk_create(rows)
    wait_for_poll(page)
    page.evaluate("document.activeElement.blur()")
    wait_for_poll(page)
    assert search.input_value() == "PC-"
    assert page.locator("#searchbar").count() == 0
    search.fill("")
    page.evaluate("document.activeElement.blur()")
    with page.expect_navigation():
        page.clock.fast_forward(EVERY)
    page.locator("#searchbar").wait_for()


def test_tab_of_someone_signed_out_says_so_until_they_are_signed_in_again(page):
    page.goto(MESSAGES)
    cookies = page.context.cookies()
    page.context.clear_cookies()
    assert wait_for_poll(page).status == 401
    page.get_by_text("Not up to date since").wait_for()
    assert page.locator("#stale time").inner_text()
    assert page.get_by_role("link", name="Sign in again").is_visible()
    assert not page.get_by_role("link", name="Reload").is_visible()
    page.context.add_cookies(cookies)
    assert wait_for_poll(page).status == 200
    assert not page.locator("#stale").is_visible()


def test_page_whose_row_was_deleted_shows_no_other_page(page, world):
    page.goto(f"{MESSAGES}{world.rows['portal/outboxmessage']}/change/")
    OutboxMessage.objects.all().delete()
    assert wait_for_poll(page).status == 409
    page.get_by_role("link", name="Reload").wait_for()
    assert page.locator(".findings").count() == 0


def test_failed_poll_is_told_when_the_next_one_fails_too(page):
    page.goto(MESSAGES)
    page.route("**/admin/**", lambda route: route.fulfill(status=502))
    wait_for_poll(page)
    assert not page.locator("#stale").is_visible()
    wait_for_poll(page)
    page.get_by_role("link", name="Reload").wait_for()


def test_hidden_tab_asks_nothing_until_it_is_seen(page):
    page.goto(MESSAGES)
    polls = []
    page.on("request", lambda request: polls.append(request) if is_poll(request) else None)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.clock.fast_forward(EVERY)
    page.clock.fast_forward(EVERY)
    with page.expect_response(is_poll):
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    assert len(polls) == 1


def test_search_of_someone_signed_out_shows_no_sign_in_page_below_the_box(page):
    page.goto(INDEX)
    page.clock.resume()
    page.locator("#search-box").fill("PC-1")
    page.locator("#search-found .search-hit").first.wait_for()
    page.context.clear_cookies()
    page.locator("#search-box").fill("PC-2")
    page.locator("#search-found .search-results").wait_for(state="detached")
    assert page.locator("#search-found").inner_text() == ""


def test_shift_chooses_a_range_of_rows_also_in_rows_that_were_renewed(page):
    for number in range(3):
        Agent.objects.create(machine_id=f"PC-NEW-{number}", enrolled_at=timezone.now(), last_seen_at=timezone.now())
    page.goto(MACHINES)
    boxes = page.locator(f"{ROWS} input.action-select")
    boxes.nth(0).check()
    boxes.nth(2).click(modifiers=["Shift"])
    assert page.locator("tr.selected").count() == 3
    page.locator("#action-toggle").check()
    assert page.locator("tr.selected").count() == boxes.count() == 5
    page.locator("#action-toggle").uncheck()
    page.evaluate("document.activeElement.blur()")
    Agent.objects.filter(machine_id="PC-NEW-0").delete()
    wait_for_poll(page)
    assert boxes.count() == 4
    boxes.nth(3).click(modifiers=["Shift"])
    assert page.locator("tr.selected").count() == 1
