"""What staff read of monitoring over the API."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from monitoring.figures.uptime import floor_to_step
from monitoring.models import Incident, Round
from monitoring.tests.factories import HOUR, bucket_value, create_rollup, create_target
from portal.access.tokens.issuing import issue_token

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 10, 13, tzinfo=UTC)


@pytest.fixture
def this_hour():
    return floor_to_step(timezone.now(), HOUR)


@pytest.fixture
def viewer_token(db):
    """A staff token of a user who may see targets and nothing else."""
    user = User.objects.create_user("victor", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_target"))
    return issue_token("staff", user=user)[1]


def incident(subject, rule="unavailable", target=None, **fields):
    return Incident.objects.create(subject=subject, rule=rule, target=target, **{"opened_at": AT} | fields)


def a_round(number=1, **fields):
    given = {"started_at": AT - timedelta(seconds=60), "finished_at": AT, "checks": 12, "failures": 1, "p95_ms": 212.41}
    return Round.objects.create(number=number, **given | fields)


def names(answer):
    return [target["name"] for target in answer.json()["results"]]


# --- Targets ---------------------------------------------------------------------------------------------------------


def test_target_has_its_figures_of_24_hours(call, viewer_token, this_hour):
    target = create_target("API", state="up", last_check_at=AT, interval=30)
    create_rollup(target, "hour", this_hour, checks=1_000, failures=1, latency_ms=180)
    answer = call("GET", "monitoring/targets", viewer_token)
    assert answer.status_code == 200
    shown = round(bucket_value(180), 1)
    assert answer.json() == {
        "results": [
            {
                "id": target.pk,
                "name": "API",
                "url": "https://api.example.org/",
                "interval": 30,
                "state": "up",
                "uptime_24h": 0.999,
                "p50_ms": shown,
                "p95_ms": shown,
                "p99_ms": shown,
                "last_check_at": "2026-03-10T13:00:00.000Z",
            }
        ],
        "next": None,
    }


def test_target_without_data_has_null_figures(call, viewer_token):
    create_target()
    (shown,) = call("GET", "monitoring/targets", viewer_token).json()["results"]
    assert {shown[name] for name in ("uptime_24h", "p50_ms", "p95_ms", "p99_ms", "last_check_at")} == {None}
    assert shown["state"] == "unknown"


def test_single_failure_never_rounds_to_full_uptime(call, viewer_token, this_hour):
    create_rollup(create_target("A"), "hour", this_hour, checks=1_000_000, failures=1)
    create_rollup(create_target("B"), "hour", this_hour, checks=1_000_000)
    found = call("GET", "monitoring/targets", viewer_token).json()["results"]
    assert [target["uptime_24h"] for target in found] == [1.0, 0.99999]


@pytest.mark.parametrize("state", ["up", "slow", "failing", "down", "unknown", "paused"])
def test_targets_are_filtered_by_state(call, viewer_token, state):
    for known in ("up", "slow", "failing", "down", "unknown"):
        create_target(known, state=known)
    create_target("paused", state="down", is_active=False)
    answer = call("GET", "monitoring/targets", viewer_token, state=state)
    assert names(answer) == [state]
    assert answer.json()["results"][0]["state"] == state


@pytest.mark.parametrize("state", ["nonsense", "UP", "up\x00"])
def test_unknown_state_is_refused(call, viewer_token, state):
    answer = call("GET", "monitoring/targets", viewer_token, state=state)
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    assert [error["field"] for error in answer.json()["errors"]] == ["state"]
    assert "nonsense" not in answer.content.decode()


def test_pages_list_newest_targets_first(call, viewer_token):
    for number in range(5):
        create_target(str(number))
    first = call("GET", "monitoring/targets", viewer_token, limit=3)
    second = call("GET", "monitoring/targets", viewer_token, limit=3, cursor=first.json()["next"])
    assert (names(first), names(second)) == (["4", "3", "2"], ["1", "0"])
    assert second.json()["next"] is None


def test_target_page_takes_the_same_queries_for_few_as_for_many(
    call, viewer_token, this_hour, django_assert_num_queries
):
    for number in range(30):
        create_rollup(create_target(state="up"), "hour", this_hour, checks=number + 1)
    call("GET", "monitoring/targets", viewer_token)  # notes when the token was last used
    with django_assert_num_queries(5):  # the token, the user's permissions and those of his groups, page, hours
        assert len(names(call("GET", "monitoring/targets", viewer_token))) == 30


# --- Status ----------------------------------------------------------------------------------------------------------


def status(call, token):
    answer = call("GET", "monitoring/status", token)
    assert answer.status_code == 200
    return answer.json()


def test_status_has_the_documented_shape(call, viewer_token):
    api = create_target("API", state="down")
    create_target("Site", state="up")
    create_target("Old", is_active=False)
    opened = incident(api.subject, target=api)
    a_round()
    assert status(call, viewer_token) == {
        "state": "down",
        "targets": {"up": 1, "down": 1, "paused": 1, "unknown": 0},
        "open_incidents": [
            {
                "id": opened.pk,
                "target": "API",
                "rule": "unavailable",
                "opened_at": "2026-03-10T13:00:00.000Z",
                "acknowledged_at": None,
            }
        ],
        "open_incidents_total": 1,
        "last_round": {
            "at": "2026-03-10T13:00:00.000Z",
            "checks": 12,
            "failures": 1,
            "error_rate": 0.0833,
            "p95_ms": 212.4,
        },
    }


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ([], "unknown"),
        (["unknown"], "unknown"),
        (["up", "unknown"], "up"),
        (["up", "failing"], "up"),
        (["up", "slow"], "degraded"),
        (["up", "slow", "down"], "down"),
    ],
)
def test_overall_state_is_the_worst_of_the_targets(call, viewer_token, states, state):
    for known in states:
        create_target(state=known)
    assert status(call, viewer_token)["state"] == state


@pytest.mark.parametrize("paused", ["down", "slow", "up"])
def test_paused_targets_do_not_change_the_overall_state(call, viewer_token, paused):
    create_target(state=paused, is_active=False)
    found = status(call, viewer_token)
    assert (found["state"], found["targets"]) == ("unknown", {"up": 0, "down": 0, "paused": 1, "unknown": 0})


def test_failing_and_slow_targets_count_as_up(call, viewer_token):
    for known in ("up", "failing", "slow", "unknown"):
        create_target(state=known)
    assert status(call, viewer_token)["targets"] == {"up": 3, "down": 0, "paused": 0, "unknown": 1}


def test_open_incident_degrades_the_overall_state(call, viewer_token):
    create_target(state="up")
    opened = incident("fleet", "fleet_latency")
    found = status(call, viewer_token)
    assert (found["state"], found["open_incidents"][0]["target"]) == ("degraded", "All targets")
    opened.resolved_at = AT
    opened.save()
    found = status(call, viewer_token)
    assert (found["state"], found["open_incidents"], found["open_incidents_total"]) == ("up", [], 0)


def test_acknowledged_incident_is_still_open(call, viewer_token):
    incident("fleet", "fleet_errors", acknowledged_at=AT + HOUR)
    assert status(call, viewer_token)["open_incidents"][0]["acknowledged_at"] == "2026-03-10T14:00:00.000Z"


def test_newest_hundred_incidents_are_listed_and_all_counted(call, viewer_token):
    for number in range(103):
        target = create_target(str(number))
        incident(target.subject, target=target)
    found = status(call, viewer_token)
    assert found["open_incidents_total"] == 103
    assert [one["target"] for one in found["open_incidents"]] == [str(number) for number in range(102, 2, -1)]


def test_last_round_is_the_newest_and_may_be_empty(call, viewer_token):
    assert status(call, viewer_token)["last_round"] is None
    a_round(8)
    a_round(9, checks=0, failures=0, p95_ms=None)
    assert status(call, viewer_token)["last_round"] == {
        "at": "2026-03-10T13:00:00.000Z", "checks": 0, "failures": 0, "error_rate": None, "p95_ms": None,
    }  # fmt: skip


def test_status_takes_the_same_queries_for_few_as_for_many(call, viewer_token, django_assert_num_queries):
    a_round()
    for _ in range(20):
        target = create_target()
        incident(target.subject, target=target)
    status(call, viewer_token)
    with django_assert_num_queries(7):  # the token, two of permissions, targets, how many are open, which, the round
        status(call, viewer_token)


# --- Who may ---------------------------------------------------------------------------------------------------------

CALLS = ["monitoring/targets", "monitoring/status"]


@pytest.mark.parametrize("path", CALLS)
def test_call_without_permission_is_refused(call, path):
    token = issue_token("staff", user=User.objects.create_user("nobody", is_staff=True))[1]
    answer = call("GET", path, token)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("path", CALLS)
def test_other_tokens_and_none_are_refused(call, path, client_token, agent_token):
    assert call("GET", path, client_token).json()["code"] == "insufficient_scope"
    assert call("GET", path, agent_token).json()["code"] == "insufficient_scope"
    assert call("GET", path).status_code == 401


@pytest.mark.parametrize("path", CALLS)
def test_session_of_an_operator_is_accepted(call, client, path):
    client.force_login(User.objects.create_superuser("alice"))
    assert call("GET", path).status_code == 200
