"""What participants say, and who they are, stands where it is kept and nowhere else."""

import json

import pytest

from beta.models import BetaFeedback
from beta.tests.factories import create_programme, feedback_body
from tests.canaries import CANARY, HEADERS, everything_kept, everything_logged, found

pytestmark = pytest.mark.django_db
ADDRESS = "203.0.113.77"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": CANARY}


def bodies():
    """Yield valid and invalid bodies, with the canary in the place of every value and as a key."""
    whole = feedback_body(participant=CANARY, comment=CANARY, page=f"/{CANARY}?{CANARY}", app_version=CANARY)
    yield whole
    yield feedback_body(participant=CANARY, comment=CANARY, website=CANARY)
    for name in (*whole, "type", "severity", "nps_score", "given_at", "programme"):
        for value in (CANARY, {CANARY: [CANARY]}, f"vigie_client_0123456789ab_{CANARY}"):
            yield feedback_body(participant=CANARY) | {name: value}


@pytest.fixture
def senders(client, client_token, db, settings):
    settings.FEEDBACK_PER_ADDRESS_AND_HOUR = settings.FEEDBACK_PER_KEY_AND_MINUTE = 10**6
    key = create_programme(allowed_origins="https://shop.example.org").public_key

    def sending(how, body, method="POST", **headers):
        query, shown = {
            "token": ("", {"Authorization": f"Bearer {client_token}"}),
            "key": (f"?key={key}", {}),
            "no such key": (f"?key={CANARY}{key[len(CANARY) :]}", {}),
        }[how]
        headers = HEADERS | shown | {"Origin": "https://shop.example.org"} | headers
        path, sent = f"/api/v1/beta/feedback{query}", json.dumps(body).encode()
        return client.generic(method, path, sent, "application/json", headers=headers, REMOTE_ADDR=ADDRESS)

    return sending


def test_feedback_texts_are_in_no_answer_no_log_and_no_other_table(senders, caplog, capfd, written_when_asked):
    caplog.set_level(0)
    answers = [senders(how, body) for how in ("token", "key", "no such key") for body in bodies()]
    answers += [senders("key", {CANARY: CANARY}, method, **PREFLIGHT) for method in ("OPTIONS", "GET", CANARY)]
    written_when_asked()
    assert {answer.status_code for answer in answers} == {200, 201, 400, 404, 405}
    for answer in answers:
        assert CANARY not in answer.content.decode() + json.dumps(dict(answer.headers))
    kept = [row for row in everything_kept() if CANARY.lower() in row.lower()]
    assert len(kept) > 10
    assert all(row.startswith("BetaFeedback ") for row in kept)
    lines = list(everything_logged(caplog, capfd))
    assert any("POST 201" in line for line in lines)
    assert not found(iter(lines))
    assert not [line for line in lines if CANARY.lower() in line]


def test_address_and_browser_of_the_sender_are_stored_nowhere(senders, caplog, capfd, written_when_asked):
    caplog.set_level(0)
    for how in ("token", "key"):
        for body in (feedback_body(), feedback_body(website="x"), {}):
            senders(how, body)
        senders(how, {}, "OPTIONS", **PREFLIGHT)
    written_when_asked()
    assert BetaFeedback.objects.count() == 3
    places = [*everything_kept(), *everything_logged(caplog, capfd)]
    assert any("feedback.discarded" in place for place in places)
    for trace in (ADDRESS, "Firefox/131"):
        assert not [place for place in places if trace in place]
