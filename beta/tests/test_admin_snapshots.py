"""The reports that were kept, in the admin: as they were, whatever became of what they tell of."""

import json

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from beta.formats import FORMATS
from beta.models import BetaFeedback, BetaSnapshot
from beta.report.snapshots import take_snapshot
from beta.tests.factories import create_feedback, create_programme, create_scores
from beta.tests.test_admin_programmes import HOSTILE, export, good, grave
from monitoring.tests.factories import DAY, NOON
from monitoring.tests.helpers.admin_pages import listed_rows, page_url
from portal.models import AuditEvent
from portal.tests.helpers.admin_pages import log_in_with_role, page_text

pytestmark = pytest.mark.django_db
BASE = "/admin/beta/"
SNAPSHOTS = f"{BASE}betasnapshot/"
Reason = BetaSnapshot.Reason


@pytest.fixture
def snapshot(db):
    return take_snapshot(good(), NOON, Reason.EXPORTED, "olga")


class TestList:
    def test_list_shows_figures_without_reading_whole_reports(self, admin_client, snapshot):
        grave(snapshot.programme)
        take_snapshot(snapshot.programme, NOON + DAY, Reason.VERDICT)
        with CaptureQueriesContext(connection) as captured:
            response = admin_client.get(SNAPSHOTS)
        text = page_text(response)
        for words in ("spring-beta", "GO</span>", "NO-GO</span>", "8.00", "+40", "verdict changed", "olga"):
            assert words in text
        # Session, user; count, rows.
        assert len(captured) == 4
        assert all(row.get_deferred_fields() == {"data"} for row in response.context["cl"].result_list)

    def test_snapshot_without_scores_shows_a_dash(self, admin_client):
        take_snapshot(create_programme(), NOON, Reason.COMMAND)
        text = page_text(admin_client.get(SNAPSHOTS))
        assert '<td class="field-average">–</td><td class="field-nps">–</td>' in text

    def test_list_is_filtered_and_searched(self, admin_client, snapshot):
        other = take_snapshot(create_programme("other"), NOON, Reason.VERDICT)
        assert listed_rows(admin_client, "betasnapshot", "beta", verdict="GO") == [str(snapshot)]
        assert listed_rows(admin_client, "betasnapshot", "beta", reason="verdict") == [str(other)]
        assert listed_rows(admin_client, "betasnapshot", "beta", q="oth") == [str(other)]
        assert listed_rows(admin_client, "betasnapshot", "beta", programme=snapshot.programme_id) == [str(snapshot)]
        assert listed_rows(admin_client, "betasnapshot", "beta", kept="hour") == []

    def test_list_is_sorted_by_the_figures_of_the_reports(self, admin_client, snapshot):
        other = create_programme("other")
        create_scores(other, 10, 10)
        better = take_snapshot(other, NOON, Reason.COMMAND)
        columns = list(admin.site.get_model_admin(BetaSnapshot).list_display)
        for column, expected in (("average", [snapshot, better]), ("participants", [better, snapshot])):
            response = admin_client.get(SNAPSHOTS, {"o": columns.index(column) + 1})
            assert list(response.context["cl"].result_list) == expected

    def test_list_is_exported_with_its_figures(self, client, snapshot):
        log_in_with_role(client, "staff")
        rows = b"".join(client.get(f"{SNAPSHOTS}export/").streaming_content).decode("utf-8-sig").splitlines()
        assert rows[1].startswith("spring-beta,2026-03-10T12:00:00.000Z,GO,5,8.00,")


class TestSnapshotPage:
    def test_page_is_unchanged_when_programme_and_feedback_change(self, admin_client, snapshot):
        before = admin_client.get(page_url(snapshot))
        programme = snapshot.programme
        create_scores(programme, 0, 0, 0)
        grave(programme)
        programme.score_target = 10
        programme.save()
        after = admin_client.get(page_url(snapshot))
        assert after.context["shown"] == before.context["shown"]
        assert "<strong>GO</strong>" in page_text(after)
        BetaFeedback.objects.all().delete()
        assert "<strong>GO</strong>" in page_text(admin_client.get(page_url(snapshot)))

    def test_page_shows_a_snapshot_as_the_live_report(self, admin_client, snapshot):
        live = admin_client.get(page_url(snapshot.programme)).context["shown"]
        kept = admin_client.get(page_url(snapshot)).context["shown"]
        for part in ("verdict", "reason", "period", "conditions", "scores", "trend", "bugs", "comments"):
            assert getattr(kept, part) == getattr(live, part)

    def test_page_shows_time_reason_and_user_of_the_snapshot(self, admin_client, snapshot):
        text = page_text(admin_client.get(page_url(snapshot)))
        for words in ("2026-03-10 12:00:00 UTC", "exported", "olga", f'href="{page_url(snapshot.programme)}"'):
            assert words in text

    def test_page_shows_differences_from_the_previous_snapshot(self, admin_client, snapshot):
        programme = snapshot.programme
        assert admin_client.get(page_url(snapshot)).context["sections"] == []
        take_snapshot(create_programme("other"), NOON, Reason.EXPORTED)
        grave(programme)
        programme.participants_target = 3
        programme.save()
        later = take_snapshot(programme, NOON + DAY, Reason.VERDICT)
        (differences,) = admin_client.get(page_url(later)).context["sections"]
        assert [
            row for row in differences.rows if row[0] in ("Verdict", "Participants (required)", "Average score")
        ] == [
            ["Verdict", "GO", "NO-GO"],
            ["Participants (required)", "at least 5", "at least 3"],
        ]
        assert page_url(snapshot) in differences.note
        assert "was GO" in page_text(admin_client.get(page_url(later)))

    def test_hostile_texts_are_escaped(self, admin_client):
        programme = create_programme()
        grave(programme, HOSTILE)
        create_feedback(programme, type="ux", comment=HOSTILE)
        text = page_text(admin_client.get(page_url(take_snapshot(programme, NOON, Reason.EXPORTED))))
        assert "<script>alert" not in text
        assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2

    def test_adding_changing_and_deleting_are_refused_with_403(self, admin_client, snapshot):
        assert admin_client.post(page_url(snapshot), {"verdict": "NO-GO"}).status_code == 403
        assert admin_client.post(f"{SNAPSHOTS}{snapshot.pk}/delete/", {"post": "yes"}).status_code == 403
        assert admin_client.get(f"{SNAPSHOTS}add/").status_code == 403


class TestReportExport:
    @pytest.mark.parametrize("form", FORMATS)
    def test_exported_snapshot_is_unchanged_and_stores_no_other(self, client, snapshot, form):
        log_in_with_role(client, "staff")
        create_scores(snapshot.programme, 0, 0, 0)
        response = export(client, snapshot, form)
        assert response.status_code == 200
        if form == "json":
            assert json.loads(response.content) == snapshot.data
        assert BetaSnapshot.objects.get() == snapshot
        event = AuditEvent.objects.get(action="beta.exported")
        assert event.subject == snapshot.programme.subject
        assert event.after == {"format": form, "report": "2026-03-10T12:00:00.000Z"}

    def test_failed_export_is_not_audited(self, client, snapshot, broken_pdf):
        log_in_with_role(client, "staff")
        client.raise_request_exception = False
        assert export(client, snapshot, "pdf").status_code == 500
        assert not AuditEvent.objects.filter(action="beta.exported").exists()

    def test_viewer_sees_the_snapshot_but_cannot_export(self, client, snapshot):
        log_in_with_role(client, "viewer")
        text = page_text(client.get(page_url(snapshot)))
        assert "<strong>GO</strong>" in text
        assert "/report/" not in text
        assert export(client, snapshot, "pdf").status_code == 403
        assert not AuditEvent.objects.filter(action="beta.exported").exists()

    @pytest.mark.parametrize("role", ["staff", "operator"])
    def test_staff_and_operators_get_a_button_for_each_format(self, client, snapshot, role):
        log_in_with_role(client, role)
        text = page_text(client.get(page_url(snapshot)))
        assert text.count(f'action="{SNAPSHOTS}{snapshot.pk}/report/') == len(FORMATS)

    def test_export_of_snapshots_needs_a_permission_of_its_own(self, client, snapshot, django_user_model):
        user = django_user_model.objects.create_user("eve", is_staff=True)
        names = ["view_betasnapshot", "export_betaprogramme"]
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client.force_login(user)
        assert export(client, snapshot, "json").status_code == 403
        assert export(client, snapshot.programme, "json").status_code == 403
        user.user_permissions.add(Permission.objects.get(codename="export_betasnapshot"))
        client.force_login(user)  # a change of rights ended the session
        assert export(client, snapshot, "json").status_code == 200
