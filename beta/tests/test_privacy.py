"""What participants said stays when they are erased, and their names go: from feedback, and from all that quotes it."""

import json
import unicodedata

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import models

from beta.admin.feedback_actions import TRIAGED
from beta.models import BetaFeedback, BetaProgramme, BetaSnapshot, FeedbackTag, FeedbackWindow
from beta.tests.factories import create_bug, get_programme
from monitoring.models import Incident
from monitoring.terminal.text_table import indent_text
from portal import audit
from portal.models import AuditEvent
from portal.privacy import personal_data
from portal.privacy.registry import PersonalDataTable
from tests.privacy.test_erasure import PSEUDONYM, erased, everything, exported, folders, naming, operator, quoting

pytestmark = pytest.mark.django_db
__all__ = ["folders", "operator"]


# Texts that no person writes, and the hashes; nobody can be found in a window, and no export shows one.
LEFT_OUT = {"feedback.digest", "programme.public_key", "snapshot.verdict", "window.key"}
MODELS = {
    "feedback": BetaFeedback,
    "programme": BetaProgramme,
    "snapshot": BetaSnapshot,
    "tag": FeedbackTag,
    "window": FeedbackWindow,
}


def searched(model):
    tables = [table for table in personal_data.all() if isinstance(table, PersonalDataTable) and table.model is model]
    return {name for table in tables for name in (*table.names, *table.texts, *table.written, *table.elsewhere)}


@pytest.mark.parametrize("called", MODELS)
def test_every_text_column_is_searched_for_names_or_left_out_on_purpose(called):
    fields = (field for field in MODELS[called]._meta.concrete_fields if not field.choices)
    texts = {
        field.name for field in fields if isinstance(field, (models.CharField, models.TextField, models.JSONField))
    }
    left_out = {name.partition(".")[2] for name in LEFT_OUT if name.startswith(f"{called}.")}
    assert texts - searched(MODELS[called]) == left_out


@pytest.fixture
def reports(settings):
    return settings.REPORTS_ROOT


def kept(feedback, **data):
    report = quoting(feedback) | data
    taken_at = feedback.received_at
    return BetaSnapshot.objects.create(
        programme=feedback.programme, taken_at=taken_at, verdict="GO", reason="command", data=report
    )


class TestParticipant:
    def test_erased_participant_is_replaced_and_the_feedback_kept(self, operator):
        feedback = create_bug("carol smith", comment="It works. Carol Smith, Lyon", nps_score=9)
        erased("participant:Carol  Smith")
        feedback.refresh_from_db()
        assert PSEUDONYM.fullmatch(feedback.participant)
        assert feedback.comment == f"It works. {feedback.participant}, Lyon"
        assert (feedback.nps_score, feedback.digest) == (9, "")

    def test_name_is_replaced_in_feedback_of_others_and_in_reports(self, operator, reports):
        other = create_bug("bob@example.org", comment="CAROL\nsmith showed me.", page="/of/carol smith")
        report = kept(other)
        file = reports / "beta_report_20260310_120000.txt"
        file.write_text("Comments\n 1. Carol\n    Smith showed me.\n")
        erased("participant:carol smith")
        assert naming(everything(), "carol smith", "CAROL\\nsmith") == []
        report.refresh_from_db()
        [name] = set(PSEUDONYM.findall(file.read_text()))
        assert report.data["ux_comments"] == [f"{name} showed me."]
        assert file.read_text() == f"Comments\n 1. {name} showed me.\n"

    def test_account_with_the_same_name_is_kept(self, operator):
        User.objects.create_user("carol")
        create_bug("carol")
        Incident.objects.create(
            subject="x", rule="slow", opened_at=create_bug("amy").given_at, acknowledged_by="carol", cause="ask carol"
        )
        said = erased("participant:carol")
        assert User.objects.filter(username="carol", is_active=True).exists()
        assert naming(everything(), "carol") == ["auth.User", "monitoring.Incident"]
        assert said.count("\n") == 2

    @pytest.mark.parametrize("name", ["carola", "mc.carol", "carol@example.org"])
    def test_longer_name_that_contains_the_name_is_kept(self, operator, name):
        feedback = create_bug(name, comment=f"I am {name}.")
        assert "No data about" in erased("participant:carol")
        feedback.refresh_from_db()
        assert (feedback.participant, feedback.comment, feedback.digest) == (name, f"I am {name}.", "d1")

    @pytest.mark.parametrize("name", ["שלום", "o'brien (it)"])
    def test_participant_in_any_script_is_found_and_erased(self, operator, name):
        create_bug(name)
        assert [row["participant"] for row in exported(f"participant:{name.upper()}")["beta.BetaFeedback"]] == [name]
        erased(f"participant:{name}")
        assert not BetaFeedback.objects.filter(participant=name).exists()

    def test_address_erases_the_account_and_the_participant(self, operator):
        create_bug("bob@example.org")
        User.objects.create_user("bob", "Bob@example.org")
        erased("participant:BOB@example.org")
        assert naming(everything(), "bob@example.org", "bob") == []

    @pytest.mark.parametrize("nobody", ["  ", "\u200b"])
    def test_empty_participant_name_is_refused(self, operator, nobody):
        with pytest.raises(CommandError, match="participant:NAME is expected"):
            erased(f"participant:{nobody}")

    def test_name_is_replaced_in_versions(self, operator):
        feedback = create_bug("amy", app_version="6.0 of Carol", fix_version="6.1, ask carol")
        erased("participant:carol")
        feedback.refresh_from_db()
        assert PSEUDONYM.sub("X", feedback.app_version) == "6.0 of X"
        assert PSEUDONYM.sub("X", feedback.fix_version) == "6.1, ask X"

    def test_name_is_replaced_in_tags_and_versions_of_the_audit_trail(self, operator):
        feedback = create_bug("amy")
        before, after = {"tags": ""}, {"tags": "bug, carol wish", "fix_version": "6.1 for Carol", "status": "fixed"}
        audit.record_event(TRIAGED, feedback.subject, actor="user:carol", before=before, after=after)
        audit.record_event("carol.sang", "carol", actor="user:amy", after={"tags": "carol"})
        assert [row["after"] for row in exported("participant:carol")["portal.AuditEvent"]] == [after]
        said = erased("participant:carol")
        assert "portal.AuditEvent                        1" in said
        event = AuditEvent.objects.get(action=TRIAGED)
        words = {name: PSEUDONYM.sub("X", value) for name, value in event.after.items()}
        assert words == {"tags": "bug, X wish", "fix_version": "6.1 for X", "status": "fixed"}
        assert (event.actor, event.before) == ("user:carol", before)
        assert AuditEvent.objects.get(action="carol.sang").after == {"tags": "carol"}

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            ("josé núñez", unicodedata.normalize("NFD", "José Núñez")),
            (unicodedata.normalize("NFD", "José Núñez"), "JOSÉ\nNÚÑEZ"),
            ("carol", "@Carol"),
            ("ann-marie o'neil", "Ann-Marie O\u2019Neil"),
            ("ann-marie o\u2019neil", "Ann-Marie O'Neil"),
            ("İnci", "I\u0307nci"),
            ("olİver", "OLİVER"),
            ("Jürgen Groß", "JÜRGEN GROSS"),
            ("علیرضا", "علی\u200cرضا"),
            ("علی\u200cرضا", "علیرضا"),
            ("ελένη", "ΕΛΈΝΗ"),
            ("Нина Ёлкина", unicodedata.normalize("NFD", "нина ёлкина")),
            ("김한별", unicodedata.normalize("NFD", "김한별")),
        ],
    )
    def test_name_is_replaced_in_every_spelling(self, operator, reports, name, written):
        feedback = create_bug("amy", comment=f"Ask ({written}), he knows.")
        report, file = kept(feedback), reports / "beta_report_20260310_120000.txt"
        file.write_text(f"    {written} said so\n")
        tag = FeedbackTag.objects.create(name=f"for {written.lower()}")
        own = create_bug(unicodedata.normalize("NFC", written.lower().replace("\n", " ").replace("@", "")))
        erased(f"participant:{name}")
        for row in (feedback, report, tag, own):
            row.refresh_from_db()
        assert PSEUDONYM.sub("X", feedback.comment) in ("Ask (X), he knows.", "Ask (@X), he knows.")
        assert report.data["ux_comments"] == [feedback.comment]
        assert PSEUDONYM.sub("X", file.read_text()) in ("    X said so\n", "    @X said so\n")
        assert PSEUDONYM.search(tag.name)
        assert PSEUDONYM.fullmatch(own.participant)

    @pytest.mark.parametrize(
        ("name", "other"),
        [
            ("jose", unicodedata.normalize("NFD", "José")),
            ("carol", "amy@carol"),
            ("carol", "amy.@carol"),
            ("inci", "I\u0307nci"),
        ],
    )
    def test_name_of_other_letters_is_kept(self, operator, name, other):
        create_bug("amy", comment=f"Ask {other}.")
        assert "No data about" in erased(f"participant:{name}")

    def test_invisible_characters_do_not_hide_a_name(self, operator):
        feedback, tag = create_bug("car\u200bol\u200b"), FeedbackTag.objects.create(name="of car\xadol")
        comment = create_bug("amy", comment="carol, or car\u2060ol")
        BetaFeedback.objects.filter(pk=feedback.pk).update(comment="I am carol")
        erased("participant:ca\u200drol")
        for row in (feedback, tag, comment):
            row.refresh_from_db()
        assert PSEUDONYM.fullmatch(feedback.participant)
        assert PSEUDONYM.sub("X", comment.comment) == "X, or X"
        assert PSEUDONYM.match(tag.name.removeprefix("of "))


class TestPerson:
    def test_person_is_found_as_participant_by_username_and_address(self, operator):
        User.objects.create_user("BobRoy", "Bob@Example.ORG")
        for name in ("bob@example.org", "bobroy"):
            create_bug(name)
        erased("BOB@example.org")
        assert BetaFeedback.objects.filter(participant__startswith="erased-").count() == 2

    def test_export_of_others_feedback_has_only_the_lines_that_name_the_subject(self, operator):
        create_bug("bob@example.org", comment="Mine\nalone")
        create_bug("amy@example.org", comment="Her secret\nask bob@example.org")
        create_bug("eve@example.org", comment="Nothing")
        own, other = sorted(exported("bob@example.org")["beta.BetaFeedback"], key=lambda row: row["id"])
        assert (own["participant"], own["comment"]) == ("bob@example.org", "Mine\nalone")
        assert (other["participant"], other["comment"]) == ("[left out]", "ask bob@example.org\n[left out]")
        assert "digest" not in own

    def test_export_of_a_snapshot_has_only_the_quotes_that_name_the_subject(self, operator):
        kept(create_bug("amy", comment="Her secret"), ux_comments=["Her secret", "ask bob@example.org"])
        [row] = exported("bob@example.org")["beta.BetaSnapshot"]
        assert row["data"]["ux_comments"] == ["ask bob@example.org"]
        assert "secret" not in json.dumps(row)

    def test_export_of_assigned_feedback_leaves_out_participant_and_comment(self, operator):
        user = User.objects.create_user("bob", "bob@example.org")
        create_bug("amy@example.org", comment="Her secret", assignee=user)
        [row] = exported("bob@example.org")["beta.BetaFeedback"]
        assert (row["participant"], row["comment"]) == ("[left out]", "[left out]")

    def test_name_cut_off_by_an_ellipsis_is_replaced(self, operator, reports):
        report = kept(create_bug("amy"), open_bugs=[{"comment": "It was bob@exam…", "page": ""}])
        file = reports / "beta_report_20260310_120000.txt"
        file.write_text("It was bob@exam… (100,000 characters in all)\nrob.bob@ex…\n")
        erased("bob@example.org")
        report.refresh_from_db()
        assert PSEUDONYM.sub("X", report.data["open_bugs"][0]["comment"]) == "It was X…"
        assert PSEUDONYM.sub("X", file.read_text()) == "It was X… (100,000 characters in all)\nrob.bob@ex…\n"

    def test_unique_names_stay_unique_after_the_erasure(self, operator):
        User.objects.create_user("bobroy", "bob@example.org")
        for name in ("bobroy", "bob@example.org"):
            FeedbackTag.objects.create(name=name)
            BetaProgramme.objects.create(name=f"{'x' * 60} {name}")
        erased("bob@example.org")
        assert naming(everything(), "bobroy", "bob@example.org") == []
        assert FeedbackTag.objects.count() == BetaProgramme.objects.count() == 2

    def test_user_who_took_a_snapshot_is_replaced(self, operator):
        User.objects.create_user("bob", "bob@example.org")
        BetaSnapshot.objects.filter(pk=kept(create_bug("amy")).pk).update(taken_by="bob")
        erased("bob@example.org")
        assert PSEUDONYM.fullmatch(BetaSnapshot.objects.get().taken_by)

    def test_origin_that_names_the_subject_is_reported_and_kept(self, operator):
        programme = get_programme(allowed_origins="https://pc-1.example.org")
        said = erased("pc-1.example.org")
        programme.refresh_from_db()
        assert f"The allowed origins of beta programme {programme.pk} contain the name" in said
        assert programme.allowed_origins == "https://pc-1.example.org"


class TestMachine:
    def test_machine_is_replaced_in_source_and_comment_and_its_participant_kept(self, operator):
        feedback = create_bug("amy@example.org", source="agent:PC-1", comment="On PC-1, not PC-10")
        assert exported("PC-1")["beta.BetaFeedback"][0]["participant"] == "[left out]"
        erased("PC-1")
        feedback.refresh_from_db()
        name = feedback.source.removeprefix("agent:")
        assert PSEUDONYM.fullmatch(name)
        assert (feedback.participant, feedback.comment) == ("amy@example.org", f"On {name}, not PC-10")
        assert feedback.digest == ""

    def test_digest_is_removed_when_only_the_source_named_the_machine(self, operator):
        feedback = create_bug("amy@example.org", source="agent:PC-1")
        erased("PC-1")
        feedback.refresh_from_db()
        assert (PSEUDONYM.sub("X", feedback.source), feedback.digest) == ("agent:X", "")

    def test_participant_with_a_machines_name_is_kept(self, operator):
        feedback = create_bug("pc-1")
        erased("pc-1")
        feedback.refresh_from_db()
        assert feedback.participant == "pc-1"


class TestSavedReports:
    NAME = "beta_report_20260310_120000.txt"

    def test_saved_reports_that_name_the_subject_are_rewritten(self, operator, reports):
        for hour, text in ((10, "ask Bob@example.org"), (11, "ask bobby@example.org"), (12, "bob@example.org\nAmy")):
            (reports / f"beta_report_20260310_{hour}0000.txt").write_text(text)
        (reports / "mine.txt").write_text("bob@example.org")
        shown = exported("bob@example.org")["beta_report_*.txt"]
        assert [row["text"] for row in shown] == ["ask Bob@example.org", "bob@example.org\n[left out]"]
        assert "beta_report_*.txt                        2" in erased("bob@example.org", "--dry-run")
        erased("bob@example.org")
        texts = [PSEUDONYM.sub("X", path.read_text()) for path in sorted(reports.iterdir())]
        assert texts == ["ask X", "ask bobby@example.org", "X\nAmy", "bob@example.org"]

    def test_unfinished_report_files_are_deleted(self, operator, reports):
        (reports / f".{self.NAME}.AbCd1234").write_text("bob@exa")
        (reports / f".{self.NAME}.swp.AbCd1234").write_text("bob@exa")
        erased("bob@example.org")
        assert [path.name for path in reports.iterdir()] == [f".{self.NAME}.swp.AbCd1234"]

    def test_unreadable_file_and_missing_folder_hold_nothing(self, operator, reports, settings):
        (reports / self.NAME).write_bytes(b"\xff bob@example.org")
        assert "No data about" in erased("bob@example.org")
        settings.REPORTS_ROOT = reports / "gone"
        assert "No data about" in erased("bob@example.org")

    @pytest.mark.parametrize(("length", "first"), [(92, "    "), (93, " 1. "), (200, "    ")])
    def test_address_broken_at_a_line_end_is_found(self, operator, reports, length, first):
        address = f"{'b' * 64}@{'x.' * ((length - 70) // 2)}{'y' * ((length - 70) % 2)}z.org"
        assert len(address) == length
        (line, *lines) = indent_text(f"{address} says {address}, and more.", is_whole=True)
        (reports / self.NAME).write_text("\n".join(["Comments", first + line[4:], *lines, " 2. Good", ""]))
        [shown] = exported(address)["beta_report_*.txt"]
        assert "[left out]" in shown["text"]
        erased(address)
        words = PSEUDONYM.sub("X", (reports / self.NAME).read_text()).replace("X\n    ,", "X,").split()
        assert " ".join(words) == " ".join(f"Comments {first} X says X, and more. 2. Good".split())

    def test_other_broken_words_stay_as_they_are(self, operator, reports):
        text = "\n".join(
            ["Comments", *indent_text(f"{'w' * 200} and {'v' * 100}", is_whole=True), "bob@example.org", ""]
        )
        (reports / self.NAME).write_text(text)
        erased("bob@example.org")
        assert PSEUDONYM.sub("bob@example.org", (reports / self.NAME).read_text()) == text
