"""Simultaneous senders of the same events, over real sockets and connections."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.db import connections

from portal.access.tokens.issuing import issue_token
from usage.models import FeatureUsage, UserSession
from usage.tests.payloads import EVENT_PAYLOADS, feature_event, session_event

pytestmark = pytest.mark.django_db(transaction=True)
SENDERS = 10


@pytest.fixture
def at_once(live_server):
    """Return a function that sends bodies simultaneously, a thread each, and returns their results."""
    token = issue_token("client", label="gui")[1]

    def sending(bodies):
        start = threading.Barrier(len(bodies))

        def one(body):
            start.wait()
            headers = {"Authorization": f"Bearer {token}"}
            answer = requests.post(f"{live_server.url}/api/v1/usage/events", json=body, headers=headers, timeout=60)
            assert answer.status_code == 200, answer.text
            return answer.json()["results"]

        with ThreadPoolExecutor(len(bodies)) as pool:
            return list(pool.map(one, bodies))

    yield sending
    connections.close_all()


@pytest.mark.parametrize("name", EVENT_PAYLOADS)
def test_simultaneous_event_is_recorded_once(at_once, name):
    results = at_once([{name: [EVENT_PAYLOADS[name](id="0" * 32)]}] * SENDERS)
    assert Counter(each[name][0]["status"] for each in results) == {"recorded": 1, "duplicate": SENDERS - 1}


def test_simultaneous_session_ends_set_one_end(at_once):
    started = session_event()
    at_once([{"sessions": [started]}])
    ends = [started | {"session_end": f"2026-03-10T{9 + sender:02}:00:00Z"} for sender in range(SENDERS)]
    results = at_once([{"sessions": [ended]} for ended in ends])
    assert Counter(each["sessions"][0]["status"] for each in results) == {"recorded": 1, "conflict": SENDERS - 1}
    (sender,) = [sender for sender, each in enumerate(results) if each["sessions"][0]["status"] == "recorded"]
    stored = UserSession.objects.get()
    assert stored.session_end.hour == 9 + sender
    assert stored.duration_seconds == (1 + sender) * 3600


def test_simultaneous_spools_in_other_orders_do_not_deadlock(at_once):
    sessions = [session_event(session_end="2026-03-10T09:00:00Z") for _ in range(40)]
    started = [each | {"session_end": None} for each in sessions]
    features = [feature_event() for _ in range(40)]
    at_once([{"sessions": started[:20]}])
    forth = {"sessions": started + sessions, "features": features}
    back = {"sessions": sessions[::-1] + started[::-1], "features": features[::-1]}
    results = at_once([forth, back] * (SENDERS // 2))
    statuses = Counter(result["status"] for each in results for result in each["features"])
    assert statuses == {"recorded": 40, "duplicate": 40 * (SENDERS - 1)}
    assert {result["status"] for each in results for result in each["sessions"]} == {"recorded", "duplicate"}
    assert FeatureUsage.objects.filter(source="client:gui").count() == 40
    assert set(UserSession.objects.values_list("duration_seconds", flat=True)) == {3600}
