"""Feedback by the API: by token, or by a programme's public key."""

import gzip
import io
import json
import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from beta.api.feedback import MAX_BYTES_BY_KEY
from beta.models import BetaFeedback, BetaProgramme, FeedbackWindow
from beta.tests.factories import create_programme, feedback_body
from portal.access.tokens import credential
from portal.models import AuditEvent

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
HOSTILE = '\0 \ud800 \ufffe \u202eback\u202c \u05d0\u05d1 😀 <script>alert(1)</script> =HYPERLINK("x") @SUM(1) ]]> \'; -- %s {0}'


@pytest.fixture
def programme(db):
    return create_programme()


@pytest.fixture
def by_key(client, programme):
    def calling(body=None, key=None, method="POST", address="192.0.2.100", headers=None):
        path = f"/api/v1/beta/feedback?key={programme.public_key if key is None else key}"
        sent = body if isinstance(body, bytes) else json.dumps(feedback_body() if body is None else body).encode()
        return client.generic(method, path, sent, "application/json", headers=headers, REMOTE_ADDR=address)

    return calling


@pytest.fixture
def by_token(call, client_token):
    def calling(body=None, token=client_token, **options):
        return call("POST", "beta/feedback", token, body=feedback_body() if body is None else body, **options)

    return calling


def said(answer):
    """Status, with the status or the code in the body."""
    body = answer.json()
    return answer.status_code, body.get("code", body["status"])


def wrong(answer):
    assert said(answer) == (400, "validation_failed")
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


# --- Both ways -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["by_token", "by_key"])
def either(request, programme):
    return request.getfixturevalue(request.param)


def test_new_feedback_is_recorded_and_repeated_feedback_is_a_duplicate(either):
    body = feedback_body()
    answer = either(body)
    assert (answer.status_code, answer.json()) == (201, {"status": "recorded", "id": body["id"]})
    answer = either(body)
    assert (answer.status_code, answer.json()) == (200, {"status": "duplicate", "id": body["id"]})
    assert said(either(body | {"comment": "Otherwise."})) == (409, "feedback_conflict")
    BetaFeedback.objects.update(type="bug", severity="critical")
    assert said(either(body)) == (200, "duplicate")


def test_feedback_is_stored_for_the_named_programme(either, programme):
    either(feedback_body(programme="spring-beta", participant="Carol@example.org", nps_score=10, type="ux"))
    kept = BetaFeedback.objects.get()
    assert (kept.programme, kept.participant, kept.nps_score, kept.type) == (programme, "carol@example.org", 10, "ux")


def test_hostile_texts_are_stored_as_text(either):
    assert said(either(feedback_body(comment=HOSTILE, participant="<b>Bob</b>"))) == (201, "recorded")
    kept = BetaFeedback.objects.get()
    assert kept.comment == "\ufffd \ufffd \ufffd" + HOSTILE[5:]
    assert kept.participant == "<b>bob</b>"


def test_longest_comment_is_stored_whole(either):
    comment = "à la carte 😀 " * 7_692 + "end."
    body = json.dumps(feedback_body(comment=comment), ensure_ascii=False).encode()
    assert len(comment) == 100_000
    assert said(either(body)) == (201, "recorded")
    assert BetaFeedback.objects.get().comment == comment


def test_gzip_body_is_accepted(either):
    body = gzip.compress(json.dumps(feedback_body(comment="x" * 100_000)).encode())
    assert said(either(body, headers={"Content-Encoding": "gzip"})) == (201, "recorded")


def test_combining_marks_are_cut_before_normalization(either):
    """Normalising runs of two kinds of marks takes quadratic time: 192 bytes of gzip took six seconds."""
    marks = "\u0301" * 10_000 + "\u0316" * 10_000
    body = json.dumps(feedback_body(comment=f"It stops at 7{marks}."), ensure_ascii=False).encode()
    assert said(either(gzip.compress(body), headers={"Content-Encoding": "gzip"})) == (201, "recorded")
    assert BetaFeedback.objects.get().comment == "It stops at 7" + "\u0301" * 30 + "."


def test_participant_far_too_long_is_refused_as_it_was_sent(either):
    participant = "a" + "\u0301" * 50_000 + "\u0316" * 50_000
    body = gzip.compress(json.dumps(feedback_body(participant=participant), ensure_ascii=False).encode())
    assert wrong(either(body, headers={"Content-Encoding": "gzip"})) == [("participant", "not_a_participant")]


def test_wrong_fields_are_named(either):
    assert wrong(either({"nps_score": 11})) == [
        ("id", "required"),
        ("participant", "required"),
        ("nps_score", "not_a_score"),
    ]
    assert wrong(either(feedback_body(programme=7))) == [("programme", "not_a_text")]
    assert said(either(b"[]")) == (400, "malformed_json")
    assert not BetaFeedback.objects.exists()


def test_other_methods_than_post_are_refused_with_405(call, client_token, programme, by_key):
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        for answer in (by_key(method=method), call(method, "beta/feedback", client_token)):
            assert said(answer) == (405, "method_not_allowed")
            assert answer.headers["Allow"] == "POST"


# --- By token --------------------------------------------------------------------------------------------------------


def test_token_determines_the_source(by_token, agent_token, programme):
    by_token()
    by_token(token=agent_token)
    assert {row.source for row in BetaFeedback.objects.all()} == {"client:gui_v6", "agent:PC-1"}


@pytest.mark.parametrize("token", ["enroll_token", "staff_token"])
def test_other_kinds_of_token_are_refused_with_403(by_token, token, request):
    assert said(by_token(token=request.getfixturevalue(token))) == (403, "insufficient_scope")


def test_request_without_token_and_key_is_refused_with_401(call):
    answer = call("POST", "beta/feedback", body=feedback_body())
    assert said(answer) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="vigie"'


def test_session_is_refused_with_401(call, admin_client):
    answer = admin_client.post("/api/v1/beta/feedback", feedback_body(), content_type="application/json")
    assert said(answer) == (401, "not_authenticated")


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("Bearer x", "invalid_token"),
        (f"Bearer {credential.mint_token('client')}", "invalid_token"),
        ("Basic YTpi", None),
    ],
)
def test_bad_token_is_refused_even_with_a_valid_key(by_key, shown, code):
    answer = by_key(headers={"Authorization": shown})
    assert said(answer) == (401, code or "not_authenticated")
    assert not BetaFeedback.objects.exists()


def test_key_is_ignored_if_a_token_is_sent(by_key, client_token):
    for key in (None, "x"):
        assert said(by_key(key=key, headers={"Authorization": f"Bearer {client_token}"})) == (201, "recorded")
    assert {row.source for row in BetaFeedback.objects.all()} == {"client:gui_v6"}
    assert not FeedbackWindow.objects.exists()


def test_token_is_accepted_after_the_programme_ended(by_token):
    today = timezone.localdate()
    over = create_programme("over", starts=today - 9 * DAY, ends=today - DAY, takes_public=False)
    assert said(by_token(feedback_body(programme="over"))) == (201, "recorded")
    assert BetaFeedback.objects.get().programme == over


@pytest.mark.parametrize("name", ["Spring-Beta", "a\0", "\ud800"])
def test_unknown_programme_is_refused_with_404(by_token, programme, name):
    assert said(by_token(feedback_body(programme=name))) == (404, "programme_unknown")
    assert BetaProgramme.objects.count() == 1


def test_feedback_without_a_programme_needs_exactly_one_that_runs(by_token, programme):
    BetaProgramme.objects.update(starts=timezone.localdate() + DAY)
    answer = by_token()
    assert wrong(answer) == [("programme", "required")]
    assert "No programme is running" in answer.json()["errors"][0]["message"]
    create_programme("one")
    for nothing in ({}, {"programme": None}, {"programme": ""}):
        assert said(by_token(feedback_body(**nothing))) == (201, "recorded")
    create_programme("another")
    answer = by_token()
    assert wrong(answer) == [("programme", "required")]
    assert "Several programmes are running" in answer.json()["errors"][0]["message"]


NOW, LAST_DAY = datetime(2026, 3, 20, 10, tzinfo=UTC), "2026-03-13T22:59:59Z"


@pytest.fixture
def ended(settings, clock):
    """A programme that was over a week ago, by the clock of Paris."""
    settings.TIME_ZONE = "Europe/Paris"
    clock.now = NOW
    return create_programme("ended", ends=date(2026, 3, 13))


@pytest.mark.parametrize("meanwhile", [[], ["newer"], ["newer", "newest"]])
def test_feedback_of_the_last_day_counts_however_late_it_arrives(by_token, ended, meanwhile):
    for name in meanwhile:
        create_programme(name, starts=date(2026, 3, 14))
    assert said(by_token(feedback_body(given_at=LAST_DAY))) == (201, "recorded")
    kept = BetaFeedback.objects.get()
    assert (kept.programme, kept.received_at) == (ended, NOW)


def test_feedback_given_after_the_last_day_is_not_counted_there(by_token, ended):
    body = feedback_body(given_at="2026-03-13T23:00:00Z")
    assert wrong(by_token(body)) == [("programme", "required")]
    newer = create_programme("newer", starts=date(2026, 3, 16))
    assert said(by_token(body)) == (201, "recorded")
    kept = BetaFeedback.objects.get()
    assert (kept.programme, kept.given_at) == (newer, datetime(2026, 3, 15, 23, tzinfo=UTC))


@pytest.mark.parametrize("given", [{}, {"given_at": "2026-03-13T09:00:00Z"}])
def test_repeated_feedback_is_a_duplicate_whatever_became_of_its_programme(by_token, ended, clock, given):
    clock.now = datetime(2026, 3, 13, 10, tzinfo=UTC)
    body = feedback_body(**given)
    assert said(by_token(body)) == (201, "recorded")
    clock.now = NOW
    assert said(by_token(body)) == (200, "duplicate")
    BetaProgramme.objects.update(name="renamed", starts=NOW + DAY)
    for other in (None, "newer", "newest"):
        if other:
            create_programme(other)
        assert said(by_token(body)) == (200, "duplicate")
    assert said(by_token(body | {"nps_score": 3}))[0] in (400, 409)
    assert BetaFeedback.objects.get().programme == ended


def test_repeated_feedback_under_the_former_name_is_a_duplicate(by_token, programme):
    body = feedback_body(programme="spring-beta")
    by_token(body)
    BetaProgramme.objects.update(name="renamed")
    assert said(by_token(body)) == (200, "duplicate")
    BetaFeedback.objects.update(participant="erased", digest="")
    assert said(by_token(body)) == (200, "duplicate")
    for other in (body | {"id": str(uuid.uuid4())}, feedback_body(programme="spring-beta")):
        assert said(by_token(other)) == (404, "programme_unknown")


@pytest.mark.parametrize("name", [{}, {"programme": "default"}])
def test_first_feedback_creates_the_default_programme(by_token, name):
    assert said(by_token(feedback_body(**name))) == (201, "recorded")
    assert BetaFeedback.objects.get().programme.name == "default"


def test_refused_feedback_creates_no_programme(by_token):
    assert said(by_token({})) == (400, "validation_failed")
    assert said(by_token(feedback_body(programme="spring"))) == (404, "programme_unknown")
    assert not BetaProgramme.objects.exists()


def test_programme_created_by_a_concurrent_request_is_found(by_token, monkeypatch):
    """Between the question which one runs and the question whether there is any."""
    exists = BetaProgramme.objects.none().__class__.exists

    def made_meanwhile(rows):
        if rows.model is BetaProgramme and not exists(rows):
            create_programme("default")
        return exists(rows)

    monkeypatch.setattr(BetaProgramme.objects.none().__class__, "exists", made_meanwhile)
    assert said(by_token()) == (201, "recorded")
    assert BetaFeedback.objects.get().programme.name == "default"


@pytest.mark.parametrize("more", [{}, {"programme": "spring-beta"}])
def test_storing_takes_two_queries_beside_authentication(by_token, programme, django_assert_num_queries, more):
    by_token()  # notes that the token was used, which is done once a minute
    body = feedback_body(**more)
    with django_assert_num_queries(3):
        by_token(body)
    with django_assert_num_queries(4):
        assert said(by_token(body)) == (200, "duplicate")


# --- By key ----------------------------------------------------------------------------------------------------------


def test_feedback_by_key_has_the_source_public(by_key):
    by_key()
    assert BetaFeedback.objects.get().source == "public"


@pytest.mark.parametrize("key", ["", "0" * 22, "%00"])
def test_unknown_key_is_refused_with_404(by_key, key):
    assert said(by_key(key=key)) == (404, "programme_unknown")


@pytest.mark.parametrize(
    ("starts", "ends", "takes_public", "is_open"),
    [
        (0, None, True, True), (-9, 0, True, True), (1, None, True, False), (-9, -1, True, False), (0, None, False, False),
    ],
)  # fmt: skip
def test_public_feedback_is_accepted_while_the_programme_runs(by_key, programme, starts, ends, takes_public, is_open):
    today = timezone.localdate()
    programme.starts, programme.ends = today + starts * DAY, None if ends is None else today + ends * DAY
    programme.takes_public = takes_public
    programme.save()
    assert said(by_key()) == ((201, "recorded") if is_open else (403, "programme_closed"))


def test_key_of_another_programme_than_named_is_refused(by_key):
    create_programme("other")
    assert wrong(by_key(feedback_body(programme="other"))) == [("programme", "other_programme")]
    for nothing in ({}, {"programme": ""}, {"programme": None}, {"programme": "spring-beta"}):
        assert said(by_key(feedback_body(**nothing))) == (201, "recorded")


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_body_by_key_is_limited_to_512_kib(by_key, by_token, headers):
    def body(size):
        return b" " * (size - len(sent)) + sent

    sent = json.dumps(feedback_body()).encode()
    answer = by_key(body(MAX_BYTES_BY_KEY + 1), headers=headers)
    assert said(answer) == (413, "body_too_large")
    assert "512 KiB" in answer.json()["detail"]
    assert said(by_token(body(MAX_BYTES_BY_KEY + 1))) == (201, "recorded")
    if not headers:
        assert said(by_key(body(MAX_BYTES_BY_KEY))) == (200, "duplicate")


def test_body_by_key_may_not_inflate_beyond_its_limit(by_key, by_token):
    sent = json.dumps(feedback_body()).encode()
    packed = [gzip.compress(b" " * (MAX_BYTES_BY_KEY + more - len(sent)) + sent) for more in (0, 1)]
    assert said(by_key(packed[0], headers={"Content-Encoding": "gzip"})) == (201, "recorded")
    answer = by_key(packed[1], headers={"Content-Encoding": "gzip"})
    assert said(answer) == (413, "body_too_large")
    assert "512 KiB inflated" in answer.json()["detail"]
    assert said(by_token(packed[1], headers={"Content-Encoding": "gzip"})) == (200, "duplicate")


def test_chunked_body_has_the_same_limit(client, programme):
    def chunked(body):
        path = f"/api/v1/beta/feedback?key={programme.public_key}"
        return client.generic("POST", path, **{"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True})

    sent = json.dumps(feedback_body()).encode()
    assert said(chunked(sent)) == (201, "recorded")
    assert said(chunked(b" " * MAX_BYTES_BY_KEY + sent)) == (413, "body_too_large")


def test_filled_honeypot_is_answered_as_usual_and_discarded(by_key, programme):
    body = feedback_body(website="https://spam.example")
    for _ in range(3):
        answer = by_key(body)
        assert (answer.status_code, answer.json()) == (201, {"status": "recorded", "id": body["id"]})
    assert not BetaFeedback.objects.exists()
    event = AuditEvent.objects.get()
    assert (event.action, event.subject, event.count) == ("feedback.discarded", programme.subject, 3)
    assert (event.actor, event.address, event.before, event.after) == ("system", "", None, None)


def test_honeypot_does_not_exist_for_tokens(by_token, programme):
    assert said(by_token(feedback_body(website="https://shop.example.org"))) == (201, "recorded")
    assert BetaFeedback.objects.count() == 1


def test_filled_honeypot_is_validated_as_usual(by_key):
    assert wrong(by_key({"website": "x"})) == wrong(by_key({}))


def test_database_failure_is_answered_with_503(by_key, monkeypatch):
    def fail(*args):
        raise OperationalError

    monkeypatch.setattr("beta.feedback.intake.rate_limits.count_within", fail)
    BetaProgramme.objects.update(allowed_origins="https://shop.example.org")
    answer = by_key(headers={"Origin": "https://shop.example.org"})
    assert said(answer) == (503, "not_ready")


SHOP = "https://shop.example.org"


@pytest.mark.parametrize("origin", [SHOP, "http://testserver", "https://vigie.example.org:8443"])
def test_listed_origin_and_the_portals_own_are_accepted(by_key, settings, origin):
    settings.PORTAL_URL = "https://Vigie.example.org:8443/portal"
    BetaProgramme.objects.update(allowed_origins=f"{SHOP}\nhttp://localhost:3000")
    assert said(by_key(headers={"Origin": origin})) == (201, "recorded")


@pytest.mark.parametrize("origin", ["", f"{SHOP}.evil.example", "https://testserver"])
def test_other_origin_is_refused_with_403_and_not_counted(by_key, limits, origin):
    """And none uses up what its visitors' addresses may send. Whoever sends no origin is no page."""
    BetaProgramme.objects.update(allowed_origins=SHOP)
    for _ in range(3):
        assert said(by_key(headers={"Origin": origin})) == (403, "origin_not_allowed")
    assert not BetaFeedback.objects.exists()
    assert not FeedbackWindow.objects.exists()
    assert not AuditEvent.objects.exists()
    assert said(by_key()) == (201, "recorded")


def test_origin_is_ignored_for_tokens(by_token, programme):
    assert said(by_token(headers={"Origin": "https://evil.example"})) == (201, "recorded")


# --- Floods ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = timezone.now().replace(hour=12)

    monkeypatch.setattr(timezone, "now", lambda: Clock.now)
    return Clock


@pytest.fixture
def limits(settings):
    settings.FEEDBACK_PER_ADDRESS_AND_HOUR, settings.FEEDBACK_PER_KEY_AND_MINUTE = 2, 3


def test_address_over_its_hourly_limit_is_refused_with_429(by_key, limits, clock):
    assert [by_key().status_code for _ in range(2)] == [201, 201]
    clock.now += timedelta(minutes=20)
    answer = by_key()
    assert said(answer) == (429, "too_many_requests")
    assert answer.headers["Retry-After"] == "2400"
    assert said(by_key(address="192.0.2.1")) == (201, "recorded")
    clock.now += timedelta(minutes=40)
    assert said(by_key()) == (201, "recorded")
    assert BetaFeedback.objects.count() == 4


def test_key_over_its_limit_per_minute_is_refused_with_429(by_key, limits, clock):
    for number in range(3):
        assert said(by_key(address=f"192.0.2.{number}")) == (201, "recorded")
    clock.now += timedelta(seconds=45)
    answer = by_key(address="192.0.2.9")
    assert (said(answer), answer.headers["Retry-After"]) == ((429, "too_many_requests"), "15")
    other = create_programme("other").public_key
    assert said(by_key(key=other, address="192.0.2.10")) == (201, "recorded")
    clock.now += timedelta(seconds=15)
    assert said(by_key(address="192.0.2.11")) == (201, "recorded")


def test_flood_of_one_address_does_not_use_up_the_keys_limit(by_key, limits):
    assert [by_key().status_code for _ in range(20)] == [201, 201, *[429] * 18]
    assert said(by_key(address="192.0.2.1")) == (201, "recorded")


def test_address_limit_spans_all_keys(by_key, limits):
    other = create_programme("other").public_key
    assert [by_key(key=key).status_code for key in (None, other, None, other)] == [201, 201, 429, 429]


def test_ipv6_addresses_of_one_network_share_a_limit(by_key, limits):
    one = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"]
    assert [by_key(address=address).status_code for address in one] == [201, 201, 429]
    for address in ("2001:db8:0:1::1", "::ffff:192.0.2.1"):
        FeedbackWindow.objects.all().delete()
        [by_key(address=each) for each in one]
        assert said(by_key(address=address)) == (201, "recorded")


def test_rate_limit_applies_before_the_body_is_read(by_key, limits):
    statuses = [by_key(b"{", address="192.0.2.1").status_code for _ in range(3)]
    assert statuses == [400, 400, 429]


def test_flood_leaves_no_audit_events(by_key, limits):
    [by_key() for _ in range(5)]
    by_key(key="0" * 22)
    assert not AuditEvent.objects.exists()


def test_rate_limit_windows_hold_no_address_and_no_key(by_key, programme):
    by_key(address="192.0.2.77")
    kept = repr(list(FeedbackWindow.objects.values()))
    assert FeedbackWindow.objects.count() == 2
    assert "192.0.2.77" not in kept
    assert programme.public_key not in kept


def test_tokens_have_no_rate_limit(by_token, programme, limits):
    assert {by_token().status_code for _ in range(5)} == {201}
    assert not FeedbackWindow.objects.exists()


# --- What is kept and logged -----------------------------------------------------------------------------------------


def test_schema_documents_the_key_parameter(client):
    assert "name: key" in client.get("/api/schema/").content.decode()
