"""Deciding from facts that a cluster has stalled."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.supervisor.watchdog import Claim, Facts, decide_ending

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LEAVE, STALLED = False, True


def ago(minutes):
    return NOW - timedelta(minutes=minutes)


def facts(**known):
    return Facts(**{"now": NOW, "started_at": ago(60), "workers": 2, "busy": 0} | known)


@pytest.mark.parametrize(
    ("known", "is_stalled"),
    [
        ({}, LEAVE),
        ({"unclaimed_since": ago(1.9)}, LEAVE),
        ({"unclaimed_since": ago(2)}, STALLED),
        ({"unclaimed_since": ago(2), "busy": 1}, STALLED),
        ({"unclaimed_since": ago(30), "busy": 2}, LEAVE),
        # A long queue that the workers are processing.
        ({"unclaimed_since": ago(30), "active_at": ago(0.1)}, LEAVE),
        ({"unclaimed_since": ago(30), "active_at": ago(2)}, STALLED),
        # A cluster that has just been started.
        ({"unclaimed_since": ago(30), "started_at": ago(1.9)}, LEAVE),
        ({"unclaimed_since": ago(30), "started_at": ago(1.9), "active_at": ago(20)}, LEAVE),
        # Claimed but never started, since this start of the cluster or before it.
        ({"unstarted": [Claim(1, ago(1.9))]}, LEAVE),
        ({"unstarted": [Claim(1, ago(2))]}, STALLED),
        ({"unstarted": [Claim(1, ago(2))], "busy": 2}, LEAVE),
        ({"unstarted": [Claim(1, ago(2))], "active_at": ago(1)}, LEAVE),
        ({"unstarted": [Claim(1, ago(61))]}, LEAVE),
    ],
)
def test_cluster_is_ended_only_if_a_task_waits_beside_an_idle_worker(known, is_stalled):
    assert decide_ending(facts(**known)).is_stalled is is_stalled


@pytest.mark.parametrize(
    ("known", "given_back"),
    [
        ({"unstarted": [Claim(1, ago(1))], "active_at": ago(1)}, []),
        ({"unstarted": [Claim(1, ago(3))], "active_at": ago(1)}, [1]),
        ({"unstarted": [Claim(1, ago(3))], "active_at": ago(1), "busy": 2}, []),
        ({"unstarted": [Claim(1, ago(0.2)), Claim(2, ago(0.4))], "started_at": ago(0.3)}, [2]),
        ({"unstarted": [Claim(1, ago(61)), Claim(2, ago(1))], "unclaimed_since": ago(5)}, [1, 2]),
    ],
)
def test_claims_that_no_worker_will_start_are_released(known, given_back):
    assert list(decide_ending(facts(**known)).give_back) == given_back
