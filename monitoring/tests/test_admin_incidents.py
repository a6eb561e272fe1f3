"""Incidents, maintenance, rounds and checks in the admin."""

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.alerts.incidents import acknowledge_incidents, resolve_incidents
from monitoring.checks.active_round import MOST_NAMED
from monitoring.clock import mark
from monitoring.models import CheckResult, Incident, MaintenanceWindow, Round
from monitoring.tests.helpers.admin_pages import BASE, changelist_rows, exported_rows, list_url, listed_rows, page_url
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class TestList:
    @pytest.mark.parametrize(
        ("rule", "tone"),
        [("unavailable", "bad"), ("fleet_errors", "bad"), ("slow", "warning"), ("certificate", "warning")],
    )
    def test_open_incident_has_the_colour_of_its_severity(self, admin_client, opened, rule, tone):
        opened("API", rule)
        assert f'<span class="badge badge-{tone}">open</span>' in page_text(admin_client.get(f"{BASE}incident/"))

    def test_list_shows_reason_and_duration(self, admin_client, opened):
        down = opened("API", error_kind="status", detail="503")
        acknowledge_incidents(Incident.objects.all(), "olga", timezone.now())
        slow = opened("Shop", "slow", facts={"latency_ms": 900, "limit_ms": 500})
        resolve_incidents([slow], mark())
        Incident.objects.filter(pk=slow.pk).update(duration=252 * timedelta(seconds=1), cause="Disk full\nat night")
        text = page_text(admin_client.get(list_url(down)))
        for part in (
            "API is down", "The response status was 503.", 'badge-warning">acknowledged', "1 h so far", 'badge-good">resolved',
            "The response took 900 ms; the limit is 500 ms.", "4 min 12 s", ">Disk full<",
        ):  # fmt: skip
            assert part in text

    @pytest.mark.parametrize(
        ("query", "found"),
        [({}, {"a", "b", "c", "d", "e"}), ({"state": "open"}, {"a", "b", "c"}), ({"state": "new"}, {"a", "c"}),
         ({"state": "acknowledged"}, {"b"}), ({"state": "resolved"}, {"d"}), ({"state": "withdrawn"}, {"e"}), ({"rule": "slow"}, {"c"}),
         ({"opened": "hour"}, {"a"}), ({"opened": "day"}, {"a", "b"}), ({"q": "B"}, {"b"})],
    )  # fmt: skip
    def test_list_is_filtered(self, admin_client, opened, query, found):
        opened("a", ago=MINUTE)
        b = opened("b", ago=2 * HOUR)
        opened("c", "slow", ago=2 * DAY)
        resolve_incidents([opened("d", ago=3 * DAY)], mark())
        resolve_incidents([opened("e", ago=3 * DAY)], mark(), is_withdrawn=True)
        acknowledge_incidents(Incident.objects.filter(pk=b.pk), "olga", timezone.now())
        assert {row.partition(":")[0] for row in listed_rows(admin_client, "incident", **query)} == found

    def test_withdrawn_incident_is_not_shown_as_resolved(self, admin_client, opened):
        incident = opened("API")
        resolve_incidents([incident], mark(), is_withdrawn=True)
        for address in (list_url(incident), page_url(incident), page_url(incident.target)):
            text = page_text(admin_client.get(address))
            assert 'badge-quiet">monitoring stopped</span>' in text, address
            assert 'badge-good">resolved' not in text, address
        _header, row = admin_client.get(f"{BASE}incident/export/").getvalue().decode("utf-8-sig").splitlines()
        assert "monitoring stopped" in row

    def test_export_names_the_unit_of_durations_and_has_none_of_open_incidents(self, admin_client, opened):
        over, known = opened("Shop"), opened("API")
        resolve_incidents([over], mark())
        Incident.objects.filter(pk=over.pk).update(duration=timedelta(seconds=300.865))
        acknowledge_incidents(Incident.objects.filter(pk=known.pk), "olga", timezone.now(), "Provider called")
        first, second = exported_rows(admin_client, f"{BASE}incident/")
        assert list(first) == [
            "Status", "Incident", "Opened", "Duration (s)", "Assigned to", "Acknowledged by", "Comment", "Root cause"
        ]  # fmt: skip
        assert (first["Duration (s)"], second["Duration (s)"]) == ("", "301")
        assert (first["Assigned to"], first["Acknowledged by"], first["Comment"]) == ("", "olga", "Provider called")

    def test_open_incidents_come_first_then_the_newest(self, admin_client, opened):
        over = [opened(name) for name in ("a", "b", "c", "d")][1::2]
        resolve_incidents(over, mark())
        assert listed_rows(admin_client, "incident") == ["c: down", "a: down", "d: down", "b: down"]

    @pytest.mark.parametrize("query", [{}, {"rule": "slow"}])
    def test_order_of_the_list_comes_from_an_index(self, rf, admin_user, query):
        request = rf.get("/", query)
        request.user = admin_user
        rows = admin.site.get_model_admin(Incident).get_changelist_instance(request).queryset.select_related(None)
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":  # which reads the whole of a small table
                cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        plan = rows[:50].explain()
        assert "open_first" in plan
        assert not re.search(r"(?i)\bsort\b|temp b-tree", plan)


class TestPage:
    def test_page_shows_the_timeline(self, admin_client, opened):
        incident = opened("API", error_kind="connect", detail="ECONNREFUSED")
        acknowledge_incidents(Incident.objects.all(), "olga", timezone.now())
        response = admin_client.get(page_url(incident))
        timeline, _checks, _history = response.context["sections"]
        assert [row[1:] for row in timeline.rows] == [
            ["opened", "The connection was refused.", ""],
            ["acknowledged", "", "olga"],
        ]
        assert f'<a href="{page_url(incident.target)}">API</a>' in page_text(response)

    def test_fleet_incident_lists_failing_targets(self, admin_client, opened):
        incident = opened(rule="fleet_errors", facts={"failures": 2, "checks": 9, "failing": ["API", "<b>Shop</b>"]})
        text = page_text(admin_client.get(page_url(incident)))
        assert "2 of 9 checks failed in the last round." in text
        assert "– &lt;b&gt;Shop&lt;/b&gt;" in text

    def test_long_timeline_shows_its_end(self, admin_client, opened):
        incident = opened("API")
        for number in range(200):
            incident.timeline.create(kind="noted", at=timezone.now(), text=str(number))
        timeline = admin_client.get(page_url(incident)).context["sections"][0]
        assert [row[2] for row in timeline.rows] == [str(number) for number in range(200)]
        assert timeline.note == "Older entries are not shown."

    def test_page_takes_the_same_queries_for_any_timeline(self, admin_client, opened):
        def queries():
            with CaptureQueriesContext(connection) as captured:
                admin_client.get(page_url(incident))
            return len(captured)

        incident = opened("API")
        few = queries()
        for number in range(30):
            incident.timeline.create(kind="noted", at=timezone.now(), text=str(number))
        assert queries() == few == 8


class TestMaintenance:
    @pytest.fixture
    def windows(self, make_target):
        now, api, shop = timezone.now(), make_target("API"), make_target("Shop")

        def window(name, start, end, repeats="", targets=()):
            made = MaintenanceWindow.objects.create(
                name=name, starts_at=now + start, ends_at=now + end, repeats=repeats
            )
            made.targets.set(targets)

        window("running", -HOUR, HOUR, targets=[api, shop])
        window("again", -2 * DAY - HOUR, -2 * DAY + HOUR, "daily", [shop])
        window("resting", -2 * DAY - 3 * HOUR, -2 * DAY - 2 * HOUR, "daily")
        window("upcoming", HOUR, 2 * HOUR)
        window("over", -9 * HOUR, -8 * HOUR)

    def test_list_marks_the_active_window(self, admin_client, windows):
        text = page_text(admin_client.get(f"{BASE}maintenancewindow/"))
        for word, times in (
            ("running now", 2),
            ("between two occurrences", 1),
            ("upcoming", 1),
            ("finished", 1),
            ("all targets", 3),
        ):
            assert text.count(f"{word}</span>") == times, word
        assert 'API<span class="beneath">and 1 more</span>' in text
        assert '<td class="field-covered">Shop</td>' in text

    @pytest.mark.parametrize(
        ("query", "found"),
        [({"state": "running"}, {"running", "again"}), ({"state": "upcoming"}, {"upcoming"}), ({"state": "over"}, {"over"}),
         ({"repeats": "daily"}, {"again", "resting"}), ({"repeats": "once"}, {"running", "upcoming", "over"}),
         ({"repeats": "weekly"}, set()), ({"q": "sho"}, {"running", "again"}), ({"q": "up"}, {"upcoming"})],
    )  # fmt: skip
    def test_list_is_filtered(self, admin_client, windows, query, found):
        assert set(listed_rows(admin_client, "maintenancewindow", **query)) == found

    def test_window_is_added_changed_and_deleted(self, client, target):
        log_in_with_role(client, "operator")
        sent = {
            "name": "Move", "starts_at": "2099-03-01T22:00", "ends_at": "2099-03-01T23:00",
             "repeats": "", "targets": [target.pk],
        }  # fmt: skip
        client.post(f"{BASE}maintenancewindow/add/", sent)
        window = MaintenanceWindow.objects.get()
        assert list(window.targets.all()) == [target]
        refused = client.post(page_url(window), sent | {"ends_at": "2099-03-01T21:00"})
        assert list(refused.context["adminform"].form.errors) == ["ends_at"]
        client.post(page_url(window), sent | {"targets": []})
        assert not window.targets.exists()
        assert "Changed</td>" in page_text(client.get(page_url(window)))
        client.post(f"{list_url(window)}{window.pk}/delete/", {"post": "yes"})
        assert not MaintenanceWindow.objects.exists()


def listed_numbers(client, **query):
    return [row.number for row in changelist_rows(client, Round, **query)]


class TestRounds:
    def test_list_shows_the_figures_of_each_round(self, admin_client):
        now = timezone.now()
        common = {"started_at": now, "finished_at": now}
        failing = ["a", "<b>", "c", "d", "e"]
        Round.objects.create(number=1, checks=20, failures=5, p95_ms=312.4, failing=failing, is_online=False, **common)
        Round.objects.create(number=2, checks=20, failures=0, retried=17, **common)
        Round.objects.create(number=3, checks=9, failures=0, is_online=True, **common)
        text = page_text(admin_client.get(f"{BASE}round/"))
        for part in (
            "25 %",
            "312 ms",
            '<td class="field-retries">17</td>',
            "a, &lt;b&gt;, c and 2 more",
            'badge-bad">offline',
            'badge-good">online',
        ):
            assert part in text
        assert listed_numbers(admin_client) == [3, 2, 1]
        assert listed_numbers(admin_client, outcome="failures") == [1]
        assert listed_numbers(admin_client, outcome="offline") == [1]
        assert "&lt;b&gt;" in page_text(admin_client.get(page_url(Round.objects.get(number=1))))

    def test_names_beyond_the_stored_ones_are_not_counted(self, admin_client):
        now, failing = timezone.now(), [f"t{number}" for number in range(MOST_NAMED)]
        found = Round.objects.create(
            number=1, checks=1000, failures=1000, failing=failing, started_at=now, finished_at=now
        )
        assert "t0, t1, t2 and more</span>" in page_text(admin_client.get(list_url(found)))
        assert 't99</span><span class="beneath">and more</span>' in page_text(admin_client.get(page_url(found)))

    @pytest.mark.parametrize(
        ("typed", "found"), [("12", [12]), ("1", []), ("x", []), ("9" * 40, []), ("-12", []), ("²", [])]
    )
    def test_search_finds_a_round_by_its_number(self, admin_client, typed, found):
        now = timezone.now()
        Round.objects.create(number=12, started_at=now, finished_at=now, checks=0, failures=0)
        assert listed_numbers(admin_client, q=typed) == found


class TestChecks:
    def test_list_shows_the_outcome_of_each_check(self, admin_client, make_target):
        now, api = timezone.now(), make_target("API")
        CheckResult.objects.create(target=api, at=now, status=200, latency_ms=7.44)
        CheckResult.objects.create(target=api, at=now, error_kind="timeout", detail="body", excuse="offline")
        CheckResult.objects.create(target=make_target("Shop"), at=now - 2 * HOUR, error_kind="status", detail="503")
        text = page_text(admin_client.get(f"{BASE}checkresult/"))
        for part in (
            "7.4 ms",
            "The response was not complete before the timeout.",
            "excluded: the portal was offline",
            "The response status was 503.",
        ):
            assert part in text
        found = {name: len(listed_rows(admin_client, "checkresult", **query)) for name, query in {
            "all": {}, "hour": {"checked": "hour"}, "failed": {"error": "any"}, "timeout": {"error": "timeout"},
            "status": {"error": "status"}, "excused": {"excuse": "offline"}, "shop": {"q": "sho"}, "Shop": {"q": "Sho"},
        }.items()}  # fmt: skip
        assert found == {
            "all": 3,
            "hour": 2,
            "failed": 1,
            "timeout": 1,
            "status": 0,
            "excused": 1,
            "shop": 1,
            "Shop": 1,
        }

    def test_search_is_bounded_in_targets_and_time(self, admin_client, make_target):
        now = timezone.now()
        for number in range(7):
            CheckResult.objects.create(target=make_target(f"t{number}"), at=now)
            CheckResult.objects.create(target=make_target(f"old {number}"), at=now - 2 * DAY)
        assert len(listed_rows(admin_client, "checkresult", q="t")) == 5
        assert listed_rows(admin_client, "checkresult", q="old") == []
        assert len(listed_rows(admin_client, "checkresult", q="old", checked="week")) == 5
        assert len(listed_rows(admin_client, "checkresult", q="old", checked="nonsense")) == 0
