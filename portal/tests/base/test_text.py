"""Text from outside is measured before it is normalised."""

import unicodedata

import pytest
from vigie_client.contract import MAX_PATH_NAME, path_name

from portal.base.text import MOST_MARKS, TextTooLong, limit_marks, normalize_text, truncate_text
from portal.egress.urls import clean_url
from portal.tests.helpers.marks import ACUTE, BELOW, MANY_MARKS


def test_combining_marks_beyond_thirty_are_removed_before_normalizing():
    text = "a" + ACUTE * 200_000 + BELOW * 200_000 + "b"
    assert normalize_text(text, longest=len(text)) == "á" + ACUTE * (MOST_MARKS - 1) + "b"


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_ordinary_text_is_normalized_completely(form):
    for text in ("Éric Ñandú", "e\u0301\u0327", "한국어 조선", "ภาษาไทย", "नमस्ते", "שָׁלוֹם", "ﾊﾟｿｺﾝ", "👩‍👩‍👧", ""):
        assert normalize_text(text, form, longest=100) == unicodedata.normalize(form, text)


def test_text_that_is_too_long_is_refused_before_any_work():
    with pytest.raises(TextTooLong):
        normalize_text("a" * 11, longest=10)


def test_invisible_characters_do_not_split_a_run_of_marks():
    assert limit_marks("a" + f"{ACUTE}\u200b" * 9, 4).count(ACUTE) == 4


def test_characters_that_normalize_to_a_mark_count_as_marks():
    """Cover Tibetan vowel signs and halfwidth Katakana, whose marks appear only after normalisation."""
    marks = [
        character
        for character in map(chr, range(0x110000))
        if not character.isascii() and unicodedata.combining(unicodedata.normalize("NFKD", character)[0])
    ]
    assert len(marks) > 900
    assert all(limit_marks(character * 9, 4) == character * 4 for character in marks)


def test_text_is_truncated_by_letters_without_reading_all_of_it():
    assert truncate_text("é" * 50, 10) == "é" * 9 + "…"
    assert truncate_text("é" * 10, 10) == "é" * 10
    assert truncate_text("a" + ACUTE * 500_000 + "bcd", 3) in {
        "á" + ACUTE * (MOST_MARKS - 1),
        "á" + ACUTE * (MOST_MARKS - 1) + "…",
    }


@pytest.mark.parametrize("text", [MANY_MARKS * 1_000, "x" * 500_000])
def test_names_are_truncated_before_they_are_normalized(text):
    assert len(path_name(text)) <= MAX_PATH_NAME


@pytest.mark.parametrize("where", ["https://{}.example.org/", "https://example.org/?{}"])
def test_address_with_many_marks_is_refused(where):
    assert clean_url(where.format("e\u0301"))
    with pytest.raises(ValueError, match="characters"):
        clean_url(where.format(MANY_MARKS * 1_000))
