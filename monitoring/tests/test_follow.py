"""Following the workers: `beta_monitor --watch` shows the rounds they store."""

from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone

from monitoring.checks import follow, worker_rounds
from monitoring.checks.follow import Follower, NobodyWatches
from monitoring.models import CheckResult, Round

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(follow, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.05)


@pytest.fixture(autouse=True)
def kept_connection(monkeypatch):
    """The connection holds the test's transaction: closing it would end the test."""
    for module in (follow, worker_rounds):
        monkeypatch.setattr(module, "close_old_connections", lambda: None)


@pytest.fixture
def worker():
    return worker_rounds.take_lease(0)


def make_round(number, seconds_ago=0.0):
    """A round of ten seconds that ended so many seconds ago."""
    ended = timezone.now() - timedelta(seconds=seconds_ago)
    started = ended - timedelta(seconds=10)
    return Round.objects.create(number=number, started_at=started, finished_at=ended, checks=1, failures=0)


def follow_rounds(follower, *, most=1, show=lambda seconds: None):
    """Return the numbers of the rounds shown until there were as many as `most`."""
    found = []
    for stored in follower.rounds(0.0, lambda: len(found) >= most, show):
        found.append(stored.number)
    return found


def test_rounds_stored_from_now_on_are_shown_in_order(worker):
    make_round(1, seconds_ago=3600)
    follower = Follower()
    make_round(2)
    make_round(3)
    assert follow_rounds(follower, most=2) == [2, 3]


def test_round_that_ended_a_moment_ago_is_shown_at_once(worker):
    make_round(1, seconds_ago=90)
    make_round(2, seconds_ago=30)
    assert follow_rounds(Follower()) == [2]


def test_each_result_is_counted_once_with_the_round_it_belongs_to(worker, target):
    first, second = make_round(1, seconds_ago=10), make_round(2)
    moments = [
        (first.started_at, first),
        (second.started_at - timedelta(seconds=1), first),
        (second.started_at, second),
        (second.finished_at - timedelta(seconds=1), second),
    ]
    known = {CheckResult.objects.create(target=target, at=at).pk: found for at, found in moments}
    follower = Follower()
    follower.last_pk = 0
    read = [[result.pk for result in follower.results_before(found)] for found in follower.new_rounds()]
    read.append([result.pk for result in follower.last_results()])
    assert read == [
        [],
        [pk for pk, found in known.items() if found == first],
        [pk for pk in known if known[pk] == second],
    ]


def test_follower_checks_nothing_and_takes_no_lease(worker, target):
    follower = Follower()
    make_round(1)
    follow_rounds(follower)
    target.refresh_from_db()
    assert (target.claim, CheckResult.objects.count()) == ("", 0)
    assert worker_rounds.lease_rows().get().fence == worker.fence


def test_seconds_until_the_next_round_are_those_of_the_workers(worker):
    follower, shown = Follower(), []
    worker_rounds.lease_rows().update(started_at=timezone.now() - timedelta(seconds=20))
    list(follower.rounds(0.0, lambda: bool(shown), shown.append))
    assert 35 < shown[0] <= 40


def test_nobody_watching_is_an_error():
    with pytest.raises(NobodyWatches):
        follow_rounds(Follower())


def test_worker_that_starts_within_a_few_seconds_is_waited_for(monkeypatch):
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 60.0)
    follower, steps = Follower(), iter(range(3))

    def start_worker(seconds):
        if next(steps, None) == 2:
            worker_rounds.take_lease(0)
            make_round(1)

    assert follow_rounds(follower, show=start_worker) == [1]


def test_workers_that_end_later_are_waited_for_with_one_warning(worker, caplog):
    follower, steps = Follower(), []

    def restart(seconds):
        steps.append(seconds)
        if len(steps) == 2:
            worker_rounds.lease_rows().update(status="waiting", finished_at=timezone.now() - timedelta(minutes=1))
        if follower.is_unwatched and not Round.objects.exists():
            make_round(1)

    assert follow_rounds(follower, show=restart) == [1]
    assert caplog.messages == ["no worker checks the targets: waiting for one"]


def test_missing_database_does_not_end_the_watch(worker, monkeypatch, caplog):
    follower, failures = Follower(), iter([DatabaseError("gone")])
    sound = follow.worker_rounds.is_unwatched

    def look_or_fail(now):
        if error := next(failures, None):
            raise error
        Round.objects.exists() or make_round(1)
        return sound(now)

    monkeypatch.setattr(follow.worker_rounds, "is_unwatched", look_or_fail)
    assert follow_rounds(follower) == [1]
    assert caplog.messages == ["the rounds could not be read: DatabaseError: gone"]
