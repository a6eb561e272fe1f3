"""Reports, on pages, in files, by mail and to programs, contain nothing of what callers sent."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from portal.access.tokens.issuing import issue_token
from portal.api.views import ApiView
from portal.notifications import delivery
from portal.notifications.configuration import synchronise_environment_channels
from portal.tests.helpers.smtp_sink import SmtpSink
from tests.canaries import CANARY, HEADERS, briefly, everything_kept, everything_logged, found, routes, send
from usage.models import GuardianReport, UserError, UserSession

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.slow,
    pytest.mark.one_database("what reports and mails say is decided before any query"),
]
PASSWORD = f"{CANARY}-correct-horse"
PAGES = (
    *("/admin/", "/admin/usage/run/", "/admin/usage/run/dashboard/", "/admin/usage/guardianreport/"),
    *("/admin/usage/featureusage/", "/admin/usage/usererror/", "/admin/usage/usersession/", "/admin/usage/licence/"),
    *(
        "/admin/portal/auditevent/",
        "/admin/portal/jobrun/",
        "/admin/portal/taskattempt/",
        "/admin/portal/outboxmessage/",
    ),
    *("/api/v1/usage/summary?hours=2", "/api/usage/summary", "/api/v1/usage/export", "/admin/usage/usererror/export/"),
)


@pytest.fixture
def mails(settings, tmp_path):
    settings.REPORTS_ROOT, settings.GUARDIAN_RECIPIENTS = tmp_path, ["guardian@example.org"]
    synchronise_environment_channels()
    with SmtpSink() as sink:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sink.port
        yield sink.mails


@pytest.fixture
def operator(db):
    """Sign an operator in with a password, by a browser with a revealing User-Agent."""
    User.objects.create_superuser("alice", "alice@example.org", PASSWORD)
    client = Client(raise_request_exception=False)
    for name, password in (("alice", f"{CANARY}-wrong"), (CANARY, CANARY), (PASSWORD, ""), ("alice", PASSWORD)):
        form = {"login": name, "password": password, "next": f"/admin/?{CANARY}"}
        answer = client.post(f"/accounts/login/?next=/admin/{CANARY}/", form, headers=HEADERS)
    assert answer.status_code == 302
    return client


@pytest.fixture
def planted(operator, client_token, monkeypatch, written_when_asked):
    """Request everything, with some failures among it."""
    token = issue_token("staff", user=User.objects.get(), label="reports")[1]
    for route in routes():
        if "logout" not in route.path:
            operator.get(f"{route.path}?q={CANARY}", headers=HEADERS)
    with monkeypatch.context() as failing:

        def fail(*args):
            local = {CANARY: CANARY}
            raise RuntimeError(f"/home/bob/{CANARY}.pdf", local)

        failing.setattr(ApiView, "refuse_unfit", fail)
        for route in routes():
            if route.path.startswith("/api/v1/"):
                for bearer in (token, client_token):
                    list(send(operator, route.path, briefly, Authorization=f"Bearer {bearer}"))
    written_when_asked()


def test_canary_is_in_no_report_mail_page_or_metric(
    planted, operator, mails, client, settings, tmp_path, caplog, capfd
):
    caplog.set_level(0)
    asked = operator.post("/admin/usage/guardianreport/add/", {"hours": 2, "is_mailed": "on"})
    report = GuardianReport.objects.get()
    assert asked.status_code == 302
    assert [user["email"] for user in report.data["users"]] == ["alice@example.org"]
    assert {error["error"] for error in report.data["users"][0]["errors"]} == {"RuntimeError"}
    delivery.deliver("guardian")
    (mail,) = mails
    assert {part.get_content_type() for part in mail.walk()} >= {"text/plain", "text/html"}
    parts = [part.get_content() for part in mail.walk() if not part.is_multipart()]
    assert all("alice@example.org" in part for part in parts)
    error = UserError.objects.filter(error_type="RuntimeError").latest("pk")
    paths = [*PAGES, f"/admin/usage/guardianreport/{report.pk}/change/", f"/admin/usage/usererror/{error.pk}/change/"]
    answers = [operator.get(path) for path in paths]
    assert {answer.status_code for answer in answers} == {200}
    metrics = client.get("/metrics", headers={"Authorization": f"Bearer {settings.METRICS_TOKEN}"})
    assert b"vigie_" in metrics.content
    told = [answer.getvalue().decode() for answer in (*answers, metrics)]
    files = [path.read_text() for path in tmp_path.iterdir()]
    assert files
    assert not found(iter([*told, *files, *parts, str(mail)]))
    assert not found(everything_kept())
    assert not found(everything_logged(caplog, capfd))


def test_only_the_name_of_a_browser_is_kept(operator):
    assert UserSession.objects.get().user_agent == "Firefox 131"
