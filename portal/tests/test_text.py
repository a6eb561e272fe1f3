"""Text from outside is measured before it is normalised, in one place."""

import ast
import unicodedata
from pathlib import Path

import pytest

from portal.text import MOST_MARKS, TextTooLong, limit_marks, normalized, truncated
from tests.legs import ROOT

ACUTE, BELOW = "\u0301", "\u0316"
# Where the standard library may be asked; the client is a program of its own.
ALLOWED = {"portal/text.py", "client/src/vigie_client/unicode_forms.py"}
FOLDERS = ("portal", "agents", "usage", "backups", "monitoring", "client/src", "demo", "faults", "bench")


def own_modules():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not {"tests", "migrations"} & set(path.relative_to(ROOT).parts):
                yield path


def normalizers(path: Path):
    """Names of functions in the module that normalise a text of any length."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == "normalize":
            yield "normalize"
        elif isinstance(node, ast.ImportFrom) and node.module in ("unicodedata", "django.utils.text"):
            yield from (alias.name for alias in node.names if alias.name in ("normalize", "Truncator"))


def test_text_is_normalized_in_one_place_only():
    found = {str(path.relative_to(ROOT)) for path in own_modules() if list(normalizers(path))}
    assert found == ALLOWED


def test_marks_beyond_thirty_on_a_letter_are_removed_before_normalizing():
    text = "a" + ACUTE * 200_000 + BELOW * 200_000 + "b"
    assert normalized(text, longest=len(text)) == "á" + ACUTE * (MOST_MARKS - 1) + "b"


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_texts_that_people_write_are_normalized_whole(form):
    for text in ("Éric Ñandú", "e\u0301\u0327", "한국어 조선", "ภาษาไทย", "नमस्ते", "שָׁלוֹם", "ﾊﾟｿｺﾝ", "👩‍👩‍👧", ""):
        assert normalized(text, form, longest=100) == unicodedata.normalize(form, text)


def test_text_that_is_too_long_is_refused_before_any_work():
    with pytest.raises(TextTooLong):
        normalized("a" * 11, longest=10)


def test_invisible_characters_do_not_part_marks():
    assert limit_marks("a" + f"{ACUTE}\u200b" * 9, 4).count(ACUTE) == 4


def test_every_character_that_normalizing_makes_a_mark_counts_as_one():
    """The marks of Tibetan vowel signs and of halfwidth Katakana come out only once they are normalised."""
    marks = [
        character
        for character in map(chr, range(0x110000))
        if not character.isascii() and unicodedata.combining(unicodedata.normalize("NFKD", character)[0])
    ]
    assert len(marks) > 900
    assert all(limit_marks(character * 9, 4) == character * 4 for character in marks)


def test_a_text_is_truncated_by_letters_without_reading_all_of_it():
    assert truncated("é" * 50, 10) == "é" * 9 + "…"
    assert truncated("é" * 10, 10) == "é" * 10
    assert truncated("a" + ACUTE * 500_000 + "bcd", 3) in {
        "á" + ACUTE * (MOST_MARKS - 1),
        "á" + ACUTE * (MOST_MARKS - 1) + "…",
    }
