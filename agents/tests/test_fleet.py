"""The fleet and a single machine in the API."""

import base64
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User

from portal.access.tokens.issuing import issue_token
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(make_agent):
    make_agent("PC-1", version="1.0", hostname="paris-one")
    make_agent("PC-2", seen=timedelta(minutes=11))
    make_agent("PC-3", seen=timedelta(days=31), user_email="bob@example.org")
    make_agent("PC-4", status="uninstalled", version="1.0")


def machines(answer):
    body = answer.json()
    return [agent["machine_id"] for status in ("active", "uninstalled") for agent in body[status]]


def test_fleet_is_grouped_by_status_newest_first(call, staff_token, fleet):
    answer = call("GET", "agents/fleet", staff_token)
    body = answer.json()
    assert answer.status_code == 200
    assert [agent["machine_id"] for agent in body["active"]] == ["PC-3", "PC-2", "PC-1"]
    assert [agent["liveness"] for agent in body["active"]] == ["lost", "late", "online"]
    assert [(agent["machine_id"], agent["liveness"]) for agent in body["uninstalled"]] == [("PC-4", None)]
    assert body["totals"] == {"active": 3, "uninstalled": 1, "online": 1, "late": 1, "lost": 1}
    assert body["next"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status": "active"}, ["PC-3", "PC-2", "PC-1"]),
        ({"status": "uninstalled"}, ["PC-4"]),
        ({"version": "1.0"}, ["PC-1", "PC-4"]),
        ({"search": "PARIS"}, ["PC-1"]),
        ({"search": "bob@"}, ["PC-3"]),
        ({"search": "pc-", "status": "uninstalled"}, ["PC-4"]),
        ({"search": "100%"}, []),
        ({"search": "1paris"}, []),
    ],
)
def test_filters_do_not_change_totals(call, staff_token, fleet, query, found):
    answer = call("GET", "agents/fleet", staff_token, **query)
    assert machines(answer) == found
    assert answer.json()["totals"]["active"] == 3


def test_cursor_visits_each_machine_once(call, staff_token, make_agent):
    for number in range(7):
        make_agent(f"PC-{number}")
    seen, cursor = [], None
    while cursor != "end":
        answer = call("GET", "agents/fleet", staff_token, limit=3, **({"cursor": cursor} if cursor else {}))
        seen += machines(answer)
        cursor = answer.json()["next"] or "end"
    assert seen == [f"PC-{number}" for number in range(6, -1, -1)]


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "C:\\secret"), ("limit", "0"), ("limit", "501"), ("limit", "ten"), ("limit", "9" * 30), ("cursor", "secret!"), ("search", "a\x00")],
)  # fmt: skip
def test_invalid_parameter_is_named(call, staff_token, field, value):
    answer = call("GET", "agents/fleet", staff_token, **{field: value})
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    assert answer.json()["errors"][0]["field"] == field
    assert "secret" not in answer.content.decode()


def encoded(query):
    return base64.b64encode(query.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["%%%", "secret!", encoded("p=secret"), encoded("p=9999999999"), encoded("p=\x00"), encoded("p=2026-13-45T00:00:00+00:00"),
     encoded("p=2026-01-01T00:00:00"), encoded("p=0001-01-01T00:00:00+14:00"), encoded("o=3"), encoded("é")],
)  # fmt: skip
def test_forged_cursor_is_refused(call, staff_token, fleet, cursor, caplog):
    answer = call("GET", "agents/fleet", staff_token, cursor=cursor)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor")
    assert "secret" not in answer.content.decode() + caplog.text


@pytest.mark.parametrize("path", ["%00", "a%00b", "-x", "C%3A%5Csecret.pdf", "x" * 300, "PC-1%0A"])
def test_invalid_machine_id_is_agent_unknown(call, staff_token, agent_token, path):
    for token in (staff_token, agent_token):
        answer = call("GET", f"agents/{path}", token)
        assert (answer.status_code, answer.json()["code"]) == (404, "agent_unknown")
    assert not AuditEvent.objects.filter(action__startswith="refused").exists()


def test_refusals_of_a_machine_are_audited_once_an_hour(call, agent_token):
    for number in range(5):
        call("GET", f"agents/PC-1{number}", agent_token)
    event = AuditEvent.objects.get(action="refused.machine_mismatch")
    assert (event.subject, event.count) == ("agent:PC-1", 5)


def test_fleet_needs_at_most_five_queries(call, fleet, django_assert_max_num_queries):
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_agent"))
    token = issue_token("staff", user=user)[1]
    call("GET", "agents/fleet", token)  # the once-a-minute note of the token's use
    with django_assert_max_num_queries(5):
        assert call("GET", "agents/fleet", token).status_code == 200


def test_user_without_permission_is_refused(call):
    token = issue_token("staff", user=User.objects.create_user("nobody", is_staff=True))[1]
    answer = call("GET", "agents/fleet", token)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_admin_session_is_accepted(client, call, fleet, admin_user):
    client.force_login(admin_user)
    assert call("GET", "agents/fleet").status_code == 200


def test_machine_reads_only_itself(call, agent_token, make_agent):
    make_agent("PC-2")
    assert call("GET", "agents/PC-1", agent_token).json()["agent"]["machine_id"] == "PC-1"
    for other in ("PC-2", "PC-404"):
        answer = call("GET", f"agents/{other}", agent_token)
        assert (answer.status_code, answer.json()["code"]) == (403, "machine_mismatch")


def test_staff_reads_any_machine(call, staff_token, agent):
    assert call("GET", "agents/PC-1", staff_token).status_code == 200
    answer = call("GET", "agents/PC-404", staff_token)
    assert (answer.status_code, answer.json()["code"]) == (404, "agent_unknown")
