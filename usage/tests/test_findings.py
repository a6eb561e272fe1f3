"""Findings and metrics of licences, runs and tracking."""

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.base.findings import Severity
from portal.desk.models import VALID_FOR
from portal.models import AuditEvent
from usage import findings, metrics
from usage.consumption import period_at
from usage.models import RollupProgress, TrackingWriter
from usage.tests.factories import create_licence, create_run

pytestmark = pytest.mark.django_db
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def found(source):
    return list(source(timezone.now()))


def used_up(ref, **fields):
    now = timezone.now()
    return create_licence(ref, **{"exceeded_until": now + DAY, "exceeded_since": now - DAY} | fields)


def near(ref, **fields):
    return create_licence(ref, told_percent=80, told_period=period_at(timezone.now(), 1).first_day, **fields)


class TestLicences:
    def test_no_finding_costs_one_query(self, django_assert_num_queries):
        create_licence()
        with django_assert_num_queries(1):
            assert found(findings.licence_quotas) == []

    def test_licence_over_quota_is_named(self):
        licence = used_up("LIC-1", quota=1_500, exceeded_since=timezone.now() - DAY)
        (finding,) = found(findings.licence_quotas)
        assert finding.since == licence.exceeded_since
        assert finding.text == "LIC-1 (Acme) has used all 1,500 pages of this month’s quota."
        assert (finding.severity, finding.url) == (Severity.WARNING, f"/admin/usage/licence/{licence.pk}/change/")

    def test_licence_over_another_quota_is_another_finding(self):
        licence = used_up("LIC-1", quota=1_500)
        (first,) = found(findings.licence_quotas)
        licence.monthly_page_quota = 2_000
        licence.save()
        (second,) = found(findings.licence_quotas)
        assert (first.key, second.key) == (f"usage.licence:{licence.pk}:1500", f"usage.licence:{licence.pk}:2000")

    def test_licences_beyond_five_are_counted(self):
        for number in range(7):
            used_up(f"LIC-{number}")
        create_licence("LIC-8", exceeded_until=timezone.now() - DAY)
        sent = found(findings.licence_quotas)
        assert [finding.text[:5] for finding in sent[:5]] == [f"LIC-{number}" for number in range(5)]
        assert [finding.text for finding in sent[5:]] == ["2 more licences are over quota."]
        assert sent[5].url == "/admin/usage/licence/?standing=over"

    def test_five_licences_are_all_named(self):
        for number in range(5):
            used_up(f"LIC-{number}")
        assert len(found(findings.licence_quotas)) == 5

    def test_licences_near_quota_are_counted(self):
        near("LIC-1")
        near("LIC-2")
        (finding,) = found(findings.licence_quotas)
        assert finding.text == "2 licences have used 80 % of their quota or more."
        assert (finding.severity, finding.url) == (Severity.INFO, "/admin/usage/licence/?standing=near")

    def test_unnamed_licences_are_counted_since_the_first(self):
        first = timezone.now() - 3 * DAY
        create_licence("LIC-1", customer="", first_seen_at=first)
        create_licence("LIC-2", customer="", first_seen_at=timezone.now())
        (finding,) = found(findings.licence_quotas)
        assert finding.text.startswith("2 licences have no customer assigned")
        assert (finding.since, finding.url) == (first, "/admin/usage/licence/?customer=unnamed")


class TestUncountedRuns:
    @pytest.mark.parametrize(
        ("counted_ago", "received_ago", "is_behind"),
        [
            (12, 11, True),
            (12, 9, False),
            (10, 11, False),
            (11, 11, True),
            (None, 11, True),
            (None, 9, False),
            (12, None, False),
        ],
    )
    def test_uncounted_run_is_reported_after_ten_minutes(self, counted_ago, received_ago, is_behind):
        now = timezone.now()
        if counted_ago is not None:
            RollupProgress.objects.create(counted_until=now - counted_ago * MINUTE)
        if received_ago is not None:
            create_run(received_at=now - received_ago * MINUTE)
        assert len(list(findings.uncounted_runs(now))) == is_behind

    def test_finding_has_time_and_link(self):
        now = timezone.now()
        create_run(received_at=now)
        oldest = create_run(received_at=now - 30 * MINUTE)
        (finding,) = findings.uncounted_runs(now)
        assert (finding.since, finding.severity) == (oldest.received_at, Severity.WARNING)
        assert finding.url == "/admin/portal/jobrun/?q=usage.rollups"


class TestRefusedRuns:
    @pytest.mark.parametrize(
        ("hours_ago", "oldest_hour"), [([1], 1), ([50, 30, 10, 1], 50), ([100, 50, 20, 1], 20), ([30], None)]
    )
    def test_finding_is_dated_by_the_first_refusal_without_a_day_of_silence_after_it(self, hours_ago, oldest_hour):
        now = timezone.now()
        for hours in hours_ago:
            at = now - timedelta(hours=hours)
            AuditEvent.objects.create(at=at, last_at=at, actor="client:gui", action="refused.app_mismatch")
        dated = [(finding.key, finding.since) for finding in findings.refused_runs(now)]
        expected = ("usage.refused.app_mismatch:client:gui", now - timedelta(hours=oldest_hour or 0))
        assert dated == ([expected] if oldest_hour else [])

    def test_refusals_from_many_addresses_keep_the_date_of_the_first(self):
        now = timezone.now()
        times = [now - timedelta(hours=30), *(now - timedelta(hours=10, seconds=second) for second in range(730))]
        AuditEvent.objects.bulk_create(
            AuditEvent(at=at, last_at=at, actor="client:gui", action="refused.app_mismatch") for at in reversed(times)
        )
        assert [finding.since for finding in findings.refused_runs(now)] == [times[0]]

    def test_date_of_a_streak_longer_than_an_acknowledgement_does_not_lapse_it(self):
        now = timezone.now()
        AuditEvent.objects.bulk_create(
            AuditEvent(at=at, last_at=at, actor="client:gui", action="refused.app_mismatch")
            for at in (now - timedelta(hours=hours) for hours in range(40 * 24, 0, -12))
        )
        (finding,) = findings.refused_runs(now)
        assert finding.since <= now - VALID_FOR


class TestDroppedRecords:
    def writer(self, process, **fields):
        return TrackingWriter.objects.create(process=process, **{"seen_at": timezone.now()} | fields)

    def test_drops_of_the_last_day_are_summed_up(self):
        now = timezone.now()
        self.writer("a", dropped=1_500, dropped_at=now - timedelta(hours=2))
        self.writer("b", dropped=20, dropped_at=now)
        self.writer("c", dropped=7, dropped_at=now - 2 * DAY)
        (finding,) = found(findings.dropped_records)
        assert finding.text.startswith("1,520 tracking records were dropped")

    def test_no_drops_are_no_finding(self):
        self.writer("a")
        self.writer("b", dropped=7, dropped_at=timezone.now() - 2 * DAY)
        assert found(findings.dropped_records) == []


class TestMetrics:
    def samples(self, source):
        return {sample.name: sample.value for family in source(timezone.now()) for sample in family.samples}

    def test_licence_metrics_count_by_quota_state(self):
        used_up("LIC-1")
        near("LIC-2")
        create_licence("LIC-3", customer="")
        create_licence("LIC-4", customer="", quota=None)
        assert self.samples(metrics.licence_metrics) == {
            "vigie_licences": 4, "vigie_licences_over_quota": 1, "vigie_licences_near_quota": 1, "vigie_licences_unnamed": 2,
        }  # fmt: skip

    def test_tracking_metrics_count_dropped_and_queued(self):
        now = timezone.now()
        TrackingWriter.objects.create(process="a", queued=3, dropped=5, seen_at=now)
        TrackingWriter.objects.create(process="b", queued=4, dropped=0, seen_at=now)
        TrackingWriter.objects.create(process="ended", queued=100, dropped=7, seen_at=now - 11 * MINUTE)
        assert self.samples(metrics.tracking_metrics) == {
            "vigie_tracking_dropped_total": 12,
            "vigie_tracking_queued": 7,
        }

    @pytest.mark.parametrize("source", [metrics.licence_metrics, metrics.tracking_metrics])
    def test_each_metric_source_is_one_query_even_if_empty(self, source, django_assert_num_queries):
        with django_assert_num_queries(1):
            assert set(self.samples(source).values()) == {0}
