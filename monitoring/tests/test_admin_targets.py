"""Targets in the admin: the list that says what is up, the page of each, and its form."""

from datetime import UTC, datetime

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from monitoring.admin import display
from monitoring.admin.charts import response_chart
from monitoring.alerts.incidents import IncidentOpening, open_incidents
from monitoring.clock import mark
from monitoring.figures import badge
from monitoring.figures.uptime import DAY, HOUR, MINUTE, DayBar, floor_to_step
from monitoring.models import CheckResult, MaintenanceWindow, Rollup, Round, Target
from monitoring.tests.factories import NOON, bucket_value, create_rollup
from monitoring.tests.helpers.admin_pages import (
    TARGETS,
    exported_rows,
    form_data,
    listed_rows,
    page_url,
    post_page_action,
)
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db
Period = Rollup.Period


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


def stood(make_target, name, **fields):
    """A target with a state that it has had for four hours."""
    return make_target(name, **{"state": "up", "state_since": timezone.now() - 4 * HOUR} | fields)


def in_maintenance(*targets):
    now = timezone.now()
    window = MaintenanceWindow.objects.create(name="Move", starts_at=now - HOUR, ends_at=now + HOUR)
    window.targets.set(targets)


def in_language(language, bars):
    with translation.override(language):
        return display.uptime_bars(bars)


class TestList:
    @pytest.mark.parametrize(
        ("fields", "tone", "word"),
        [
            ({"state": "up"}, "good", "up"),
            ({"state": "slow"}, "warning", "slow"),
            ({"state": "failing", "failures_in_row": 1, "failures_to_open": 3}, "warning", "failing 1 of 3"),
            ({"state": "failing", "failures_in_row": 9, "failures_to_open": 3}, "warning", "failing 3 of 3"),
            ({"state": "down"}, "bad", "down"),
            ({"state": "unknown"}, "quiet", "not checked yet"),
            ({"state": "down", "is_active": False}, "quiet", "paused"),
        ],
    )
    def test_list_shows_state_and_since_when(self, admin_client, make_target, fields, tone, word):
        stood(make_target, "API", **fields)
        text = page_text(admin_client.get(TARGETS))
        assert f'<span class="badge badge-{tone}">{word}</span>' in text
        assert ">for 4\xa0h<" in text

    def test_list_shows_silence(self, admin_client, make_target):
        make_target("quiet", silenced_until=timezone.now() + HOUR)
        make_target("loud", silenced_until=timezone.now() - HOUR)
        assert page_text(admin_client.get(TARGETS)).count("silenced</span>") == 1

    def test_list_shows_maintenance(self, admin_client, make_target):
        in_maintenance(make_target("a"))
        make_target("b")
        assert page_text(admin_client.get(TARGETS)).count("in maintenance</span>") == 1
        in_maintenance()
        assert page_text(admin_client.get(TARGETS)).count("in maintenance</span>") == 2

    def test_list_shows_uptime_and_response_times(self, admin_client, target):
        now = timezone.now()
        create_rollup(target, Period.HOUR, floor_to_step(now, HOUR), checks=60, failures=3, latency_ms=200)
        create_rollup(target, Period.DAY, floor_to_step(now, DAY), checks=1000, failures=1)
        text = page_text(admin_client.get(TARGETS))
        assert '99.90 %<span class="beneath">95.00 %</span>' in text
        assert f'<span class="beneath">{bucket_value(200):.0f} ms</span>' in text

    def test_export_has_the_figures_of_the_list_with_their_units(self, admin_client, make_target):
        target, now = make_target("API", last_latency_ms=123.456), timezone.now()
        make_target("new")
        create_rollup(target, Period.HOUR, floor_to_step(now, HOUR), checks=60, failures=3, latency_ms=200)
        create_rollup(target, Period.DAY, floor_to_step(now, DAY), checks=1000, failures=1)
        found, new = exported_rows(admin_client, TARGETS)
        figures = {
            "Uptime 30 d (%)": "99.9",
            "Uptime 24 h (%)": "95.0",
            "Response (ms)": "123",
            "Response, p95 (ms)": f"{bucket_value(200):.0f}",
        }
        assert list(found) == ["Status", "Target", *figures, "Last check"]
        assert {title: found[title] for title in figures} == figures
        assert {new[title] for title in figures} == {""}

    def test_heading_counts_targets_that_are_not_checked_apart(self, admin_client, make_target):
        now = timezone.now()
        make_target("fresh", state="up", next_check_at=now + HOUR)
        make_target("late", state="up", next_check_at=now - HOUR)
        heading = admin_client.get(TARGETS).context["heading"]
        assert (heading.figure, heading.tone) == ("1 of 2", "warning")
        assert heading.other_states == [("1 overdue", "standing=overdue")]
        assert listed_rows(admin_client, "target", standing="overdue") == ["late"]

    def test_settings_are_exported_without_the_value_of_the_header(self, admin_client, make_target):
        make_target("API", url="https://api.example.org/", interval=30, header_name="X-Key", header_value="secret")
        [row] = exported_rows(admin_client, TARGETS, "fields/")
        assert (row["url"], row["interval"], row["header_name"]) == ("https://api.example.org/", "30", "X-Key")
        assert "beta_programme" in row
        assert "secret" not in row.values()

    def test_list_draws_a_bar_per_day(self, admin_client, target):
        today = floor_to_step(timezone.now(), DAY)
        create_rollup(target, Period.DAY, today, checks=100, failures=1)
        create_rollup(target, Period.DAY, today - DAY, checks=100, failures=100)
        create_rollup(target, Period.DAY, today - 2 * DAY)
        text = page_text(admin_client.get(TARGETS))
        words = "Last 30 days: no failures: 1, some failures: 1, many failures: 1, no checks: 27"
        assert f'aria-label="{words}"' in text
        assert text.count("<rect ") == 30
        assert ": 99.00 %, 1 of 100 checks failed</title>" in text

    @pytest.mark.parametrize(
        ("query", "found"),
        [({}, {"api", "down", "flaky", "new", "off", "quiet", "slow"}), ({"state": "down"}, {"down"}), ({"state": "up"}, {"api", "quiet"}),
         ({"state": "unknown"}, {"new"}), ({"standing": "attention"}, {"down", "flaky", "slow"}), ({"standing": "paused"}, {"off"}),
         ({"standing": "silenced"}, {"quiet"}), ({"q": "FL"}, {"flaky"}), ({"q": "laky"}, {"flaky"}), ({"q": "shop.example"}, {"new"}),
         ({"q": "SHOP"}, {"new"})],
    )  # fmt: skip
    def test_list_is_filtered(self, admin_client, make_target, query, found):
        for name, state in (("api", "up"), ("down", "down"), ("flaky", "failing"), ("slow", "slow")):
            make_target(name, state=state)
        make_target("new", url="https://shop.example.org/")
        make_target("off", state="down", is_active=False)
        make_target("quiet", state="up", silenced_until=timezone.now() + HOUR)
        assert set(listed_rows(admin_client, "target", **query)) == found

    def test_list_takes_the_same_queries_for_few_as_for_many(self, admin_client, make_target):
        def queries():
            cache.clear()
            with CaptureQueriesContext(connection) as captured:
                assert admin_client.get(TARGETS).status_code == 200
            return len(captured)

        in_maintenance(make_target("first"))
        few, today = queries(), floor_to_step(timezone.now(), DAY)
        for number in range(20):
            found = make_target(f"t{number}", state="down")
            create_rollup(found, Period.DAY, today)
            open_incidents([IncidentOpening(found.subject, "unavailable", found)], mark())
        assert queries() == few == 11


class TestSorting:
    """Columns by number: 1 status, 2 target, 4 uptime, 5 response time, 6 last check."""

    @pytest.mark.parametrize(
        ("column", "order"),
        [("1", "down slow up off"), ("2", "down off slow up"), ("-2", "up slow off down"), ("4", "slow up"),
         ("-5", "slow up"), ("6", "slow up")],
    )  # fmt: skip
    def test_list_is_sorted_by_a_column(self, admin_client, make_target, column, order):
        now = timezone.now()
        up = make_target("up", state="up", last_latency_ms=20, last_check_at=now)
        slow = make_target("slow", state="slow", last_latency_ms=900, last_check_at=now - HOUR)
        make_target("down", state="down")
        make_target("off", state="down", is_active=False)
        create_rollup(up, Period.DAY, floor_to_step(now, DAY), checks=100, failures=1)
        create_rollup(slow, Period.DAY, floor_to_step(now, DAY) - 9 * DAY, checks=100, failures=2)
        create_rollup(up, Period.DAY, floor_to_step(now, DAY) - 40 * DAY, checks=100, failures=100)
        listed = listed_rows(admin_client, "target", o=column)
        assert [name for name in listed if name in order.split()] == order.split()


class TestHeading:
    def test_heading_counts_targets_by_state_with_links(self, admin_client, make_target):
        for name, state in (("a", "up"), ("b", "slow"), ("c", "down"), ("d", "failing")):
            make_target(name, state=state)
        make_target("e", is_active=False)
        text = page_text(admin_client.get(TARGETS))
        assert '<p class="figure bad"><strong>2 of 4</strong> up</p>' in text
        for query, words in (("state=down", "1 down"), ("state=slow", "1 slow"), ("standing=paused", "1 paused")):
            assert f'<a href="?{query}">{words}</a>' in text
        assert "0 not checked yet" not in text

    def test_heading_shows_the_last_round(self, admin_client, target):
        now = timezone.now()
        Round.objects.create(
            number=7, started_at=now, finished_at=now, checks=500, failures=2, p95_ms=1234.5, is_online=False
        )
        facts = {name: str(value) for name, value in admin_client.get(TARGETS).context["heading"].facts}
        assert (facts["Checks"], facts["Errors"], facts["p95"]) == ("500", "0.4 %", "1,235 ms")
        assert "offline" in facts["Network"]

    def test_heading_links_to_open_incidents(self, admin_client, target):
        assert dict(admin_client.get(TARGETS).context["heading"].facts)["Open incidents"] == "0"
        open_incidents([IncidentOpening(target.subject, "unavailable", target)], mark())
        assert '<a href="/admin/monitoring/incident/?state=open">1</a>' in page_text(admin_client.get(TARGETS))


class TestPage:
    def test_page_shows_the_state(self, admin_client, make_target):
        now = timezone.now()
        target = stood(
            make_target, "API", state="down", last_check_at=now, last_error_kind="connect", last_detail="ECONNREFUSED",
            certificate_until=now + 9 * DAY, method="POST", silenced_until=now + HOUR,
        )  # fmt: skip
        text = page_text(admin_client.get(page_url(target)))
        for part in (
            'badge-bad">down</span>', "The connection was refused.", "expires soon</span>", "silenced</span>",
            'POST <a href="https://api.example.org/" rel="noreferrer noopener"', "4\xa0h ago",
        ):  # fmt: skip
            assert part in text

    @pytest.mark.parametrize(
        ("days", "warned", "word"), [(20, 14, None), (20, 30, "expires soon"), (9, None, None), (-1, None, "expired")]
    )
    def test_certificate_is_marked_within_the_targets_days(self, make_target, days, warned, word):
        now = timezone.now()
        target = make_target(certificate_until=now + days * DAY, tls_expiry_days=warned)
        assert (
            (f"{word}</span>" in display.certificate_end(target, now))
            if word
            else ("badge" not in display.certificate_end(target, now))
        )

    def test_page_shows_figures_of_four_windows(self, admin_client, target):
        now = timezone.now()
        create_rollup(
            target, Period.HOUR, floor_to_step(now, HOUR), checks=60, failures=6, retried=3, excused=2, latency_ms=1500
        )
        create_rollup(target, Period.DAY, floor_to_step(now, DAY) - 50 * DAY, checks=100)
        day, week, month, quarter = admin_client.get(page_url(target)).context["figures"].rows
        assert day[:6] == ["24 hours", "90.00 %", "60", "6", "3", "2"]
        assert day[6] == "1,500 ms"
        assert (week[1], month[1], quarter[1]) == ("90.00 %", "–", "100 %")

    def test_chart_shows_response_times_and_failures(self, target):
        create_rollup(target, Period.MINUTE, NOON, checks=2, failures=1)
        create_rollup(target, Period.MINUTE, NOON - 3 * HOUR, checks=1, failures=1)
        create_rollup(target, Period.DAY, NOON - 200 * DAY)
        chart = response_chart(target.pk, NOON + MINUTE, "24h")
        p50, p95 = (line["values"] for line in chart.data["lines"])
        assert (len(p50), p50.count(None), p95.count(None)) == (144, 143, 143)
        assert p50[-1] == round(bucket_value(100), 1)
        marks = chart.data["marks"]["values"]
        assert (marks[-1], sum(marks)) == (1, 2)
        assert chart.rows.count("<tr>") == 2
        year = response_chart(target.pk, NOON, "1y")
        assert (len(year.data["labels"]), year.rows.count("<tr>")) == (365, 1)

    @pytest.mark.parametrize(("asked", "shown"), [("", "24h"), ("1y", "1y"), ("<script>", "24h")])
    def test_time_range_of_the_chart_is_chosen_by_the_url(self, admin_client, target, asked, shown):
        chart = admin_client.get(page_url(target), {"span": asked}).context["chart"]
        assert [key for key, _label, is_chosen in chart.spans if is_chosen] == [shown]

    def test_page_without_checks_has_no_chart(self, admin_client, target):
        text = page_text(admin_client.get(page_url(target)))
        assert "No checks in this period." in text
        assert "<canvas" not in text

    @pytest.mark.parametrize(("span", "label"), [("3h", "13:00"), ("7d", "10 March 13:00"), ("1y", "10 March 2026")])
    def test_chart_times_are_in_the_operators_time_zone(self, target, span, label):
        with timezone.override("Africa/Douala"):
            assert response_chart(target.pk, NOON, span).data["labels"][-1] == label

    def test_page_lists_some_checks_and_incidents_with_links_to_all(self, admin_client, make_target):
        now, target, other = timezone.now(), make_target("a"), make_target("b")
        for number in range(25):
            CheckResult.objects.create(target=target, at=now - number * MINUTE, status=200, latency_ms=120)
        CheckResult.objects.create(target=other, at=now, error_kind="dns")
        CheckResult.objects.create(
            target=target, at=now + MINUTE, error_kind="status", detail="503", status=503, excuse="maintenance"
        )
        incidents, checks, _history = admin_client.get(page_url(target)).context["sections"]
        assert (len(checks.rows), checks.note) == (12, "Older entries are not shown.")
        assert checks.rows[0][2:] == ["503", "–", "The response status was 503."]
        assert "excluded: maintenance" in checks.rows[0][1]
        assert checks.rows[1][3] == "120 ms"
        assert len(listed_rows(admin_client, "checkresult", target=target.pk)) == 26
        assert incidents.rows == []
        open_incidents(
            [IncidentOpening(target.subject, "slow", target, facts={"latency_ms": 900, "limit_ms": 500})], mark()
        )
        (incident,) = admin_client.get(page_url(target)).context["sections"][0].rows
        assert "The response took 900 ms; the limit is 500 ms." in incident[4]
        assert "so far" in incident[3]

    def test_retried_check_shows_its_earlier_failure(self, admin_client, target):
        fields = {"status": 200, "latency_ms": 120, "retried": 1, "retried_kind": "status", "detail": "502"}
        CheckResult.objects.create(target=target, at=timezone.now(), **fields)
        _incidents, checks, _history = admin_client.get(page_url(target)).context["sections"]
        assert "after 1 retry" in checks.rows[0][1]
        assert checks.rows[0][2:] == ["200", "120 ms", "The response status was 502."]
        assert len(listed_rows(admin_client, "checkresult", error="retried")) == 1

    def test_page_shows_the_published_badge_to_copy(self, admin_client, make_target):
        target = make_target("The [new] API")
        assert 'id="badge-url"' not in page_text(admin_client.get(page_url(target)))
        badge.publish_badges(Target.objects.all())
        target.refresh_from_db()
        text = page_text(admin_client.get(page_url(target)))
        assert f'<code id="badge-url">{badge.badge_url(target)}</code>' in text
        assert f"![The \\[new\\] API]({badge.badge_url(target)})" in text

    def test_page_takes_the_same_queries_however_much_data_there_is(self, admin_client, target):
        def queries():
            with CaptureQueriesContext(connection) as captured:
                admin_client.get(page_url(target))
            return len(captured)

        few, now = queries(), timezone.now()
        for number in range(40):
            CheckResult.objects.create(target=target, at=now - number * MINUTE)
            create_rollup(target, Period.DAY, floor_to_step(now, DAY) - number * DAY)
        open_incidents([IncidentOpening(target.subject, "slow", target)], mark())
        # Session, user, target; maintenance; bars, figures in two, chart; incidents, checks, history; programmes.
        assert queries() == few == 13

    def test_page_reads_no_more_checks_than_it_shows(self, admin_client, target):
        with CaptureQueriesContext(connection) as captured:
            admin_client.get(page_url(target))
        (sql,) = [query["sql"] for query in captured if 'FROM "monitoring_checkresult"' in query["sql"]]
        assert sql.endswith("LIMIT 13")

    def test_viewer_sees_the_page_without_fields(self, client, target):
        log_in_with_role(client, "viewer")
        text = page_text(client.get(page_url(target)))
        assert "Uptime and response times" in text
        assert 'name="url"' not in text
        for action in ("check_now", "silence", "end_silence", "pause", "resume", "publish_badge", "revoke_badge"):
            assert f"/act/{action}/" not in text
            assert post_page_action(client, action, target).status_code == 403


class TestForm:
    def test_added_target_is_due_at_once(self, client):
        log_in_with_role(client, "operator")
        sent = form_data(Target(name="Shop", url="https://shop.example.org/"))
        response = client.post(f"{TARGETS}add/", sent)
        target = Target.objects.get()
        assert response["Location"] == page_url(target)
        assert (target.is_active, target.state, target.interval) == (True, "unknown", 60)
        assert AuditEvent.objects.filter(action="target.added", subject=target.subject).count() == 1

    @pytest.mark.one_database("refused before the database is asked")
    @pytest.mark.parametrize(
        ("changes", "field"),
        [({"url": "ftp://example.org/"}, "url"), ({"url": "https://user:word@example.org/"}, "url"),
         ({"expected_statuses": "good"}, "expected_statuses"), ({"interval": 5}, "interval"), ({"timeout": 31}, "timeout"),
         ({"json_value": "ok"}, "json_path"), ({"header_value": "x"}, "header_name"), ({"name": "Other"}, "name"),
         ({"method": "HEAD", "contains": "ok"}, "method"), ({"method": "HEAD", "json_path": "status"}, "method"),
         ({"contains": "ok", "expected_statuses": "204,304"}, "expected_statuses"),
         ({"header_name": "Server:"}, "header_name")],
    )  # fmt: skip
    def test_invalid_values_are_refused_at_their_fields(self, admin_client, make_target, changes, field):
        make_target("Other")
        response = admin_client.post(
            f"{TARGETS}add/", form_data(Target(name="Shop", url="https://a.example.org/"), **changes)
        )
        assert list(response.context["adminform"].form.errors) == [field]
        assert Target.objects.count() == 1

    def test_saving_writes_only_changed_fields(self, admin_client, target):
        """A check may write its result while the form is being saved."""
        with CaptureQueriesContext(connection) as captured:
            admin_client.post(page_url(target), form_data(target, name="Other", failures_to_open=5))
        (update,) = [query["sql"] for query in captured if query["sql"].startswith('UPDATE "monitoring_target"')]
        assert update.count('" = ') == 3, update
        target.refresh_from_db()
        assert (target.name, target.failures_to_open) == ("Other", 5)

    @pytest.mark.parametrize(
        ("changes", "is_forgotten"),
        [({"url": "https://new.example.org/"}, True), ({"method": "HEAD"}, True), ({"interval": 30}, True),
         ({"timeout": 5}, True), ({"expected_statuses": "200"}, True), ({"contains": "ok"}, True),
         ({"json_path": "status"}, True), ({"header_name": "Server"}, True), ({"max_latency_ms": 50}, True),
         ({"name": "Other"}, False), ({"failures_to_open": 5}, False), ({"tls_expiry_days": 30}, False),
         ({"retries": 0}, False), ({}, False)],
    )  # fmt: skip
    def test_changed_check_forgets_earlier_results(self, admin_client, make_target, changes, is_forgotten):
        target = make_target(failures_in_row=1, retries=1, next_check_at=datetime(2099, 1, 1, tzinfo=UTC))
        admin_client.post(page_url(target), form_data(target, **changes))
        target.refresh_from_db()
        assert (target.failures_in_row == 0) == is_forgotten
        assert (target.next_check_at < timezone.now()) == is_forgotten

    def test_pause_and_silence_are_not_form_fields(self, admin_client, target):
        admin_client.post(page_url(target), form_data(target, is_active="", silenced_until="2099-01-01"))
        target.refresh_from_db()
        assert (target.is_active, target.silenced_until) == (True, None)

    def test_active_target_cannot_be_deleted(self, admin_client, target):
        assert f"{TARGETS}{target.pk}/delete/" not in page_text(admin_client.get(page_url(target)))
        assert admin_client.post(f"{TARGETS}{target.pk}/delete/", {"post": "yes"}).status_code == 403
        assert list(Target.objects.all()) == [target]
        assert "delete_selected" not in page_text(admin_client.get(TARGETS))


class TestBars:
    def test_good_day_is_drawn_in_the_readers_language(self):
        bars = [DayBar(datetime(2026, 2, 3, tzinfo=UTC).date(), checks=9)]
        drawn = {language: str(in_language(language, bars)) for language in ("en", "fr")}
        assert "<title>3 Feb.: 100 %</title>" in drawn["en"]
        assert "<title>3 fév." in drawn["fr"]

    def test_empty_bars_are_drawn(self):
        assert "<rect" not in display.uptime_bars([])

    def test_day_without_checks_is_described(self):
        assert display.describe_bar(DayBar(datetime(2026, 3, 3, tzinfo=UTC).date())) == "3 March: no checks"

    @pytest.mark.one_database("computed in Python")
    @pytest.mark.parametrize(
        ("part", "text"),
        [
            (None, "–"),
            (0, "0 %"),
            (0.000001, "0.01 %"),
            (0.004, "0.4 %"),
            (0.05, "5 %"),
            (0.0912, "9.1 %"),
            (0.0125, "1.3 %"),
            (0.09996, "10 %"),
            (0.125, "13 %"),
            (0.25, "25 %"),
            (0.999, "99 %"),
            (1, "100 %"),
        ],
    )
    def test_share_is_never_rounded_to_none_or_all(self, part, text):
        assert display.format_share(part) == text

    def test_share_is_formatted_in_the_readers_locale(self):
        with translation.override("fr"):
            assert display.format_share(0.004).startswith("0,4")
