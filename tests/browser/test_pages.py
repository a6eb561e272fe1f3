"""Every type of page in a browser: accessible in light and dark, whole on narrow screens, self-contained."""

from __future__ import annotations

import json
import re

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from tests.authorisation.table import Table

pytestmark = [
    pytest.mark.one_database("what a browser does", despite=("transaction=True", "live_server")),
    pytest.mark.slow,
]
# Swagger UI makes its own markup, which nests buttons in buttons and has its headings in no order; its colours are ours.
FOREIGN = ["#swagger-ui"]
# Every page of the admin has the same header and menu, a third of its elements. One page of each section is checked whole.
FRAME = ["#header", "#menu"]
# WCAG 2.1 A and AA, and what axe calls best practice.
RULES = "{preload: false, resultTypes: ['violations']}"
# The theme changes colours only.
COLOURS = "{preload: false, runOnly: {type: 'rule', values: ['color-contrast', 'link-in-text-block']}, resultTypes: ['violations']}"
WIDTHS = {390: "phone", 640: "200 % zoom", 900: "tablet"}
# Each section of the portal is a test of its own, to be run by another worker.
SECTIONS = ("/admin/portal/", "/admin/monitoring/", "/admin/usage/", "/admin/b", "/admin/", "/")
# Downloads and pages for machines. All pages that ask before they delete are one template: a maintenance window's stands for it.
LEFT_OUT = re.compile(
    r"/export|/client/|/usage/csv/|/statement/|/jsi18n/|/api/schema/|/healthz|/metrics|/readyz|/history/|/logout/"
    r"|/admin/(?!monitoring/maintenancewindow).*/delete/"
)
# What reaches beyond the right edge, but for what scrolls in a box of its own.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const isOut = (element) => element.getBoundingClientRect().right > width + 1;
  const isBoxed = (element) => element !== document.body && (getComputedStyle(element).overflowX !== "visible" || isBoxed(element.parentElement));
  if (document.documentElement.scrollWidth <= width) return [];
  const out = [...document.body.querySelectorAll("*")].filter((each) => isOut(each) && ![...each.children].some(isOut));
  return out.filter((each) => !isBoxed(each.parentElement)).map((each) => each.outerHTML.slice(0, 160));
}"""


def pages_of(world, section):
    """Return the paths of the HTML pages of a section that a superuser may see, one of each kind."""
    rows = [row for row in Table(world).rows if row.method == "GET" and row.section in ("pages", "accounts")]
    seen = {row.path for row in rows if row.expected().get("session:superuser") == "200"}
    paths = [path for path in seen if not LEFT_OUT.search(path)]
    return sorted(path for path in paths if next(each for each in SECTIONS if path.startswith(each)) == section)


def violations(page, left_out, options):
    context = json.dumps({"exclude": [[selector] for selector in left_out]}) if left_out else "document"
    found = page.evaluate(f"axe.run({context}, {options})")["violations"]
    return [f"{each['id']} ({each['impact']}): {node['html'][:160]}" for each in found for node in each["nodes"]]


def planted(page):
    """Return the elements that a text written by people has become."""
    return [
        f"text became markup: {html}"
        for html in page.locator("img[src=x]").evaluate_all(
            "all => all.map((each) => each.parentElement.outerHTML.slice(0, 160))"
        )
    ]


def faults_of(page, path, left_out):
    """Return what is wrong with a page, a line each; axe leaves out these elements."""
    page.faults.clear()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    page.goto(path)
    if path == "/api/docs/":
        page.locator(".opblock").first.wait_for()
    page.evaluate(AXE_SCRIPT)
    faults = planted(page) + violations(page, FOREIGN + left_out, RULES)
    page.emulate_media(color_scheme="dark")
    page.evaluate("document.getAnimations().forEach(each => each instanceof CSSTransition && each.finish())")
    faults += [f"dark: {fault}" for fault in violations(page, left_out, COLOURS)]
    for width, name in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": 800})
        faults += [f"{name}: beyond the right edge: {fault}" for fault in page.evaluate(TOO_WIDE)]
    return [f"{path}: {fault}" for fault in page.faults + faults]


@pytest.mark.parametrize("section", SECTIONS)
def test_page_is_accessible_and_whole_and_asks_no_other_host(world, open_page, section):
    page = open_page(world.callers["session:superuser"].session)
    paths = pages_of(world, section)
    assert paths
    whole = [path for path in paths if path == paths[0] or not path.startswith("/admin/")]
    faults = [fault for path in paths for fault in faults_of(page, path, [] if path in whole else FRAME)]
    assert not faults, "\n".join(faults)
