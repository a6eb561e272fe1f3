"""The review of quotas: marks and warnings."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.base.findings import Severity
from portal.models import JobRun, NotificationChannel, OutboxMessage
from portal.work.jobs import LeaseLost, claim_cycle
from usage import quotas
from usage.admin.licences import LicenceForm
from usage.models import Licence
from usage.quotas import near_quota, over_quota, review_quotas
from usage.tests.factories import create_licence, create_rollup, create_run
from usage.tests.payloads import run_payload

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
MONTH_END = datetime(2026, 4, 1, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture(autouse=True)
def channel(db):
    return NotificationChannel.objects.create(name="Team", kind="email", addresses="a@example.org")


@pytest.fixture
def lease():
    return claim_cycle("usage.rollups", "now")


@pytest.fixture
def reviewed(lease):
    return lambda now=NOON: review_quotas(now, lease)


def titles():
    return [message.title for message in OutboxMessage.objects.order_by("id")]


NEAR, FULL = "LIC-1 (Acme) has used 80 % of its quota", "LIC-1 (Acme) has used its whole quota"


def test_mark_is_dated_anew_when_the_licence_is_over_its_quota_again(reviewed):
    licence, dates = create_licence(quota=100), []
    create_rollup(NOON, pages=100)
    for hours, quota in enumerate((100, 100, 200, 100)):
        Licence.objects.update(monthly_page_quota=quota)
        reviewed(NOON + timedelta(hours=hours))
        licence.refresh_from_db()
        dates.append(licence.exceeded_since)
    assert dates == [NOON, NOON, None, NOON + timedelta(hours=3)]


def test_mark_without_a_date_gets_one(reviewed):
    licence = create_licence(quota=100, exceeded_until=MONTH_END, told_period="2026-03-01", told_percent=100)
    create_rollup(NOON, pages=100)
    reviewed()
    licence.refresh_from_db()
    assert (licence.exceeded_since, licence.exceeded_until) == (NOON, MONTH_END)


class TestWarnings:
    @pytest.mark.parametrize(
        ("pages", "sent"), [(0, []), (79, []), (80, [NEAR]), (99, [NEAR]), (100, [FULL]), (500, [FULL])]
    )
    def test_warning_names_the_reached_threshold(self, reviewed, pages, sent):
        create_licence()
        create_rollup(NOON, pages=pages)
        assert reviewed() == len(sent)
        assert titles() == sent

    def test_80_and_100_percent_are_warned_once_each(self, reviewed):
        create_licence()
        create_rollup(NOON, pages=80)
        assert (reviewed(), reviewed()) == (1, 0)
        create_rollup(NOON - DAY, pages=20)
        assert (reviewed(), reviewed()) == (1, 0)
        assert titles() == [NEAR, FULL]

    def test_warning_has_usage_reporters_and_forecast(self, reviewed):
        licence = create_licence(quota=10_000)
        for back in range(10):
            create_rollup(NOON - back * DAY, pages=810)
        for token, pages in (("client:gui", 5_000), ("agent:PC-1", 700), ("client:gui", 2_000), ("agent:PC-2", 7)):
            create_run(reported_by=token, total_pages=pages, received_at=NOON)
        create_run(reported_by="agent:PC-3", total_pages=2**31 - 1, implausible=True, received_at=NOON)
        create_run(reported_by="agent:PC-4", total_pages=9, received_at=NOON - 30 * DAY)
        create_run(reported_by="agent:PC-5", license_ref="LIC-2", total_pages=9, received_at=NOON)
        reviewed()
        (message,) = OutboxMessage.objects.all()
        assert message.text.splitlines() == [
            "8,100 of 10,000 pages since 1 March (81 %).",
            "Reported by client:gui (7,000 pages), agent:PC-1 (700 pages), agent:PC-2 (7 pages).",
            "At this pace, the quota is used up on 22 March.",
            "The quota renews on 1 April.",
        ]
        assert (message.severity, message.state) == (Severity.WARNING, "note")
        assert message.path == f"/admin/usage/licence/{licence.pk}/change/"
        assert message.dedupe_key == f"licence:{licence.pk}:2026-03-01:80:10000"

    def test_next_period_is_warned_again(self, reviewed):
        create_licence()
        create_rollup(NOON, pages=100)
        create_rollup(NOON + 20 * DAY, pages=85)
        reviewed()
        assert reviewed(NOON + 20 * DAY) == 1
        assert titles() == [FULL, NEAR]

    def test_period_changes_at_midnight(self, reviewed):
        create_licence()
        create_rollup(MONTH_END - SECOND, pages=100)
        assert reviewed(MONTH_END - SECOND) == 1
        assert Licence.objects.filter(over_quota(MONTH_END - SECOND)).exists()
        assert reviewed(MONTH_END) == 0
        assert not Licence.objects.filter(over_quota(MONTH_END)).exists()

    def test_unlimited_licence_is_not_warned_but_unnamed_is(self, reviewed):
        create_licence("LIC-0", quota=None)
        create_licence("LIC-1", customer="")
        for ref in ("LIC-0", "LIC-1", "LIC-2"):
            create_rollup(NOON, pages=10**9, license_ref=ref)
        assert reviewed() == 1
        assert titles() == ["LIC-1 has used its whole quota"]

    def test_marks_are_written_without_a_channel(self, reviewed, channel):
        channel.delete()
        create_licence()
        create_rollup(NOON, pages=100)
        assert reviewed() == 1
        assert Licence.objects.get().exceeded_until == MONTH_END

    def test_review_needs_same_queries_for_many_licences(self, reviewed):
        counts = []
        for numbers in (range(1), range(1, 30)):
            for number in numbers:
                create_licence(f"LIC-{number}", period_day=1 + number % 3)
                create_rollup(NOON, license_ref=f"LIC-{number}", pages=50)
            with CaptureQueriesContext(connection) as queries:
                reviewed()
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestMarks:
    def test_used_up_quota_is_marked_until_the_period_ends(self, reviewed):
        create_licence()
        create_rollup(NOON, pages=99)
        reviewed()
        assert Licence.objects.get().exceeded_until is None
        create_rollup(NOON - DAY, pages=1)
        reviewed()
        assert Licence.objects.get().exceeded_until == MONTH_END

    @pytest.mark.parametrize("quota", [1_000, None])
    def test_raised_or_removed_quota_clears_the_mark(self, reviewed, quota):
        create_licence()
        create_rollup(NOON, pages=100)
        reviewed()
        Licence.objects.update(monthly_page_quota=quota)
        reviewed()
        licence = Licence.objects.get()
        assert licence.exceeded_until is None
        assert not is_over_or_near(licence, NOON)

    def test_quota_raised_outside_the_admin_is_near_without_warning(self, reviewed):
        create_licence()
        create_rollup(NOON, pages=100)
        reviewed()
        Licence.objects.update(monthly_page_quota=120)
        assert reviewed() == 0
        assert Licence.objects.filter(near_quota(NOON)).exists()
        assert titles() == [FULL]

    def test_expired_mark_is_unchanged(self, reviewed):
        create_licence(exceeded_until=NOON)
        with CaptureQueriesContext(connection) as queries:
            reviewed()
        assert not any(query["sql"].startswith("UPDATE") for query in queries)
        assert Licence.objects.get().exceeded_until == NOON

    def test_unchanged_mark_is_not_written_again(self, reviewed):
        create_licence()
        create_rollup(NOON, pages=100)
        reviewed()
        with CaptureQueriesContext(connection) as queries:
            assert reviewed() == 0
        assert not any(query["sql"].startswith("UPDATE") for query in queries)

    def test_mark_of_last_period_is_replaced(self, reviewed):
        create_licence(exceeded_until=datetime(2026, 3, 1, tzinfo=UTC))
        create_rollup(NOON, pages=100)
        reviewed()
        assert Licence.objects.get().exceeded_until == MONTH_END

    def test_later_runs_are_flagged(self, call, client_token, lease):
        create_licence("LIC-2041", quota=1)
        assert not call("POST", "usage/report", client_token, **run_payload()).json()["over_quota"]
        create_rollup(license_ref="LIC-2041", pages=12)
        review_quotas(timezone.now(), lease)
        assert call("POST", "usage/report", client_token, **run_payload()).json()["over_quota"]


def is_over_or_near(licence, now):
    found = Licence.objects.filter(pk=licence.pk)
    return found.filter(over_quota(now) | near_quota(now)).exists()


class TestNearQuota:
    @pytest.mark.parametrize("day", [1, 19, 20, 21, 28])
    @pytest.mark.parametrize(
        "now",
        [
            NOON,
            datetime(2026, 3, 1, tzinfo=UTC),
            datetime(2026, 3, 31, 23, tzinfo=UTC),
            datetime(2026, 2, 28, tzinfo=UTC),
        ],
    )
    def test_near_quota_is_about_the_current_period(self, reviewed, day, now):
        create_licence(period_day=day)
        create_rollup(now, pages=85)
        reviewed(now)
        asked = Licence.objects.filter
        assert asked(near_quota(now)).exists()
        assert not asked(near_quota(now + 31 * DAY)).exists()

    def test_used_up_quota_is_not_near(self, reviewed):
        create_licence()
        create_rollup(NOON, pages=100)
        reviewed()
        assert not Licence.objects.filter(near_quota(NOON)).exists()


class TestConcurrency:
    def test_quota_changed_meanwhile_is_left_to_the_next_review(self, reviewed, monkeypatch):
        create_licence()
        create_rollup(NOON, pages=100)
        known = quotas.quota_statuses

        def overtaken(*args):
            found = known(*args)
            Licence.objects.update(monthly_page_quota=1_000)
            return found

        monkeypatch.setattr(quotas, "quota_statuses", overtaken)
        assert reviewed() == 0
        assert Licence.objects.get().exceeded_until is None
        assert titles() == []

    def test_lost_lease_writes_nothing(self, lease):
        create_licence()
        create_rollup(NOON, pages=100)
        JobRun.objects.update(fence=7)
        with pytest.raises(LeaseLost):
            review_quotas(NOON, lease)
        assert (titles(), Licence.objects.get().told_percent) == ([], 0)

    def test_killed_review_is_completed_by_the_next(self, reviewed, monkeypatch):
        create_licence()
        create_rollup(NOON, pages=100)
        with monkeypatch.context() as patched:
            patched.setattr(quotas, "notify", lambda *notices: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                reviewed()
        assert Licence.objects.get().told_percent == 0
        assert reviewed() == 1
        assert titles() == [FULL]


class TestEditedLicence:
    """Changes that an operator makes on the page of a licence."""

    def change(self, client, licence, **fields):
        known = {"customer": licence.customer, "monthly_page_quota": licence.monthly_page_quota, "period_day": 1}
        answer = client.post(f"/admin/usage/licence/{licence.pk}/change/", known | fields)
        assert answer.status_code == 302
        licence.refresh_from_db()
        return licence

    @pytest.mark.parametrize("quota", [100, 90])
    def test_changed_quota_is_warned_again(self, reviewed, admin_client, quota):
        licence = create_licence(quota=95)
        create_rollup(NOON, pages=95)
        reviewed()
        self.change(admin_client, licence, monthly_page_quota=quota)
        assert (licence.told_period, licence.told_percent) == (None, 0)
        assert reviewed() == 1
        assert titles() == [FULL, NEAR if quota == 100 else FULL]

    def test_changed_customer_is_not_warned_again(self, reviewed, admin_client):
        licence = create_licence()
        create_rollup(NOON, pages=100)
        reviewed()
        self.change(admin_client, licence, customer="Acme and sons")
        assert (licence.customer, licence.told_percent) == ("Acme and sons", 100)
        assert reviewed() == 0

    def test_marks_of_a_concurrent_review_are_kept(self, admin_client, monkeypatch):
        def reviewed_meanwhile(form):
            Licence.objects.update(exceeded_until=MONTH_END, told_percent=80, last_run_at=NOON)

        monkeypatch.setattr(LicenceForm, "clean", reviewed_meanwhile)
        licence = self.change(admin_client, create_licence(), customer="Other")
        assert (licence.customer, licence.told_percent) == ("Other", 80)
        assert (licence.exceeded_until, licence.last_run_at) == (MONTH_END, NOON)
