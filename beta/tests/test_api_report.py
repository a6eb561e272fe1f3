"""`GET /api/v1/beta/report`: for whom, of which programme, and in which form."""

import csv
import io
import json

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from beta.models import BetaSnapshot
from beta.tests.factories import create_feedback, create_programme, create_scores, create_target
from beta.tests.helpers import hostile_texts
from portal.access.tokens.issuing import issue_token
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def programme():
    programme = create_programme()
    create_scores(programme, 9, 8, 7, 7, 6)
    return programme


@pytest.fixture
def ask(call, staff_token):
    return lambda **query: call("GET", "beta/report", staff_token, **query)


def errors(answer):
    assert answer.status_code == 400, answer.content
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


# --- For whom --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verbs", "status"), [(["view"], 403), (["export"], 403), (["view", "export"], 200)])
def test_staff_token_needs_the_permissions_to_view_and_export(call, programme, verbs, status):
    user = User.objects.create_user("sam", is_staff=True)
    names = [f"{verb}_betaprogramme" for verb in verbs]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    assert call("GET", "beta/report", issue_token("staff", user=user)[1]).status_code == status


def test_session_of_staff_is_accepted(admin_client, programme):
    assert admin_client.get("/api/v1/beta/report").json()["programme"] == "spring-beta"


def test_other_kinds_of_token_are_refused_with_403(call, programme, client_token, agent_token, enroll_token):
    for token in (client_token, agent_token, enroll_token):
        assert call("GET", "beta/report", token).json()["code"] == "insufficient_scope"
    assert call("GET", "beta/report").status_code == 401
    assert call("GET", "beta/report", key=programme.public_key).status_code == 401


# --- Of which programme ----------------------------------------------------------------------------------------------


def test_only_running_programme_is_the_default(ask, programme):
    create_programme("over", ends="2026-03-03")
    assert ask().json()["programme"] == "spring-beta"


def test_other_programmes_are_found_by_name(ask, programme):
    create_programme("été & co", ends="2026-03-03")
    assert ask(programme="été & co").json()["programme"] == "été & co"


def test_several_or_no_running_programmes_need_a_name(ask):
    assert errors(ask()) == [("programme", "required")]
    create_programme("one"), create_programme("two")
    assert errors(ask()) == [("programme", "required")]


@pytest.mark.parametrize("name", ["other", "SPRING-BETA", "\0", "spring-beta\0", "%", "x" * 5_000, "\udcff"])
def test_unknown_programme_is_refused_with_404_without_its_name(ask, programme, name):
    answer = ask(programme=name.encode(errors="replace").decode())
    assert (answer.status_code, answer.json()["code"]) == (404, "programme_unknown")


# --- In which form ---------------------------------------------------------------------------------------------------


def test_json_is_sent_inline(ask, programme):
    answer = ask()
    assert answer["Content-Type"] == "application/json"
    assert "Content-Disposition" not in answer
    assert answer["Cache-Control"] == "no-store"
    assert answer.json()["verdict"] == "GO"
    assert ask(format="json").json().keys() == answer.json().keys()


@pytest.mark.parametrize(
    ("form", "start"), [("txt", b"Beta programme"), ("csv", b"section,name,"), ("xlsx", b"PK"), ("pdf", b"%PDF-")]
)
def test_other_formats_are_attachments(ask, programme, form, start):
    answer = ask(format=form)
    assert answer.content.startswith(start)
    assert answer["Content-Disposition"] == f'attachment; filename="spring-beta-{timezone.localdate()}.{form}"'
    assert answer["Cache-Control"] == "no-store"


def test_format_parameter_overrides_the_accept_header(call, staff_token, programme):
    for accepted in ("text/html", "application/pdf", "text/csv", "nonsense"):
        answer = call("GET", "beta/report", staff_token, headers={"Accept": accepted}, format="csv")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize("form", ["xml", "", "JSON", "json "])
def test_unknown_format_is_refused(ask, programme, form):
    assert errors(ask(format=form)) == [("format", "invalid_choice")]


def test_texts_are_in_the_portals_language(ask, programme, settings):
    settings.LANGUAGE_CODE = "fr"
    assert "7,40" in ask(format="txt").content.decode()
    assert ask(format="json").json()["score"]["average"] == 7.4
    assert ask(format="xml").json()["errors"][0]["message"] == "json, txt, csv, xlsx or pdf is expected."


def test_hostile_texts_arrive_unchanged(ask, programme):
    for comment in hostile_texts.ALL[:5]:
        create_feedback(programme, type="ux", comment=comment)
    expected = hostile_texts.ALL[:5][::-1]
    assert ask().json()["ux_comments"] == expected
    rows = csv.DictReader(io.StringIO(ask(format="csv").content.decode(), newline=""))
    told = [row["value"] for row in rows if row["section"] == "ux_comments"]
    assert [text.removeprefix("'") for text in told] == expected


# --- What it leaves behind -------------------------------------------------------------------------------------------


def test_report_leaves_an_audit_event_and_no_snapshot(ask, programme):
    ask(format="csv")
    event = AuditEvent.objects.get(action="beta.exported")
    assert (event.subject, event.after, event.actor) == (programme.subject, {"format": "csv"}, "user:alice")
    assert not BetaSnapshot.objects.exists()


def test_refused_request_is_not_audited_as_export(ask, programme):
    ask(format="xml"), ask(programme="other")
    assert not AuditEvent.objects.filter(action="beta.exported").exists()


def test_failed_report_is_not_audited_as_export(client, ask, programme, broken_pdf):
    client.raise_request_exception = False
    assert ask(format="pdf").status_code == 500
    assert not AuditEvent.objects.filter(action="beta.exported").exists()


def test_report_is_live(ask, programme):
    assert ask().json()["participants"]["count"] == 5
    create_feedback(programme)
    assert ask().json()["participants"]["count"] == 6


@pytest.mark.parametrize("form", ["json", "txt", "csv", "xlsx", "pdf"])
def test_report_takes_twelve_queries_beside_authentication(ask, programme, form):
    create_target(beta_programme=programme)
    ask()
    with CaptureQueriesContext(connection) as found:
        ask(format=form)
    own = [query["sql"] for query in found if "monitoring_" in query["sql"] or "auditevent" in query["sql"]]
    assert len(own) == 12, json.dumps(own)
