"""That operators hear of a verdict, and that the reports of a programme's life are kept."""

import json
import logging
import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone, translation

from beta.admin import display
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot, FeedbackWindow
from beta.report import review, snapshots
from beta.schedules import outdated_feedback, outdated_windows
from beta.tests.factories import create_feedback, create_programme
from monitoring.figures.uptime import DAY, HOUR
from portal.models import JobRun, OutboxMessage
from portal.work.jobs import AlreadyRunning, LeaseLost, claim_cycle, exclusive_lease
from portal.work.retention import delete_all
from portal.work.schedules import jobs, run_cycle

pytestmark = pytest.mark.django_db
Reason = BetaSnapshot.Reason


@pytest.fixture
def programme(channel):
    return create_programme("Spring beta", starts=timezone.localdate() - 9 * DAY, participants_target=1)


def review_again():
    """As another cycle's."""
    return review.review_verdicts(claim_cycle("monitoring.beta_verdicts", str(JobRun.objects.count())))


def score(programme, value):
    return create_feedback(programme, "olga@example.org", timezone.now(), nps_score=value)


def kept():
    return list(BetaSnapshot.objects.order_by("id").values_list("verdict", "reason"))


def told():
    return list(OutboxMessage.objects.order_by("id").values_list("title", flat=True))


class TestVerdicts:
    def test_first_verdict_is_stored_without_notification(self, programme):
        score(programme, 9)
        assert review_again() == {"kept": 1}
        assert (kept(), told()) == ([("GO", "verdict")], [])

    def test_programme_without_feedback_has_no_snapshot(self, programme):
        assert review_again() == {"kept": 0}
        assert kept() == []

    def test_unchanged_verdict_is_neither_stored_nor_sent_again(self, programme):
        score(programme, 9)
        review_again()
        create_feedback(programme, nps_score=10)
        assert review_again() == {"kept": 0}
        assert (kept(), told()) == ([("GO", "verdict")], [])

    def test_worse_verdict_is_a_warning_with_reason_and_link(self, programme):
        score(programme, 9)
        review_again()
        score(programme, 3)
        assert review_again() == {"kept": 1}
        message = OutboxMessage.objects.get()
        assert (message.title, message.text) == ("Spring beta: GO → NO-GO", "Not met: average score.")
        assert (message.get_severity_display(), message.subject) == ("warning", programme.subject)
        assert message.path == f"/admin/beta/betaprogramme/{programme.pk}/change/"

    def test_better_verdict_is_for_information(self, programme):
        score(programme, 3)
        review_again()
        score(programme, 9)
        review_again()
        message = OutboxMessage.objects.get()
        assert (message.title, message.text) == ("Spring beta: NO-GO → GO", "All criteria met.")
        assert message.get_severity_display() == "info"

    @pytest.mark.parametrize(("value", "severity"), [(3, "warning"), (9, "info")])
    def test_insufficient_data_ranks_between_go_and_no_go(self, programme, value, severity):
        create_feedback(programme)
        review_again()
        score(programme, value)
        review_again()
        message = OutboxMessage.objects.get()
        assert message.title.startswith("Spring beta: Not enough data → ")
        assert message.get_severity_display() == severity

    def test_each_change_is_sent(self, programme):
        for value in (9, 3, 9, 3):
            score(programme, value)
            review_again()
        assert told() == ["Spring beta: GO → NO-GO", "Spring beta: NO-GO → GO", "Spring beta: GO → NO-GO"]

    def test_notification_is_in_the_portals_language(self, programme, settings, monkeypatch):
        settings.LANGUAGE_CODE, spoken = "fr", []
        monkeypatch.setattr(review, "notify", lambda notice: spoken.append(translation.get_language()))
        score(programme, 9)
        review_again()
        score(programme, 3)
        with translation.override("en"):
            review_again()
        assert spoken == ["fr"]

    def test_change_is_sent_although_an_export_stored_it_first(self, programme):
        score(programme, 9)
        review_again()
        score(programme, 3)
        snapshots.take_snapshot(programme, timezone.now(), Reason.EXPORTED, "olga")
        review_again()
        assert kept() == [("GO", "verdict"), ("NO-GO", "exported"), ("NO-GO", "verdict")]
        assert told() == ["Spring beta: GO → NO-GO"]

    def test_each_programme_has_its_own_verdict(self, programme):
        other = create_programme("Autumn beta", starts=timezone.localdate(), participants_target=1)
        score(programme, 9)
        score(other, 3)
        assert review_again() == {"kept": 2}
        score(other, 9)
        assert review_again() == {"kept": 1}
        assert told() == ["Autumn beta: NO-GO → GO"]


class TestEnd:
    def set_end(self, programme, days):
        BetaProgramme.objects.filter(pk=programme.pk).update(ends=timezone.localdate() + days * DAY)

    @pytest.mark.parametrize(("days", "reasons"), [(0, []), (-1, ["closed"]), (-2, ["closed"]), (-3, []), (1, [])])
    def test_final_snapshot_is_stored_after_the_end(self, programme, days, reasons):
        self.set_end(programme, days)
        review_again()
        assert [reason for _verdict, reason in kept()] == reasons

    def test_once(self, programme):
        self.set_end(programme, -1)
        assert [review_again(), review_again()] == [{"kept": 1}, {"kept": 0}]

    def test_final_snapshot_is_stored_although_nothing_changed(self, programme):
        score(programme, 9)
        review_again()
        BetaSnapshot.objects.update(taken_at=timezone.now() - 3 * DAY)
        self.set_end(programme, -1)
        review_again()
        assert kept() == [("GO", "verdict"), ("GO", "closed")]
        assert told() == []

    def test_final_snapshot_is_not_stored_beside_a_later_export(self, programme):
        self.set_end(programme, -1)
        snapshots.take_snapshot(programme, timezone.now(), Reason.EXPORTED, "olga")
        assert review_again() == {"kept": 0}

    def test_verdict_that_changes_after_the_end_is_sent_as_final_snapshot(self, programme):
        score(programme, 9)
        review_again()
        BetaSnapshot.objects.update(taken_at=timezone.now() - 3 * DAY)
        self.set_end(programme, -1)
        score(programme, 3)
        review_again()
        assert review_again() == {"kept": 0}
        assert kept() == [("GO", "verdict"), ("NO-GO", "verdict")]
        assert told() == ["Spring beta: GO → NO-GO"]

    @pytest.mark.parametrize(
        ("zone", "end"),
        [("UTC", datetime(2026, 3, 11, tzinfo=UTC)), ("Europe/Paris", datetime(2026, 3, 10, 23, tzinfo=UTC))],
    )
    def test_programme_ends_at_midnight_in_the_portals_time_zone(self, programme, zone, end):
        programme.ends = date(2026, 3, 10)
        with timezone.override(zone):
            moments = (end - timedelta(seconds=1), end)
            reasons = [review.snapshot_reason(programme, {"verdict": "GO"}, "GO", moment) for moment in moments]
        assert reasons == [None, Reason.CLOSED]

    @pytest.mark.parametrize("days", [-3, -20, -730])
    def test_late_final_snapshot_is_stored_without_notification(self, programme, days):
        BetaProgramme.objects.update(starts=timezone.localdate() - 900 * DAY)
        score(programme, 9)
        review_again()
        BetaSnapshot.objects.update(taken_at=timezone.now() - 800 * DAY)
        score(programme, 3)
        self.set_end(programme, days)
        assert [review_again(), review_again()] == [{"kept": 1}, {"kept": 0}]
        assert (kept(), told()) == ([("GO", "verdict"), ("NO-GO", "closed")], [])

    def test_late_final_snapshot_is_stored_for_feedback_never_reviewed(self, programme):
        score(programme, 9)
        self.set_end(programme, -20)
        assert [review_again(), review_again()] == [{"kept": 1}, {"kept": 0}]
        assert kept() == [("GO", "closed")]

    def test_late_final_snapshot_is_stored_although_the_feedback_is_erased(self, programme):
        snapshots.take_snapshot(programme, timezone.now() - 30 * DAY, Reason.EXPORTED, "olga")
        self.set_end(programme, -20)
        assert review_again() == {"kept": 1}

    @pytest.mark.parametrize(("retention", "days"), [(730, -731), (1, -2)])
    def test_programme_past_retention_is_not_reviewed(self, programme, settings, retention, days):
        settings.FEEDBACK_RETENTION_DAYS = retention
        BetaProgramme.objects.update(starts=timezone.localdate() - 900 * DAY)
        score(programme, 9)
        review_again()
        BetaSnapshot.objects.update(taken_at=timezone.now() - 800 * DAY)
        BetaFeedback.objects.all().delete()
        self.set_end(programme, days)
        assert review_again() == {"kept": 0}
        assert (kept(), told()) == ([("GO", "verdict")], [])

    def test_programmes_to_review_take_one_query(self, programme, django_assert_num_queries):
        for number in range(5):
            create_feedback(create_programme(f"p{number}", ends=timezone.localdate() - (20 + number) * DAY))
        with django_assert_num_queries(1):
            assert len(review.programmes_to_review(timezone.now())) == 6

    def test_programme_that_has_not_begun_is_not_reviewed(self, programme):
        BetaProgramme.objects.update(starts=timezone.localdate() + DAY)
        score(programme, 9)
        assert review_again() == {"kept": 0}


class TestOnce:
    def test_cycle_has_one_effect(self, programme):
        job = next(job for job in jobs.all() if job.name == "monitoring.beta_verdicts")
        score(programme, 9)
        for _ in range(3):
            run_cycle(job)
        assert (job.every, kept()) == (HOUR, [("GO", "verdict")])
        assert JobRun.objects.get(job=job.name).result == {"kept": 1}

    def test_cycle_fails_while_another_review_holds_the_lease(self, programme):
        """He may have been killed, and have left it."""
        score(programme, 9)
        job = next(job for job in jobs.all() if job.name == "monitoring.beta_verdicts")
        with exclusive_lease(review.REVIEW_LEASE), pytest.raises(AlreadyRunning):
            run_cycle(job)
        assert (kept(), JobRun.objects.get(job=job.name).status) == ([], "failed")
        run_cycle(job)
        assert kept() == [("GO", "verdict")]

    def test_failing_programme_does_not_stop_the_others(self, programme, monkeypatch, caplog):
        others = [create_programme(f"p{number}", starts=timezone.localdate()) for number in range(3)]
        for each in (*others, programme):
            score(each, 9)
        made = review.build_report
        faulty = {others[1].pk: ZeroDivisionError("the faulty one")}

        def fail(programme, now):
            if programme.pk in faulty:
                raise faulty[programme.pk]
            return made(programme, now)

        monkeypatch.setattr(review, "build_report", fail)
        job = next(job for job in jobs.all() if job.name == "monitoring.beta_verdicts")
        with caplog.at_level(logging.ERROR), pytest.raises(ZeroDivisionError):
            run_cycle(job)
        assert BetaSnapshot.objects.count() == 3
        assert JobRun.objects.get(job=job.name).error == "ZeroDivisionError: the faulty one"
        assert f"beta:{others[1].pk}" in caplog.text

    def test_review_stops_when_its_lease_is_lost(self, programme, monkeypatch):
        score(programme, 9)
        score(create_programme("other", starts=timezone.localdate()), 9)
        seen = []

        def lose(programme, *args):
            seen.append(programme)
            raise LeaseLost

        monkeypatch.setattr(review, "review_programme", lose)
        with pytest.raises(LeaseLost):
            review_again()
        assert len(seen) == 1

    @pytest.mark.parametrize("overtaken", ["monitoring.beta_verdicts", review.REVIEW_LEASE])
    def test_review_with_a_lost_lease_writes_nothing(self, programme, monkeypatch, overtaken):
        score(programme, 9)
        made = review.build_report

        def overtake(*args):
            report = made(*args)
            JobRun.objects.filter(job=overtaken).update(fence=99)
            return report

        monkeypatch.setattr(review, "build_report", overtake)
        with pytest.raises(LeaseLost):
            review_again()
        assert (kept(), told()) == ([], [])

    def test_failing_notification_leaves_no_snapshot(self, programme, monkeypatch):
        score(programme, 9)
        review_again()
        score(programme, 3)
        monkeypatch.setattr(review, "notify", lambda notice: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            review_again()
        assert kept() == [("GO", "verdict")]


@pytest.mark.django_db(transaction=True)
def test_concurrent_reviews_store_and_send_once(programme):
    score(programme, 9)
    review_again()
    score(programme, 3)
    leases = [claim_cycle("monitoring.beta_verdicts", f"cycle {number}") for number in range(4)]
    begin, done = threading.Barrier(len(leases)), []

    def look(lease):
        begin.wait()
        try:
            done.append(review.review_verdicts(lease)["kept"])
        except AlreadyRunning:
            done.append(0)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=look, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 0, 0, 1]
    assert kept() == [("GO", "verdict"), ("NO-GO", "verdict")]
    assert told() == ["Spring beta: GO → NO-GO"]


class TestRetention:
    def test_programme_past_retention_shows_its_last_snapshot(self, programme, admin_client, capsys):
        """On its page, by the API and for the command; none of them keeps another."""
        BetaProgramme.objects.update(
            starts=timezone.localdate() - 2000 * DAY, ends=timezone.localdate() - 731 * DAY, name="Old"
        )
        programme.refresh_from_db()
        score(programme, 9)
        last = snapshots.write_snapshot(
            programme, review.build_report(programme, timezone.now()), timezone.now() - 700 * DAY, Reason.CLOSED
        )
        BetaFeedback.objects.all().delete()
        now = timezone.now()
        assert snapshots.is_past_retention(programme, now)
        assert snapshots.current_report(programme, now) == last.data
        assert snapshots.take_snapshot(programme, now, Reason.EXPORTED, "olga") == last
        page = admin_client.get(f"/admin/beta/betaprogramme/{programme.pk}/change/")
        assert page.context["shown"].verdict == display.present_report(last.data).verdict
        assert admin_client.get("/api/v1/beta/report?programme=Old").json() == last.data
        call_command("beta_report", "--programme", "Old", "--check", "--format", "json")
        assert json.loads(capsys.readouterr().out)["generated_at"] == last.data["generated_at"]
        assert BetaSnapshot.objects.get() == last

    @pytest.mark.parametrize("days", [None, 5, -1, -730])
    def test_programme_within_retention_shows_the_live_report(self, programme, days):
        ends = None if days is None else timezone.localdate() + days * DAY
        BetaProgramme.objects.update(starts=timezone.localdate() - 2000 * DAY, ends=ends)
        programme.refresh_from_db()
        first = snapshots.take_snapshot(programme, timezone.now(), Reason.EXPORTED)
        score(programme, 9)
        now = timezone.now()
        assert not snapshots.is_past_retention(programme, now)
        assert (first.verdict, snapshots.current_report(programme, now)["verdict"]) == ("INSUFFICIENT DATA", "GO")

    def test_programme_without_snapshot_shows_the_live_report(self, programme):
        programme.ends = timezone.localdate() - 731 * DAY
        score(programme, 9)
        assert snapshots.current_report(programme, timezone.now())["verdict"] == "GO"

    @pytest.mark.parametrize(("days", "left"), [(-729, 2), (-730, 2), (-731, 0), (None, 2), (5, 2)])
    def test_feedback_is_deleted_after_its_retention_and_snapshots_stay(self, programme, days, left):
        BetaProgramme.objects.update(
            starts=timezone.localdate() - 2000 * DAY, ends=None if days is None else timezone.localdate() + days * DAY
        )
        first = create_feedback(programme)
        create_feedback(programme, status="duplicate", duplicate_of=first)
        snapshots.take_snapshot(programme, timezone.now(), Reason.EXPORTED)
        delete_all(outdated_feedback(timezone.now()), claim_cycle("prune", "now"))
        assert (BetaFeedback.objects.count(), BetaSnapshot.objects.count()) == (left, 1)
        assert BetaProgramme.objects.exists()

    def test_rate_limit_windows_are_deleted_after_two_hours(self, db):
        now = timezone.now()
        for key, hours in (("a", 1), ("b", 1.9), ("c", 2.1)):
            FeedbackWindow.objects.create(key=key, count=1, window_started_at=now - timedelta(hours=hours))
        delete_all(outdated_windows(now), claim_cycle("prune", "now"))
        assert set(FeedbackWindow.objects.values_list("key", flat=True)) == {"a", "b"}

    def test_retention_without_ended_programmes_reads_no_feedback(self, programme, django_assert_num_queries):
        create_feedback(programme)
        with django_assert_num_queries(1):
            assert not outdated_feedback(timezone.now()).exists()
