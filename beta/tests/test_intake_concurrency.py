"""Many senders of the same feedback, over real sockets and on real connections."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.db import connections

from beta.models import BetaFeedback, BetaProgramme, FeedbackWindow
from beta.tests.factories import create_programme, feedback_body
from portal.access.tokens.issuing import issue_token

pytestmark = pytest.mark.django_db(transaction=True)
SENDERS = 12


@pytest.fixture
def at_once(live_server):
    """Sends each body in a thread of its own, let go together; how often each status came."""

    def sending(bodies, key=""):
        headers = {} if key else {"Authorization": f"Bearer {issue_token('client', label='gui')[1]}"}
        start = threading.Barrier(len(bodies))

        def one(body):
            start.wait()
            address = f"{live_server.url}/api/v1/beta/feedback{key and f'?key={key}'}"
            return requests.post(address, json=body, headers=headers, timeout=60).status_code

        with ThreadPoolExecutor(len(bodies)) as pool:
            return Counter(pool.map(one, bodies))

    yield sending
    connections.close_all()


@pytest.mark.parametrize("way", ["token", "key"])
def test_feedback_sent_many_times_at_once_is_recorded_once(at_once, way):
    key = create_programme().public_key
    body = feedback_body()
    assert at_once([body] * SENDERS, key if way == "key" else "") == {201: 1, 200: SENDERS - 1}
    assert BetaFeedback.objects.count() == 1


def test_concurrent_feedback_with_other_content_conflicts(at_once):
    create_programme()
    body = feedback_body()
    bodies = [body | {"nps_score": number % 2} for number in range(10)]
    assert at_once(bodies) == {201: 1, 200: 4, 409: 5}


def test_concurrent_first_feedback_creates_one_default_programme(at_once):
    assert at_once([feedback_body() for _ in range(SENDERS)]) == {201: SENDERS}
    assert BetaProgramme.objects.get().name == "default"
    assert BetaFeedback.objects.count() == SENDERS


def test_concurrent_flood_never_exceeds_the_rate_limit(at_once, settings):
    """Less may: who reads the count after another counted stands behind the limit with him."""
    settings.FEEDBACK_PER_ADDRESS_AND_HOUR = 5
    key = create_programme().public_key
    at_once([feedback_body()], key)
    found = at_once([feedback_body() for _ in range(SENDERS)], key)
    assert found[201] + found[429] == SENDERS
    assert found[201] <= 4
    assert BetaFeedback.objects.count() == found[201] + 1
    assert FeedbackWindow.objects.filter(count=SENDERS + 1).count() == 1
