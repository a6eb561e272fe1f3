"""Periods, pace, forecast and totals of licences."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.base.moments import midnight
from usage.consumption import Period, UsageTotals, latest_periods, period_at, totals_by_day, totals_by_period
from usage.models import Licence, RunRollup
from usage.quotas import QuotaStatus, quota_statuses
from usage.tests.factories import create_licence, create_rollup

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


class TestPeriods:
    @pytest.mark.parametrize(
        ("moment", "day", "start", "end"),
        [
            (at(2026, 3, 20, 12), 1, at(2026, 3, 1), at(2026, 4, 1)),
            (at(2026, 3, 20, 12), 20, at(2026, 3, 20), at(2026, 4, 20)),
            (at(2026, 3, 20, 12), 21, at(2026, 2, 21), at(2026, 3, 21)),
            (at(2026, 1, 5), 28, at(2025, 12, 28), at(2026, 1, 28)),
            (at(2025, 12, 31, 23), 1, at(2025, 12, 1), at(2026, 1, 1)),
            (at(2026, 2, 28), 28, at(2026, 2, 28), at(2026, 3, 28)),
            (at(2028, 2, 29), 28, at(2028, 2, 28), at(2028, 3, 28)),
            (at(2026, 3, 1), 28, at(2026, 2, 28), at(2026, 3, 28)),
            (at(2026, 3, 31), 15, at(2026, 3, 15), at(2026, 4, 15)),
        ],
    )
    def test_period_begins_on_its_day(self, moment, day, start, end):
        assert period_at(moment, day) == Period(start, end)

    def test_period_changes_at_the_portals_midnight(self, settings):
        settings.TIME_ZONE = "Europe/Paris"
        turn = at(2026, 2, 28, 23)  # midnight of the 1st of March in Paris
        assert period_at(turn - SECOND, 1) == Period(at(2026, 1, 31, 23), turn)
        assert period_at(turn, 1).start == turn

    def test_period_with_clock_change_is_an_hour_shorter(self, settings):
        settings.TIME_ZONE = "Europe/Paris"
        march = period_at(at(2026, 3, 20), 1)
        assert march.end - march.start == 31 * DAY - HOUR
        assert period_at(at(2026, 3, 29, 21, 59, 59), 29 - 1).start == at(2026, 3, 27, 23)

    def test_period_begins_on_a_day_without_midnight(self, settings):
        settings.TIME_ZONE = "Africa/Cairo"  # on 24 April 2026 the clocks go from 24:00 to 1:00
        assert midnight(date(2026, 4, 24)) == at(2026, 4, 23, 22)
        assert period_at(at(2026, 4, 23, 22), 24).start == at(2026, 4, 23, 22)

    @pytest.mark.parametrize("day", [1, 15, 28])
    def test_past_periods_are_contiguous(self, day):
        months = latest_periods(NOON, day)
        assert len(months) == 12
        assert months[0] == period_at(NOON, day)
        for newer, older in pairwise(months):
            assert older.end == newer.start
            assert older == period_at(older.start, day) == period_at(older.end - SECOND, day)


class TestForecast:
    def standing(self, **fields):
        month = {"now": at(2026, 4, 11), "period": Period(at(2026, 4, 1), at(2026, 5, 1))}
        return QuotaStatus(**month | {"quota": 1_000, "pages": 100, "pace": 10.0} | fields)

    def test_forecast_continues_at_the_same_pace(self):
        assert self.standing().expected == 100 + 20 * 10

    def test_forecast_needs_a_pace(self):
        standing = self.standing(pace=None)
        assert (standing.expected, standing.used_up_on) == (None, None)

    def test_forecast_names_the_day_of_the_quota(self):
        assert self.standing(quota=255).used_up_on == date(2026, 4, 26)

    @pytest.mark.parametrize("fields", [{"quota": 300}, {"quota": None}, {"pages": 1_000}, {"pace": 0.0}])
    def test_forecast_beyond_the_period_has_no_day(self, fields):
        assert self.standing(**fields).used_up_on is None

    @pytest.mark.parametrize(
        ("pages", "quota", "percent", "is_used_up"),
        [
            (79, 100, 79, False),
            (999, 1_000, 99, False),
            (100, 100, 100, True),
            (250, 100, 250, True),
            (5, None, None, False),
        ],
    )
    def test_percent_is_100_only_if_used_up(self, pages, quota, percent, is_used_up):
        standing = self.standing(pages=pages, quota=quota)
        assert (standing.percent, standing.is_used_up) == (percent, is_used_up)


@pytest.mark.django_db
class TestQuotaStatuses:
    def standing(self, now=NOON, **fields):
        licence = create_licence(**fields)
        return quota_statuses([licence], now)["LIC-1"]

    def test_pages_are_of_the_current_period(self):
        create_rollup(at(2026, 2, 28, 23), pages=1)
        create_rollup(at(2026, 3, 1), pages=2)
        create_rollup(NOON, pages=4)
        create_rollup(NOON, pages=8, app_version="7")
        create_rollup(NOON, pages=16, license_ref="LIC-2")
        assert self.standing().pages == 14

    def test_licences_with_different_periods_need_one_query(self):
        days = (1, 10, 20, 28)
        for number, day in enumerate(days):
            create_licence(f"LIC-{number}", period_day=day)
            for back in range(40):
                create_rollup(NOON - back * DAY, license_ref=f"LIC-{number}")
        with CaptureQueriesContext(connection) as queries:
            licences = list(Licence.objects.all())
            found = quota_statuses(licences, NOON)
        assert len(queries) == 2
        assert [found[f"LIC-{number}"].pages for number in range(4)] == [20, 11, 1, 21]

    def test_pace_is_of_the_last_28_days_without_today(self):
        for back in range(1, 31):
            create_rollup(NOON - back * DAY, pages=28)
        create_rollup(NOON, pages=1_000)
        assert self.standing().pace == 28

    def test_pace_excludes_days_before_the_first_run(self):
        create_rollup(NOON - 3 * DAY, pages=30)
        assert self.standing().pace == 10

    def test_pace_includes_days_without_runs(self):
        create_rollup(NOON - 3 * DAY, pages=30)
        assert self.standing(first_seen_at=NOON - 10 * DAY).pace == 3

    def test_pace_excludes_days_before_the_last_28(self):
        create_rollup(NOON - 3 * DAY, pages=28)
        assert self.standing(first_seen_at=NOON - 90 * DAY).pace == 1

    def test_pace_includes_late_reports_on_their_day(self):
        create_rollup(NOON - 10 * DAY, pages=30)
        assert self.standing(first_seen_at=NOON - DAY).pace == 3

    def test_pace_needs_a_finished_day(self):
        create_rollup(NOON, pages=30)
        assert self.standing(first_seen_at=NOON).pace is None

    def test_unused_licence_has_no_pace(self):
        assert self.standing() == QuotaStatus(NOON, period_at(NOON, 1), 100, 0, None)

    def test_abandoned_licence_has_pace_zero(self):
        standing = self.standing(first_seen_at=NOON - 90 * DAY)
        assert (standing.pace, standing.expected) == (0, 0)


@pytest.mark.django_db
class TestTotals:
    def test_totals_by_period_are_newest_first(self):
        create_rollup(at(2026, 2, 28, 23), pages=1, runs=3, documents=5, succeeded=4, failed=1)
        create_rollup(at(2026, 3, 1), pages=2)
        create_rollup(NOON, pages=4)
        create_rollup(at(2025, 3, 31), pages=8)
        create_rollup(NOON, pages=16, license_ref="LIC-2")
        found = totals_by_period("LIC-1", latest_periods(NOON, 1))
        assert [sums.pages for sums in found] == [6, 1] + [0] * 10
        assert found[1] == UsageTotals(3, 5, 4, 1, 1)

    def test_days_are_in_the_portals_time_zone(self, settings):
        settings.TIME_ZONE = "Europe/Paris"
        create_rollup(at(2026, 3, 19, 22), pages=1)
        create_rollup(at(2026, 3, 19, 23), pages=2)
        create_rollup(at(2026, 3, 20, 5), pages=4)
        pages = {day: sums.pages for day, sums in totals_by_day(RunRollup.objects.all()).items()}
        assert pages == {date(2026, 3, 19): 1, date(2026, 3, 20): 6}

    def test_day_of_clock_change_has_25_hours(self, settings):
        settings.TIME_ZONE = "Europe/Paris"
        for number in range(27):
            create_rollup(at(2026, 10, 24, 21) + number * HOUR)
        assert totals_by_day(RunRollup.objects.all())[date(2026, 10, 25)].runs == 25
