"""How often something may happen in a time, counted for many at once."""

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
    """What each of many callers is told that are let go together, within this limit."""
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
def test_of_many_at_once_each_counts(at_once, ago):
    """Whether nobody was counted yet, the window is open, or it is over."""
    if ago is not None:
        AuthFailure.objects.create(**WHOM, window_started_at=timezone.now() - ago, count=7)
    at_once()
    assert AuthFailure.objects.get().count == CALLERS + (7 if ago == timedelta(0) else 0)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_never_more_pass_than_may(at_once):
    told = at_once(limit=5)
    assert told.count(None) <= 5
    assert {wait for wait in told if wait is not None} <= {59, 60}


@pytest.mark.django_db
def test_what_is_forgotten_meanwhile_is_within_the_limit(monkeypatch):
    update = AuthFailure.objects.none().__class__.update

    def forgotten(rows, **changes):
        done = update(rows, **changes)
        rows.delete()
        return done

    monkeypatch.setattr(AuthFailure.objects.none().__class__, "update", forgotten)
    assert rate_limits.count_within(AuthFailure, WHOM, 1, MINUTE) is None
