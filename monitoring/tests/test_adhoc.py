"""Addresses that are watched ad hoc: what counts as failed, who is told, and what a restart remembers."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.utils import timezone

from monitoring.alerts import fleet, incidents
from monitoring.alerts.incidents import IncidentOpening, open_incidents
from monitoring.checks import adhoc, pacing
from monitoring.checks.adhoc import AddressWatch, make_targets, parse_base
from monitoring.checks.connectivity import Connectivity
from monitoring.clock import mark
from monitoring.models import CheckResult, Incident, Round, Target
from monitoring.tests.helpers.http_service import HttpService
from portal.models import OutboxMessage

pytestmark = pytest.mark.django_db
PATHS = ("/", "/api")


@pytest.fixture(autouse=True)
def nobody_else(settings, monkeypatch):
    """The outside world is not asked, and nothing is spread over a second."""
    settings.CONNECTIVITY_PROBES = []
    monkeypatch.setattr(pacing, "spread_seconds", lambda count, interval: 0.0)


@pytest.fixture
def service():
    with HttpService() as service:
        yield service


@pytest.fixture
def watch(service):
    """Sweeps with these statuses, one after the other, as one process does it until it is killed; the rounds."""

    def watching(*statuses, url=service.url, paths=PATHS):
        return sweep_all(start(url, paths), service, statuses)

    sources = []

    def start(url, paths):
        sources.append(AddressWatch(url, make_targets(url, paths), 60))
        return sources[-1].__enter__()

    yield watching
    for source in sources:
        source.prober.close()


def sweep_all(source, service, statuses):
    found = []
    for status in statuses:
        service.statuses["/api"] = status
        found.append(source.check_once(lambda: False, lambda progress: None).round)
    return found


def told():
    return list(OutboxMessage.objects.order_by("pk").values_list("title", flat=True))


# --- What is checked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://Shop.example.org", "https://shop.example.org"),
        (" https://shop.example.org/ ", "https://shop.example.org"),
        ("http://10.0.0.1:8000/app/", "http://10.0.0.1:8000/app"),
    ],
)
def test_base_is_normalised_without_a_final_slash(text, base):
    assert parse_base(text) == base


@pytest.mark.one_database("refused before the database is asked")
@pytest.mark.parametrize(
    "text",
    ["", "shop", "ftp://shop.example.org", "http://a:b@c.org", "http://a.org/?q=1"],
)
def test_invalid_base_is_refused(text):
    with pytest.raises(ValueError):
        parse_base(text)


def test_paths_are_added_to_the_base_once_each():
    targets = make_targets("http://a.org/app", ["api", "/api", "//x", "/x"])
    assert [(target.name, target.url) for target in targets] == [
        ("/api", "http://a.org/app/api"),
        ("/x", "http://a.org/app/x"),
    ]


def test_invalid_path_is_refused():
    with pytest.raises(ValueError):
        make_targets("http://a.org", ["/a b"])


@pytest.mark.parametrize(("status", "failures"), [(200, 0), (302, 0), (404, 0), (499, 0), (500, 1), (503, 1)])
def test_only_server_errors_fail(watch, status, failures):
    [found] = watch(status)
    assert (found.checks, found.failures, found.judged_failures) == (2, failures, failures)
    assert found.failing == ["/api"] * failures


def test_refused_connections_fail(watch):
    [found] = watch(200, url="http://127.0.0.1:1")
    assert (found.checks, found.failures, found.p95_ms) == (2, 2, None)


def test_private_address_is_refused_unless_allowed_for_targets(watch, settings):
    settings.PROBE_ALLOW_PRIVATE = False
    assert watch(200)[0].failures == 2


def test_ad_hoc_round_stores_no_target_round_or_result(watch):
    watch(500)
    assert not any(model.objects.exists() for model in (Target, CheckResult, Round))


def test_failures_while_the_portal_is_offline_are_excluded(watch, settings, monkeypatch):
    settings.CONNECTIVITY_PROBES = [("127.0.0.1", 1)]
    monkeypatch.setattr(
        adhoc.active_round, "make_connectivity", lambda: Connectivity([("127.0.0.1", 1)], was_ever_online=True)
    )
    [found] = watch(200, url="http://127.0.0.1:1")
    assert (found.checks, found.excused, found.is_online) == (0, 2, False)


# --- Who is told -----------------------------------------------------------------------------------------------------


def test_two_bad_rounds_alert_once_and_two_good_ones_resolve(watch, service, channel):
    watch(500)
    assert told() == []
    watch(200, 500, 200, 500)
    assert told() == []
    watch(500, 500, 500, 200, 500, 200)
    assert told() == [f"{service.url} (/, /api): high error rate"]
    watch(200, 200)
    assert [title.partition(" after ")[0] for title in told()[1:]] == [
        f"{service.url} (/, /api): check errors back to normal"
    ]


def test_newest_two_rounds_decide(watch, channel):
    watch(500, 500, 200, 200)
    assert len(told()) == 2


def test_alert_names_the_failing_path_with_its_error(watch, channel):
    watch(500, 503)
    assert "– /api: The response status was 503\n" in OutboxMessage.objects.get().text
    assert "1 of 2 checks failed" in OutboxMessage.objects.get().text


def test_restarted_watch_takes_over_its_incident(watch, service, channel):
    watch(500, 500)
    watch(500, 500)
    incident = Incident.objects.get()
    assert (incident.subject, incident.rule) == (f"fleet:{service.url} (/, /api)", "fleet_errors")
    assert len(told()) == 1
    watch(200)
    assert len(told()) == 1
    watch(200, 200)
    assert len(told()) == 2


def test_slow_rounds_alert(watch, channel, settings):
    settings.FLEET_LATENCY_ALERT_MS = 0.001
    watch(200, 200)
    assert Incident.objects.get().rule == "fleet_latency"


def test_each_base_has_its_own_incidents(watch, service, channel):
    watch(500, 500)
    other = service.url.replace("127.0.0.1", "localhost")
    watch(500, 500, url=other)
    names = {incident.name for incident in Incident.objects.all()}
    assert names == {f"{service.url} (/, /api)", f"{other} (/, /api)"}


def test_watches_of_different_paths_have_separate_incidents(watch, service, channel):
    watch(500, 500, paths=["/api"])
    watch(200, 200, paths=["/", "/fine"])
    assert [incident.resolved_at for incident in Incident.objects.all()] == [None]
    watch(500, 500, paths=["/api", "/fine"])
    assert Incident.objects.open().count() == 2
    assert told() == [f"{service.url} ({paths}): high error rate" for paths in ("/api", "/api, /fine")]


def test_key_of_many_paths_fits_and_names_all_of_them():
    one, other = ([f"/{number}" for number in range(count)] for count in (200, 201))
    keys = {
        adhoc.incident_subject("http://a.org", make_targets("http://a.org", paths)) for paths in (one, other, one[::-1])
    }
    assert sorted(map(len, keys)) == [200, 200]


# --- How a watch goes on ----------------------------------------------------------------------------------------------


def test_watch_goes_on_until_it_is_asked_to_end(service):
    found = []
    with AddressWatch(service.url, make_targets(service.url, PATHS), 0.0001) as addresses:
        for swept in addresses.rounds(lambda: len(found) == 3, lambda progress: None):
            found.append(swept)
    assert [swept.round.number for swept in found] == [1, 2, 3]
    assert all(swept.is_too_long for swept in found)
    assert len(service.asked) == 6


def test_seconds_until_the_next_round_are_shown(service):
    shown = []
    with AddressWatch(service.url, make_targets(service.url, PATHS), 3600) as addresses:
        assert len(list(addresses.rounds(lambda: isinstance(shown and shown[-1], float), shown.append))) == 1
    assert 3590 < shown[-1] <= 3600


# --- How a watch ends ------------------------------------------------------------------------------------------------


def test_end_of_a_watch_withdraws_its_incidents(watch, service, channel):
    watch(500, 500, paths=["/api", "/other"])
    with AddressWatch(service.url, make_targets(service.url, PATHS), 60) as source:
        sweep_all(source, service, [500, 500])
        assert Incident.objects.open().count() == 2
    assert Incident.objects.open().get().name == f"{service.url} (/api, /other)"
    assert told()[-1] == f"Monitoring stopped: {service.url} (/, /api): high error rate"


def test_single_check_leaves_the_incident_of_a_watch_alone(watch, service):
    watch(500, 500)
    with AddressWatch(service.url, make_targets(service.url, PATHS), math.inf) as source:
        sweep_all(source, service, [200])
    assert Incident.objects.open().count() == 1


def test_killed_watch_reminds_nobody_and_is_withdrawn_once_its_lease_ended(watch, channel, settings):
    settings.INCIDENT_REMINDER_MINUTES = 1
    watch(500, 500)
    now = mark()
    Incident.objects.update(told_at=now.at - timedelta(minutes=1))
    in_time, late = (replace(now, at=now.at + timedelta(seconds=seconds)) for seconds in (50, 70))
    assert fleet.withdraw_orphaned_incidents(in_time) == 0
    assert incidents.send_reminders(in_time) == 1
    assert incidents.send_reminders(late) == 0
    assert fleet.withdraw_orphaned_incidents(late) == 1
    assert [title.partition(":")[0] for title in told()[1:]] == ["Still open", "Monitoring stopped"]


def test_incident_of_a_former_version_is_withdrawn():
    open_incidents(
        [IncidentOpening("fleet:https://shop.example.org", "fleet_errors", facts={"failing": ["/"]})], mark()
    )
    assert fleet.withdraw_orphaned_incidents(mark()) == 1


def test_watch_that_takes_over_after_a_kill_renews_the_lease(watch, service):
    watch(500, 500)
    Incident.objects.update(watched_until=timezone.now() - timedelta(minutes=1))
    with AddressWatch(service.url, make_targets(service.url, PATHS), 60) as source:
        source.renew_lease()
        assert fleet.withdraw_orphaned_incidents(mark()) == 0


def test_incidents_of_targets_do_not_hide_failing_paths(watch, make_target, service):
    for number in range(3):
        known = make_target(f"T{number}")
        Incident.objects.create(subject=known.subject, target=known, rule="unavailable", opened_at=timezone.now())
    assert watch(500)[0].judged_failures == 1


def test_rounds_go_on_without_a_database(watch, monkeypatch):
    monkeypatch.setattr(adhoc, "close_old_connections", lambda: None)

    def gone(*arguments):
        raise OperationalError("gone")

    with connection.execute_wrapper(gone):
        assert [found.judged_failures for found in watch(500, 500)] == [1, 1]
    assert not Incident.objects.exists()


def test_failing_write_of_incidents_does_not_end_the_watch(watch, monkeypatch):
    def fail(*arguments, **options):
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(adhoc, "update_fleet_incidents", fail)
        patch.setattr(adhoc, "close_old_connections", lambda: None)
        assert len(watch(500, 500)) == 2
    assert not Incident.objects.exists()
