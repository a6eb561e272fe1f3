"""The guardian's reports in the admin: list, page, and reports on demand."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from portal.access.roles import OPERATOR, STAFF, VIEWER, synchronise_roles
from portal.desk.history import describe_event
from portal.models import AuditEvent, OutboxMessage
from portal.notifications.configuration import synchronise_environment_channels
from usage.guardian import reports
from usage.guardian.summary import build_digest
from usage.models import FeatureUsage, GuardianReport
from usage.tests.factories import at, create_error, create_feature_usage, create_session

pytestmark = pytest.mark.django_db
LIST = "/admin/usage/guardianreport/"
NOW = f"{LIST}add/"
BOB = "bob@example.org"
START, END = at("14:00"), at("16:00")


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.REPORTS_ROOT = tmp_path
    settings.GUARDIAN_RECIPIENTS = ["g@example.org"]
    synchronise_environment_channels()
    return tmp_path


def logged_in(client, role):
    synchronise_roles()
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return client


def some_activity():
    create_session(BOB, START, at("14:45"))
    fields = {"user_email": BOB, "timestamp": at("14:10"), "feature_name": "document_upload", "success": True}
    FeatureUsage.objects.bulk_create(FeatureUsage(**fields) for _ in range(1_200))
    create_feature_usage(BOB, at("14:20"), "thread_create")
    create_feature_usage("agent:PC-1", at("14:30"), "usage-report")
    create_error(BOB, at("15:30:12"))
    create_error("", at("15:31"), "PermissionDenied", 403)


def report(requested_by="", start=START, end=END):
    return reports.create(start, end, build_digest(start, end), requested_by, is_mailed=False)


def page_of(report):
    return f"{LIST}{report.pk}/change/"


def text_of(response):
    return response.content.decode()


def said(response):
    return [str(message) for message in response.context["messages"]]


def sections(response):
    return {section.title: section for section in response.context["sections"]}


# --- The list --------------------------------------------------------------------------------------------------------


def test_list_shows_period_origin_and_counts(admin_client):
    some_activity()
    report()
    report("olga", start=at("00:00"))
    content = text_of(admin_client.get(LIST))
    for words in ("2026-03-10 14:00 – 16:00 UTC", "2026-03-10 00:00 – 16:00 UTC", "scheduled", "olga"):
        assert words in content
    assert content.count('<td class="field-requests">1,202</td>') == 2
    assert content.count('<td class="field-errors">2</td>') == 2


def test_period_and_errors_are_in_the_readers_time_zone(admin_client, settings):
    settings.TIME_ZONE = "Europe/Paris"
    some_activity()
    page = page_of(report(start=at("23:00", "2026-03-09")))
    assert "2026-03-10 00:00 – 17:00 CET" in text_of(admin_client.get(LIST))
    content = text_of(admin_client.get(page))
    for words in ("2026-03-10 00:00 – 17:00 CET", "2026-03-10 16:30:12 CET"):
        assert words in content
    assert "UTC" not in content


def test_list_does_not_load_the_json(admin_client):
    report()
    (row,) = admin_client.get(LIST).context["cl"].result_list
    assert "data" in row.get_deferred_fields()


def test_origin_filter_selects_reports(admin_client):
    report()
    report("olga")
    listed = lambda **query: [r.requested_by for r in admin_client.get(LIST, query).context["cl"].queryset]  # noqa: E731
    assert listed() == ["olga", ""]
    assert listed(origin="periodic") == [""]
    assert listed(origin="asked") == ["olga"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [("2026-03-10", 1), (" 2026-03-10 ", 1), ("2026-03-09", 0), ("2026-03-11", 0), ("2026-13-40", 0), ("olga", 0), ("9999-12-31", 0), ("", 1)],
)  # fmt: skip
def test_search_finds_report_by_day(admin_client, settings, typed, found):
    settings.TIME_ZONE = "Europe/Paris"
    report()
    GuardianReport.objects.update(created_at=at("23:30", "2026-03-09"))
    response = admin_client.get(LIST, {"q": typed})
    assert (response.status_code, response.context["cl"].queryset.count()) == (200, found)


def test_export_contains_the_counts(admin_client):
    some_activity()
    report("olga")
    lines = admin_client.get(f"{LIST}export/").getvalue().decode("utf-8-sig").splitlines()
    assert lines[0] == "Period,Requested by,Users,Requests,Errors,Created"
    assert lines[1].startswith("2026-03-10 14:00 – 16:00 UTC,olga,1,1202,2,")


# --- The page of a report --------------------------------------------------------------------------------------------


def test_page_shows_people_features_and_errors(admin_client):
    some_activity()
    found = sections(admin_client.get(page_of(report())))
    assert list(found) == ["Users", "Most used", "Portal pages", "Errors by code", "User-facing errors"]
    assert found["Users"].rows == [
        [f'{BOB}<span class="beneath">document_upload, thread_create</span>', "45\xa0min", 1201, 1]
    ]
    assert [row[:2] for row in found["Most used"].rows] == [
        ["document_upload", 1200],
        ["thread_create", 1],
        ["POST /api/v1/usage/report", 1],
    ]
    assert 'class="good" width="100"' in found["Most used"].rows[0][2]
    assert 'class="good" width="1"' in found["Most used"].rows[1][2]
    assert found["Errors by code"].rows == [["400", 1], ["403", 1]]
    assert found["User-facing errors"].rows == [
        ["<time>2026-03-10 15:30:12 UTC</time>", BOB, "ValidationError", "/api/documents"]
    ]


def test_empty_period_is_one_sentence(admin_client):
    response = admin_client.get(page_of(report()))
    assert len(response.context["sections"]) == 1
    assert "No activity in this period" in text_of(response)


@pytest.mark.parametrize("is_on", [True, False])
def test_page_says_that_tracking_was_off(admin_client, settings, is_on):
    settings.TRACKING = is_on
    page = page_of(report())
    settings.TRACKING = True
    text = text_of(admin_client.get(page))
    assert ("No activity in this period" in text) is is_on
    assert text.count("The portal does not track its own requests.") == (0 if is_on else 2)


def test_machines_are_not_listed_as_people(admin_client):
    create_feature_usage("agent:PC-1", START)
    content = text_of(admin_client.get(page_of(report())))
    assert "No user activity" in content
    assert "No user-facing errors." in content


def test_markup_in_names_is_escaped(admin_client):
    create_feature_usage("<b>bob", START, "<script>alert(1)</script>")
    create_error("<b>bob", START, "<i>E")
    content = text_of(admin_client.get(page_of(report("<u>olga"))))
    assert "&lt;script&gt;alert(1)" in content
    assert not {"<b>bob", "<script>alert", "<i>E", "<u>olga"} & set(content.replace("><", ">\n<").split("\n"))
    assert all(tag not in content for tag in ("<b>bob", "<script>alert", "<i>E", "<u>olga"))


def test_long_report_counts_hidden_rows(admin_client):
    for number in range(203):
        create_feature_usage(f"{number:03}@example.org", START)
    for number in range(60):
        create_error(f"{number % 2}@example.org", START)
    found = sections(admin_client.get(page_of(report())))
    assert (len(found["Users"].rows), found["Users"].note) == (200, "and 5 more")
    assert (len(found["User-facing errors"].rows), found["User-facing errors"].note) == (40, "and 20 more")


@pytest.mark.parametrize("percent", [10, 100])
def test_page_shows_the_sampling_rate(admin_client, settings, percent):
    settings.TRACKING_SAMPLE_PERCENT = percent
    some_activity()
    page = page_of(report())
    settings.TRACKING_SAMPLE_PERCENT = 100
    assert ("tracks 10 % of the successful requests" in text_of(admin_client.get(page))) is (percent == 10)


def test_download_returns_the_stored_json(admin_client):
    some_activity()
    stored = report()
    response = admin_client.post(f"{LIST}{stored.pk}/act/download/", {"_selected_action": stored.pk})
    assert json.loads(response.content) == stored.data
    assert response["Content-Disposition"] == 'attachment; filename="usage-20260310-1600.json"'
    assert "no-store" in response["Cache-Control"]
    chosen = [stored.pk, report("olga").pk]
    response = admin_client.post(LIST, {"action": "download", "_selected_action": chosen}, follow=True)
    assert said(response) == ["Select a single digest to download."]


# --- Create report ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [2, 24, 168, 720])
def test_operator_creates_a_report(client, folder, hours):
    create_feature_usage(BOB, timezone.now() - timedelta(hours=hours) + timedelta(minutes=5))
    create_feature_usage(BOB, timezone.now() - timedelta(hours=hours, minutes=5))
    response = logged_in(client, OPERATOR).post(NOW, {"hours": hours}, follow=True)
    stored = GuardianReport.objects.get()
    assert (stored.requested_by, stored.data["hours"], stored.data["total_requests"]) == ("olga", hours, 1)
    assert response.redirect_chain == [(page_of(stored), 302)]
    assert said(response) == ["Report created."]
    assert json.loads((folder / "usage_report.json").read_text()) == stored.data
    assert not OutboxMessage.objects.exists()
    event = AuditEvent.objects.get(action="usage.report_asked")
    assert (event.actor, event.after, describe_event(event)) == (
        "user:olga", {"hours": hours, "mailed": False}, "Usage report created",
    )  # fmt: skip


def test_report_is_mailed_if_requested(client):
    logged_in(client, OPERATOR).post(NOW, {"hours": 2, "is_mailed": "on"})
    assert OutboxMessage.objects.get().recipient == "g@example.org"
    assert AuditEvent.objects.get(action="usage.report_asked").after["mailed"] is True


def test_mail_option_is_disabled_without_recipients(client, settings):
    settings.GUARDIAN_RECIPIENTS = []
    olga = logged_in(client, OPERATOR)
    assert "GUARDIAN_RECIPIENTS is empty." in text_of(olga.get(NOW))
    olga.post(NOW, {"hours": 2, "is_mailed": "on"})
    assert AuditEvent.objects.get(action="usage.report_asked").after["mailed"] is False


@pytest.mark.parametrize("hours", ["", "3", "-2", "x"])
def test_other_periods_are_refused(client, hours):
    response = logged_in(client, OPERATOR).post(NOW, {"hours": hours})
    assert response.context["form"].errors.keys() == {"hours"}
    assert not GuardianReport.objects.exists()


def test_unwritable_file_warns_and_keeps_the_report(client, settings, folder):
    settings.REPORTS_ROOT = folder / "gone"
    response = logged_in(client, OPERATOR).post(NOW, {"hours": 2}, follow=True)
    (message,) = said(response)
    assert message.startswith("The report was created, but its file could not be updated:")
    assert GuardianReport.objects.count() == 1


# --- Who may -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "may_ask", "may_export"), [(VIEWER, 403, 403), (STAFF, 403, 200), (OPERATOR, 200, 200)]
)
def test_roles_have_their_permissions(client, role, may_ask, may_export):
    stored = report()
    olga = logged_in(client, role)
    content = text_of(olga.get(LIST))
    assert ("Create report" in content) is (may_ask == 200)
    assert ("export/" in content) is (may_export == 200)
    assert olga.get(page_of(stored)).status_code == 200
    assert olga.get(NOW).status_code == may_ask
    assert olga.get(f"{LIST}export/").status_code == may_export
    assert olga.post(f"{LIST}{stored.pk}/act/download/", {"_selected_action": stored.pk}).status_code == may_export
    assert olga.post(page_of(stored), {}).status_code == 403
    if may_ask == 403:
        assert olga.post(NOW, {"hours": 2}).status_code == 403
        assert GuardianReport.objects.count() == 1


def test_anonymous_user_is_sent_to_login(client):
    assert client.get(LIST).status_code == 302
    user = User.objects.create_user("vic", is_staff=True)
    client.force_login(user)
    assert client.get(LIST).status_code == 403
    assert client.get(NOW).status_code == 403
