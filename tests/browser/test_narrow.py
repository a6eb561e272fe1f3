"""Narrow screens: a menu, and the status of each row in sight."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.one_database("what a browser does", despite=("transaction=True", "live_server")),
    pytest.mark.slow,
]
WIDTHS = {"phone": 390, "200 % zoom": 640}
WITH_STATUS = ("agents/agent", "backups/expectedbackupjob", "monitoring/target", "monitoring/incident", "usage/licence")


@pytest.fixture(params=list(WIDTHS.values()), ids=list(WIDTHS))
def page(request, world, open_page):
    size = {"width": request.param, "height": 800}
    return open_page(world.callers["session:superuser"].session, viewport=size)


def test_menu_opens_by_keyboard_and_leads_to_another_page(page):
    page.goto("/admin/agents/agent/")
    assert not page.get_by_role("link", name="Expected backups").is_visible()
    page.get_by_role("button", name="Menu").press("Enter")
    page.get_by_role("link", name="Expected backups").click()
    page.wait_for_url("**/admin/backups/expectedbackupjob/")


def test_first_row_shows_its_status_without_scrolling(page):
    for path in WITH_STATUS:
        page.goto(f"/admin/{path}/")
        badge = page.locator("#result_list tbody tr").first.locator(".badge").first.bounding_box()
        assert badge["x"] + badge["width"] <= page.viewport_size["width"], path
        assert badge["y"] + badge["height"] <= page.viewport_size["height"], path
