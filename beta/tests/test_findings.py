"""What about beta programmes needs an operator now."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from beta.feedback.triage import apply_triage
from beta.findings import unready_programmes, waiting_bugs
from beta.models import BetaFeedback, BetaSnapshot
from beta.report.snapshots import take_snapshot
from beta.tests.factories import create_feedback, create_programme
from monitoring.figures.uptime import DAY, HOUR
from portal.base.findings import Severity, finding_sources
from portal.desk.findings import current_findings

pytestmark = pytest.mark.django_db
WARNING, INFO = Severity.WARNING, Severity.INFO


@pytest.fixture(autouse=True)
def fresh_figures():
    cache.clear()


def today():
    return timezone.localdate()


@pytest.fixture
def programme(db):
    return create_programme("Spring beta", starts=today() - 9 * DAY, participants_target=1)


def bug(programme, severity, ago=HOUR, **fields):
    return create_feedback(programme, received_at=timezone.now() - ago, type="bug", severity=severity, **fields)


def found(source):
    return list(source(timezone.now()))


def texts(source):
    return [finding.text for finding in found(source)]


def listed(client, finding):
    return {str(row) for row in client.get(finding.url).context["cl"].queryset}


def test_findings_are_registered():
    assert {waiting_bugs, unready_programmes} <= set(finding_sources.all())


class TestBugs:
    def test_critical_bugs_are_one_finding_with_a_link(self, admin_client, programme):
        bugs = [bug(programme, "critical", 5 * HOUR), bug(programme, "critical", HOUR, status="planned")]
        bug(programme, "high"), bug(programme, "critical", status="fixed")
        bug(create_programme("Other", ends=today() - DAY), "critical")
        (finding,) = found(waiting_bugs)
        assert (finding.severity, finding.text) == (WARNING, "2 critical bugs in Spring beta are open.")
        assert finding.since == BetaFeedback.objects.get(pk=bugs[0].pk).received_at
        assert finding.key == f"beta.bugs:{programme.pk}:critical"
        assert listed(admin_client, finding) == {str(row) for row in bugs}

    def test_single_bug_is_in_the_singular(self, programme):
        bug(programme, "critical")
        assert texts(waiting_bugs) == ["1 critical bug in Spring beta is open."]

    def test_high_bugs_are_a_finding_after_three_days(self, admin_client, programme):
        old = bug(programme, "high", 3 * DAY + HOUR)
        bug(programme, "medium", 9 * DAY), bug(programme, "high", 9 * DAY, status="declined")
        (finding,) = found(waiting_bugs)
        assert finding.severity == WARNING
        assert finding.text == "1 high-severity bug in Spring beta is still open."
        assert listed(admin_client, finding) == {str(old)}

    def test_unrated_bugs_are_a_finding_after_two_days(self, admin_client, programme):
        old = bug(programme, "", 2 * DAY + HOUR)
        bug(programme, "medium"), create_feedback(programme, type="ux", received_at=old.received_at)
        (finding,) = found(waiting_bugs)
        assert (finding.severity, finding.since) == (INFO, old.received_at + 2 * DAY)
        assert finding.text == "1 bug in Spring beta is waiting for triage."
        assert listed(admin_client, finding) == {str(old)}

    def test_bug_that_triage_makes_critical_or_reopens_is_dated_by_the_triage(self, programme):
        rated, reopened = bug(programme, "high", DAY), bug(programme, "critical", 2 * DAY, status="fixed")
        began = timezone.now()
        apply_triage(rated, {"severity": "critical"})
        (first,) = found(waiting_bugs)
        apply_triage(rated, {"status": "fixed"})
        assert found(waiting_bugs) == []
        apply_triage(reopened, {"status": "open"})
        (second,) = found(waiting_bugs)
        assert began <= first.since < second.since

    def test_another_bug_renews_the_finding(self, programme):
        first = bug(programme, "critical", 5 * HOUR)
        second = bug(programme, "critical", HOUR)
        (finding,) = found(waiting_bugs)
        assert (finding.since, finding.renewed_at) == (first.received_at, second.received_at)

    def test_planning_a_bug_does_not_date_the_finding_anew(self, programme):
        waiting = bug(programme, "critical")
        apply_triage(waiting, {"status": "planned"})
        assert [finding.renewed_at for finding in found(waiting_bugs)] == [waiting.received_at]

    def test_triage_of_other_fields_does_not_date_the_finding_anew(self, programme):
        waiting = bug(programme, "critical")
        apply_triage(waiting, {"fix_version": "6.1"})
        assert [finding.since for finding in found(waiting_bugs)] == [waiting.received_at]

    @pytest.mark.parametrize(("severity", "days"), [("high", 3), ("", 2)])
    def test_young_bugs_are_no_finding(self, programme, severity, days):
        bug(programme, severity, days * DAY - HOUR)
        assert texts(waiting_bugs) == []

    def test_age_of_a_bug_counts_from_its_receipt(self, programme):
        bug(programme, "high", given_at=timezone.now() - 9 * DAY)
        assert texts(waiting_bugs) == []

    @pytest.mark.parametrize(("starts", "ends", "count"), [(0, 0, 1), (-9, None, 1), (1, 9, 0), (-9, -1, 0)])
    def test_only_bugs_of_running_programmes_are_findings(self, starts, ends, count):
        bug(
            create_programme(starts=today() + starts * DAY, ends=None if ends is None else today() + ends * DAY),
            "critical",
        )
        assert len(texts(waiting_bugs)) == count

    def test_number_of_findings_is_bounded(self, django_assert_num_queries):
        for number in range(7):
            bug(create_programme(f"Beta {number}"), "critical")
        with django_assert_num_queries(1) as made:
            shown = texts(waiting_bugs)
        assert made.captured_queries[0]["sql"].endswith("LIMIT 6")
        assert shown[0].startswith("1 critical bug in Beta 6 ")
        assert (len(shown), shown[5]) == (6, "Bugs in other beta programmes are waiting.")


class TestEnd:
    def ending(self, days, score=None):
        programme = create_programme("Spring beta", ends=today() + days * DAY, participants_target=1)
        create_feedback(programme, nps_score=score)
        return programme

    def test_programme_that_ends_soon_without_a_go_is_a_finding_with_the_reason(self, admin_client):
        programme = self.ending(3, 5)
        (finding,) = found(unready_programmes)
        end = programme.ends.strftime("%B")
        assert (finding.severity, finding.key) == (WARNING, f"beta.end:{programme.pk}")
        assert timezone.now() - DAY < finding.since <= timezone.now()
        assert finding.text == (
            f"Spring beta ends on {programme.ends.day} {end} with the verdict NO-GO. Not met: average score."
        )
        assert admin_client.get(finding.url).status_code == 200

    def test_finding_is_dated_by_the_last_report_with_a_go(self):
        programme = self.ending(1, 5)
        ready = take_snapshot(programme, timezone.now() - HOUR, BetaSnapshot.Reason.VERDICT)
        BetaSnapshot.objects.filter(pk=ready.pk).update(verdict="GO")
        assert [finding.since for finding in found(unready_programmes)] == [ready.taken_at]

    @pytest.mark.parametrize(("days", "score", "count"), [(3, 9, 0), (4, 5, 0), (0, 5, 1), (1, None, 1), (-1, 5, 0)])
    def test_programme_with_a_go_or_time_left_is_no_finding(self, days, score, count):
        self.ending(days, score)
        assert len(texts(unready_programmes)) == count

    def test_programme_without_an_end_is_no_finding(self, programme):
        assert texts(unready_programmes) == []

    def test_statuses_are_cached_for_a_minute(self, django_assert_num_queries):
        self.ending(1, 5)
        found(unready_programmes)
        with django_assert_num_queries(2):  # the programmes, and their last GO
            found(unready_programmes)

    def test_number_of_findings_is_bounded(self):
        for number in range(12):
            create_programme(f"Beta {number}", ends=today() + timedelta(days=1))
        assert len(texts(unready_programmes)) == 10


def test_empty_installation_has_no_findings(programme):
    create_feedback(programme, nps_score=9)
    assert [finding for finding in current_findings(timezone.now()) if "beta" in finding.text.lower()] == []
