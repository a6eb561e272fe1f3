"""Rate limits under simultaneous callers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from portal.access import rate_limits
from portal.models import AuthFailure

MINUTE = timedelta(minutes=1)
CALLERS = 20
WHOM = {"address": "192.0.2.1"}


@pytest.fixture
def at_once():
    """Return a function that starts many callers together and returns each one's result."""
    start = threading.Barrier(CALLERS)

    def one(limit):
        start.wait()
        try:
            return rate_limits.count_within(AuthFailure, WHOM, limit, MINUTE)
        finally:
            connections.close_all()

    def calling(limit=CALLERS):
        with ThreadPoolExecutor(CALLERS) as pool:
            return list(pool.map(one, [limit] * CALLERS))

    return calling


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ago", [None, timedelta(0), MINUTE])
def test_simultaneous_callers_are_all_counted(at_once, ago):
    """Cover a missing counter, an open window and an expired one."""
    if ago is not None:
        AuthFailure.objects.create(**WHOM, window_started_at=timezone.now() - ago, count=7)
    at_once()
    assert AuthFailure.objects.get().count == CALLERS + (7 if ago == timedelta(0) else 0)


@pytest.mark.django_db(transaction=True)
def test_simultaneous_callers_never_exceed_the_limit(at_once):
    told = at_once(limit=5)
    assert told.count(None) <= 5
    assert {wait for wait in told if wait is not None} <= {59, 60}


@pytest.mark.django_db
def test_counter_deleted_meanwhile_is_within_the_limit(monkeypatch):
    update = AuthFailure.objects.none().__class__.update

    def forgotten(rows, **changes):
        done = update(rows, **changes)
        rows.delete()
        return done

    monkeypatch.setattr(AuthFailure.objects.none().__class__, "update", forgotten)
    assert rate_limits.count_within(AuthFailure, WHOM, 1, MINUTE) is None
