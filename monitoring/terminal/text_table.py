"""Text in columns, for a console and for keeping. A width is in columns of the console."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

WIDTH = 96
GAP = "  "
INDENT = " " * 4
NARROWEST_NAME = 12


def printable(text: str) -> str:
    """On one line and without what a terminal would obey."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def width_of(text: str) -> int:
    """In columns: wide characters take two, those that combine with the one before none."""
    if text.isascii():
        return len(text)
    return sum(width_of_one(character) for character in text)


def width_of_one(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """At most so many columns wide; what was cut off is an ellipsis."""
    if width_of(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += width_of_one(character)
        if used > width - 1:
            break
        kept += character
    return f"{kept}…"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Exactly so many columns wide."""
    text = cut(text, width)
    blank = " " * (width - width_of(text))
    return blank + text if right else text + blank


def wrapped(text: str, width: int, *, is_whole: bool = False) -> list[str]:
    """In lines of at most so many columns, broken between words; a word that is longer is cut, or broken as well."""
    lines: list[str] = []
    for word in printable(text).split():
        if lines and width_of(lines[-1]) + 1 + width_of(word) <= width:
            lines[-1] += f" {word}"
        elif is_whole:
            lines += broken(word, width)
        else:
            lines.append(cut(word, width))
    return lines


def broken(word: str, width: int) -> Iterator[str]:
    """Pieces of at most so many columns: not every language has a blank between words."""
    piece, used = "", 0
    for character in word:
        added = width_of_one(character)
        if used + added > width:
            yield piece
            piece, used = "", 0
        piece += character
        used += added
    yield piece


def indented(text: str, *, is_whole: bool = False) -> list[str]:
    return [INDENT + line for line in wrapped(text, WIDTH - len(INDENT), is_whole=is_whole)]


# --- Tables ----------------------------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right_from: int = 2) -> list[str]:
    """At most WIDTH columns wide."""
    widths = widths_of([header, *rows])
    return [*header_of(header, widths, right_from), *(row_of(row, widths, right_from) for row in rows)]


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """Of the columns; names have what the figures leave."""
    first, *others = (max(width_of(cell) for cell in column) for column in zip(*rows, strict=True))
    left = WIDTH - sum(others) - len(GAP) * len(others)
    return [max(NARROWEST_NAME, min(first, left)), *others]


def header_of(header: Sequence[str], widths: Sequence[int], right_from: int = 2) -> list[str]:
    """With a line beneath it."""
    return [row_of(header, widths, right_from), "-" * (sum(widths) + len(GAP) * (len(widths) - 1))]


def row_of(row: Sequence[str], widths: Sequence[int], right_from: int = 2) -> str:
    """Cells from `right_from` on are figures."""
    cells = zip(row, widths, strict=True)
    return GAP.join(
        padded(cell, width, right=place >= right_from) for place, (cell, width) in enumerate(cells)
    ).rstrip()
