"""Text tables for terminals and files. Widths are in terminal columns: wide characters take two."""

import unicodedata
from collections.abc import Iterator, Sequence

WIDTH = 96
GAP = "  "
INDENT = " " * 4
NARROWEST_NAME = 12


def clean_text(text: str) -> str:
    """Return the text on one line, without control characters that a terminal would obey."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def display_width(text: str) -> int:
    """Return the width in columns. Wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(character_width(character) for character in text)


def character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def truncate_to_width(text: str, width: int) -> str:
    """Shorten the text to the width, with an ellipsis at the cut."""
    if display_width(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += character_width(character)
        if used > width - 1:
            break
        kept += character
    return f"{kept}…"


def pad_to_width(text: str, width: int, *, right: bool = False) -> str:
    """Shorten or pad the text to exactly this width."""
    text = truncate_to_width(text, width)
    blank = " " * (width - display_width(text))
    return blank + text if right else text + blank


def wrap_text(text: str, width: int, *, is_whole: bool = False) -> list[str]:
    """Wrap the text between words. A longer word is cut, or broken if `is_whole`."""
    lines: list[str] = []
    for word in clean_text(text).split():
        if lines and display_width(lines[-1]) + 1 + display_width(word) <= width:
            lines[-1] += f" {word}"
        elif is_whole:
            lines += break_word(word, width)
        else:
            lines.append(truncate_to_width(word, width))
    return lines


def break_word(word: str, width: int) -> Iterator[str]:
    """Yield pieces of at most this width, for languages without blanks between words."""
    piece, used = "", 0
    for character in word:
        added = character_width(character)
        if used + added > width:
            yield piece
            piece, used = "", 0
        piece += character
        used += added
    yield piece


def indent_text(text: str, *, is_whole: bool = False) -> list[str]:
    return [INDENT + line for line in wrap_text(text, WIDTH - len(INDENT), is_whole=is_whole)]


# --- Tables ----------------------------------------------------------------------------------------------------------


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], right_from: int = 2) -> list[str]:
    """Return the lines of a table at most WIDTH columns wide. Columns from `right_from` on are right-aligned."""
    widths = column_widths([header, *rows])
    return [*format_header(header, widths, right_from), *(format_row(row, widths, right_from) for row in rows)]


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column. The first one gets what the others leave."""
    first, *others = (max(display_width(cell) for cell in column) for column in zip(*rows, strict=True))
    left = WIDTH - sum(others) - len(GAP) * len(others)
    return [max(NARROWEST_NAME, min(first, left)), *others]


def format_header(header: Sequence[str], widths: Sequence[int], right_from: int = 2) -> list[str]:
    """Return the header and a rule below it."""
    return [format_row(header, widths, right_from), "-" * (sum(widths) + len(GAP) * (len(widths) - 1))]


def format_row(row: Sequence[str], widths: Sequence[int], right_from: int = 2) -> str:
    cells = zip(row, widths, strict=True)
    return GAP.join(
        pad_to_width(cell, width, right=place >= right_from) for place, (cell, width) in enumerate(cells)
    ).rstrip()
