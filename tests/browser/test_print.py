"""Pages on paper: the content from the first sheet on, without menu and buttons."""

from __future__ import annotations

import pymupdf
import pytest

pytestmark = [
    pytest.mark.one_database("what a browser does", despite=("transaction=True", "live_server")),
    pytest.mark.slow,
]
PRINTED = (
    "/admin/",
    "/admin/usage/run/dashboard/",
    "/admin/usage/licence/{usage/licence}/change/",
    "/admin/beta/betaprogramme/{beta/betaprogramme}/change/",
    "/admin/monitoring/target/",
)
ON_SCREEN_ONLY = (
    "#header, #nav-sidebar, nav, button, input, select, textarea, .object-tools, .act, .submit-row, .paginator a"
)


def sheets(page):
    """Return the text of each sheet."""
    with pymupdf.open(stream=page.pdf(format="A4"), filetype="pdf") as document:
        return [sheet.get_text() for sheet in document]


def squeeze(text):
    """Return the text without spaces: a browser and a PDF break lines at different places."""
    return "".join(text.split())


def test_page_prints_its_content_without_menu_and_buttons(world, open_page):
    page = open_page(world.callers["session:superuser"].session)
    for path in PRINTED:
        assert page.goto(path.format_map(world.rows)).ok, path
        heading = page.locator("h1").first.inner_text()
        page.emulate_media(media="print")
        printed = page.locator(ON_SCREEN_ONLY).filter(visible=True)
        assert printed.all_inner_texts() == [], path
        texts = sheets(page)
        assert squeeze(heading) in squeeze(texts[0]), path
        assert all(text.strip() for text in texts), path
        page.emulate_media(media="screen")
