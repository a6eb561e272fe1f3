"""Unicode text from outside: measured first, then normalised, in time linear in its length."""

import hashlib
import unicodedata
from typing import Literal

from django.utils.text import Truncator

# Marks on one letter. No language needs more; Unicode's own stream-safe format allows as many.
MOST_MARKS = 30
MARKS = ("Mn", "Me")
# Halfwidth sound marks of Japanese are letters to Unicode, and marks once they are normalised.
MARKS_IN_DISGUISE = "\uff9e\uff9f"
INVISIBLE = "Cf"
# Marks on one letter in reports; more would cover the lines above.
MOST_MARKS_SHOWN = 4
# Joiners and variation selectors belong to letters and emoji; other invisible characters would only hide something.
JOINERS = "\u200c\u200d"


class TextTooLong(ValueError):
    """The text is longer than the caller allows."""


def decode_text(content: bytes) -> str:
    """Return a text that is not in UTF-8 as Windows-1252, in which older programs write."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def normalize_text(text: str, form: Literal["NFC", "NFD", "NFKC", "NFKD"] = "NFC", *, longest: int) -> str:
    """The text in a normal form, with at most MOST_MARKS marks on a letter. Raises TextTooLong.

    Python sorts the marks of one letter in quadratic time, and no other thread runs meanwhile: 100,000 marks, which
    are 200 bytes as gzip, would stop the process for minutes.
    """
    if len(text) > longest:
        raise TextTooLong(f"more than {longest} characters")
    return unicodedata.normalize(form, limit_marks(text, MOST_MARKS))


def truncate_text(text: str, most: int) -> str:
    """The text with `…` in place of what is beyond `most` characters, of which marks are none.

    Django's Truncator normalises all of a text in order to show its beginning.
    """
    return Truncator(limit_marks(text[: (most + 1) * (MOST_MARKS + 1)], MOST_MARKS)).chars(most)


def shorten_with_hash(text: str, length: int) -> str:
    """Return the text if it fits, else its beginning and a hash of all of it."""
    if len(text) <= length:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{text[: length - len(digest) - 1]}#{digest}"


def limit_marks(text: str, most: int) -> str:
    """The text without the marks beyond `most` on each letter. Invisible characters between marks do not count."""
    if text.isascii():
        return text
    kept, marks = [], 0
    for character in text:
        kind = unicodedata.category(character)
        if kind != INVISIBLE:
            marks = marks + 1 if is_mark(character, kind) else 0
        if marks <= most or kind == INVISIBLE:
            kept.append(character)
    return "".join(kept)


def is_mark(character: str, kind: str) -> bool:
    return kind in MARKS or unicodedata.combining(character) != 0 or character in MARKS_IN_DISGUISE


def limit_stacked_marks(text: str) -> str:
    """Strip combining marks that would cover the lines above."""
    return limit_marks(text, MOST_MARKS_SHOWN)


def printable_text(text: str) -> str:
    """Put a text on one line, without invisible characters, direction overrides and stacked combining marks."""
    kept = (
        character if character.isprintable() else visible_replacement(character)
        for character in limit_stacked_marks(text)
    )
    return " ".join("".join(kept).split())


def visible_replacement(character: str) -> str:
    """Replace a character that cannot be printed: keep joiners, drop format characters, else a space."""
    if character in JOINERS:
        return character
    return "" if unicodedata.category(character) == INVISIBLE else " "
