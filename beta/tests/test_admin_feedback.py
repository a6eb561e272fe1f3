"""Feedback in the admin: what participants say, and what is to be done next."""

import csv
import io
import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models.sql import compiler
from django.utils import timezone, translation

from beta.admin.display import bugs_section
from beta.admin.sections import feedback_section
from beta.feedback import triage
from beta.models import BetaFeedback, FeedbackTag
from beta.report.gather import build_report
from beta.tests.factories import create_bug, get_programme
from monitoring.tests.helpers.admin_pages import changelist_rows, page_url, post_action
from portal.desk import matching, trigrams
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, messages_of, page_text

pytestmark = pytest.mark.django_db
BASE = "/admin/beta/"
LIST = f"{BASE}betafeedback/"
HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "formula": '=HYPERLINK("http://evil.example")',
    "rtl": "\u202eمرحبا <b>",
    "emoji": "😀",
}


def found(client, **query):
    return [row.participant for row in changelist_rows(client, BetaFeedback, **query)]


class TestList:
    def test_row_shows_comment_participant_page_severity_and_assignee(self, admin_client):
        olga = User.objects.create_user("olga", is_staff=True)
        feedback = create_bug(
            "bob@example.org", "\n\nExport crashes\nevery time", severity="critical", nps_score=3, page="/export",
            app_version="6.2.0", assignee=olga, status="planned",
        )  # fmt: skip
        triage.apply_triage(feedback, {"tags": ["export"]})
        text = page_text(admin_client.get(LIST))
        for part in (
            "<bdi>Export crashes</bdi>", '<bdi>bob@example.org</bdi><span class="beneath"><bdi>/export</bdi></span>', 'badge-warning">bug<',
            'badge-bad">critical<', 'badge-warning">planned<', 'beneath">olga<', "6.2.0", "Pilot", ">3<",
            '<span class="tag"><bdi>export</bdi></span>',
        ):  # fmt: skip
            assert part in text
        assert "every time" not in text

    @pytest.mark.parametrize(
        ("fields", "marked"),
        [({"severity": ""}, True), ({"severity": "low"}, False), ({"severity": "", "type": "ux"}, False)],
    )
    def test_only_bug_without_severity_is_shown_as_untriaged(self, admin_client, fields, marked):
        create_bug(**fields)
        assert ('badge-quiet">untriaged<' in page_text(admin_client.get(LIST))) is marked

    def test_list_is_sorted_by_severity_and_status_in_their_order(self, admin_client):
        for severity, status in (("low", "fixed"), ("critical", "planned"), ("", "open"), ("high", "declined")):
            create_bug(f"{severity}-{status}", severity=severity, status=status)
        columns = list(admin.site.get_model_admin(BetaFeedback).list_display)

        def sorted_by(column):
            place = columns.index(column) + 1
            return [row.participant for row in admin_client.get(LIST, {"o": place}).context["cl"].result_list]

        assert sorted_by("kind") == ["critical-planned", "high-declined", "low-fixed", "-open"]
        assert sorted_by("stands") == ["-open", "critical-planned", "low-fixed", "high-declined"]

    @pytest.mark.parametrize("comment", HOSTILE.values(), ids=HOSTILE)
    def test_hostile_texts_are_escaped_on_list_and_page(self, admin_client, comment):
        feedback = create_bug("<i>eve</i>", comment, page="<u>x</u>")
        triage.apply_triage(feedback, {"tags": ["<s>tag</s>"]})
        for path in (LIST, page_url(feedback), f"{LIST}?q=eve"):
            text = page_text(admin_client.get(path))
            assert not re.search(r"<script>alert|<i>eve|<u>x|<s>tag|<b>", text)
            assert "&lt;i&gt;eve" in text

    def test_long_comment_is_an_excerpt_in_the_list_and_whole_on_its_page(
        self, admin_client, django_assert_max_num_queries
    ):
        feedback = create_bug(comment="x" * 100_000)
        with django_assert_max_num_queries(7):
            text = page_text(admin_client.get(LIST))
        assert "x" * 109 + "…</bdi>" in text
        assert "x" * 111 not in text
        assert "x" * 100_000 in page_text(admin_client.get(page_url(feedback)))

    def test_lists_read_only_the_first_400_characters_of_other_comments(self, admin_client, monkeypatch):
        """By what the database sends: what is cut off only once it is here has been read all the same."""
        feedback, longest = create_bug(), []
        fetched = compiler.cursor_iter

        def watched(*args):
            for rows in fetched(*args):
                longest.extend(len(value) for row in rows for value in row if isinstance(value, str))
                yield rows

        monkeypatch.setattr(compiler, "cursor_iter", watched)
        for _number in range(2):
            triage.apply_triage(create_bug(comment="x" * 100_000), {"duplicate_of": feedback})
        create_bug(comment="x" * 100_000)
        for path in (LIST, page_url(feedback), page_url(feedback.programme)):
            longest.clear()
            assert "x" * 100 in page_text(admin_client.get(path))
            assert max(longest) == 400, path

    def test_score_without_comment_is_shown_as_no_comment(self, admin_client):
        create_bug(comment="", nps_score=9)
        assert "no comment" in page_text(admin_client.get(LIST))


class TestFiltersAndSearch:
    @pytest.fixture
    def olga(self, client):
        log_in_with_role(client, "operator")
        return User.objects.get(username="olga")

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"status": "unsettled"}, ["grave", "mild", "new", "planned"]),
            ({"status": "fixed"}, ["done"]),
            ({"next": "grave"}, ["grave"]),
            ({"next": "unjudged"}, ["new"]),
            ({"next": "mine"}, ["planned"]),
            ({"severity": "none"}, ["new", "planned"]),
            ({"severity": "high"}, ["done", "grave"]),
            ({"type": "ux"}, ["planned"]),
            ({"assignee": "me"}, ["done", "planned"]),
            ({"assignee": "nobody"}, ["grave", "mild", "new"]),
            ({"tag": "export"}, ["mild"]),
            ({"tag": "expor"}, []),
            ({"programme": "0"}, []),
            ({"programme": "٣"}, ["done", "grave", "mild", "new", "planned"]),
            ({"programme": "9" * 40}, ["done", "grave", "mild", "new", "planned"]),
            ({"source": "agent:PC-1"}, ["new"]),
        ],
    )
    def test_filter_shows_the_matching_rows(self, client, olga, query, expected):
        create_bug("grave", severity="high")
        triage.apply_triage(create_bug("mild", severity="low"), {"tags": ["export", "dark"]})
        create_bug("new", source="agent:PC-1")
        create_bug("planned", type="ux", status="planned", assignee=olga)
        create_bug("done", severity="high", status="fixed", assignee=olga)
        assert sorted(found(client, **query)) == expected

    def test_programme_filter_shows_its_feedback_alone(self, client, olga):
        create_bug("a")
        create_bug("b", programme=get_programme("Second"))
        assert found(client, programme=get_programme("Second").pk) == ["b"]
        assert "Second" in page_text(client.get(LIST))

    def test_unused_tag_is_not_offered_as_filter(self, client, olga):
        FeedbackTag.objects.create(name="typo")
        triage.apply_triage(create_bug(), {"tags": ["export"]})
        text = page_text(client.get(LIST))
        assert "?tag=export" in text
        assert "?tag=typo" not in text

    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            ("CRASH", ["amy smith"]), ("sMiTh", ["amy smith"]), ("/expo", ["bob"]), ("dark", ["eve"]), ("100%", ["eve"]),
            ("00% fine", ["eve"]), ("00% f", []), ("%", []), ("_", []), ("agent:PC", ["bob"]), ("nowhere", []), ("  ", ["eve", "bob", "amy smith"]),
        ],
    )  # fmt: skip
    def test_search_finds_parts_of_texts(self, client, olga, typed, expected):
        create_bug("amy smith", "It crashes")
        create_bug("bob", "", page="/export", source="agent:PC-1")
        triage.apply_triage(create_bug("eve", "100% fine"), {"tags": ["darkness", "the dark"]})
        assert found(client, q=typed) == expected

    def test_search_for_a_number_finds_that_row_alone(self, client, olga):
        wanted, _other = create_bug("amy"), create_bug("bob", "see #1")
        assert found(client, q=f"#{wanted.pk}") == ["amy"]
        assert found(client, q="#" + "9" * 19) == []

    def test_text_search_is_limited_to_the_newest_rows(self, client, olga, monkeypatch):
        monkeypatch.setattr(matching, "SEARCHED_ROWS", 2)
        monkeypatch.setattr(trigrams, "has_trigram_indexes", lambda: False)
        for name in ("a", "b", "c"):
            create_bug(name, "crash")
        assert found(client, q="crash") == ["c", "b"]
        assert found(client, q=f"#{BetaFeedback.objects.get(participant='a').pk}") == ["a"]


class TestExport:
    def test_export_has_every_column_and_escapes_formulas(self, client):
        log_in_with_role(client, "staff")
        original = create_bug("amy")
        create_bug(
            "=cmd|' /C calc'!A0", HOSTILE["formula"], duplicate_of=original, status="duplicate", fix_version="+6"
        )
        content = b"".join(client.get(f"{LIST}export/fields/")).decode("utf-8-sig")
        duplicate, _original = csv.DictReader(io.StringIO(content))
        assert list(duplicate) == [
            "id", "programme", "participant", "type", "severity", "nps_score", "comment", "page", "app_version", "source",
            "given_at", "received_at", "clock", "status", "duplicate_of", "assignee", "incident", "fix_version",
        ]  # fmt: skip
        assert duplicate["participant"].startswith("'=cmd")
        assert duplicate["comment"].startswith("'=HYPERLINK")
        assert (duplicate["duplicate_of"], duplicate["fix_version"]) == (str(original.pk), "'+6")
        assert client.get(f"{LIST}export/fields/xlsx/").getvalue()[:2] == b"PK"

    def test_export_contains_the_filtered_rows_alone(self, client):
        log_in_with_role(client, "staff")
        triage.apply_triage(create_bug("amy"), {"tags": ["export"]})
        create_bug("bob")
        content = b"".join(client.get(f"{LIST}export/", {"tag": "export"})).decode()
        assert "amy" in content
        assert "bob" not in content

    def test_viewer_may_list_but_not_export(self, client):
        log_in_with_role(client, "viewer")
        assert client.get(f"{LIST}export/").status_code == 403
        assert client.get(LIST).status_code == 200


class TestPermissions:
    def test_viewer_sees_feedback_but_cannot_change_it(self, client):
        log_in_with_role(client, "viewer")
        feedback = create_bug(comment="Whole story")
        triage.apply_triage(feedback, {"tags": ["export"], "status": "planned"})
        text = page_text(client.get(page_url(feedback)))
        assert "Whole story" in text
        assert "export" in text
        assert 'name="_save"' not in text
        assert '<select name="status"' not in text
        assert client.post(page_url(feedback), {"status": "fixed"}).status_code == 403
        post_action(client, "fix", feedback)
        feedback.refresh_from_db()
        assert feedback.status == "planned"

    @pytest.mark.parametrize("role", ["viewer", "staff"])
    def test_viewer_and_staff_cannot_delete(self, client, role):
        log_in_with_role(client, role)
        feedback = create_bug()
        assert client.post(f"{LIST}{feedback.pk}/delete/", {"post": "yes"}).status_code == 403
        post_action(client, "delete_selected", feedback, post="yes")
        assert BetaFeedback.objects.exists()

    def test_adding_by_hand_is_refused_with_403(self, admin_client):
        assert admin_client.get(f"{LIST}add/").status_code == 403


class TestDeletion:
    def test_deleted_feedback_leaves_an_audit_event_without_its_text(self, client):
        log_in_with_role(client, "operator")
        spam = create_bug("spam@example.org", "Buy pills")
        assert "spam@example.org" not in page_text(client.get(f"{LIST}{spam.pk}/delete/"))
        client.post(f"{LIST}{spam.pk}/delete/", {"post": "yes"})
        assert not BetaFeedback.objects.exists()
        [event] = AuditEvent.objects.filter(action="betafeedback.deleted")
        assert (event.subject, event.before, event.after) == (f"feedback:{spam.pk}", None, None)

    def test_bulk_deletion_asks_first_and_audits_each_row(self, client):
        log_in_with_role(client, "operator")
        rows = [create_bug(), create_bug()]
        triage.apply_triage(rows[0], {"tags": ["spam"]})
        asked = post_action(client, "delete_selected", *rows)
        assert "#" + str(rows[0].pk) in page_text(asked)
        post_action(client, "delete_selected", *rows, post="yes")
        assert not BetaFeedback.objects.exists()
        assert AuditEvent.objects.filter(action="betafeedback.deleted").count() == 2

    def test_bulk_deletion_above_the_limit_deletes_nothing(self, client, monkeypatch):
        log_in_with_role(client, "operator")
        monkeypatch.setattr("portal.admin.confirm.MOST_AT_ONCE", 2)
        rows = [create_bug(), create_bug(), create_bug()]
        response = post_action(client, "delete_selected", *rows, post="yes")
        assert messages_of(response) == ["Choose at most 2 at once. Nothing was done."]
        assert BetaFeedback.objects.count() == 3

    @pytest.mark.parametrize("in_bulk", [False, True])
    def test_duplicates_of_deleted_feedback_are_reopened(self, client, in_bulk):
        log_in_with_role(client, "operator")
        original, duplicate, going = create_bug(severity="critical"), create_bug(severity="critical"), create_bug()
        for each in (duplicate, going):
            triage.apply_triage(each, {"duplicate_of": original})
        if in_bulk:
            post_action(client, "delete_selected", original, going, post="yes")
        else:
            client.post(f"{LIST}{original.pk}/delete/", {"post": "yes"})
        duplicate.refresh_from_db()
        assert (duplicate.status, duplicate.duplicate_of) == ("open", None)
        event = AuditEvent.objects.get(action="monitoring.feedback_triaged", subject=duplicate.subject)
        assert event.after == {"status": "open", "duplicate_of": None}


def test_page_takes_as_many_queries_however_much_feedback(admin_client, django_assert_max_num_queries):
    feedback = create_bug(given_at=timezone.now())
    for _number in range(15):
        triage.apply_triage(create_bug(), {"duplicate_of": feedback, "tags": ["a", "b"]})
    create_bug("other")
    with django_assert_max_num_queries(14):
        response = admin_client.get(page_url(feedback))
    duplicates, others, _history = response.context["sections"]
    assert [len(section.rows) for section in (duplicates, others)] == [10, 10]
    assert duplicates.note == others.note == "Older ones are not shown."


def test_comment_columns_have_the_french_word_for_comments():
    """Of the history too the column is called "What", and means something else there."""
    programme = create_bug(severity="critical").programme
    with translation.override("fr"):
        bugs = bugs_section(build_report(programme, timezone.now()))
        latest = feedback_section(programme)
    assert [str(column) for column in bugs.columns][1] == "Commentaire"
    assert [str(column) for column in latest.columns][2::2] == ["Type", "Commentaire"]
