"""The mail of a report, received by a mail server on a local socket."""

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from portal.models import OutboxMessage
from portal.notifications import in_portal_language
from portal.notifications.configuration import synchronise_environment_channels
from portal.tests.helpers.smtp_sink import SmtpSink
from portal.tests.helpers.workers import deliver
from usage.guardian import reports, wording
from usage.guardian.mail import bar_percent, build_notice
from usage.guardian.summary import build_digest
from usage.tests.factories import at, create_error, create_feature_usage, create_session

pytestmark = pytest.mark.django_db
BOB = "bob@example.org"
START, END = at("14:00"), at("16:00")
VOID = {"meta", "br"}


class Tags(HTMLParser):
    """Parse HTML strictly: collect tags with attributes and the text, and fail on wrong nesting."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture(autouse=True)
def surroundings(settings, tmp_path):
    settings.GUARDIAN_RECIPIENTS, settings.PORTAL_URL = ["g@example.org"], "https://vigie.example.org"
    synchronise_environment_channels()
    settings.REPORTS_ROOT = tmp_path


@pytest.fixture
def sent(settings):
    """Return a function that sends the report and returns the received mail."""
    with SmtpSink() as sink:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sink.port

        def send():
            reports.create(START, END, build_digest(START, END))
            assert deliver() == 1
            return sink.mails[-1]

        yield send


def body(mail, kind):
    return mail.get_body([kind]).get_content().replace("\r\n", "\n")


def written():
    """Return a function that builds the notice of the report."""
    report = reports.create(START, END, build_digest(START, END), "olga", is_mailed=False)
    with in_portal_language():
        return build_notice(report)


def some_activity():
    create_session(BOB, START, at("14:45"))
    for _ in range(3):
        create_feature_usage(BOB, at("14:10"))
    create_feature_usage(BOB, at("14:20"), "thread_create")
    create_feature_usage("agent:PC-1", at("14:30"), "usage-report")
    create_feature_usage("client:gui", at("14:30"), "usage-report")
    create_error(BOB, at("15:30:12"))
    create_error("", at("15:31"), "PermissionDenied", 403)


def test_mail_has_text_and_html(sent):
    some_activity()
    mail = sent()
    assert mail["To"] == "g@example.org"
    assert mail["Subject"] == "[Vigie] Usage digest, 2026-03-10 14:00 - 16:00 UTC: 1 user, 6 requests, 2 errors"
    page = f"https://vigie.example.org/admin/usage/guardianreport/{reports.GuardianReport.objects.get().pk}/change/"
    assert body(mail, "plain").strip().splitlines() == [
        "Usage digest, 2026-03-10 14:00 - 16:00 UTC",
        "",
        "1 user, 1 machine, 1 application: 6 requests, 2 errors",
        "",
        "Users",
        "- bob@example.org: 45 min, 4 requests, 1 error",
        "  document_upload, thread_create",
        "  2026-03-10 15:30:12 /api/documents ValidationError",
        "",
        "Most used",
        "- document_upload: 3",
        "- POST /api/v1/usage/report: 2",
        "- thread_create: 1",
        "",
        "Errors by code",
        "- 400: 1",
        "- 403: 1",
        "",
        page,
    ]
    html = Tags(body(mail, "html"))
    words = " ".join(html.text.split())
    for part in (
        "2026-03-10 14:00 - 16:00 UTC",
        "1 user, 1 machine, 1 application",
        BOB,
        "45 min, 4 requests, 1 error document_upload, thread_create",
    ):
        assert part in words
    assert [attributes["href"] for tag, attributes in html.tags if tag == "a"] == [page]
    assert mail.get_body(["html"]).get_charset() is not None or "utf-8" in mail.get_body(["html"])["Content-Type"]


def test_empty_period_is_one_sentence(sent):
    mail = sent()
    assert mail["Subject"] == "[Vigie] Usage digest, 2026-03-10 14:00 - 16:00 UTC: no activity"
    sentence = "No activity in this period: no users, no requests, no errors."
    text, html = body(mail, "plain"), body(mail, "html")
    assert text.split("\n\n")[1] == sentence
    assert sentence in html
    assert "Users" not in text + html
    assert "Most used" not in text + html


def test_html_uses_only_what_mail_clients_support():
    some_activity()
    html = written().html
    tags = Tags(html).tags
    assert "max-width:600px" in html
    widths = [attributes["width"] for _tag, attributes in tags if "width" in attributes]
    assert all(width.endswith("%") or int(width) <= 600 for width in widths)
    assert {tag for tag, _ in tags} <= {
        *VOID,
        "html",
        "head",
        "title",
        "style",
        "body",
        "table",
        "tr",
        "td",
        "span",
        "b",
        "a",
    }
    assert not re.search(r"url\(|src=|@import|<script|<img|<link", html)
    assert all(not name.startswith("on") for _tag, attributes in tags for name in attributes)
    # Whatever shows a colour says it where clients without stylesheets look.
    assert all("style" in attributes for _tag, attributes in tags if "text" in attributes.get("class", "").split())
    assert all(attributes.get("role") == "presentation" for tag, attributes in tags if tag == "table")


def test_markup_in_names_is_escaped():
    evil = '<img src=x onerror="alert(1)">&amp;{{ x }}'
    create_feature_usage(f"{evil}@example.org", START, evil)
    create_error(f"{evil}@example.org", START, evil, 500)
    shown = written()
    assert "<img" not in shown.html
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;amp;{{ x }}" in shown.html
    assert evil in shown.text
    assert Tags(shown.html)


def test_line_breaks_in_names_are_removed():
    create_feature_usage("bob\n\nErrors by code\n- 500", START, "upload\r\nBcc: x@example.org")
    shown = written()
    assert "- bob Errors by code - 500: 1 request" in shown.text.splitlines()
    assert "- upload Bcc: x@example.org: 1" in shown.text.splitlines()
    assert "\n" not in shown.title


def test_mail_lists_the_25_most_active_people():
    for number in range(40):
        for _ in range(1 + (number == 39)):
            create_feature_usage(f"{number:02}-{'x' * 240}", START, f"f{number:02}{'y' * 120}")
        for _ in range(5):
            create_error(f"{number:02}-{'x' * 240}", START, "E" * 128)
    for number in range(9):
        create_feature_usage(f"39-{'x' * 240}", START, f"g{number}")
    shown = written()
    people = [line for line in shown.text.splitlines() if line.startswith("- ") and "request" in line]
    assert (len(people), people[0][:5], people[0][-24:]) == (25, "- 39-", "x: 11 requests, 5 errors")
    assert "and 15 more" in shown.text.splitlines()
    assert "and 15 more" in shown.html
    assert " and 5 more" in shown.text
    assert len(shown.html) < 100_000 < len(shown.html) * 3
    assert shown.text.count("EEEE") < 25 * 3 * 128


def test_mail_of_a_large_month_stays_small():
    for number in range(200):
        create_session(f"user{number:03}@example.org", START, END)
        create_feature_usage(f"user{number:03}@example.org", START)
    data = build_digest(END - timedelta(hours=720), END)
    report = reports.create(END - timedelta(hours=720), END, data, "olga")
    message = OutboxMessage.objects.get()
    assert (len(report.data["users"]), message.html != "", len(message.text) < 20_000) == (200, True, True)
    assert ": 2 h, 1 request" in message.text


def test_mail_is_in_the_portals_language(settings):
    settings.LANGUAGE_CODE = "fr"
    reports.create(START, END, build_digest(START, END))
    message = OutboxMessage.objects.get()
    assert '<html lang="fr">' in message.html


@pytest.mark.parametrize("percent", [10, 100])
def test_mail_states_the_sampling_rate(settings, percent):
    settings.TRACKING_SAMPLE_PERCENT = percent
    some_activity()
    shown = written()
    sentence = "The portal tracks 10 % of the successful requests"
    assert (sentence in shown.text) is (sentence in shown.html) is (percent == 10)


NOT_NOTED = "The portal does not track its own requests."


def test_mail_with_tracking_off_does_not_claim_silence(settings):
    settings.TRACKING = False
    shown = written()
    assert shown.title == "Usage digest, 2026-03-10 14:00 - 16:00 UTC: not tracked"
    assert shown.text.splitlines() == ["Usage digest, 2026-03-10 14:00 - 16:00 UTC", "", NOT_NOTED]
    assert shown.html.count(NOT_NOTED) == 1
    assert "appened" not in shown.text + shown.html


def test_reported_events_come_before_tracking_off_note(settings):
    settings.TRACKING = False
    create_feature_usage("agent:PC-1", START)
    shown = written()
    assert shown.title.endswith("0 users, 1 request, 0 errors")
    assert shown.text.splitlines()[-2:] == ["", NOT_NOTED]
    assert shown.html.count(NOT_NOTED) == 1


def test_machines_are_not_listed_as_people(settings):
    create_feature_usage("agent:PC-1", START)
    shown = written()
    assert shown.title == "Usage digest, 2026-03-10 14:00 - 16:00 UTC: 0 users, 1 request, 0 errors"
    assert "1 machine: 1 request, 0 errors" in shown.text.splitlines()
    assert "Users" not in shown.text.splitlines()


@pytest.mark.parametrize(("count", "percent"), [(100, 100), (50, 50), (1, 1), (0, 1)])
def test_smallest_bar_is_visible(count, percent):
    assert bar_percent(count, 100) == percent
    assert bar_percent(count, 1_000) >= 1


def test_operators_clicks_leave_room_for_the_features_that_customers_use(sent):
    for number in range(15):
        for _ in range(5):
            create_feature_usage(BOB, at("15:00"), f"admin:page_{number:02}")
    for _ in range(4):
        create_feature_usage("client:gui", at("15:00"), "document_upload")
    data = build_digest(START, END)
    assert wording.most_used(data) == [("document_upload", 4)]
    assert len(wording.portal_pages(data)) == 10
    assert "document_upload" not in [top["name"] for top in data["top_features"]]
    assert "- document_upload: 4" in body(sent(), "plain")
