"""Authentication of API calls: accepted tokens, refusals, throttling and their audit."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from portal.access.tokens import credential
from portal.access.tokens.issuing import issue_token, revoke_token
from portal.base.addresses import parse_networks
from portal.models import ApiToken, AuditEvent, AuthFailure

pytestmark = pytest.mark.django_db
BARE = 'Bearer realm="vigie"'
INVALID = 'Bearer realm="vigie", error="invalid_token"'
# One call through DRF and one on the hot path: both must refuse alike.
CALLS = [("GET", "agents/fleet"), ("POST", "agents/heartbeat"), ("POST", "usage/report")]


@pytest.fixture(params=CALLS, ids=lambda param: param[1])
def attempt(request, call):
    """Return a function that calls with a token, checks the problem's shape and returns status, code and challenge."""

    def attempting(token=None, **headers):
        method, path = request.param
        answer = call(method, path, token, headers=headers)
        body = answer.json()
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert body["status"] == answer.status_code
        assert body["type"].endswith(f"/docs/api#{body['code']}")
        assert body["title"]
        assert body["detail"]
        return answer.status_code, body["code"], answer.headers.get("WWW-Authenticate")

    return attempting


def test_call_without_a_token_gets_a_challenge_without_an_error(attempt):
    assert attempt() == (401, "not_authenticated", BARE)


def test_other_authorization_scheme_counts_as_no_token(attempt):
    assert attempt(Authorization="Basic YTpi") == (401, "not_authenticated", BARE)


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "token", ["", "x", "vigie_agent_x", "é", "vigie_agent_" + "0" * 12 + "_" + "0" * 43 + "_000000"]
)
def test_malformed_token_is_invalid(attempt, token, django_assert_max_num_queries):
    assert attempt(token) == (401, "invalid_token", INVALID)


def test_unknown_token_is_invalid(attempt):
    assert attempt(str(credential.mint_token("agent"))) == (401, "invalid_token", INVALID)


def test_wrong_secret_for_a_known_key_is_invalid_even_when_revoked(attempt):
    token, _ = issue_token("agent")
    revoke_token(ApiToken.objects.all(), "test")
    forged = credential.PlainToken("agent", token.key, credential.random_text(credential.SECRET_LENGTH))
    assert attempt(str(forged)) == (401, "invalid_token", INVALID)


def test_token_with_the_prefix_of_another_kind_is_invalid(attempt):
    _, plain = issue_token("enroll")
    parsed = credential.parse_token(plain)
    assert attempt(str(credential.PlainToken("staff", parsed.key, parsed.secret))) == (401, "invalid_token", INVALID)


def test_expired_token_is_refused_as_expired(attempt):
    _, plain = issue_token("enroll", expires_at=timezone.now())
    assert attempt(plain) == (401, "token_expired", INVALID)


def test_revoked_token_is_refused_as_revoked(attempt):
    _, plain = issue_token("enroll", expires_at=timezone.now())
    revoke_token(ApiToken.objects.all(), "test")
    assert attempt(plain) == (401, "token_revoked", INVALID)


@pytest.mark.parametrize("lost", ["is_active", "is_staff"])
def test_staff_token_is_revoked_when_its_user_loses_staff_status(attempt, lost):
    _, plain = issue_token("staff", user=User.objects.create_user("left", **{"is_staff": True, lost: False}))
    assert attempt(plain) == (401, "token_revoked", INVALID)


def test_token_of_another_kind_lacks_the_scope(attempt):
    _, plain = issue_token("enroll")
    assert attempt(plain) == (403, "insufficient_scope", 'Bearer realm="vigie", error="insufficient_scope"')


def test_bearer_scheme_is_case_insensitive(call):
    _, plain = issue_token("client", label="gui")
    assert (
        call("POST", "usage/report", headers={"Authorization": f"bearer   {plain} "}).json()["code"]
        == "validation_failed"
    )


def test_bearer_token_takes_precedence_over_a_session(client, call, admin_user):
    client.force_login(admin_user)
    assert call("GET", "agents/fleet", "vigie_staff_nonsense").json()["code"] == "invalid_token"


def test_staff_without_the_permission_of_the_call_are_refused_with_403(call):
    _, plain = issue_token("staff", user=User.objects.create_user("new", is_staff=True))
    answer = call("GET", "agents/fleet", plain)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_session_without_csrf_token_changes_nothing(admin_user, agent):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    answer = client.post("/api/v1/agents/uninstall", {"machine_id": "PC-1"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    agent.refresh_from_db()
    assert agent.is_active


class TestThrottling:
    @pytest.fixture(autouse=True)
    def limit(self, settings):
        settings.AUTH_FAILURES_PER_MINUTE = 3

    def fail(self, call, times, address="10.0.0.1"):
        return [self.once(call, address).status_code for _ in range(times)]

    def once(self, call, address="10.0.0.1", token="vigie_nonsense"):
        return call("POST", "agents/heartbeat", token, headers={"X-Forwarded-For": address})

    @pytest.fixture(autouse=True)
    def proxied(self, settings):
        settings.TRUSTED_PROXIES = parse_networks("TRUSTED_PROXIES", ["127.0.0.1"])

    def test_attempts_beyond_the_limit_are_429_with_retry_after(self, call):
        assert self.fail(call, 4) == [401, 401, 401, 429]
        answer = self.once(call)
        assert answer.json()["code"] == "throttled"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60

    def test_addresses_are_counted_separately(self, call):
        self.fail(call, 4)
        assert self.fail(call, 1, "10.0.0.2") == [401]

    def test_valid_token_is_never_throttled_and_resets_the_counter(self, call, agent_token):
        self.fail(call, 4)
        assert self.once(call, token=agent_token).status_code == 200
        assert self.fail(call, 1) == [401]

    def test_counter_starts_again_after_a_minute(self, call):
        self.fail(call, 4)
        AuthFailure.objects.update(window_started_at=timezone.now() - timedelta(seconds=61))
        assert self.fail(call, 1) == [401]

    def test_call_without_a_token_is_not_counted_as_a_failure(self, call):
        assert [call("GET", "agents/fleet").status_code for _ in range(5)] == [401] * 5


class TestRefusalAudit:
    def test_refusals_of_an_address_within_an_hour_share_one_row(self, call):
        for _ in range(3):
            call("GET", "agents/fleet", "vigie_nonsense")
        event = AuditEvent.objects.get()
        assert (event.action, event.actor, event.address, event.count) == (
            "refused.invalid_token",
            "anonymous",
            "127.0.0.1",
            3,
        )

    def test_audit_event_names_a_known_caller(self, call, agent, enroll_token):
        call("POST", "agents/enroll", enroll_token, machine_id="PC-1")
        event = AuditEvent.objects.get(action="refused.agent_already_active")
        assert (event.actor, event.subject) == ("enroll:installer", "agent:PC-1")

    def test_validation_error_leaves_no_audit_event(self, call, enroll_token):
        call("POST", "agents/enroll", enroll_token, machine_id="")
        assert not AuditEvent.objects.filter(action__startswith="refused").exists()
