"""The tile of usage, and the sections of a machine's page."""

import uuid
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from usage.models import FeatureUsage, UserError
from usage.panels import machine_activity_section, machine_errors_section, machine_runs_section, usage_tile
from usage.tests.factories import create_rollup, create_run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


class TestUsageTile:
    def test_tile_sums_up_30_days(self):
        now = timezone.now()
        create_rollup(now, pages=4, runs=2, documents=3, succeeded=2, failed=1)
        create_rollup(now - timedelta(days=3), pages=2, license_ref="")
        create_rollup(now - timedelta(days=31), pages=100)
        tile = usage_tile(now)
        assert (tile.figure, tile.caption, tile.url) == ("3", "runs in 30 days", "/admin/usage/run/dashboard/")
        assert dict(tile.facts) == {"documents": "4", "pages": "6", "failed": "1"}
        assert (tile.chart.values[-1], tile.chart.values[-4], len(tile.chart.values)) == (2, 1, 30)

    def test_tile_reads_rollups_once_a_minute(self, django_assert_num_queries):
        create_run()
        create_rollup()
        with django_assert_num_queries(1) as queries:
            usage_tile(timezone.now())
            usage_tile(timezone.now())
        assert "usage_runrollup" in queries[0]["sql"]

    def test_tile_without_usage_shows_zero(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            assert usage_tile(timezone.now()).figure == usage_tile(timezone.now()).figure == "0"


class TestMachinePage:
    def test_latest_runs_are_listed(self):
        for _ in range(12):
            create_run()
        create_run(machine_id="PC-2")
        section = machine_runs_section("PC-1")
        assert (len(section.rows), section.url) == (10, "/admin/usage/run/?q=PC-1")

    def test_latest_errors_are_listed(self):
        now = timezone.now()
        for number in range(12):
            error = {"endpoint": "/api/v1/usage/report", "method": "POST", "error_type": "run_conflict"}
            UserError.objects.create(user_email="agent:PC-1", error_code=400 + number, timestamp=now, **error)
        UserError.objects.create(user_email="agent:PC-10", error_type="other", timestamp=now)
        section = machine_errors_section("PC-1")
        assert len(section.rows) == 10
        assert section.rows[0] == [now, "run_conflict", "", "POST /api/v1/usage/report", "411"]

    def test_latest_activity_is_listed(self):
        now = timezone.now()
        for number in range(12):
            FeatureUsage.objects.create(
                user_email="agent:PC-1", feature_name="usage-report", timestamp=now, success=bool(number), duration_ms=7,
                event_id=uuid.uuid4(),
            )  # fmt: skip
        FeatureUsage.objects.create(user_email="PC-1", feature_name="other", timestamp=now, success=True)
        section = machine_activity_section("PC-1")
        assert [row[1] for row in section.rows] == ["usage-report"] * 10
        assert "succeeded" in section.rows[0][2]
        assert section.rows[0][3] == 7

    def test_each_section_is_one_indexed_query(self, django_assert_num_queries):
        with django_assert_num_queries(3) as queries:
            sections = [
                section("PC-1") for section in (machine_runs_section, machine_errors_section, machine_activity_section)
            ]
        assert all(section.empty and not section.rows for section in sections)
        assert all('"id" DESC' in query["sql"] for query in queries)
