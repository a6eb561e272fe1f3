"""Which pages of the web may read the answers to their feedback."""

import json

import pytest
import requests
from django.db import OperationalError

from beta import programmes
from beta.models import BetaProgramme
from beta.tests.factories import create_programme, feedback_body
from usage.models import FeatureUsage

pytestmark = pytest.mark.django_db
SHOP = "https://shop.example.org"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
ALLOWED = "Access-Control-Allow-Origin"


@pytest.fixture
def programme(db):
    return create_programme(allowed_origins=f"{SHOP}\nhttp://localhost:3000\r\n")


@pytest.fixture
def key(programme):
    return programme.public_key


@pytest.fixture
def ask(client):
    def asking(key, origin=SHOP, method="POST", path="/api/v1/beta/feedback", body=None, **headers):
        sent = body if isinstance(body, bytes) else json.dumps(feedback_body() if body is None else body).encode()
        headers |= {"Origin": origin} if origin is not None else {}
        return client.generic(method, f"{path}?key={key}", sent, "application/json", headers=headers)

    return asking


def test_listed_origin_may_send_and_read(ask, key):
    for origin in (SHOP, "http://localhost:3000"):
        answer = ask(key, origin, "OPTIONS", **PREFLIGHT)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers[ALLOWED] == origin
        assert answer.headers["Access-Control-Allow-Methods"] == "POST"
        assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
        assert answer.headers["Vary"] == "origin"
        answer = ask(key, origin)
        assert (answer.status_code, answer.headers[ALLOWED]) == (201, origin)
        assert "origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        None, "null", "*", "https://shop.example.org.evil.example", "https://shop.example.org:443",
        "http://shop.example.org", "https://SHOP.example.org", "https://[", f"{SHOP}\nhttp://localhost:3000",
    ],
)  # fmt: skip
def test_other_origins_get_no_cors_headers(ask, key, origin):
    for method, headers in (("OPTIONS", PREFLIGHT), ("POST", {})):
        answer = ask(key, origin, method, **headers)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert "origin" in answer.headers["Vary"]


@pytest.mark.parametrize("listed", ["*", "null", "", "https://shop.example.org/"])
def test_invalid_stored_origins_allow_nothing(ask, key, listed):
    BetaProgramme.objects.update(allowed_origins=listed)
    for origin in (SHOP, "*", "null", listed):
        assert ALLOWED not in ask(key, origin).headers


def test_origins_of_one_programme_do_not_apply_to_another(ask, key):
    other = create_programme("other", allowed_origins="https://other.example.org").public_key
    assert ALLOWED not in ask(other).headers
    assert ask(other, "https://other.example.org").headers[ALLOWED] == "https://other.example.org"
    for unknown in ("", "x", "0" * 22):
        assert ALLOWED not in ask(unknown).headers


def test_refusal_is_readable_for_a_listed_origin(ask, key, settings, programme):
    settings.FEEDBACK_PER_ADDRESS_AND_HOUR = 3
    for body, status in ({}, 400), (b"{", 400), (feedback_body(participant=7), 400), (feedback_body(), 429):
        answer = ask(key, body=body)
        assert (answer.status_code, answer.headers[ALLOWED]) == (status, SHOP)
    assert answer.headers["Access-Control-Expose-Headers"] == "retry-after"
    BetaProgramme.objects.update(takes_public=False)
    answer = ask(key)
    assert (answer.status_code, answer.headers[ALLOWED]) == (403, SHOP)


@pytest.mark.parametrize(
    "path",
    ["/api/v1/usage/report", "/api/v1/beta/feedback/", "/api/v1/beta/feedback%0A", "/x/api/v1/beta/feedback"],
)
def test_other_paths_get_no_cors_headers(ask, key, path):
    for method, headers in (("OPTIONS", PREFLIGHT), ("POST", {}), ("GET", {})):
        answer = ask(key, SHOP, method, path, **headers)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_token_gives_a_page_no_cors_headers(client, key, client_token):
    headers = {"Origin": SHOP, "Authorization": f"Bearer {client_token}"}
    answer = client.post("/api/v1/beta/feedback", feedback_body(), content_type="application/json", headers=headers)
    assert answer.status_code == 201
    assert ALLOWED not in answer.headers


def test_only_requests_with_origin_and_key_cost_a_query(ask, client, key, programme, django_assert_num_queries):
    with django_assert_num_queries(0):
        client.options("/api/v1/beta/feedback", headers={"Origin": SHOP} | PREFLIGHT)
        client.options(f"/api/v1/beta/feedback?key={key}", headers=PREFLIGHT)
        client.options("/api/v1/beta/feedback?key=x", headers={"Origin": SHOP} | PREFLIGHT)
        client.get(f"/healthz?key={key}", headers={"Origin": SHOP})
    with django_assert_num_queries(1):
        ask(key, SHOP, "OPTIONS", **PREFLIGHT)


def test_preflight_is_not_tracked(ask, key, written_when_asked):
    ask(key, SHOP, "OPTIONS", **PREFLIGHT)
    written_when_asked()
    assert not FeatureUsage.objects.exists()


def test_database_failure_in_the_cors_check_does_not_change_the_answer(ask, key, monkeypatch):
    found = programmes.find_by_key

    def once(key):
        monkeypatch.setattr(programmes, "find_by_key", fail)
        return found(key)

    def fail(key):
        raise OperationalError

    monkeypatch.setattr(programmes, "find_by_key", once)
    answer = ask(key)
    assert answer.status_code == 201
    assert ALLOWED not in answer.headers


@pytest.mark.django_db(transaction=True)
def test_cors_headers_hold_over_a_real_connection(live_server):
    key = create_programme(allowed_origins=SHOP).public_key
    address = f"{live_server.url}/api/v1/beta/feedback?key={key}"
    asked = requests.options(address, headers={"Origin": SHOP} | PREFLIGHT, timeout=60)
    assert (asked.status_code, asked.headers[ALLOWED], asked.headers["Access-Control-Allow-Methods"]) == (
        200,
        SHOP,
        "POST",
    )
    for body, status in ((feedback_body(), 201), ({}, 400)):
        told = requests.post(address, json=body, headers={"Origin": SHOP}, timeout=60)
        assert (told.status_code, told.headers[ALLOWED]) == (status, SHOP)
        other = requests.post(address, json=body, headers={"Origin": f"{SHOP}.evil.example"}, timeout=60)
        assert ALLOWED not in other.headers
    large = requests.post(address, data=b" " * 600_000, headers={"Origin": SHOP}, timeout=60)
    assert (large.status_code, large.headers[ALLOWED]) == (413, SHOP)
