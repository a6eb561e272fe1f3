"""Saved reports."""

import threading
from datetime import timedelta

import pytest
from django.db import connections

from beta.models import BetaProgramme, BetaSnapshot
from beta.report.snapshots import take_snapshot
from beta.tests.factories import create_feedback, create_programme, create_scores, create_target
from monitoring.tests.factories import DAY, NOON, create_rollup

COMMAND, EXPORTED = BetaSnapshot.Reason.COMMAND, BetaSnapshot.Reason.EXPORTED
LATER, SOON = NOON + timedelta(hours=1), NOON + timedelta(minutes=9)
NOON_OF_DAY = timedelta(hours=12)


@pytest.fixture
def programme(db):
    programme = create_programme()
    create_scores(programme, 8, 8, 8, 8, 8)
    return programme


def kept(snapshot):
    return BetaSnapshot.objects.get(pk=snapshot.pk)


def test_snapshot_has_reason_and_user(programme):
    snapshot = kept(take_snapshot(programme, NOON, EXPORTED, "olga"))
    assert (snapshot.verdict, snapshot.reason, snapshot.taken_by, snapshot.taken_at) == ("GO", "exported", "olga", NOON)
    assert snapshot.data["generated_at"] == "2026-03-10T12:00:00.000Z"


def test_snapshot_is_unchanged_when_feedback_and_thresholds_change(programme):
    before = kept(take_snapshot(programme, NOON, COMMAND)).data
    create_feedback(programme, type="bug", severity="critical")
    programme.feedback.update(nps_score=1, comment="Otherwise.")
    BetaProgramme.objects.update(participants_target=50, score_target=9, name="renamed")
    snapshot = BetaSnapshot.objects.get()
    assert (snapshot.data, snapshot.verdict) == (before, "GO")
    assert kept(take_snapshot(BetaProgramme.objects.get(), LATER, COMMAND)).verdict == "NO-GO"
    assert BetaSnapshot.objects.earliest("id").data == before


def test_stored_snapshot_cannot_be_saved_again(programme):
    snapshot = kept(take_snapshot(programme, NOON, COMMAND))
    snapshot.verdict = "NO-GO"
    with pytest.raises(ValueError, match="does not change"):
        snapshot.save()
    assert kept(snapshot).verdict == "GO"


def test_exports_in_several_formats_share_one_snapshot(programme):
    target = create_target(beta_programme=programme)
    create_rollup(target, "day", NOON - NOON_OF_DAY)
    first = take_snapshot(programme, NOON, EXPORTED, "olga")
    create_rollup(target, "day", NOON - NOON_OF_DAY - DAY, checks=17)
    assert take_snapshot(programme, SOON, COMMAND) == first
    assert take_snapshot(programme, NOON + timedelta(minutes=10), COMMAND) != first


@pytest.mark.parametrize(
    "change",
    [
        lambda programme: create_feedback(programme, comment="Something new.", type="ux"),
        lambda programme: BetaProgramme.objects.update(score_target="7.5"),
        lambda programme: create_rollup(
            create_target(beta_programme=programme), "day", NOON - NOON_OF_DAY, latency_ms=900
        ),
    ],
)
def test_change_of_feedback_triage_or_thresholds_makes_another_snapshot(programme, change):
    first = take_snapshot(programme, NOON, EXPORTED, "olga")
    change(programme)
    programme.refresh_from_db()
    second = take_snapshot(programme, SOON, EXPORTED, "olga")
    assert second != first
    assert take_snapshot(programme, SOON, EXPORTED, "olga") == second


def test_snapshot_from_the_future_is_not_reused(programme):
    assert take_snapshot(programme, LATER, COMMAND) != take_snapshot(programme, NOON, COMMAND)


def test_report_is_compared_with_the_previous_snapshot(programme):
    take_snapshot(programme, NOON, COMMAND)
    create_feedback(programme, type="bug", severity="critical", nps_score=2, given_at=LATER)
    assert take_snapshot(programme, LATER, COMMAND).data["previous"] == {
        "generated_at": "2026-03-10T12:00:00.000Z",
        "verdict": "GO",
        "participants": 5,
        "average": 8.0,
        "nps": 0,
        "critical_high_open": 0,
        "mean_ms": None,
        "error_rate": None,
    }


def test_report_is_compared_with_the_newest_snapshot(programme):
    for moment in (NOON, LATER):
        create_feedback(programme, type="ux", comment=f"At {moment}")
        take_snapshot(programme, moment, COMMAND)
    create_feedback(programme, type="ux", comment="And now.")
    previous = take_snapshot(programme, LATER + timedelta(hours=1), COMMAND).data["previous"]
    assert previous["generated_at"] == "2026-03-10T13:00:00.000Z"


def test_snapshots_of_other_programmes_are_not_compared(programme):
    take_snapshot(create_programme("other"), NOON, COMMAND)
    assert take_snapshot(programme, LATER, COMMAND).data["previous"] is None


@pytest.mark.django_db(transaction=True)
def test_concurrent_exports_store_one_snapshot(programme):
    """Each by his own clock: who is let in last may have looked at it first."""
    begin, found = threading.Barrier(6), []

    def export(late):
        begin.wait()
        try:
            found.append(take_snapshot(programme, NOON - late * timedelta(milliseconds=1), EXPORTED, "olga").pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=export, args=(late,)) for late in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [BetaSnapshot.objects.get().pk] * 6
