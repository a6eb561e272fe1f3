"""Usage over time."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone
from django.utils.formats import date_format

from usage.consumption import dashboard_totals, latest_days
from usage.tests.factories import create_licence, create_rollup, create_run

pytestmark = pytest.mark.django_db
PAGE = "/admin/usage/run/dashboard/"
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


@pytest.fixture
def shown(admin_client):
    return lambda **query: admin_client.get(PAGE, query).context


def customers(context):
    return [(str(row[0]), *row[1:]) for row in context["sections"][0].rows]


class TestDailyBars:
    @pytest.mark.parametrize(
        ("days", "pages"), [("7", "3"), ("30", "7"), ("90", "15"), ("364", "31"), ("", "7"), ("8", "7")]
    )
    def test_span_ends_today(self, shown, days, pages):
        for number, back in enumerate((0, 6, 29, 89, 363, 364)):
            create_rollup(timezone.now() - back * DAY, pages=2**number)
        assert shown(days=days)["tiles"][0].figure == pages

    def test_day_has_bars_of_pages_runs_and_failures(self, shown):
        now = timezone.now()
        create_rollup(now, pages=9, runs=2, documents=8, failed=1)
        create_rollup(now - 2 * DAY, pages=5, runs=1, documents=4, failed=1)
        pages, runs, failed = (tile.chart.values for tile in shown(days="7")["tiles"])
        assert pages == [0, 0, 0, 0, 5, 0, 9]
        assert runs == [0, 0, 0, 0, 1, 0, 2]
        assert failed == [0, 0, 0, 0, 25.0, 0, 12.5]
        assert [tile.figure for tile in shown(days="7")["tiles"]] == ["14", "3", "16.7 %"]

    def test_new_day_does_not_reuse_cached_totals(self):
        midnight = datetime(2026, 3, 11, tzinfo=UTC)
        for back in (1, 7):
            create_rollup(midnight - back * DAY, pages=back)
        before, after = (
            dashboard_totals(midnight + moment, latest_days(midnight + moment, 7)) for moment in (-SECOND, SECOND)
        )
        assert [sum(day.pages for day in found.by_day.values()) for found in (before, after)] == [8, 1]

    def test_long_span_has_a_bar_per_week(self, shown):
        now = timezone.now()
        for back, pages in ((0, 1), (6, 2), (7, 4), (13, 8), (14, 16), (363, 32)):
            create_rollup(now - back * DAY, pages=pages)
        chart = shown(days="364")["tiles"][0].chart
        assert (len(chart.values), chart.unit, chart.values[-3:], chart.values[0]) == (
            52,
            "pages per week",
            [16, 12, 3],
            32,
        )
        assert chart.days[-1] == timezone.localdate(now) - 6 * DAY

    def test_custom_range_includes_both_days(self, shown):
        now = timezone.now()
        for back, pages in ((9, 1), (10, 2), (12, 4), (13, 8)):
            create_rollup(now - back * DAY, pages=pages)
        first, last = (timezone.localdate(now - back * DAY) for back in (12, 10))
        context = shown(**{"from": first.isoformat(), "to": last.isoformat()})
        assert context["tiles"][0].chart.values == [4, 0, 2]
        days = [date_format(day, "DATE_FORMAT") for day in (first, last)]
        assert context["range"] == "from {} to {}".format(*days)
        assert not any(is_chosen for _days, _label, is_chosen in context["spans"])

    @pytest.mark.one_database("refused before the database is asked")
    @pytest.mark.parametrize(
        ("first", "last"),
        [
            ("2026-03-02", "2026-03-01"), ("2024-01-01", "2025-01-01"), ("2026-03-01", "2999-01-01"), ("", "2026-03-01"),
            ("2026-03-01", ""), ("1999-12-31", "2000-01-02"), ("03/01/2026", "2026-03-02"), ("x", "9" * 300),
        ],
    )  # fmt: skip
    def test_invalid_range_shows_errors_and_the_usual_days(self, shown, first, last):
        create_rollup(pages=3)
        context = shown(**{"from": first, "to": last})
        assert context["form"].errors
        assert context["tiles"][0].figure == "3"
        assert [days for days, _label, is_chosen in context["spans"] if is_chosen] == [30]

    def test_range_before_the_earliest_day_says_when_it_may_begin(self, shown):
        context = shown(**{"from": "1999-01-01", "to": "1999-02-01"})
        assert "2000" in str(context["form"].errors)

    def test_longest_range_is_accepted(self, shown):
        context = shown(**{"from": "2024-01-01", "to": "2024-12-31"})
        assert not context["form"].errors
        assert len(context["tiles"][0].chart.values) == 53

    def test_small_share_of_failures_is_not_rounded_to_zero(self, shown):
        create_rollup(documents=100_000, failed=1)
        assert shown()["tiles"][2].figure == "0.1 %"

    def test_empty_dashboard_is_rendered(self, shown):
        context = shown()
        assert [tile.figure for tile in context["tiles"]] == ["0", "0", "–"]
        assert [section.empty for section in context["sections"]] == ["No runs in this period."] * 2


class TestTables:
    def test_licences_of_one_customer_share_a_row(self, shown):
        create_licence("LIC-1")
        create_licence("LIC-2")
        create_licence("LIC-3", customer="")
        for ref, pages in (("LIC-1", 10), ("LIC-2", 20), ("LIC-3", 5), ("LIC-4", 4), ("", 3)):
            create_rollup(license_ref=ref, pages=pages)
        rows = customers(shown())
        assert [row[4] for row in rows] == [30, 5, 4, 3]
        assert "?q=Acme" in rows[0][0]
        assert "LIC-3" in rows[1][0]
        assert "no customer" in rows[1][0]
        assert "LIC-4" in rows[2][0]
        assert rows[3][0] == "no licence"

    def test_rows_beyond_twenty_are_summed_up(self, shown):
        for number in range(23):
            create_rollup(license_ref=f"LIC-{number:02}", pages=100 - number)
        rows = customers(shown())
        assert len(rows) == 21
        assert rows[-1] == ("3 more", 3, 3, 0, 80 + 79 + 78)

    def test_versions_have_separate_rows(self, shown):
        create_rollup(app_version="6", pages=1)
        create_rollup(app_version="7", pages=2)
        create_rollup(app_version="7", pages=4, license_ref="LIC-2")
        assert [(row[0], row[4]) for row in shown()["sections"][1].rows] == [("gui 7", 6), ("gui 6", 1)]


class TestDashboardPage:
    def test_page_reads_rollups_and_caches_totals(self, admin_client, django_assert_max_num_queries):
        create_run()
        create_rollup()
        with django_assert_max_num_queries(10) as queries:
            admin_client.get(PAGE)
        assert not any('"usage_run"' in query["sql"] for query in queries)
        with django_assert_max_num_queries(10) as queries:
            admin_client.get(PAGE)
        assert not any('"usage_runrollup"' in query["sql"] for query in queries)

    def test_spans_are_cached_separately(self, shown):
        create_rollup(timezone.now() - 20 * DAY, pages=5)
        assert [shown(days=days)["tiles"][0].figure for days in ("30", "7", "30")] == ["5", "0", "5"]

    def test_user_without_permission_sees_neither_page_nor_tile(self, client):
        client.force_login(User.objects.create_user("vic", is_staff=True))
        assert client.get(PAGE).status_code == 403
        assert PAGE not in client.get("/admin/").content.decode()

    def test_landing_page_and_lists_link_to_dashboard(self, admin_client):
        for path in ("/admin/", "/admin/usage/run/", "/admin/usage/licence/"):
            assert f'href="{PAGE}"' in admin_client.get(path).content.decode()

    def test_page_has_no_inline_script_or_style(self, admin_client):
        create_rollup()
        text = admin_client.get(PAGE).content.decode()
        assert " style=" not in text
        assert "<style" not in text
        assert text.count("<canvas data-chart=") == 3
