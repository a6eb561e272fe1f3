"""Usage by licence, month and application: exports and the monthly statement."""

import csv
import io
from datetime import UTC, date, datetime, timedelta

import openpyxl
import pymupdf
import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.utils import timezone, translation

from portal.models import AuditEvent
from usage import monthly, statements
from usage.consumption import Period, UsageTotals, period_at
from usage.monthly import latest_months, monthly_usage, months_between
from usage.tests.factories import at, create_licence, create_rollup

pytestmark = pytest.mark.django_db
LIST, DASHBOARD = "/admin/usage/licence/", "/admin/usage/run/dashboard/"
NOW = at("12:00", "2026-03-20")
DAY = timedelta(days=1)


def day(text):
    return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)


def listed(licences, months_of):
    return [
        (row.licence.ref, row.application, str(row.month.period.first_day), row.totals.pages, row.percent)
        for row in monthly_usage(licences, months_of)
    ]


def exported(response):
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text)))


def text_of(content):
    with pymupdf.open("pdf", content) as document:
        return "\n".join(page.get_text() for page in document)


class TestMonthlyUsage:
    def test_each_licence_has_its_own_months(self):
        first, ninth = create_licence("A"), create_licence("B", quota=None, period_day=9)
        for ref in ("A", "B"):
            create_rollup(at("23:00", "2026-03-08"), pages=1, license_ref=ref)
            create_rollup(at("00:00", "2026-03-09"), pages=2, license_ref=ref)
        assert listed([first, ninth], latest_months(NOW)) == [
            ("A", "gui", "2026-03-01", 3, 3.0),
            ("B", "gui", "2026-02-09", 1, None),
            ("B", "gui", "2026-03-09", 2, None),
        ]

    def test_versions_of_an_application_are_added_up(self):
        licence = create_licence(quota=3)
        for name, version, pages in (("gui", "6", 1), ("gui", "7", 2), ("cli", "6", 4)):
            create_rollup(NOW, app_name=name, app_version=version, pages=pages)
        assert [row[1:4:2] for row in listed([licence], latest_months(NOW))] == [("cli", 4), ("gui", 3)]

    def test_percentage_is_rounded_down_to_a_decimal(self):
        licence = create_licence(quota=3)
        create_rollup(NOW, pages=2)
        assert listed([licence], latest_months(NOW))[0][4] == 66.6

    def test_interval_cuts_the_first_and_the_last_month(self):
        licence = create_licence()
        for text, pages in (("2026-01-15", 1), ("2026-01-16", 2), ("2026-02-01", 4), ("2026-03-10", 8)):
            create_rollup(day(text), pages=pages)
        create_rollup(day("2026-03-11"), pages=16)
        assert listed([licence], months_between(day("2026-01-16"), day("2026-03-11"), NOW)) == [
            ("LIC-1", "gui", "2026-01-16", 2, None),
            ("LIC-1", "gui", "2026-02-01", 4, 4.0),
            ("LIC-1", "gui", "2026-03-01", 8, None),
        ]

    def test_running_month_within_the_interval_is_whole(self):
        licence = create_licence()
        create_rollup(NOW, pages=5)
        assert listed([licence], months_between(day("2026-03-01"), day("2026-03-21"), NOW))[0][4] == 5.0

    def test_many_licences_are_summed_in_batches(self, monkeypatch, django_assert_num_queries):
        monkeypatch.setattr(monthly, "LICENCES_AT_A_TIME", 2)
        licences = [create_licence(f"L{number}", period_day=1 + number % 2) for number in range(5)]
        for licence in licences:
            create_rollup(NOW, license_ref=licence.ref)
        with django_assert_num_queries(5):
            assert [row[0] for row in listed(licences, latest_months(NOW))] == ["L0", "L1", "L2", "L3", "L4"]


class TestExports:
    @pytest.fixture(autouse=True)
    def usage(self):
        cache.clear()
        now = timezone.now()
        create_licence("A", customer="=cmd")
        create_licence("B", quota=None)
        for ref, pages in (("A", 30), ("B", 7), ("", 5)):
            create_rollup(now, license_ref=ref, pages=pages, runs=2, documents=4, failed=1)

    def test_licence_exports_its_months(self, admin_client, django_user_model):
        licence = create_licence("C", quota=10)
        create_rollup(period_at(timezone.now(), 1).start - DAY, license_ref="C", pages=12)
        header, row = exported(admin_client.get(f"{LIST}{licence.pk}/usage/csv/"))
        month = period_at(period_at(timezone.now(), 1).start - DAY, 1)
        assert header[3:5] == ["From", "To"]
        assert row == [
            "C", "Acme", "gui", str(month.first_day), str(month.last_day), "1", "1", "0", "12", "10", "120.0",
        ]  # fmt: skip

    def test_list_exports_the_licences_that_it_shows(self, admin_client):
        rows = exported(admin_client.get(f"{LIST}usage/csv/"))[1:]
        assert [(row[0], row[1], row[8]) for row in rows] == [("A", "'=cmd", "30"), ("B", "Acme", "7")]
        filtered = exported(admin_client.get(f"{LIST}usage/csv/", {"standing": "none"}))[1:]
        assert [row[0] for row in filtered] == ["B"]

    def test_dashboard_exports_what_its_page_adds_up(self, admin_client):
        rows = exported(admin_client.get(f"{DASHBOARD}export/csv/", {"days": "7"}))[1:]
        assert [(row[0], row[8]) for row in rows] == [("", "5"), ("A", "30"), ("B", "7")]
        shown = admin_client.get(DASHBOARD, {"days": "7"}).context["tiles"][0].figure
        assert shown == str(sum(int(row[8]) for row in rows))

    def test_workbook_has_numbers_and_dates(self, admin_client):
        response = admin_client.get(f"{LIST}usage/xlsx/")
        sheet = openpyxl.load_workbook(io.BytesIO(b"".join(response.streaming_content))).active
        rows = list(sheet.iter_rows(values_only=True))
        assert [row[5:] for row in rows[1:]] == [(2, 4, 1, 30, 100, 30), (2, 4, 1, 7, None, None)]
        month = period_at(timezone.now(), 1)
        assert [value.date() for value in rows[1][3:5]] == [month.first_day, month.last_day]
        assert sheet["D2"].number_format == "yyyy-mm-dd"

    def test_export_is_recorded(self, admin_client):
        admin_client.get(f"{LIST}usage/csv/", {"standing": "none"})
        event = AuditEvent.objects.get(action="usage.exported")
        assert (event.actor, event.after) == ("user:admin", {"format": "csv", "query": "standing=none"})

    @pytest.mark.parametrize(
        ("path", "status"),
        [(f"{LIST}usage/pdf/", 404), (f"{LIST}999/usage/csv/", 404), (f"{DASHBOARD}export/csv/?from=x", 400)],
    )
    def test_wrong_export_is_refused(self, admin_client, path, status):
        assert admin_client.get(path).status_code == status

    def test_viewer_without_the_export_permission_gets_no_links(self, client):
        viewer = User.objects.create_user("vic", is_staff=True)
        viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_licence", "view_run"]))
        client.force_login(viewer)
        for path in (LIST, DASHBOARD, f"{LIST}{create_licence('C').pk}/change/"):
            text = client.get(path).content.decode()
            assert "/usage/csv/" not in text
            assert "/export/csv/" not in text
            assert "/statement/" not in text


class TestStatement:
    def test_statement_has_totals_by_application(self):
        licence = create_licence("LIC-7", quota=1_000, customer="Müller & Söhne", period_day=9)
        for text, name, pages in (("2026-02-08", "gui", 9), ("2026-02-09", "gui", 700), ("2026-03-08", "cli", 500)):
            create_rollup(day(text), license_ref="LIC-7", app_name=name, pages=pages)
        statement = statements.build_statement(licence, Period(day("2026-02-09"), day("2026-03-09")), NOW)
        assert (statement.total.pages, statement.is_over) == (1_200, True)
        assert [(name, totals.pages) for name, totals in statement.by_application] == [("cli", 500), ("gui", 700)]
        text = text_of(statements.render_statement(statement))
        for words in ("Müller & Söhne", "LIC-7", "9 February 2026 – 8 March 2026", "120 %", "1,200", "200 pages over"):
            assert words in text

    def test_statement_is_in_the_readers_language(self):
        licence = create_licence(quota=None)
        with translation.override("fr"):
            statement = statements.build_statement(licence, period_at(NOW, 1), NOW)
            content = statements.render_statement(statement)
        for words in ("Relevé d’utilisation", "1 mars 2026 – 31 mars 2026", "Le mois n’est pas terminé", "(illimité)"):
            assert words in text_of(content)
        with pymupdf.open("pdf", content) as document:
            assert document.metadata["title"] == "Relevé d’utilisation\xa0: LIC-1, 1 mars 2026 – 31 mars 2026"

    def test_statement_of_a_past_month_says_what_may_differ(self):
        licence = create_licence(quota=1_000)
        create_rollup(day("2026-02-09"), pages=1_200)
        months = [statements.build_statement(licence, period_at(now, 1), NOW) for now in (day("2026-02-09"), NOW)]
        past, running = [text_of(statements.render_statement(month)) for month in months]
        assert "Based on the current quota." in past
        assert "Reports that arrive later will be added." in past
        assert "Based on" not in running
        licence.monthly_page_quota = None
        unlimited = statements.build_statement(licence, period_at(day("2026-02-09"), 1), NOW)
        assert "Based on" not in text_of(statements.render_statement(unlimited))

    def test_applications_beyond_the_first_50_by_pages_are_one_row(self):
        many = [(f"{number:04}" + "W" * 124, UsageTotals(1, 2, 2, 0, number)) for number in range(2_000)]
        statement = statements.Statement(create_licence(), period_at(NOW, 1), many, NOW)
        *shown, others = statement.rows
        assert shown == many[:-51:-1]
        assert others == ("1,950 other applications", UsageTotals(1_950, 3_900, 3_900, 0, sum(range(1_950))))
        assert f"{sum(range(2_000)):,}" in text_of(statements.render_statement(statement))

    def test_statement_has_most_pages_first_and_names_the_time_zone(self):
        licence = create_licence()
        for name, pages in (("app-1", 1), ("app-19", 3), ("app-2", 2)):
            create_rollup(NOW, app_name=name, pages=pages)
        with timezone.override("Africa/Douala"):
            statement = statements.build_statement(licence, period_at(NOW, 1), NOW)
            assert [name for name, _totals in statement.rows] == ["app-19", "app-2", "app-1"]
            assert "Africa/Douala" in text_of(statements.render_statement(statement))

    def test_publisher_is_named(self, settings):
        settings.PORTAL_URL, settings.PUBLISHER_NAME = "https://vigie.example.org/x", ""
        assert statements.publisher_name() == "vigie.example.org"
        settings.PUBLISHER_NAME = "Mercure"
        assert statements.publisher_name() == "Mercure"

    @pytest.mark.parametrize(
        ("text", "is_found"),
        [
            ("2026-03-01", True), ("2020-01-01", True), ("2026-04-01", False), ("2026-03-02", False), ("x", False),
            ("1999-12-01", False), ("0001-01-01", False), ("9999-12-01", False),
        ],
    )  # fmt: skip
    def test_statement_is_of_a_month_that_has_begun(self, text, is_found):
        assert (statements.find_period(create_licence(), text, NOW) is not None) == is_found

    def test_each_month_of_the_page_leads_to_its_statement(self, admin_client):
        licence, now = create_licence(), timezone.now()
        create_rollup(period_at(now, 1).start - DAY)
        rows = admin_client.get(f"{LIST}{licence.pk}/change/").context["months"].rows
        paths = [row[7].partition('"')[2].partition('"')[0] for row in rows]
        assert len(paths) == 2
        for path in paths:
            response = admin_client.get(path)
            assert (response.status_code, response["Content-Type"]) == (200, "application/pdf")
        assert AuditEvent.objects.filter(action="usage.exported", after__format="pdf").count() == 2
        assert admin_client.get(f"{LIST}{licence.pk}/statement/2026-03-02/").status_code == 404
