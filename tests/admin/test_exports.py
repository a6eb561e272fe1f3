"""CSV and XLSX exports of lists: the columns shown, all rows that match, and safe in a spreadsheet."""

import csv
import io
import re
import sys
import unicodedata
from datetime import UTC, date, datetime

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.safestring import mark_safe
from openpyxl import load_workbook

from agents.models import Agent
from portal.admin.base import VigieModelAdmin
from portal.admin.exporting import exported, text_of
from portal.desk.exports import BYTE_ORDER_MARK, csv_chunks, escape_cell, unescape_cell, workbook_cell
from portal.models import AuditEvent
from tests.admin.test_lists import QUERIES

EXPORT, LIST = "admin:agents_agent_export", "admin:agents_agent_changelist"
OURS = {
    model._meta.label_lower: model_admin
    for model, model_admin in admin.site._registry.items()
    if isinstance(model_admin, VigieModelAdmin)
}


def rows_of(response):
    text = b"".join(response.streaming_content).decode()
    assert text.startswith(BYTE_ORDER_MARK)
    return list(csv.DictReader(io.StringIO(text.removeprefix(BYTE_ORDER_MARK))))


@pytest.mark.parametrize(
    ("value", "text"),
    [("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), ("\tx", "'\tx"), ("\rx", "'\rx"),
     ("PC-1", "PC-1"), (-1, "-1"), (None, ""), (True, "true"), (False, "false"), (["uninstall"], '["uninstall"]'),
     ({"é": 1}, '{"é": 1}'), (datetime(2026, 3, 10, 9, 12, tzinfo=UTC), "2026-03-10T09:12:00.000Z")],
)  # fmt: skip
def test_cell_is_readable_and_never_a_formula(value, text):
    assert escape_cell(value) == text


@pytest.mark.parametrize("sign", "=+-@")
def test_characters_that_fold_to_a_formula_sign_are_escaped(sign):
    characters = [chr(code) for code in range(sys.maxunicode) if not 0xD800 <= code < 0xE000]
    folded = [char for char in characters if unicodedata.normalize("NFKC", char)[:1] == sign]
    assert sign in folded
    assert {escape_cell(f"{char}1+1") for char in folded} == {f"'{char}1+1" for char in folded}


@pytest.mark.parametrize(
    "start", ["=", " =", "\u00a0+", "\u3000\uff1d", "\ufeff=", "\u200b@", "\x01=", "\n-", "\t", "\r", "\u2060-", "'=", "''\uff0b"]
)  # fmt: skip
def test_formula_after_invisible_characters_is_escaped_and_read_back_unchanged(start):
    text = f"{start}1+1"
    assert escape_cell(text) == f"'{text}"
    assert unescape_cell(escape_cell(text)) == text
    assert str(workbook_cell(text)).startswith("'")


@pytest.mark.parametrize("text", ["", "'", "it's", "'quoted'", "a=b", " plain", "1-2", "\u22121", "\u2014 dash"])
def test_ordinary_text_is_exported_unchanged(text):
    assert escape_cell(text) == text
    assert unescape_cell(text) == text


def test_workbook_cell_keeps_numbers_and_dates_and_writes_others_as_words():
    day, moment = date(2026, 3, 1), datetime(2026, 3, 1, 8, tzinfo=UTC)
    cells = [workbook_cell(value) for value in (7, 2.5, True, day, moment)]
    assert cells == [7, 2.5, "true", day, "2026-03-01T08:00:00.000Z"]


@pytest.mark.parametrize("letter", ["x", "\U0001f600", "=x"])
def test_truncated_workbook_cell_is_marked(letter):
    text = workbook_cell(letter * 100_000)
    assert text.endswith("…")
    assert 32_000 <= len(text.encode("utf-16-le")) / 2 <= 32_767
    assert workbook_cell("x" * 32_000) == "x" * 32_000


def test_rows_are_streamed():
    read = []

    def source():
        for number in range(20_000):
            read.append(number)
            yield (number, "x" * 20)

    chunks = csv_chunks(["number", "text"], source())
    next(chunks)
    assert len(read) < 5_000


@pytest.fixture
def fleet(make_agent):
    return [make_agent(name, user_name=user) for name, user in (("PC-1", "=cmd"), ("PC-2", "Bo"), ("SRV-1", "Cy"))]


@pytest.mark.parametrize(("language", "title"), [("en", "Operating system"), ("fr", "Système d’exploitation")])
def test_columns_are_those_of_the_list_under_their_titles(admin_client, fleet, language, title):
    headers = {"Accept-Language": language}
    row = rows_of(admin_client.get(reverse(EXPORT), headers=headers))[0]
    shown = admin_client.get(reverse(LIST), headers=headers).content.decode()
    titles = re.findall(
        r'<th scope="col" class="[^"]*column-(?!action).*?<div class="text">(.*?)</div>', shown, re.DOTALL
    )
    assert list(row) == [re.sub(r"<[^>]*>", "", title).strip() for title in titles]
    assert title in row


def test_cells_are_what_the_list_shows_without_markup(admin_client, make_agent):
    seen = datetime(2026, 3, 10, 9, 12, tzinfo=UTC)
    make_agent("PC-1", user_name="<b>Bo</b> & Cy", os_info="")
    Agent.objects.update(last_seen_at=seen, status="uninstalled")
    row = rows_of(admin_client.get(reverse(EXPORT)))[0]
    assert row["User"] == "<b>Bo</b> & Cy"
    assert row["Last seen"] == "2026-03-10T09:12:00.000Z"
    assert row["Status"] == "uninstalled"
    assert row["Operating system"] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(mark_safe('<span class="badge">up</span>'), "up"), (mark_safe('a &amp; b<span class="beneath">c  d</span>'), "a & b; c d"),
     (mark_safe("a<br>b<br><i></i>"), "a; b"), ("<i>", "<i>"), ("–", None), (None, None), (7, 7), (True, True)],
)  # fmt: skip
def test_text_of_a_column_has_no_markup(value, text):
    assert text_of(value) == text


def test_column_may_name_what_its_export_holds(admin_client, fleet, monkeypatch):
    model_admin = admin.site._registry[Agent]
    column = exported(lambda agent: agent.pk)(admin.display(description="number")(lambda agent: "shown"))
    monkeypatch.setattr(model_admin, "list_display", ("machine_id", column))
    found = rows_of(admin_client.get(reverse(EXPORT)))
    assert [row["Number"] for row in found] == [str(agent.pk) for agent in reversed(fleet)]


def test_workbook_holds_the_same_columns_and_real_numbers(admin_client, rows):
    url = reverse("admin:usage_run_export")
    titles = list(rows_of(admin_client.get(url))[0])
    sheet = load_workbook(io.BytesIO(admin_client.get(f"{url}xlsx/").getvalue())).active
    header, first, *_others = sheet.iter_rows(values_only=True)
    assert list(header) == titles
    assert isinstance(first[titles.index("Pages")], int)


def test_every_list_exports_its_columns_without_a_query_per_row(admin_client, rows, subtests):
    for label, model_admin in OURS.items():
        cache.clear()  # of figures
        with subtests.test(label), CaptureQueriesContext(connection) as queries:
            url = reverse(f"admin:{label.replace('.', '_')}_export")
            assert len(rows_of(admin_client.get(url))) >= 3
            assert len(queries) <= QUERIES[label], [query["sql"] for query in queries]
        has_fields = label in ("backups.expectedbackupjob", "beta.betafeedback", "monitoring.target")
        assert bool(model_admin.export_columns) == has_fields


def test_export_applies_filters_search_and_order(admin_client, fleet, make_agent):
    make_agent("PC-0", status="uninstalled")
    response = admin_client.get(reverse(EXPORT), {"q": "pc-", "status": "active"})
    assert response.streaming
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert [row["Machine"] for row in rows_of(response)] == ["PC-2", "PC-1"]
    ordered = admin_client.get(reverse(EXPORT), {"q": "PC-", "o": "1"})
    assert [row["Machine"] for row in rows_of(ordered)] == ["PC-0", "PC-1", "PC-2"]


def test_export_is_not_limited_to_a_page(admin_client, make_agent):
    for number in range(60):
        make_agent(f"PC-{number}")
    assert len(rows_of(admin_client.get(reverse(EXPORT), {"p": "2"}))) == 60


def test_action_exports_the_selected_rows(admin_client, fleet):
    chosen = {"action": "export_chosen", "_selected_action": [fleet[0].pk]}
    response = admin_client.post(reverse("admin:agents_agent_changelist"), chosen)
    assert [row["User"] for row in rows_of(response)] == ["'=cmd"]


def test_invalid_query_redirects_to_the_list(admin_client):
    response = admin_client.get(reverse(EXPORT), {"q": "PC\0"})
    assert (response.status_code, response["Location"]) == (302, reverse("admin:agents_agent_changelist") + "?e=1")


@pytest.fixture
def viewer(client, db):
    user = User.objects.create_user("victor", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_agent"))
    client.force_login(user)
    return user


def test_view_permission_alone_does_not_export(client, viewer, fleet):
    page = client.get(reverse("admin:agents_agent_changelist")).content.decode()
    assert "PC-1" in page
    assert reverse(EXPORT) not in page
    assert client.get(reverse(EXPORT)).status_code == 403
    client.post(
        reverse("admin:agents_agent_changelist"), {"action": "export_chosen", "_selected_action": [fleet[0].pk]}
    )
    assert not AuditEvent.objects.filter(action="admin.action").exists()


def test_export_link_is_shown_with_the_permission(client, viewer, fleet):
    viewer.user_permissions.add(Permission.objects.get(codename="export_agent"))
    client.force_login(viewer)  # a change of rights ended the session
    page = client.get(reverse("admin:agents_agent_changelist"), {"q": "PC"}).content.decode()
    assert f"{reverse(EXPORT)}?q=PC" in page


def test_export_is_audited(admin_client, fleet):
    admin_client.get(reverse(EXPORT))
    event = AuditEvent.objects.get(action="admin.action")
    assert (event.actor, event.subject, event.after) == ("user:admin", "agents.agent", {"action": "export_shown"})


@pytest.mark.parametrize("name", ["portal_auditevent", "portal_apitoken", "portal_jobrun", "portal_taskattempt"])
def test_view_permission_alone_does_not_export_read_only_lists(client, viewer, name):
    viewer.user_permissions.add(Permission.objects.get(codename=f"view_{name.removeprefix('portal_')}"))
    client.force_login(viewer)
    assert client.get(reverse(f"admin:{name}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:{name}_export")).status_code == 403
