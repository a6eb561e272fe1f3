"""Reports and messages about many people: an export shows one person's part, and an erasure removes it."""

from __future__ import annotations

import json
import os
import time

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agents.models import Agent
from monitoring.alerts.incidents import note_cause
from monitoring.models import Incident, Target
from portal.base import files
from portal.models import JobRun, OutboxMessage
from portal.notifications.configuration import synchronise_environment_channels
from portal.privacy import erasing, personal_data
from portal.privacy.subjects import parse_subject
from portal.work.jobs import LeaseLost
from tests.privacy.test_erasure import activity, erased, everything, exported, folders, message, naming, operator
from usage.guardian import reports
from usage.guardian.summary import build_summary
from usage.models import FeatureUsage, GuardianReport
from usage.tests.factories import at, create_error, create_feature_usage

pytestmark = pytest.mark.django_db
__all__ = ["folders", "operator"]


def report():
    start, end = at("14:00"), at("16:00")
    return reports.create(start, end, build_summary(start, end))


class TestMessages:
    def test_export_shows_only_the_mail_lines_that_name_the_person(self, operator, settings):
        settings.GUARDIAN_RECIPIENTS = ["boss@example.org"]
        synchronise_environment_channels()
        for who in ("bob@example.org", "amy@example.org"):
            create_feature_usage(who, at("14:10"))
            create_error(who, at("14:11"))
        report()
        tables = exported("bob@example.org")
        assert "amy@example.org" not in json.dumps(tables)
        assert "boss@example.org" not in json.dumps(tables)
        [shown] = tables["portal.OutboxMessage"]
        assert shown["text"] == "- bob@example.org: 1 request, 1 error\n[left out]"
        assert (shown["html"], shown["recipient"], shown["title"]) == ("[left out]", "[left out]", "[left out]")

    def test_export_of_a_recipient_omits_lines_about_others(self, operator, settings):
        settings.GUARDIAN_RECIPIENTS = ["boss@example.org"]
        synchronise_environment_channels()
        create_feature_usage("amy@example.org", at("14:10"))
        report()
        [shown] = exported("boss@example.org")["portal.OutboxMessage"]
        assert "amy@example.org" not in json.dumps(shown)
        assert (shown["recipient"], shown["text"], shown["html"]) == ("boss@example.org", "[left out]", "[left out]")
        assert shown["title"].startswith("Usage digest, 2026-03-10")

    def test_message_about_the_person_alone_is_exported_whole(self, operator):
        message(1, "bob@example.org", title="Late", text="Tell bob@example.org.", error="550 bob@example.org")
        [shown] = exported("bob@example.org")["portal.OutboxMessage"]
        assert (shown["title"], shown["text"], shown["html"], shown["error"]) == (
            "Late",
            "Tell bob@example.org.",
            "",
            "550 bob@example.org",
        )

    def test_dedupe_key_naming_the_person_is_erased_and_others_stay(self, operator):
        own, other = message(1, "amy@example.org"), message(2, "amy@example.org")
        OutboxMessage.objects.filter(pk=own.pk).update(dedupe_key="late:bob@example.org")
        erased("bob@example.org")
        keys = OutboxMessage.objects.order_by("pk").values_list("dedupe_key", flat=True)
        assert list(keys) == [f"erased:{own.pk}", other.dedupe_key]

    def test_erasure_warns_that_the_guardian_still_mails_the_person(self, operator, settings):
        settings.GUARDIAN_RECIPIENTS = ["Bob@example.org"]
        create_feature_usage("bob@example.org", at("14:10"))
        said = erased("bob@example.org")
        assert said.count("GUARDIAN_RECIPIENTS") == 1
        assert "GUARDIAN_RECIPIENTS" not in erased("amy@example.org")


class TestIncidentCauses:
    @pytest.fixture
    def incident(self, operator):
        User.objects.create_user("bob", "bob@example.org")
        target = Target.objects.create(name="Shop", url="https://example.org/")
        return Incident.objects.create(
            subject=target.subject,
            target=target,
            rule="unavailable",
            opened_at=timezone.now(),
            acknowledged_by="operator",
        )

    def test_their_note_on_another_persons_incident_is_erased(self, incident):
        note_cause([incident], "The UPS", "operator", timezone.now())
        note_cause([incident], "My brother pulled the plug", "bob", timezone.now())
        assert "monitoring.Incident" in exported("bob@example.org")
        erased("bob@example.org")
        assert [key for key, text in everything().items() if "brother" in text] == []

    def test_later_note_by_another_person_stays(self, incident):
        note_cause([incident], "My brother pulled the plug", "bob", timezone.now())
        note_cause([incident], "The UPS", "operator", timezone.now())
        assert "monitoring.Incident" not in exported("bob@example.org")
        erased("bob@example.org")
        incident.refresh_from_db()
        assert incident.cause == "The UPS"
        assert list(incident.timeline.values_list("text", flat=True)) == ["", "The UPS"]


class Meanwhile:
    """Write the guardian's report between two tables of an erasure."""

    label = "meanwhile"

    def erase(self, *args):
        reports.write_file(report())
        return 0


@pytest.mark.parametrize("after", ["usage.Run", "usage.UserSession", "usage.UserError", "usage.FeatureUsage"])
def test_report_made_during_an_erasure_does_not_name_the_person(operator, settings, monkeypatch, after):
    settings.GUARDIAN_RECIPIENTS = ["boss@example.org"]
    synchronise_environment_channels()
    create_feature_usage("bob@example.org", at("14:10"))
    create_error("bob@example.org", at("14:11"))
    those = list(personal_data.all())
    those.insert(next(place for place, holding in enumerate(those) if holding.label == after), Meanwhile())
    monkeypatch.setattr(erasing.personal_data, "all", lambda: those)
    erasing.erase(parse_subject("bob@example.org"), lambda label, rows: None)
    assert GuardianReport.objects.count() == OutboxMessage.objects.count() == 1
    assert naming(everything(), "bob@example.org") == []
    assert "bob" not in (settings.REPORTS_ROOT / "usage_report.json").read_text()


class TestPartialReportFile:
    @pytest.fixture
    def left(self, operator, settings, monkeypatch):
        """Return the partial file that a writer leaves if killed before the rename."""
        create_feature_usage("bob@example.org", at("14:10"))
        made = report()
        if not (pid := os.fork()):
            files.os.replace = lambda *args: os._exit(9)
            reports.write_file(made)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
        [left] = settings.REPORTS_ROOT.iterdir()
        assert "bob@example.org" in left.read_text()
        return left

    def test_partial_file_is_removed_with_the_person_it_names(self, left, settings):
        assert [row["file"] for row in exported("bob@example.org")["usage_report.json"]] == [left.name]
        assert "usage_report.json" in erased("bob@example.org", "--dry-run")
        assert left.exists()
        erased("bob@example.org")
        assert list(settings.REPORTS_ROOT.iterdir()) == []

    def test_partial_file_cut_within_a_name_is_removed(self, left, settings):
        left.write_text('{"users": [{"email": "bob@exam')
        activity("bob@example.org")
        erased("bob@example.org")
        assert list(settings.REPORTS_ROOT.iterdir()) == []

    @pytest.mark.parametrize(("age", "stays"), [(3590, True), (3610, False)])
    def test_next_report_removes_a_stale_partial_file(self, left, age, stays):
        os.utime(left, (time.time() - age, time.time() - age))
        reports.write_file(GuardianReport.objects.get())
        assert left.exists() is stays

    def test_files_with_other_names_stay(self, left, settings):
        names = [
            "usage_report.json.AbCd1234",
            ".other.json.AbCd1234",
            ".usage_report.json.swp",
            ".usage_report_json.AbCd1234",
        ]
        for name in names:
            (settings.REPORTS_ROOT / name).touch()
            os.utime(settings.REPORTS_ROOT / name, (0, 0))
        erased("bob@example.org")
        assert sorted(found.name for found in settings.REPORTS_ROOT.iterdir()) == sorted(names)


class TestErasure:
    def test_overtaken_erasure_changes_nothing_more(self, operator):
        activity("bob@example.org")
        lease = erasing.claim_erasure(parse_subject("bob@example.org"))
        JobRun.objects.filter(pk=lease.pk).update(fence=lease.fence + 1)
        [table] = [holding for holding in personal_data.all() if holding.label == "usage.FeatureUsage"]
        with pytest.raises(LeaseLost):
            table.erase(parse_subject("bob@example.org"), "erased-1", lease)
        assert FeatureUsage.objects.get().user_email == "bob@example.org"

    def test_account_named_by_the_address_in_other_case_is_theirs(self, operator):
        User.objects.create_user("Bob@Example.org")
        erased("bob@example.org")
        assert naming(everything(), "bob@example.org") == []
        assert User.objects.filter(is_active=False, username__startswith="erased-").exists()

    def test_long_pseudonym_is_truncated_to_its_column(self, operator):
        longest = Agent._meta.get_field("hostname").max_length
        now = timezone.now()
        agent = Agent.objects.create(
            machine_id="PC-2", hostname=f"{'x' * (longest - 5)} PC-1", enrolled_at=now, last_seen_at=now
        )
        erased("PC-1")
        agent.refresh_from_db()
        assert agent.hostname == f"{'x' * (longest - 5)} eras"
