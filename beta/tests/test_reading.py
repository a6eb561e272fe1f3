"""Rules for each field of feedback, whichever way it comes."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from beta.feedback.reading import FeedbackPayload, clean_text, normalize_participant, read_feedback
from beta.models import BetaFeedback
from beta.tests.factories import feedback_body, feedback_body_without
from portal.access.tokens import credential
from portal.base.problems import Problem
from portal.privacy.subjects import parse_subject
from portal.tests.helpers.marks import MANY_MARKS

MINTED = credential.mint_token("client")
TOKEN = str(MINTED)
KEPT = f"vigie_client_{MINTED.key}_…"


def read(**changes):
    return read_feedback(feedback_body(**changes))


def refused(body):
    """What is wrong, as (field, code)."""
    with pytest.raises(Problem) as refusal:
        read_feedback(body)
    assert refusal.value.code == "validation_failed"
    return [(error.field, error.code) for error in refusal.value.errors]


# --- Fields ----------------------------------------------------------------------------------------------------------


def test_complete_body_is_read():
    number = uuid.uuid4()
    told = read_feedback(
        {
            "id": number.hex, "participant": "Carol", "type": "bug", "severity": "high", "nps_score": 0,
            "comment": "It stops.", "page": "/scoring", "app_version": "6.0.3", "given_at": "2026-03-10T10:20:00+01:00",
            "programme": "spring-beta",
        }
    )  # fmt: skip
    at = datetime(2026, 3, 10, 9, 20, tzinfo=UTC)
    assert told == FeedbackPayload(
        number, "carol", "bug", "high", 0, "It stops.", "/scoring", "6.0.3", at, "", "spring-beta"
    )


@pytest.mark.parametrize("nothing", [{}, dict.fromkeys(["type", "severity", "comment", "page", "app_version"], "")])
def test_missing_fields_are_empty(nothing):
    told = read(**{"comment": None, "nps_score": 7, "given_at": None} | nothing)
    assert (told.type, told.severity, told.comment, told.page, told.app_version) == ("other", "", "", "", "")
    assert told.given_at is None


def test_all_wrong_fields_are_named_without_their_values():
    optional = ["type", "severity", "nps_score", "page", "app_version", "given_at"]
    wrong = {name: ["K4NARI"] for name in feedback_body()} | {name: {"K4NARI": "K4NARI"} for name in optional}
    with pytest.raises(Problem) as refusal:
        read_feedback(wrong)
    assert {error.field for error in refusal.value.errors} == set(wrong)
    assert "K4NARI" not in str(refusal.value.body())


def test_empty_body_lacks_the_required_fields():
    assert refused({}) == [("id", "required"), ("participant", "required"), ("comment", "nothing_said")]


@pytest.mark.parametrize("value", ["", "x" * 32, 7])
def test_id_that_is_not_a_uuid_is_refused(value):
    assert refused(feedback_body(id=value)) == [("id", "not_a_uuid")]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Carol \t  de la\r\nTour ", "carol de la tour"),
        ("E\u200b\u0301lise\u202e", "élise"),
        ("a" * 254, "a" * 254),
        (" " * 300 + "a", "a"),
    ],
)
def test_participant_spellings_are_normalized(given, kept):
    assert read(participant=given).participant == kept


@pytest.mark.parametrize(
    "value",
    ["   ", "a" * 255, "a\0b", f"I am {TOKEN}", " \u200b ", "agent:PC-1", "a" * 1_017, 7],
)
def test_invalid_participant_is_refused(value):
    assert refused(feedback_body(participant=value)) == [("participant", "not_a_participant")]


@pytest.mark.parametrize("value", [None, ""])
def test_missing_participant_is_refused(value):
    assert refused(feedback_body(participant=value)) == [("participant", "required")]


@pytest.mark.parametrize("name", ["type", "severity"])
def test_undocumented_choice_is_refused(name):
    choices = {"type": BetaFeedback.Type, "severity": BetaFeedback.Severity}[name]
    for value in choices.values:
        assert getattr(read(**{name: value}), name) == value
    for value in ("Bug", "HIGH", "none", 1, False, ["bug"], {"bug": 1}):
        assert refused(feedback_body(**{name: value})) == [(name, "invalid_choice")]


def test_score_other_than_an_integer_from_0_to_10_is_refused():
    for value in (*range(11), None):
        assert read(nps_score=value).nps_score == value
    for value in (-1, 11, 10**30, 7.0, 7.5, True, False, "7", "", [7]):
        assert refused(feedback_body(nps_score=value)) == [("nps_score", "not_a_score")]


@pytest.mark.parametrize("comment", [None, " \n\t "])
def test_feedback_without_comment_and_score_is_refused(comment):
    assert refused(feedback_body(comment=comment)) == [("comment", "nothing_said")]
    assert refused(feedback_body_without("comment")) == [("comment", "nothing_said")]
    assert read(comment=comment, nps_score=0).comment == ""


def test_page_loses_query_and_fragment():
    for given, kept in (
        ("/scoring?user=bob#top", "/scoring"),
        ("/scoring#top?x", "/scoring"),
        (" /a\tb\0 ", "/a b\ufffd"),
        ("/" + "a" * 199 + "?" + "b" * 500, "/" + "a" * 199),
        ("?a", ""),
        (f"/reset/{TOKEN}", f"/reset/{KEPT}"),
    ):
        assert read(page=given).page == kept


@pytest.mark.parametrize(("name", "most"), [("page", 200), ("app_version", 64), ("comment", 100_000)])
def test_too_long_or_non_string_text_is_refused(name, most):
    assert getattr(read(**{name: "é" * most}), name) == "é" * most
    assert refused(feedback_body(**{name: "é" * (most + 1)})) == [(name, "too_long")]
    for value in (7, True, ["a"], {"a": "b"}):
        assert refused(feedback_body(**{name: value})) == [(name, "not_a_text")]


@pytest.mark.parametrize("name", ["page", "app_version"])
def test_text_that_grows_by_masking_tokens_fits_its_column(name):
    short = f"vigie_client_{'a' * 12}_b"
    most = BetaFeedback._meta.get_field(name).max_length
    text = "".join(short for _ in range(most // len(short)))
    assert len(getattr(read(**{name: text}), name)) <= most


@pytest.mark.parametrize(("name", "most"), [("page", 200), ("app_version", 64)])
def test_text_that_grows_by_normalization_fits_its_column(name, most):
    assert len(getattr(read(**{name: "\ufb2c" * most}), name)) == most


@pytest.mark.parametrize("value", ["2026-03-10T09:20:00", "now", 0])
def test_time_without_offset_is_refused(value):
    assert refused(feedback_body(given_at=value)) == [("given_at", "not_a_moment")]


def test_time_more_than_five_minutes_ahead_is_dropped(monkeypatch):
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)
    assert read(given_at="2026-03-10T12:05:00Z").given_at == now + timedelta(minutes=5)
    told = read(given_at="2026-03-10T12:05:01Z")
    assert (told.given_at, told.clock) == (None, "dropped")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a\0b\x1bc\x7fd\x85e", "a\ufffdb\ufffdc\ufffdd\ufffde"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo\nthree\n\tfour"),
        ("\ud800 \udfff \ufffe \uffff", "\ufffd \ufffd \ufffd \ufffd"),
        ("😀 \u202eback\u202c שלום é\u0301", "😀 \u202eback\u202c שלום é\u0301"),
        ("<script>alert(1)</script> =1+1 ]]> &amp;", "<script>alert(1)</script> =1+1 ]]> &amp;"),
        (f"I use {TOKEN}, and it fails", f"I use {KEPT}, and it fails"),
        ("Ask Ele\u0301onore", "Ask El\u00e9onore"),
    ],
)
def test_comment_is_cleaned_of_unprintable_characters_and_tokens(given, kept):
    assert read(comment=given).comment == clean_text(given) == kept
    assert clean_text(kept) == kept


def test_token_split_by_a_control_character_is_not_joined():
    assert TOKEN not in clean_text(TOKEN[:30] + "\0" + TOKEN[30:])


def test_unknown_fields_are_dropped():
    extra = {"website": "x", "status": "fixed", "source": "agent:PC-1", "digest": "", "received_at": "2020", "\0": "\0"}
    number = str(uuid.uuid4())
    assert read(id=number, **extra) == read(id=number)


def test_participant_with_many_marks_is_still_found_by_their_name():
    sent = MANY_MARKS[:200]
    assert parse_subject(f"participant:{sent}").names == (normalize_participant(sent),)
