"""Unstable targets: half of the checks fail, seldom several in a row."""

import random
from datetime import timedelta

import pytest
from django.db.models import Q

from monitoring import controls
from monitoring.checks.active_round import ActiveRound
from monitoring.checks.connectivity import Connectivity
from monitoring.models import Incident, MaintenanceWindow, Target
from monitoring.probe.pool import Prober
from monitoring.tests.conftest import REFUSED, CheckRunner, good_outcome
from portal.models import OutboxMessage

pytestmark = pytest.mark.django_db
State, Rule = Target.State, Incident.Rule
BOTH = Q(rule__in=[Rule.UNAVAILABLE, Rule.UNSTABLE])


def find(checks, word):
    """`f` is a failure, `o` a good answer."""
    checks.find(*({"f": REFUSED, "o": good_outcome()}[letter] for letter in word))


def titles():
    return list(OutboxMessage.objects.order_by("pk").values_list("title", flat=True))


def rules_open():
    return set(Incident.objects.open().values_list("rule", flat=True))


def test_alternating_failures_open_one_incident_until_two_of_ten_fail(checks, channel):
    find(checks, "fo" * 15)
    incident = Incident.objects.get()
    assert (incident.rule, incident.severity, checks.target.state) == (Rule.UNSTABLE, 1, State.UNSTABLE)
    assert titles() == ["API is unstable"]
    assert "5 of the last 9 checks failed. The connection was refused." in OutboxMessage.objects.get().text
    find(checks, "oooo")
    assert rules_open() == {Rule.UNSTABLE}
    find(checks, "oo")
    assert (rules_open(), checks.target.state) == (set(), State.UP)
    assert titles()[1:] == ["API is stable again after 26 min"]


@pytest.mark.one_database("arithmetic of streaks")
@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_checks_failing_alerts_once_within_15_checks(make_target, seed):
    word = list("f" * 8 + "o" * 7)
    random.Random(seed).shuffle(word)
    checks = CheckRunner(make_target())
    find(checks, "o" * 10)
    was_open = False
    for letter in word:
        find(checks, letter)
        assert Incident.objects.open().filter(BOTH).count() <= 1
        was_open = was_open or bool(rules_open())
    assert was_open


def test_target_that_goes_up_and_down_keeps_its_incident(checks, channel):
    find(checks, "ffofoffooffofofo")
    assert titles() == ["API is down"]
    assert checks.target.state == State.DOWN
    find(checks, "ooo")
    assert titles()[1:] == ["API recovered after 15 min"]


def test_outage_resolves_after_its_success_streak_whatever_its_length(checks, channel):
    find(checks, "o" * 10 + "f" * 8 + "oo")
    assert titles() == ["API is down", "API recovered after 8 min"]
    find(checks, "f")
    assert checks.target.state == State.FAILING
    assert not rules_open()


@pytest.mark.parametrize("failures_to_open", [4, 5])
def test_late_outage_resolves_after_its_success_streak(make_target, failures_to_open):
    checks = CheckRunner(make_target(failures_to_open=failures_to_open, successes_to_close=2))
    find(checks, "o" * 10 + "f" * 9)
    assert Rule.UNAVAILABLE in rules_open()
    find(checks, "oo")
    assert Rule.UNAVAILABLE not in rules_open()


def test_unstable_target_that_keeps_failing_is_down(checks, channel):
    find(checks, "fo" * 5 + "f" * 8)
    assert titles() == ["API is unstable"]
    find(checks, "ff")
    assert (titles()[1:], checks.target.state) == (["API is down"], State.DOWN)
    find(checks, "ooo")
    assert (rules_open(), checks.target.state) == ({Rule.UNSTABLE}, State.UNSTABLE)
    find(checks, "oooo")
    assert not rules_open()


def test_failures_before_maintenance_do_not_count_after_it(checks):
    find(checks, "fofofofo")
    window = MaintenanceWindow.objects.create(
        name="Upgrade", starts_at=checks.now.at, ends_at=checks.now.at + timedelta(minutes=2)
    )
    find(checks, "f")
    checks.pass_by(minutes=3)
    assert window.ends_at < checks.now.at
    find(checks, "fofofofo")
    assert not rules_open()
    find(checks, "f")
    assert rules_open() == {Rule.UNSTABLE}


@pytest.mark.parametrize(("minutes", "is_open"), [(8, True), (10, False)])
def test_failures_before_a_gap_do_not_count_after_it(checks, minutes, is_open):
    find(checks, "fofofofo")
    checks.pass_by(minutes=minutes)
    find(checks, "f")
    assert bool(rules_open()) == is_open


def test_failures_before_a_pause_do_not_count_after_it(checks):
    find(checks, "fofofofof")
    controls.pause_targets(Target.objects.all(), "user:ann")
    assert not rules_open()
    controls.resume_targets(Target.objects.all(), checks.now.at)
    find(checks, "fofofofo")
    assert not rules_open()


def test_failures_while_we_are_offline_count_for_nothing(checks):
    for _ in range(10):
        find(checks, "o")
        checks.find(REFUSED, is_offline=True)
    assert not rules_open()


def test_silenced_unstable_target_alerts_when_the_silence_ends(checks, channel):
    Target.objects.update(silenced_until=checks.now.at + timedelta(hours=1))
    find(checks, "fofofofof")
    assert (rules_open(), titles()) == ({Rule.UNSTABLE}, [])


def test_unstable_target_does_not_count_for_the_fleet(checks):
    find(checks, "fofofofof")
    run = ActiveRound(1, Prober(threads=1), Connectivity([], was_ever_online=False))
    run.tally.counted = checks.find(REFUSED)
    assert run.summarize(checks.now).judged_checks == 0
