"""`GET usage/summary` and its permissions."""

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from portal.access.tokens.issuing import issue_token
from usage.tests.factories import create_error, create_feature_usage, create_session

pytestmark = pytest.mark.django_db
BOB = "bob@example.org"
AGO = timedelta(minutes=10)


@pytest.fixture
def staff():
    """Return a staff token that may only view reports."""
    user = User.objects.create_user("olga", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_guardianreport"))
    return issue_token("staff", user=user)[1]


@pytest.fixture
def activity():
    now = timezone.now()
    create_session(BOB, now - timedelta(hours=3))
    create_feature_usage(BOB, now - AGO)
    create_feature_usage("agent:PC-1", now - timedelta(hours=3))
    create_error(BOB, now - AGO, code=503)


def test_default_period_is_the_last_two_hours(call, staff, activity):
    before = timezone.now()
    answer = call("GET", "usage/summary", staff)
    found = answer.json()
    assert (answer.status_code, found["hours"], found["total_requests"], found["active_machines"]) == (200, 2, 1, 0)
    assert found["users"][0]["email"] == BOB
    assert found["error_breakdown"] == {"503": 1}
    assert abs(datetime.fromisoformat(found["period_end"]) - before) < timedelta(minutes=1)
    assert set(found) == {
        *("period", "period_start", "period_end", "hours", "active_users", "active_machines", "active_apps"),
        *("total_requests", "total_errors", "users", "top_features", "error_breakdown"),
    }


@pytest.mark.parametrize(("hours", "requests"), [("1", 1), ("2", 1), ("4", 2), ("720", 2), ("04", 2)])
def test_hours_parameter_sets_the_period(call, staff, activity, hours, requests):
    found = call("GET", "usage/summary", staff, hours=hours).json()
    assert (found["hours"], found["total_requests"]) == (int(hours), requests)


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize("hours", ["0", "721", "-1", "2.0", "2.5", "1e2", "two", "", " 2", "+2", "1_0", "٢", "9" * 400])
def test_invalid_hours_are_refused(call, staff, hours):
    answer = call("GET", "usage/summary", staff, hours=hours)
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    (error,) = answer.json()["errors"]
    assert error["field"] == "hours"
    assert len(hours) < 3 or hours not in answer.content.decode()


def test_unversioned_path_returns_the_same(client, staff, activity):
    headers = {"Authorization": f"Bearer {staff}"}
    answers = [
        client.get(path, {"hours": "4"}, headers=headers) for path in ("/api/usage/summary", "/api/v1/usage/summary")
    ]
    assert [answer.json()["total_requests"] for answer in answers] == [2, 2]
    refused = client.get("/api/usage/summary", {"hours": "x"}, headers=headers)
    assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/problem+json")
    assert client.get("/api/usage/summary").status_code == 401
    assert client.post("/api/usage/summary", headers=headers).status_code == 405


def test_missing_token_is_refused_with_401(call):
    assert call("GET", "usage/summary").status_code == 401


def test_agent_and_client_tokens_are_refused_with_403(call, agent_token, client_token, enroll_token):
    for token in (agent_token, client_token, enroll_token):
        assert call("GET", "usage/summary", token).json()["code"] == "insufficient_scope"


def test_staff_without_permission_is_refused(call):
    token = issue_token("staff", user=User.objects.create_user("vic", is_staff=True))[1]
    assert call("GET", "usage/summary", token).json()["code"] == "permission_denied"


def test_admin_session_is_accepted(admin_client, activity):
    users = admin_client.get("/api/v1/usage/summary").json()["users"]
    assert [user["email"] for user in users] == [BOB, "admin@example.com"]


def test_tracked_requests_are_included(client, call, staff, written_when_asked):
    client.get("/accounts/login/")
    written_when_asked()
    assert call("GET", "usage/summary", staff).json()["top_features"] == [{"name": "account_login", "count": 1}]
