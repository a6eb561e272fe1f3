"""What about services needs an operator now."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring import findings
from monitoring.alerts.incidents import (
    IncidentOpening,
    acknowledge_incidents,
    assign_incidents,
    open_incidents,
    resolve_incidents,
)
from monitoring.clock import mark
from monitoring.figures.uptime import DAY, HOUR, MINUTE
from monitoring.models import Incident, MaintenanceWindow, Round, Target
from monitoring.tests.helpers.admin_pages import page_url
from portal.base.findings import Severity
from portal.models import Heartbeat

pytestmark = pytest.mark.django_db
CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO


def found(source, now=None):
    return list(source(now or timezone.now()))


def texts(source):
    return [finding.text for finding in found(source)]


def opened(target, rule="unavailable", ago=HOUR, **fields):
    subject = target.subject if target else "portal" if rule == "offline" else "fleet"
    (incident,) = open_incidents([IncidentOpening(subject, rule, target, **fields)], mark())
    Incident.objects.filter(pk=incident.pk).update(opened_at=timezone.now() - ago)
    return Incident.objects.get(pk=incident.pk)


class TestIncidents:
    def test_open_incident_is_a_finding_with_its_reason_and_link(self, client, admin_client, make_target):
        incident = opened(make_target("API"), error_kind="connect", detail="ECONNREFUSED")
        (finding,) = found(findings.unattended_incidents)
        assert (finding.severity, finding.text) == (CRITICAL, "API is down. The connection was refused.")
        assert (finding.since, finding.url) == (incident.opened_at, page_url(incident))
        assert admin_client.get(finding.url).status_code == 200

    def test_acknowledged_or_resolved_incident_is_not_unattended(self, make_target):
        opened(make_target("a"))
        acknowledge_incidents(Incident.objects.all(), "olga", timezone.now())
        resolve_incidents([opened(make_target("b"))], mark())
        assert texts(findings.unattended_incidents) == []

    def test_finding_of_the_fleet_names_targets_in_one_line(self, db):
        opened(None, "fleet_errors", facts={"failures": 2, "checks": 9, "failing": ["API", "Shop"]})
        assert texts(findings.unattended_incidents) == [
            "All targets: high error rate. 2 of 9 checks failed in the last round. API, Shop"
        ]

    def test_many_incidents_are_the_worst_five_and_one_sentence(self, make_target):
        opened(make_target("slow"), "slow", ago=9 * HOUR)
        for number in range(7):
            opened(make_target(f"t{number}"), ago=HOUR + number * MINUTE)
        shown = found(findings.unattended_incidents)
        assert len(shown) == 6
        assert [finding.text.partition(".")[0] for finding in shown[:5]] == [
            f"t{number} is down" for number in range(5)
        ]
        last = shown[5]
        assert (last.severity, last.text) == (CRITICAL, "3 more incidents are unacknowledged.")
        assert timezone.now() - last.since > 9 * HOUR
        assert last.url == "/admin/monitoring/incident/?state=new"

    def test_sentence_about_others_has_their_severity(self, make_target):
        for number in range(6):
            opened(make_target(f"t{number}"), "slow")
        assert found(findings.unattended_incidents)[5].severity == WARNING


class TestAcknowledged:
    def test_acknowledged_incident_stays_with_who_has_it(self, make_target, admin_user):
        incident = opened(make_target("API"), "unavailable")
        acknowledge_incidents(Incident.objects.all(), "olga", timezone.now(), "Provider called")
        assign_incidents([incident], admin_user, "olga", timezone.now())
        assert found(findings.unattended_incidents) == []
        (finding,) = found(findings.acknowledged_incidents)
        shown = finding.acknowledgement
        assert (shown.acknowledged_by, shown.comment, shown.assignee) == ("olga", "Provider called", admin_user)

    def test_landing_page_collapses_acknowledged_incidents(self, admin_client, make_target):
        opened(make_target("API"), "unavailable")
        acknowledge_incidents(Incident.objects.all(), "olga", timezone.now(), "Provider <called>")
        response = admin_client.get("/admin/")
        assert next(finding.text for finding in response.context["acknowledged"]).startswith("API is down")
        assert "Provider &lt;called&gt;" in response.text

    def test_acknowledged_incidents_beyond_the_limit_are_counted(self, make_target, monkeypatch):
        monkeypatch.setattr(findings, "MOST_ACKNOWLEDGED", 2)
        for number in range(5):
            opened(make_target(f"t{number}"))
        acknowledge_incidents(Incident.objects.all(), "olga", timezone.now())
        *shown, rest = found(findings.acknowledged_incidents)
        assert [finding.text.partition(" ")[0] for finding in shown] == ["t4", "t3"]
        assert (rest.severity, rest.text) == (INFO, "3 more incidents are acknowledged.")
        assert rest.url == "/admin/monitoring/incident/?state=acknowledged"
        Incident.objects.filter(target__name__in=["t0", "t1", "t2"]).delete()
        assert len(found(findings.acknowledged_incidents)) == 2

    def test_resolved_incident_is_no_finding(self, make_target):
        opened(make_target("API"), "unavailable")
        acknowledge_incidents(Incident.objects.all(), "olga", timezone.now())
        resolve_incidents(Incident.objects.all(), mark())
        assert found(findings.acknowledged_incidents) == []


class TestCertificates:
    @pytest.mark.parametrize(
        ("left", "fields", "words"),
        [(13 * DAY, {}, "expires on"), (15 * DAY, {}, ""), (-HOUR, {}, "expired"), (9 * DAY, {"tls_expiry_days": None}, "expires on"),
         (9 * DAY, {"is_active": False}, "")],
    )  # fmt: skip
    def test_certificate_that_ends_soon_is_a_finding(self, make_target, left, fields, words):
        make_target(certificate_until=timezone.now() + left, **fields)
        shown = texts(findings.ending_certificates)
        assert [words in text for text in shown] == ([True] if words else [])

    def test_finding_is_left_out_if_an_incident_reports_it(self, make_target):
        target = make_target(certificate_until=timezone.now() + DAY)
        opened(target, "slow")
        assert len(texts(findings.ending_certificates)) == 1
        opened(target, "certificate", facts={"until": "x"})
        assert texts(findings.ending_certificates) == []

    def test_incident_whose_headline_ends_with_an_abbreviated_month_has_one_full_stop(self, make_target):
        opened(make_target("Shop"), "certificate", facts={"until": "2026-12-10T04:00:00Z"})
        (finding,) = found(findings.unattended_incidents)
        assert "10 Dec. Valid until" in finding.text

    def test_findings_of_certificates_are_limited(self, make_target):
        for number in range(7):
            make_target(f"t{number}", certificate_until=timezone.now() + number * HOUR)
        shown = texts(findings.ending_certificates)
        assert (len(shown), shown[5]) == (6, "The certificates of more targets expire soon.")


class TestWatching:
    def late(self, make_target, name="late", **fields):
        return make_target(name, next_check_at=timezone.now() - 6 * MINUTE, **fields)

    def test_overdue_checks_are_critical(self, make_target):
        self.late(make_target, last_check_at=timezone.now() - 7 * MINUTE)
        (finding,) = found(findings.unwatched_targets)
        assert (finding.severity, finding.text.partition(":")[0]) == (
            CRITICAL, "Nothing has been checked for more than 5 minutes",
        )  # fmt: skip
        assert 6 * MINUTE < timezone.now() - finding.since < 8 * MINUTE

    def test_targets_never_checked_are_critical(self, make_target):
        self.late(make_target)
        assert found(findings.unwatched_targets)[0].severity == CRITICAL

    @pytest.mark.parametrize(("silent", "due", "expected"), [(40, 35, 1), (40, -60, 0), (40, 5, 0), (10, 10, 0)])
    def test_missing_watcher_is_critical_if_a_check_is_due(self, make_target, silent, due, expected):
        now = timezone.now()
        Heartbeat.objects.create(component="watch", at=now - timedelta(seconds=silent))
        make_target("a", last_check_at=now - MINUTE, next_check_at=now - timedelta(seconds=due))
        assert [text.partition(":")[0] for text in texts(findings.unwatched_targets)] == [
            "Targets are not being checked"
        ] * expected

    def test_targets_due_later_are_no_finding(self, make_target):
        now = timezone.now()
        make_target("daily", interval=86_400, last_check_at=now - 3 * HOUR, next_check_at=now + 21 * HOUR)
        make_target("new", next_check_at=now)
        assert texts(findings.unwatched_targets) == []

    def test_paused_target_is_not_overdue(self, make_target):
        self.late(make_target, is_active=False)
        assert texts(findings.unwatched_targets) == []

    def test_one_target_never_checked_is_a_warning(self, make_target):
        now = timezone.now()
        make_target("fine", last_check_at=now, next_check_at=now + MINUTE)
        assert texts(findings.unwatched_targets) == []
        self.late(make_target)
        (finding,) = found(findings.unwatched_targets)
        assert (finding.severity, finding.text) == (WARNING, "1 target has never been checked, although others are.")


class TestForgotten:
    def test_long_silences_and_pauses_are_findings(self, make_target):
        now = timezone.now()
        make_target("a", silenced_until=now + 31 * DAY)
        make_target("b", silenced_until=now + 29 * DAY)
        make_target("c", is_active=False, state_since=now - 31 * DAY)
        make_target("d", is_active=False, state_since=now - 29 * DAY)
        make_target("e", state_since=now - 99 * DAY)
        silenced, paused = found(findings.forgotten_targets)
        assert (silenced.severity, paused.severity) == (INFO, INFO)
        assert silenced.text.startswith("1 target is silenced for more than 30 days")
        assert paused.text.startswith("1 target has been paused for more than 30 days")
        assert paused.since == now - 31 * DAY

    def test_without_targets_nothing_is_forgotten(self, target):
        assert texts(findings.forgotten_targets) == []


class TestNetwork:
    def rounds(self, *online, ago=MINUTE):
        """Rounds that reached the network or did not, the newest last."""
        Round.objects.all().delete()
        now = timezone.now()
        for number, is_online in enumerate(online):
            at = now - ago - (len(online) - number - 1) * MINUTE
            Round.objects.create(
                number=number, started_at=at, finished_at=at, checks=1, failures=1, is_online=is_online
            )

    @pytest.mark.parametrize(
        ("online", "count"),
        [((True, False), 1), ((True, None, False, False), 1), ((False, True), 0), ((True, False, None), 0), ((False, False), 0),
         ((None, False), 0), ((True, *[False] * 14), 1), ((True, *[False] * 15), 0), ((), 0)],
    )  # fmt: skip
    def test_lost_network_is_a_finding(self, db, online, count):
        self.rounds(*online)
        assert len(texts(findings.offline_portal)) == count

    def test_lost_network_is_dated_by_the_last_good_round(self, db):
        self.rounds(True, False, False)
        assert found(findings.offline_portal)[0].since == Round.objects.get(number=0).finished_at

    def test_old_rounds_are_no_finding(self, db):
        self.rounds(True, False, ago=20 * MINUTE)
        assert texts(findings.offline_portal) == []

    def test_finding_is_left_out_if_an_incident_reports_it(self, db):
        self.rounds(True, False)
        incident = opened(None, "offline")
        assert texts(findings.offline_portal) == []
        resolve_incidents([incident], mark())
        assert len(texts(findings.offline_portal)) == 1


class TestMaintenance:
    @pytest.mark.parametrize(
        ("start", "end", "fields", "count"),
        [(-HOUR, 2 * DAY, {}, 1), (-HOUR, 22 * HOUR, {}, 0), (HOUR, 3 * DAY, {}, 0), (-3 * DAY, -HOUR, {}, 0),
         (-8 * DAY, -6 * DAY, {"repeats": "weekly"}, 1), (-10 * DAY, -8 * DAY, {"repeats": "weekly"}, 0)],
    )  # fmt: skip
    def test_maintenance_of_everything_for_days_is_a_finding(self, db, start, end, fields, count):
        now = timezone.now()
        MaintenanceWindow.objects.create(name="Move", starts_at=now + start, ends_at=now + end, **fields)
        assert len(texts(findings.endless_maintenance)) == count

    def test_repeated_maintenance_is_dated_by_its_latest_start(self, db):
        now = timezone.now()
        MaintenanceWindow.objects.create(name="Move", starts_at=now - 8 * DAY, ends_at=now - 6 * DAY, repeats="weekly")
        assert [finding.since for finding in found(findings.endless_maintenance)] == [now - DAY]

    def test_maintenance_of_some_targets_is_no_finding(self, target):
        now = timezone.now()
        window = MaintenanceWindow.objects.create(name="Move", starts_at=now - HOUR, ends_at=now + 9 * DAY)
        assert len(texts(findings.endless_maintenance)) == 1
        window.targets.add(target)
        assert texts(findings.endless_maintenance) == []


def test_findings_take_the_same_queries_for_few_as_for_many(make_target):
    own = [source for source in findings.finding_sources.all() if source.__module__ == findings.__name__]

    def queries():
        with CaptureQueriesContext(connection) as captured:
            for source in own:
                found(source)
        return len(captured)

    now = timezone.now()
    few = queries()
    for number in range(20):
        target = make_target(
            f"t{number}", certificate_until=now, is_active=bool(number % 3), silenced_until=now + 99 * DAY
        )
        opened(target)
        MaintenanceWindow.objects.create(name="Move", starts_at=now - HOUR, ends_at=now + HOUR)
        Round.objects.create(
            number=number, started_at=now, finished_at=now, checks=1, failures=1, is_online=number != 19
        )
    assert len(own) == 7
    # One for each kind, and who watches; the rest of the incidents, and whether one says that the network is lost.
    assert few == 8
    assert queries() == 10
    assert Target.objects.count() == 20
