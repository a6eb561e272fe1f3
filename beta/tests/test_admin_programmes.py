"""Beta programmes in the admin: the list, the page from which staff decide, its settings and its public key."""

import json
import re
from datetime import UTC, datetime, time, timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from beta.admin import charts
from beta.admin.display import present_report
from beta.formats import FORMATS
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot
from beta.programmes import programme_of_target
from beta.report import recent
from beta.report.gather import build_report
from beta.report.snapshots import take_snapshot, write_snapshot
from beta.report.status import calculate_statuses
from beta.tests.factories import STARTS, create_feedback, create_programme, create_scores, create_target
from monitoring.models import Rollup, Target
from monitoring.tests.factories import NOON, create_rollup
from monitoring.tests.helpers.admin_pages import form_data, list_url, listed_rows, page_url, post_page_action
from portal import audit
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db
BASE = "/admin/beta/"
PROGRAMMES = f"{BASE}betaprogramme/"
DAY = timedelta(days=1)
HOSTILE = "<script>alert(1)</script>\u202egnp.exe"


def good(name="spring-beta", **fields):
    """One that is GO."""
    programme = create_programme(name, **fields)
    create_scores(programme, 9, 9, 8, 7, 7)
    return programme


def checked(programme, day, **fields):
    """A target of the programme that was checked on a day."""
    target = create_target(beta_programme=programme)
    create_rollup(target, Rollup.Period.DAY, datetime.combine(day, time.min, UTC), **fields)
    return target


def grave(programme, comment="It stops.", **fields):
    return create_feedback(programme, type="bug", severity="high", comment=comment, **fields)


def export(client, row, form):
    return client.post(f"{list_url(row)}{row.pk}/report/{form}/")


def form_of(programme, **changes):
    """What its form sends when it is saved with these changes."""
    names = (
        "name", "product", "starts", "ends", "participants_target", "score_target", "latency_target_ms",
        "error_percent_target", "allowed_origins",
    )  # fmt: skip
    sent = {name: "" if (value := getattr(programme, name)) is None else value for name in names}
    sent["initial-starts"] = programme.starts
    return sent | ({"takes_public": "on"} if programme.takes_public else {}) | changes


def shown_on(client, programme):
    return client.get(page_url(programme)).context["shown"]


def section(client, row, title):
    (found,) = [part for part in client.get(page_url(row)).context["sections"] if part.title == title]
    return found


def queries_of(client, address):
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


class TestList:
    def test_status_of_each_programme_equals_its_report(self, db):
        """Two that differ in all, one with nothing, one whose targets were checked outside its time, one unchecked."""
        first, second = good(ends=STARTS + 9 * DAY), create_programme("second")
        create_scores(second, 3, 4, 10)
        create_feedback(second, "carol@example.org", nps_score=1, given_at=NOON)
        create_feedback(second, "carol@example.org", nps_score=10, given_at=NOON + DAY)
        create_feedback(second, "carol@example.org", given_at=NOON + 2 * DAY)
        grave(second), grave(second, status="fixed"), grave(second, status="planned")
        checked(first, STARTS, checks=200, failures=1, latency_ms=80)
        checked(first, STARTS - DAY, failures=10)
        checked(first, STARTS + 10 * DAY, failures=10)
        checked(second, STARTS, latency_ms=900, failures=3)
        create_programme("third")
        checked(create_programme("fourth"), STARTS - DAY)
        create_target(beta_programme=good("fifth"))
        good("sixth")
        programmes = list(BetaProgramme.objects.all())
        found = calculate_statuses(programmes)
        for programme in programmes:
            report, standing = build_report(programme, NOON), found[programme.pk]
            figures = standing.figures
            assert standing.verdict == report["verdict"]
            assert standing.nps == report["score"]["nps"]
            assert figures.average == report["score"]["average"]
            assert figures.participants == report["participants"]["count"]
            assert figures.grave_bugs == report["bugs"]["critical_high_open"]
            assert figures.error_rate == report["performance"]["error_rate"]
            assert figures.latency_ms == report["performance"]["mean_ms"]
        assert {standing.verdict for standing in found.values()} == {"GO", "NO-GO", "INSUFFICIENT DATA"}

    def test_list_takes_as_many_queries_for_many_programmes_as_for_few(self, admin_client):
        checked(good(), STARTS)
        few = queries_of(admin_client, PROGRAMMES)
        for number in range(10):
            checked(good(f"p{number}"), STARTS)
        # Session, user; count, rows; two for what came since; people, bugs, targets, scores and checks of the rows.
        assert queries_of(admin_client, PROGRAMMES) == few == 11

    def test_list_shows_verdict_figures_and_time(self, admin_client):
        today = timezone.localdate()
        good(product="Studio 6")
        create_programme("past", ends=STARTS)
        create_programme("future", starts=today + DAY)
        text = page_text(admin_client.get(PROGRAMMES))
        for words in (
            "GO</span>",
            "Not enough data</span>",
            "5 of 5",
            "8.00",
            "+40",
            "Studio 6",
            "running",
            "ended",
            "not started",
        ):
            assert words in text

    def test_list_is_filtered_by_time_and_searched_by_name(self, admin_client):
        today = timezone.localdate()
        for name, starts, ends in (
            ("open", today, None), ("last day", today, today), ("past", today - 2 * DAY, today - DAY),
            ("future", today + DAY, None),
        ):  # fmt: skip
            create_programme(name, starts=starts, ends=ends)
        assert listed_rows(admin_client, "betaprogramme", "beta", time="running") == ["last day", "open"]
        assert listed_rows(admin_client, "betaprogramme", "beta", time="ended") == ["past"]
        assert listed_rows(admin_client, "betaprogramme", "beta", time="upcoming") == ["future"]
        assert listed_rows(admin_client, "betaprogramme", "beta", q="LAST") == ["last day"]

    def test_empty_list_explains_how_to_begin(self, client):
        log_in_with_role(client, "operator")
        assert "Start a beta programme" in page_text(client.get(PROGRAMMES))
        assert "Start a beta programme" not in page_text(client.get(PROGRAMMES, {"q": "x"}))
        create_programme()
        assert "Start a beta programme" not in page_text(client.get(PROGRAMMES))

    def test_list_is_exported_as_csv(self, client):
        log_in_with_role(client, "staff")
        create_programme()
        rows = b"".join(client.get(f"{PROGRAMMES}export/").streaming_content).decode("utf-8-sig").splitlines()
        assert rows[0].startswith("Programme,Verdict,Participants")
        assert rows[1].startswith("spring-beta,")


class TestProgrammePage:
    @pytest.mark.parametrize(
        ("bugs", "is_unchecked", "verdict", "tone", "reason"),
        [
            (0, False, "GO", "good", "All criteria met."),
            (1, False, "NO-GO", "bad", "Not met: open critical and high bugs."),
            (0, True, "Not enough data", "quiet", "No data yet: average response time, error rate."),
        ],
    )
    def test_page_shows_the_verdict_with_its_reason(self, admin_client, bugs, is_unchecked, verdict, tone, reason):
        programme = good()
        for _ in range(bugs):
            grave(programme)
        if is_unchecked:
            create_target(beta_programme=programme)
        text = page_text(admin_client.get(page_url(programme)))
        assert f'class="module verdict verdict-{tone}"' in text
        assert f"<strong>{verdict}</strong>" in text
        assert reason in text

    def test_programme_without_feedback_looks_neither_failed_nor_healthy(self, admin_client):
        programme = create_programme()
        checked(programme, STARTS, checks=10, failures=5)
        shown = shown_on(admin_client, programme)
        assert shown.tone == "quiet"
        tones = [re.search("badge-([a-z]+)", row[3])[1] for row in shown.conditions.rows]
        assert tones == ["quiet", "quiet", "quiet", "good", "bad"]

    def test_page_shows_value_target_and_outcome_of_each_condition(self, admin_client):
        programme = good(participants_target=6)
        create_target(beta_programme=programme)
        rows = shown_on(admin_client, programme).conditions.rows
        assert [row[:3] for row in rows] == [
            ["Participants", "5", "at least 6"],
            ["Average score", "8.00", "at least 7.00"],
            ["Open critical and high bugs", "0", "none"],
            ["Average response time", "–", "below 500.0 ms"],
            ["Error rate", "–", "below 1.00 %"],
        ]
        outcomes = ["bad", "good", "good", "quiet", "quiet"]
        assert [re.search("badge-([a-z]+)", row[3])[1] for row in rows] == outcomes

    def test_page_without_targets_says_that_performance_is_no_condition(self, admin_client):
        programme = good()
        assert "No targets linked" in shown_on(admin_client, programme).conditions.note
        checked(programme, STARTS)
        assert shown_on(admin_client, programme).conditions.note == ""

    def test_page_shows_changes_since_the_previous_snapshot(self, admin_client):
        programme = good()
        assert shown_on(admin_client, programme).compared_with == ""
        take_snapshot(programme, NOON, BetaSnapshot.Reason.EXPORTED)
        assert shown_on(admin_client, programme).was == ""
        create_feedback(programme, nps_score=2)
        grave(programme)
        found = shown_on(admin_client, programme)
        changes = {fact.label: fact.change for fact in found.facts if fact.change}
        assert changes["Average score"] == "−1.00"
        assert (found.was, found.compared_with) == ("GO", "2026-03-10 12:00:00 UTC")
        text = page_text(admin_client.get(page_url(programme)))
        assert "was GO" in text
        assert '<span class="change">−1.00</span>' in text

    def test_scores_are_counted_and_drawn_as_bars(self, admin_client):
        rows = shown_on(admin_client, good()).scores.rows
        assert [(row[0], row[2]) for row in rows[:5]] == [("10", 0), ("9", 2), ("8", 1), ("7", 2), ("6", 0)]
        assert 'class="promoters" width="100"' in rows[1][1]
        assert 'class="passives" width="50"' in rows[2][1]
        assert 'class="detractors" width="0"' in rows[4][1]

    def test_page_without_scores_has_sentences_instead_of_charts(self, admin_client):
        found = shown_on(admin_client, create_programme())
        assert (found.trend, found.times, found.scores.rows) == (None, None, [])
        text = page_text(admin_client.get(page_url(create_programme("other"))))
        assert text.count("No scores yet.") == 2
        assert "<canvas" not in text

    def test_charts_have_their_data_as_tables_too(self, admin_client):
        programme = good()
        checked(programme, STARTS, checks=10, failures=2, latency_ms=80)
        text = page_text(admin_client.get(page_url(programme)))
        for key in ("chart-trend", "chart-times"):
            assert f'data-chart="{key}"' in text
            assert json.loads(re.search(f'<script id="{key}" type="application/json">(.*?)</script>', text)[1])["lines"]
        assert text.count("<summary>As a table</summary>") == 2
        assert '<td class="number">80.0 ms</td><td class="number">10</td><td class="number">2</td>' in text

    def test_hostile_texts_are_escaped_and_isolated(self, admin_client):
        programme = create_programme(product=HOSTILE)
        grave(programme, HOSTILE, page=HOSTILE, app_version=HOSTILE)
        create_feedback(programme, HOSTILE, type="ux", comment="مرحبا " + HOSTILE)
        text = page_text(admin_client.get(page_url(programme)))
        assert "<script>alert" not in text
        escaped = "&lt;script&gt;alert(1)&lt;/script&gt;\u202egnp.exe"
        bare = re.sub(r"<bdi[^>]*>[^<]*</bdi>", "", text.partition('id="settings"')[0])
        assert escaped in text
        assert "\u202e" not in bare

    def test_long_comments_are_excerpts_and_not_read_whole_for_the_list(self, admin_client):
        programme = create_programme()
        create_feedback(programme, type="ux", comment="x" * 100_000)
        grave(programme, "y" * 100_000)
        with CaptureQueriesContext(connection) as captured:
            text = page_text(admin_client.get(page_url(programme)))
        assert len(text) < 60_000
        (sql,) = [query["sql"] for query in captured if "beginning" in query["sql"]]
        assert '"comment",' not in sql.partition(" FROM ")[0].replace('_betafeedback"."comment", ', "", 1)

    def test_page_takes_as_many_queries_however_much_feedback(self, admin_client):
        programme = good()
        checked(programme, STARTS)
        take_snapshot(programme, NOON, BetaSnapshot.Reason.EXPORTED)
        few = queries_of(admin_client, page_url(programme))
        create_scores(programme, *[8] * 30)
        for number in range(30):
            grave(programme)
            take_snapshot(programme, NOON + number * DAY, BetaSnapshot.Reason.VERDICT)
            checked(programme, STARTS + number * DAY)
        # Session, user, programme; two for what came since, and ten of the report; feedback, reports kept, targets,
        # history.
        assert queries_of(admin_client, page_url(programme)) == few == 19

    def test_report_is_kept_until_feedback_or_an_action_comes(self, admin_client, monkeypatch):
        monkeypatch.setattr(recent, "KEPT_SECONDS", 60)
        cache.clear()
        programme = good()
        anew = queries_of(admin_client, page_url(programme))
        kept = queries_of(admin_client, page_url(programme))
        assert kept < anew
        create_scores(programme, 8)
        assert queries_of(admin_client, page_url(programme)) == anew
        audit.record_event("monitoring.feedback_triaged", "feedback:1", actor="test")
        assert queries_of(admin_client, page_url(programme)) == anew
        assert queries_of(admin_client, page_url(programme)) == kept
        cache.clear()

    def test_page_shows_the_ten_latest_feedback_rows_with_a_link_to_all(self, admin_client):
        programme, other = create_programme(), create_programme("other")
        for number in range(12):
            create_feedback(programme, f"p{number}@example.org", comment=f"comment {number}")
        create_feedback(other, comment="elsewhere")
        found = section(admin_client, programme, "Latest feedback")
        assert [re.sub("<[^>]+>", "", row[4]) for row in found.rows] == [
            f"comment {number}" for number in range(11, 1, -1)
        ]
        assert found.url == f"{BASE}betafeedback/?programme={programme.pk}"

    def test_page_lists_snapshots_with_changes_of_the_verdict(self, admin_client):
        programme = good()
        take_snapshot(programme, NOON, BetaSnapshot.Reason.VERDICT)
        grave(programme)
        take_snapshot(programme, NOON + DAY, BetaSnapshot.Reason.EXPORTED, "olga")
        grave(programme)
        take_snapshot(programme, NOON + 2 * DAY, BetaSnapshot.Reason.CLOSED)
        newest, middle, oldest = section(admin_client, programme, "Saved reports").rows
        assert "2026-03-11 12:00:00 UTC" in middle[0]
        assert "NO-GO" in middle[1]
        assert "was GO" in middle[1]
        assert "was" not in newest[1]
        assert "was" not in oldest[1]
        assert middle[2:] == ["6", "8.00", "+40", "1", "exported", "olga"]

    def test_page_lists_its_targets_with_their_states(self, admin_client):
        programme = create_programme()
        assert section(admin_client, programme, "Targets").rows == []
        create_target("API", beta_programme=programme, state="down", last_error_kind="status", last_detail="503")
        create_target("Other")
        (row,) = section(admin_client, programme, "Targets").rows
        assert ">API</a>" in row[0]
        assert "down" in row[1]
        assert row[3] == "The response status was 503."


class TestReportExport:
    @pytest.mark.parametrize("form", FORMATS)
    def test_export_sends_a_file_and_stores_a_snapshot(self, client, form):
        log_in_with_role(client, "staff")
        programme = good()
        response = export(client, programme, form)
        assert response.status_code == 200
        assert response["Content-Disposition"].endswith(f'.{form}"')
        assert response["Content-Type"] == FORMATS[form].content_type
        kept = BetaSnapshot.objects.get()
        assert (kept.verdict, kept.reason, kept.taken_by) == ("GO", "exported", "olga")
        event = AuditEvent.objects.get(action="beta.exported")
        assert (event.subject, event.after, event.actor) == (programme.subject, {"format": form}, "user:olga")

    def test_exported_report_is_the_stored_snapshot(self, client):
        log_in_with_role(client, "staff")
        programme = good()
        first = json.loads(export(client, programme, "json").content)
        assert first == BetaSnapshot.objects.get().data
        assert json.loads(export(client, programme, "json").content) == first
        assert BetaSnapshot.objects.count() == 1

    def test_exported_text_is_in_the_users_language(self, client):
        log_in_with_role(client, "staff")
        programme = good()
        answers = {
            language: client.post(f"{PROGRAMMES}{programme.pk}/report/txt/", headers={"Accept-Language": language})
            for language in ("en", "fr")
        }
        assert answers["en"].content != answers["fr"].content

    def test_export_is_shown_in_the_history(self, client):
        log_in_with_role(client, "staff")
        programme = good()
        export(client, programme, "pdf")
        (row,) = section(client, programme, "History").rows
        assert row[1:3] == ["Report exported", "Format: pdf"]

    def test_failed_export_is_not_audited(self, client, broken_pdf):
        log_in_with_role(client, "staff")
        programme = good()
        client.raise_request_exception = False
        assert export(client, programme, "pdf").status_code == 500
        assert not AuditEvent.objects.filter(action="beta.exported").exists()

    def test_get_request_exports_nothing(self, client):
        log_in_with_role(client, "staff")
        programme = good()
        assert client.get(f"{PROGRAMMES}{programme.pk}/report/pdf/")["Location"] == page_url(programme)
        client.get(page_url(programme))
        assert not BetaSnapshot.objects.exists()

    def test_unknown_format_or_programme_is_refused_with_404(self, client):
        log_in_with_role(client, "staff")
        programme = good()
        assert export(client, programme, "docx").status_code == 404
        assert client.post(f"{PROGRAMMES}999/report/pdf/").status_code == 404
        assert not BetaSnapshot.objects.exists()

    def test_viewer_sees_the_verdict_but_cannot_export(self, client):
        log_in_with_role(client, "viewer")
        programme = good()
        text = page_text(client.get(page_url(programme)))
        assert "<strong>GO</strong>" in text
        assert "/report/" not in text
        for form in FORMATS:
            assert export(client, programme, form).status_code == 403
        assert not BetaSnapshot.objects.exists()
        assert not AuditEvent.objects.filter(action="beta.exported").exists()

    @pytest.mark.parametrize("role", ["staff", "operator"])
    def test_staff_and_operators_get_a_button_for_each_format(self, client, role):
        log_in_with_role(client, role)
        programme = good()
        text = page_text(client.get(page_url(programme)))
        for form in FORMATS:
            start = f'<form method="post" action="{PROGRAMMES}{programme.pk}/report/{form}/">'
            assert f'{start}<input type="hidden" name="csrfmiddlewaretoken"' in text

    def test_export_without_csrf_token_is_refused_with_403(self, client):
        log_in_with_role(client, "staff")
        programme = good()
        client.handler.enforce_csrf_checks = True
        assert export(client, programme, "json").status_code == 403
        assert not BetaSnapshot.objects.exists()


class TestSettings:
    def test_operator_creates_a_programme(self, client):
        log_in_with_role(client, "operator")
        response = client.post(f"{PROGRAMMES}add/", form_of(BetaProgramme(name="Spring", starts=STARTS)))
        programme = BetaProgramme.objects.get()
        assert response["Location"] == page_url(programme)
        assert (programme.participants_target, programme.takes_public) == (5, True)
        assert AuditEvent.objects.filter(action="betaprogramme.added", subject=programme.subject).count() == 1

    @pytest.mark.one_database("refused before the database is asked")
    @pytest.mark.parametrize(
        ("changes", "field"),
        [({"name": "Other"}, "name"), ({"ends": STARTS - DAY}, "ends"), ({"participants_target": 0}, "participants_target"),
         ({"score_target": "10.01"}, "score_target"), ({"error_percent_target": 101}, "error_percent_target"),
         ({"error_percent_target": 0}, "error_percent_target"),
         ({"latency_target_ms": 0}, "latency_target_ms"), ({"allowed_origins": "www.example.org"}, "allowed_origins")],
    )  # fmt: skip
    def test_invalid_setting_is_refused_at_its_field(self, admin_client, changes, field):
        create_programme("Other")
        programme = create_programme()
        response = admin_client.post(page_url(programme), form_of(programme, **changes))
        assert list(response.context["adminform"].form.errors) == [field]
        assert "<strong>Not enough data</strong>" in page_text(response)

    def test_saving_writes_only_the_changed_columns(self, admin_client):
        programme = create_programme()
        with CaptureQueriesContext(connection) as captured:
            admin_client.post(page_url(programme), form_of(programme, score_target="6.50"))
        (update,) = [query["sql"] for query in captured if query["sql"].startswith('UPDATE "monitoring_betaprogramme"')]
        assert update.count('" = ') == 2, update
        programme.refresh_from_db()
        assert str(programme.score_target) == "6.50"

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_viewer_and_staff_see_settings_but_cannot_change_them(self, client, role):
        log_in_with_role(client, role)
        programme = create_programme()
        text = page_text(client.get(page_url(programme)))
        assert "Average score" in text
        assert 'name="score_target"' not in text
        assert f"{PROGRAMMES}add/" not in page_text(client.get(PROGRAMMES))
        assert client.post(page_url(programme), form_of(programme, score_target=1)).status_code == 403
        assert client.post(f"{PROGRAMMES}add/", form_of(BetaProgramme(name="x", starts=STARTS))).status_code == 403
        assert post_page_action(client, "replace_key", programme).status_code == 403
        programme.refresh_from_db()
        assert programme.score_target == 7

    def test_target_is_assigned_to_a_programme_on_its_own_page(self, client):
        log_in_with_role(client, "operator")
        programme, target = create_programme(), create_target("API")
        assert "spring-beta" in page_text(client.get(page_url(target)))
        client.post(page_url(target), form_data(target, beta_programme=programme.pk))
        assert programme_of_target(target) == programme
        copy = client.get(f"/admin/monitoring/target/add/?copy={target.pk}").context["adminform"].form
        assert copy["beta_programme"].initial == programme
        assert AuditEvent.objects.get(action="target.changed").after == {"beta_programme": "spring-beta"}
        assert listed_rows(client, "target", beta_programme=programme.pk) == ["API"]
        assert listed_rows(client, "target", beta_programme=create_programme("other").pk) == []
        client.post(page_url(target), form_data(target))
        assert programme_of_target(target) is None

    def test_viewer_sees_the_programme_of_a_target_as_a_link(self, client):
        log_in_with_role(client, "viewer")
        programme = create_programme()
        page = client.get(page_url(create_target(beta_programme=programme)))
        assert f'<a href="{page_url(programme)}">spring-beta</a>' in page.content.decode()

    @pytest.mark.parametrize("page", ["betaprogramme/7/change/?a=1", "betafeedback/", "betasnapshot/7/history/"])
    def test_former_address_redirects_to_the_page(self, client, page):
        found = client.get(f"/admin/monitoring/{page}")
        assert (found.status_code, found.url) == (301, BASE + page)


class TestPublicKey:
    def test_page_shows_the_public_address_and_a_form_snippet(self, admin_client, settings):
        settings.PORTAL_URL = "https://vigie.example.org"
        programme = create_programme()
        text = page_text(admin_client.get(page_url(programme)))
        key = programme.public_key
        assert f'<code id="page-url">https://vigie.example.org/feedback/{key}</code>' in text
        assert f'<code id="public-key">{key}</code>' in text
        assert f'fetch("https://vigie.example.org/api/v1/beta/feedback?key={key}"' in text
        assert client_can_open(admin_client, f"/feedback/{key}")

    def test_public_page_comes_first_until_there_is_feedback(self, admin_client):
        programme = create_programme()

        def is_first():
            text = page_text(admin_client.get(page_url(programme)))
            return text.index('id="public-key"') < text.index("Key figures")

        assert is_first()
        create_feedback(programme)
        assert not is_first()

    def test_closed_programme_hides_its_public_key(self, admin_client):
        programme = create_programme(takes_public=False)
        text = page_text(admin_client.get(page_url(programme)))
        assert "Disabled in the settings." in text
        assert programme.public_key not in text

    def test_programme_that_does_not_run_says_when_feedback_is_accepted(self, admin_client):
        words = "Feedback is accepted only while the programme is running."
        assert words in page_text(admin_client.get(page_url(create_programme(ends=STARTS))))
        assert words not in page_text(admin_client.get(page_url(create_programme("running"))))

    def test_replaced_public_key_ends_the_former_address(self, client):
        log_in_with_role(client, "operator")
        programme, other = create_programme(), create_programme("other")
        before = programme.public_key
        assert 'class="dangerous">Replace public key…' in page_text(client.get(page_url(programme)))
        response = post_page_action(client, "replace_key", programme, confirmed="yes", typed=programme.name)
        assert "Public key replaced" in page_text(response)
        programme.refresh_from_db()
        assert programme.public_key != before
        assert not client_can_open(client, f"/feedback/{before}")
        assert client_can_open(client, f"/feedback/{programme.public_key}")
        assert BetaProgramme.objects.get(pk=other.pk).public_key == other.public_key

    @pytest.mark.parametrize("fields", [{}, {"confirmed": "yes"}, {"confirmed": "yes", "typed": "other"}])
    def test_key_is_kept_until_the_name_is_typed(self, client, fields):
        log_in_with_role(client, "operator")
        programme = create_programme()
        response = post_page_action(client, "replace_key", programme, **fields)
        assert response.context["confirmation"].typed == "spring-beta"
        assert BetaProgramme.objects.get().public_key == programme.public_key

    def test_replacing_a_key_states_how_many_participants_used_it_lately(self, client):
        log_in_with_role(client, "operator")
        programme, now = create_programme(), timezone.now()
        for participant, source, ago in (
            ("amy", "public", DAY), ("amy", "public", 2 * DAY), ("bob", "public", DAY), ("eve", "client:app", DAY),
            ("old", "public", 8 * DAY),
        ):  # fmt: skip
            create_feedback(programme, participant, now - ago, source=source)
        create_feedback(create_programme("other"), "dan", now, source="public")
        consequences = post_page_action(client, "replace_key", programme).context["confirmation"].consequences
        assert str(consequences[0]).startswith("2 participants")

    def test_audit_event_of_a_replaced_key_contains_no_key(self, client):
        log_in_with_role(client, "operator")
        programme = create_programme()
        post_page_action(client, "replace_key", programme, confirmed="yes", typed=programme.name)
        after = BetaProgramme.objects.get().public_key
        events = AuditEvent.objects.filter(subject=programme.subject)
        assert [event.action for event in events] == ["beta.key_replaced"]
        told = str(list(AuditEvent.objects.values_list("before", "after")))
        assert programme.public_key not in told
        assert after not in told


def client_can_open(client, path):
    return client.get(path).status_code == 200


class TestDeletion:
    @pytest.fixture
    def ended(self, db):
        programme = good(ends=STARTS)
        checked(programme, STARTS)
        take_snapshot(programme, NOON, BetaSnapshot.Reason.CLOSED)
        return programme

    def test_ended_programme_is_deleted_with_feedback_and_snapshots(self, client, ended):
        other = good("other")
        take_snapshot(other, NOON, BetaSnapshot.Reason.EXPORTED)
        log_in_with_role(client, "operator")
        address = f"{PROGRAMMES}{ended.pk}/delete/"
        assert address in page_text(client.get(page_url(ended)))
        text = page_text(client.get(address))
        for figure in ("Beta programmes: 1", "Feedback: 5", "Saved reports: 1"):
            assert f"<li>{figure}</li>" in text
        client.post(address, {"post": "yes"})
        assert list(BetaProgramme.objects.all()) == [other]
        assert set(BetaFeedback.objects.values_list("programme", flat=True)) == {other.pk}
        assert [snapshot.programme for snapshot in BetaSnapshot.objects.all()] == [other]
        assert programme_of_target(Target.objects.get()) is None
        assert AuditEvent.objects.filter(action="betaprogramme.deleted", subject=ended.subject).count() == 1

    def test_upcoming_programme_can_be_deleted_but_a_running_one_not(self, client):
        log_in_with_role(client, "operator")
        upcoming, running = create_programme("x", starts=timezone.localdate() + DAY), create_programme()
        for programme, status in ((upcoming, 302), (running, 403)):
            answer = client.post(f"{PROGRAMMES}{programme.pk}/delete/", {"post": "yes"})
            assert answer.status_code == status
        assert list(BetaProgramme.objects.all()) == [running]
        assert f"{PROGRAMMES}{running.pk}/delete/" not in page_text(client.get(page_url(running)))
        assert "delete_selected" not in page_text(client.get(PROGRAMMES))

    def test_deletion_reads_no_comment_and_leaves_no_reference(self, admin_client, ended):
        first = ended.feedback.first()
        first.tags.create(name="colour")
        elsewhere = create_feedback(create_programme("other"), duplicate_of=first)
        with CaptureQueriesContext(connection) as captured:
            admin_client.post(f"{PROGRAMMES}{ended.pk}/delete/", {"post": "yes"})
        assert not any("comment" in query["sql"] for query in captured)
        assert BetaFeedback.objects.get() == elsewhere
        elsewhere.refresh_from_db()
        assert elsewhere.duplicate_of is None

    def test_confirmation_page_counts_feedback_without_reading_it(self, admin_client, ended):
        with CaptureQueriesContext(connection) as captured:
            admin_client.get(f"{PROGRAMMES}{ended.pk}/delete/")
        sql = [query["sql"] for query in captured if "monitoring_betafeedback" in query["sql"]]
        assert len(sql) == 1
        assert "COUNT(" in sql[0]

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_viewer_and_staff_cannot_delete(self, client, ended, role):
        log_in_with_role(client, role)
        assert client.post(f"{PROGRAMMES}{ended.pk}/delete/", {"post": "yes"}).status_code == 403
        assert BetaProgramme.objects.exists()


def cells_of(chart):
    return [re.findall(">([^<>]+)</t[hd]>", row) for row in chart.rows.split("</tr>") if row]


class TestCharts:
    def test_day_without_scores_keeps_the_average_of_the_day_before(self, db):
        programme = create_programme()
        create_feedback(programme, "carol", nps_score=4, given_at=NOON)
        create_feedback(programme, "carol", nps_score=8, given_at=NOON + 3 * DAY)
        drawn = charts.trend_chart(build_report(programme, NOON))
        averages, needed = (line["values"] for line in drawn.data["lines"])
        assert averages == [4.0, 4.0, 4.0, 8.0]
        assert needed == [7.0] * 4
        assert len(drawn.data["labels"]) == 4
        assert cells_of(drawn) == [["10 March 2026", "1", "4.00", "−100"], ["13 March 2026", "1", "8.00", "0"]]

    def test_day_without_checks_is_a_gap_in_the_chart(self, db):
        programme = create_programme()
        checked(programme, STARTS, latency_ms=80)
        checked(programme, STARTS + 2 * DAY, latency_ms=90, failures=1)
        drawn = charts.response_chart(build_report(programme, NOON))
        assert drawn.data["lines"][0]["values"] == [80.0, None, 90.0]
        assert drawn.data["lines"][1] == {"label": "below 500.0 ms", "values": [500] * 3}
        assert drawn.data["marks"]["values"] == [0, 0, 1]
        assert cells_of(drawn) == [["2 March 2026", "80.0 ms", "10", "0"], ["4 March 2026", "90.0 ms", "10", "1"]]

    def test_period_too_long_to_draw_leaves_out_days_without_data(self):
        days = [STARTS, STARTS + timedelta(days=charts.MOST_DAYS)]
        assert charts.fill_days(days) == days
        assert len(charts.fill_days([STARTS, STARTS + timedelta(days=charts.MOST_DAYS - 1)])) == charts.MOST_DAYS

    def test_bugs_beyond_the_shown_ones_are_counted(self, db):
        programme = create_programme()
        for _ in range(23):
            grave(programme)
        bugs = present_report(build_report(programme, NOON)).bugs
        assert (len(bugs.rows), bugs.note) == (20, "and 3 more")


class TestPastRetention:
    def test_programme_past_retention_shows_its_last_snapshot_in_the_list(self, client, settings):
        log_in_with_role(client, "staff")
        settings.FEEDBACK_RETENTION_DAYS = 30
        ended = timezone.localdate() - timedelta(days=31)
        programme = create_programme("Old beta", starts=ended - timedelta(days=9), ends=ended)
        create_scores(programme, 9, 9, 9, 9, 8)
        write_snapshot(programme, build_report(programme, NOON), NOON, BetaSnapshot.Reason.CLOSED)
        programme.feedback.all().delete()
        page = client.get(PROGRAMMES).content.decode()
        row = page[page.index("Old beta") :]
        assert "GO</span>" in row
        assert "NO-GO" not in row
        assert "8.80" in row
        assert "+80" in row
        assert "As it was saved." in client.get(page_url(programme)).content.decode()
