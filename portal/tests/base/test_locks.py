"""Waiting for a lock: logged after some seconds, and given up after the limit. Locks of PostgreSQL end by themselves."""

from types import SimpleNamespace

import pytest
from django.db import connection

from portal.base import locks


@pytest.fixture
def clock(monkeypatch):
    """Return the clock, which only `sleep` advances."""
    clock = SimpleNamespace(now=0.0)
    advance = lambda seconds: setattr(clock, "now", clock.now + seconds)  # noqa: E731
    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=advance))
    return clock


def test_lock_that_is_soon_free_is_taken_without_a_word(clock, caplog):
    locks.wait_for_lock("prepare", lambda: clock.now >= 5)
    assert (clock.now, caplog.messages) == (5, [])


def test_long_wait_is_logged_once(clock, caplog):
    locks.wait_for_lock("prepare", lambda: clock.now >= 60)
    assert caplog.messages == ["waiting for the database lock 'prepare', which another process holds"]


def test_lock_that_is_never_free_is_given_up_with_the_cause(clock):
    with pytest.raises(TimeoutError, match=r"'prepare' was not free for 60 minutes.*pg_locks"):
        locks.wait_for_lock("prepare", lambda: False)
    assert clock.now == locks.LONGEST_WAIT_SECONDS


@pytest.mark.postgresql("SQLite has no such locks")
@pytest.mark.django_db(transaction=True)
def test_lock_in_the_database_is_free_once_its_transaction_ends():
    """A pooler gives the connection to another client then."""
    first, second = connection.copy(), connection.copy()
    try:
        for each in (first, second):
            each.set_autocommit(False)
        assert locks.try_lock(first, "prepare")
        assert not locks.try_lock(second, "prepare")
        first.rollback()
        assert locks.try_lock(second, "prepare")
    finally:
        first.close()
        second.close()
