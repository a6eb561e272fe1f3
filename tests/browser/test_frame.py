"""The frame of the admin's pages: its weight, and its language."""

from __future__ import annotations

import gzip

import pytest
from django.utils import timezone

from portal.base.findings import Finding, Severity, finding_sources

pytestmark = [
    pytest.mark.one_database("what a browser does", despite=("transaction=True", "live_server")),
    pytest.mark.slow,
]
COLD, WARM = 150_000, 30_000
FRAME = (
    "#header, #menu, .breadcrumbs, .object-tools, #toolbar, #changelist-filter summary, #result_list thead, .actions"
)
# Words that both languages write alike.
ALIKE = {
    "Vigie",
    "superuser",
    "Machines",
    "Assertions",
    "Incidents",
    "Messages",
    "Sessions",
    "Action:",
    "Version",
    "Machine",
    "Licence",
    "Licences",
    "---------",
    "/",
}


def test_menu_of_formats_lies_within_the_card_of_the_verdict(world, open_page):
    page = open_page(world.callers["session:superuser"].session)
    page.goto(f"/admin/beta/betaprogramme/{world.rows['beta/betaprogramme']}/change/")
    menu, card = (page.locator(place).bounding_box() for place in (".verdict .download details", ".module.verdict"))
    assert card["x"] < menu["x"]
    assert menu["x"] + menu["width"] < card["x"] + card["width"]
    assert page.locator(".download details").evaluate("each => getComputedStyle(each).borderTopWidth") == "0px"


def test_landing_page_with_25_findings_is_light(world, open_page, monkeypatch):
    found = [
        Finding(
            Severity.WARNING,
            f"stock_{number} on PC-{number}: overdue. Last verified backup: 3 days ago.",
            timezone.now(),
            "/admin/",
            "View",
            key=f"backups.job:{number}",
        )
        for number in range(25)
    ]
    finding_sources.all()  # what the apps register is collected at the first use, and would come on top
    monkeypatch.setattr(finding_sources, "items", [lambda now: found])
    page = open_page(world.callers["session:superuser"].session)
    answers = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto("/admin/", wait_until="networkidle")
    assert page.locator(".finding").count() == 25
    document, *files = [answer.body() for answer in answers]
    # Static files are sent compressed, and once; pages are not compressed, because they contain secrets.
    cold = len(document) + sum(min(len(file), len(gzip.compress(file))) for file in files)
    assert len(document) <= WARM
    assert cold <= COLD


def words_of(page, language):
    page.context.add_cookies([{"name": "django_language", "value": language, "url": page.url}])
    page.goto("/admin/agents/agent/")
    texts = page.locator(FRAME).all_inner_texts()
    return {line.strip() for text in texts for line in text.splitlines() if line.strip()}


def test_frame_is_french_for_who_reads_french(world, open_page):
    page = open_page(world.callers["session:superuser"].session)
    page.goto("/admin/agents/agent/")
    english, french = words_of(page, "en"), words_of(page, "fr")
    assert page.locator("html").get_attribute("lang") == "fr"
    assert len(english) > 40
    assert sorted(english & french - ALIKE) == []
    assert page.faults == []
