"""Licences in the admin."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from portal.access.roles import OPERATOR, STAFF, synchronise_roles
from portal.models import AuditEvent
from usage.admin import licences
from usage.consumption import period_at
from usage.models import Licence
from usage.quotas import quota_statuses
from usage.tests.changelists import list_rows
from usage.tests.factories import create_licence, create_rollup, create_run

pytestmark = pytest.mark.django_db
LIST = "/admin/usage/licence/"
DAY = timedelta(days=1)


def listed(**query):
    return [licence.ref for licence in list_rows("licence", **query)]


def page(client, licence):
    return client.get(f"{LIST}{licence.pk}/change/").content.decode()


@pytest.fixture
def client_of(client):
    """Return a client that is logged in with this role."""

    def logged_in(role):
        synchronise_roles()
        user = User.objects.create_user(role, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return client

    return logged_in


class TestLicenceList:
    def test_list_shows_usage_and_quota_state(self, admin_client):
        for ref, quota, pages in (("LIC-1", 100, 79), ("LIC-2", 100, 80), ("LIC-3", 100, 1_234), ("LIC-4", None, 5)):
            create_licence(ref, quota=quota, customer="" if ref == "LIC-4" else "Acme")
            create_rollup(license_ref=ref, pages=pages)
        text = admin_client.get(LIST).content.decode()
        for words in (
            "79 % of quota",
            "no customer",
            "unlimited",
            "1,234 % of quota",
            "80 % of quota",
        ):
            assert words in text
        for width, tone in ((79, "good"), (80, "warning"), (100, "bad")):
            assert f'<rect class="{tone}" width="{width}" height="6"/>' in text
        assert text.count('<svg class="used"') == 3

    def test_list_shows_forecast_day_of_quota(self, admin_client):
        now = timezone.now()
        licence = create_licence(quota=10**9, first_seen_at=now - 60 * DAY)
        create_rollup(now - DAY, pages=28 * 5_000)
        assert "used up on" not in admin_client.get(LIST).content.decode()
        licence.monthly_page_quota = quota_statuses([licence], now)["LIC-1"].pages + 1
        licence.save()
        assert "used up on" in admin_client.get(LIST).content.decode()

    def test_filters_narrow_the_list(self):
        now = timezone.now()
        month = period_at(now, 1)
        create_licence("A", exceeded_until=month.end, told_period=month.first_day, told_percent=100, last_run_at=now)
        create_licence("B", told_period=month.first_day, told_percent=80, last_run_at=now - 29 * DAY)
        create_licence("C", customer="", exceeded_until=now - DAY, last_run_at=now - 31 * DAY)
        create_licence("D", quota=None)
        assert listed(standing="over") == ["A"]
        assert listed(standing="near") == ["B"]
        assert listed(standing="none") == ["D"]
        assert listed(customer="unnamed") == ["C"]
        assert listed(customer="named") == ["A", "B", "D"]
        assert listed(runs="idle") == ["C", "D"]
        assert listed(runs="active") == ["A", "B"]

    @pytest.mark.parametrize(
        ("typed", "found"), [("LIC", ["LIC-1"]), ("lic-1", ["LIC-1"]), ("Bo", ["X"]), ("b", ["X"])]
    )
    def test_search_finds_licence_and_customer(self, typed, found):
        create_licence("LIC-1")
        create_licence("X", customer="Bouchard" if typed == "Bo" else "bouchard")
        assert listed(q=typed) == found

    @pytest.mark.parametrize(("column", "found"), [(2, "CAB"), (3, "CBA"), (4, "BAC"), (5, "CAB"), (7, "CBA")])
    def test_list_is_sorted_by_customer_pages_quota_share_and_last_run(self, column, found):
        now = timezone.now()
        for hours, (ref, customer, quota, pages) in enumerate(
            [("A", "Y", 10, 4), ("B", "Z", 4, 3), ("C", "X", 300, 2)]
        ):
            create_licence(ref, quota=quota, customer=customer, last_run_at=now - timedelta(hours=hours))
            create_rollup(now, license_ref=ref, pages=pages)
            create_rollup(period_at(now, 1).start - DAY, license_ref=ref, pages=100)
        assert listed(o=str(column)) == [*found]
        assert listed(o=f"-{column}") == [*found[::-1]]

    def test_unlimited_licence_is_last_by_share(self):
        create_licence("A", quota=None)
        create_licence("B")
        assert listed(o="-5") == ["B", "A"]

    def test_long_list_is_not_sorted_by_sums(self, monkeypatch):
        monkeypatch.setattr(licences, "MOST_SUMMED", 1)
        for ref, pages in (("A", 1), ("B", 2)):
            create_licence(ref)
            create_rollup(license_ref=ref, pages=pages)
        assert listed(o="-3") == ["A", "B"]

    def test_export_has_the_numbers_of_the_columns(self, admin_client):
        create_licence("A", quota=100)
        create_rollup(license_ref="A", pages=79)
        lines = b"".join(admin_client.get(f"{LIST}export/")).decode("utf-8-sig").splitlines()
        assert lines[0] == "Licence key,Customer,Pages this month,Quota,Used (%),Forecast,Last run"
        assert lines[1].startswith("A,Acme,79,100,79,")

    def test_list_reads_no_runs(self, admin_client, django_assert_max_num_queries):
        for number in range(3):
            create_licence(f"LIC-{number}")
        create_run()
        with django_assert_max_num_queries(10) as queries:
            admin_client.get(LIST)
        assert not any('"usage_run"' in query["sql"] for query in queries)


class TestLicencePage:
    def test_page_shows_usage_and_forecast(self, admin_client):
        licence = create_licence(quota=1_000, customer="")
        create_rollup(pages=850)
        text = page(admin_client, licence)
        for words in ("850 of 1,000 pages since", "(85 %).", "no customer", "85 % of quota", "No forecast yet"):
            assert words in text

    def test_month_chart_has_quota_and_forecast(self, admin_client):
        now = timezone.now()
        began = [timezone.localdate(now - back * DAY).day for back in (3, 8)]
        licence = create_licence(quota=500, period_day=next(day for day in began if day <= 28))
        create_rollup(now - DAY, pages=10)
        create_rollup(now, pages=5)
        drawn = admin_client.get(f"{LIST}{licence.pk}/change/").context["month"]
        pages, ahead, quota = (line["values"] for line in drawn.data["lines"])
        month = period_at(now, licence.period_day)
        today = (timezone.localdate(now) - month.first_day).days
        assert pages[today - 1 : today + 1] == [10, 15]
        assert set(pages[today + 1 :]) <= {None}
        assert set(quota) == {500}
        assert ahead[today] == 15
        assert abs(ahead[-1] - 15 - 10 * ((month.end - now) / DAY)) <= 1
        assert len(drawn.rows) == len(pages) == len(drawn.data["labels"])

    def test_page_lists_months_applications_and_runs(self, admin_client):
        now = timezone.now()
        licence = create_licence()
        create_rollup(now, pages=30, app_version="7.1")
        create_rollup(now, pages=40, app_name="cli")
        create_rollup(period_at(now, 1).start - DAY, pages=77, app_version="5.0")
        run = create_run(machine_id="PC-77")
        create_run(license_ref="LIC-2", machine_id="PC-78")
        answer = admin_client.get(f"{LIST}{licence.pk}/change/")
        months = answer.context["months"]
        assert [row[4:7] for row in months.rows] == [[70, 100, 70], [77, 100, 77]]
        applications, runs, _history = answer.context["sections"]
        assert [row[0] for row in applications.rows] == ["cli 6", "gui 7.1"]
        assert [row[3] for row in runs.rows] == ["PC-77"]
        assert run.run_id.hex[:8] in answer.content.decode()

    def test_page_needs_same_queries_for_any_amount(self, admin_client, django_assert_max_num_queries):
        licence = create_licence()
        for number in range(40):
            create_rollup(timezone.now() - number * DAY)
            create_run()
        with django_assert_max_num_queries(11):
            page(admin_client, licence)


class TestLicenceForm:
    NEW = {"ref": "LIC-9", "customer": "Acme", "monthly_page_quota": "500", "period_day": "15"}

    def test_operator_adds_a_licence(self, client_of):
        client = client_of(OPERATOR)
        assert client.post(f"{LIST}add/", self.NEW).status_code == 302
        licence = Licence.objects.get()
        assert (licence.ref, licence.customer, licence.monthly_page_quota, licence.period_day) == (
            "LIC-9",
            "Acme",
            500,
            15,
        )
        assert AuditEvent.objects.filter(
            action="licence.added", subject="licence:LIC-9", actor="user:operator"
        ).exists()
        assert "Added" in page(client, licence)

    @pytest.mark.one_database("refused before the database is asked")
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("ref", ""), ("ref", "a/b"), ("ref", "é"), ("ref", "a\nb"), ("ref", "x" * 129), ("monthly_page_quota", "0"),
            ("monthly_page_quota", "-1"), ("period_day", "0"), ("period_day", "29"),
        ],
    )  # fmt: skip
    def test_unreportable_reference_is_refused(self, admin_client, field, value):
        assert admin_client.post(f"{LIST}add/", self.NEW | {field: value}).status_code == 200
        assert not Licence.objects.exists()

    def test_reference_cannot_be_changed(self, admin_client):
        licence = create_licence()
        admin_client.post(f"{LIST}{licence.pk}/change/", self.NEW)
        licence.refresh_from_db()
        assert (licence.ref, licence.customer) == ("LIC-1", "Acme")
        assert licence.monthly_page_quota == 500
        assert AuditEvent.objects.filter(action="licence.changed", subject="licence:LIC-1").exists()

    def test_viewer_may_view_and_export_but_not_change(self, client_of):
        licence, client = create_licence(), client_of(STAFF)
        assert client.get(LIST).status_code == 200
        assert client.get(f"{LIST}export/").status_code == 200
        assert client.post(f"{LIST}{licence.pk}/change/", self.NEW).status_code == 403
        assert client.post(f"{LIST}add/", self.NEW).status_code == 403

    def test_only_unused_licence_can_be_deleted(self, admin_client):
        used, unused = create_licence("A", last_run_at=timezone.now()), create_licence("B")
        for licence, status in ((used, 403), (unused, 302)):
            assert admin_client.post(f"{LIST}{licence.pk}/delete/", {"post": "yes"}).status_code == status
        assert listed() == ["A"]
        assert "delete_selected" not in admin_client.get(LIST).content.decode()
