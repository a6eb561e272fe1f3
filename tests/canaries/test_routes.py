"""Every route gets every request from every caller, with a canary wherever one fits."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.enrolment import issue_agent_token
from portal.access.tokens import credential
from portal.access.tokens.issuing import issue_token
from portal.base.addresses import parse_networks
from portal.base.logs import NOT_LOGGED
from portal.tests.helpers.workers import deliver
from tests.canaries import (
    CANARY,
    HEADERS,
    REFUSED_TOKENS,
    briefly,
    everything_kept,
    everything_logged,
    found,
    routes,
    send,
    thoroughly,
)
from usage.models import FeatureUsage, UserError

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.slow,
    pytest.mark.one_database("what is kept of a request is decided before any query"),
]
CALLERS = {
    "nobody": lambda: None,
    "a token nobody issued": lambda: str(credential.mint_token("client")),
    "an installer": lambda: issue_token("enroll", label="installer")[1],
    "an application": lambda: issue_token("client", label="gui")[1],
    "staff": lambda: issue_token("staff", user=User.objects.create_superuser("alice"))[1],
}


@pytest.fixture(autouse=True)
def watched(settings, tmp_path, caplog):
    """Log and track everything, trust any proxy's addresses, and throttle nobody."""
    caplog.set_level(0)
    settings.DEPOSITS_ROOT = tmp_path
    settings.TRUSTED_PROXIES = parse_networks("TRUSTED_PROXIES", ["127.0.0.1"])
    settings.AUTH_FAILURES_PER_MINUTE = 10**6
    settings.TRACKING_EXCLUDE = frozenset()


@pytest.fixture
def nothing_is_found(written_when_asked, caplog, capfd):
    """Return a function that fails if a canary was stored, or if fewer than `at_least` requests were logged."""

    def looking(at_least):
        written_when_asked()
        while deliver("quick") + deliver("slow"):
            pass
        assert FeatureUsage.objects.count() >= at_least
        assert UserError.objects.exists()
        assert not found(everything_kept())
        assert not found(everything_logged(caplog, capfd))

    return looking


def is_api(route):
    return route.path.startswith("/api/")


@pytest.mark.parametrize("caller", CALLERS)
def test_call_by_any_caller_leaves_no_canary(caller, nothing_is_found):
    token, asked, how = CALLERS[caller](), 0, thoroughly if caller == "staff" else briefly
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for route in filter(is_api, routes()):
        for answer in send(Client(raise_request_exception=False), route.path, how, **headers):
            asked += 1
            assert answer.status_code < 500, (route, answer.request)
            if "/v1/" in route.path:
                assert CANARY not in str(answer.headers) + answer.getvalue().decode()
    nothing_is_found(asked)


def test_machine_call_leaves_no_canary(agent, nothing_is_found):
    token = issue_agent_token(agent)
    for route in filter(is_api, routes()):
        answers = send(Client(), route.path, briefly, Authorization=f"Bearer {token}")
        assert all(answer.status_code < 500 for answer in answers), route
    nothing_is_found(100)


@pytest.mark.parametrize("credentials", REFUSED_TOKENS)
def test_malformed_token_leaves_no_canary(credentials, nothing_is_found):
    for route in filter(is_api, routes()):
        Client().post(route.path, headers=HEADERS | {"Authorization": credentials})
    nothing_is_found(10)


@pytest.mark.parametrize("is_operator", [False, True], ids=["nobody", "an operator"])
def test_page_request_leaves_no_canary(is_operator, nothing_is_found):
    client, asked = Client(raise_request_exception=False), 0
    if is_operator:
        client.force_login(User.objects.create_superuser("alice"))
    for route in routes():
        if not is_api(route):
            for answer in send(client, route.path, briefly):
                asked += not NOT_LOGGED.match(route.path)
                assert answer.status_code < 500 or route.path == "/readyz", (route, answer.request)
                answer.getvalue()  # noted is what came to its end
    nothing_is_found(asked)
