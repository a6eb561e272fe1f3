"""Split an SQL script into statements as it is read.

What a dump's own program would interpret (psql's meta-commands, DELIMITER of the mysql client) is never run: only
statements are sent to a server. A script that is split wrongly fails there, in the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAX_STATEMENT_BYTES = 256 * 1024 * 1024
MARK_BYTES = len(b"/*M!999999")


class ScriptTooLong(Exception):
    """A statement is longer than MAX_STATEMENT_BYTES."""


@dataclass(frozen=True)
class Statement:
    """The text of a statement with its delimiter, without leading blanks and comments, and the line it begins on."""

    text: bytes
    line: int

    def __str__(self) -> str:
        return self.text.decode("utf-8", "replace")


@dataclass(frozen=True)
class Dialect:
    """The lexical rules of an engine.

    `blank` matches blanks and comments before a statement, and `comment` the beginning of such a comment. In a
    statement, up to its `delimiter`, stand characters other than `special` (a set of them) and what `token` matches.
    `command` matches a line at the beginning of a statement that is for the dump's own client. `quote` matches the tag
    of a quoted text, which ends with the same tag. `block` matches the beginning of a statement that may hold others.
    `nesting` is called for each part of it that ends with a delimiter, with the depth before, and returns the depth
    after it: the statement ends at depth 0.
    """

    blank: bytes
    special: bytes
    token: bytes
    comment: bytes = rb"--|/\*"
    command: bytes = rb"(?!)"
    quote: bytes = rb"(?!)"
    delimiter: bytes = b";"
    block: bytes = rb"(?!)"
    nesting: Callable[[bytes, int, int, int], int] = lambda data, start, end, depth: 0


# Possessive quantifiers (`*+`, `++`): the patterns never go back, so they take linear time.
_STRING, _QUOTED_NAME, _BACKQUOTED = rb"'[^']*+'", rb'"[^"]*+"', rb"`[^`]*+`"
_ESCAPED_STRING, _ESCAPED_QUOTED = rb"'(?:[^'\\]++|\\.)*+'", rb'"(?:[^"\\]++|\\.)*+"'
_LINE_COMMENT, _BLOCK_COMMENT = rb"--[^\n]*+\n", rb"/\*[^*]*+(?:\*(?!/)[^*]*+)*+\*/"
# Characters that do not begin a comment, whose end may not have been read yet.
_ALONE = rb"-(?!-)|/(?!\*)"
_WORD = rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+"
_TAG = rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*+)?\$"

_BODY = rb"(?i)CREATE\s+(?:OR\s+REPLACE\s+)?(?:RULE|FUNCTION|PROCEDURE)\b"
_TRIGGER = rb"(?i)CREATE\s+(?:TEMP(?:ORARY)?\s+)?TRIGGER\b"
_TRIGGER_GAP = rb"(?:\s++|" + _LINE_COMMENT + rb"|" + _BLOCK_COMMENT + rb")*+"
_TRIGGER_END = re.compile(_TRIGGER_GAP + rb"END" + _TRIGGER_GAP + rb";", re.IGNORECASE)
_NESTING = re.compile(
    rb"(?s)[eE]" + _ESCAPED_STRING + rb"|" + rb"|".join([_STRING, _QUOTED_NAME, _LINE_COMMENT, _BLOCK_COMMENT])
    + rb"|(?P<tag>" + _TAG + rb").*?(?P=tag)|(?P<open>\(|\bBEGIN\s+ATOMIC\b|\bCASE\b)|(?P<close>\)|\bEND\b)|" + _WORD,
    re.IGNORECASE,
)  # fmt: skip


def nest_body(data: bytes, start: int, end: int, depth: int) -> int:
    """Return the depth within a rule in parentheses or a function of statements (BEGIN ATOMIC)."""
    for found in _NESTING.finditer(data, start, end):
        depth += (found["open"] is not None) - (found["close"] is not None)
    return depth


def nest_trigger(data: bytes, start: int, end: int, depth: int) -> int:
    """Return 0 for the end of a trigger of SQLite, which is END after a semicolon, else 1."""
    return 0 if depth and _TRIGGER_END.fullmatch(data, start, end) else 1


POSTGRESQL = Dialect(
    blank=rb"\s++|" + _LINE_COMMENT + rb"|" + _BLOCK_COMMENT + rb"|;",
    special=rb"""'"$;/\\A-Za-z_\x80-\xff-""",
    token=rb"[eE]" + _ESCAPED_STRING + rb"|"
    + rb"|".join([_WORD, _STRING, _QUOTED_NAME, _LINE_COMMENT, _BLOCK_COMMENT, _ALONE])
    + rb"|\\|\$(?!" + _TAG[2:] + rb")",
    command=rb"\\[^\n]*+\n?",
    quote=_TAG,
    block=_BODY,
    nesting=nest_body,
)  # fmt: skip
SQLITE = Dialect(
    blank=rb"\s++|" + _LINE_COMMENT + rb"|" + _BLOCK_COMMENT + rb"|;",
    special=rb"""'"`\[;/-""",
    token=rb"|".join([_STRING, _QUOTED_NAME, _BACKQUOTED, rb"\[[^\]]*+\]", _LINE_COMMENT, _BLOCK_COMMENT, _ALONE]),
    block=_TRIGGER,
    nesting=nest_trigger,
)  # fmt: skip
MYSQL = Dialect(
    # A comment `/*!` is code, unless it's for a version that will never be.
    blank=rb"\s++|--(?=\s)[^\n]*+\n|#[^\n]*+\n|/\*(?!M?!(?!999999))[^*]*+(?:\*(?!/)[^*]*+)*+\*/|;",
    comment=rb"--(?=\s)|#|/\*(?!M?!(?!999999))",
    special=rb"""'"`#;/-""",
    token=rb"--(?=\s)[^\n]*+\n|#[^\n]*+\n|"
    + rb"|".join([_ESCAPED_STRING, _ESCAPED_QUOTED, _BACKQUOTED, _BLOCK_COMMENT, rb"-(?!-\s)|/(?!\*)"]),
    command=rb"(?i)DELIMITER[ \t]++[^\n]*+\n?|\\[^\n]*+\n?",
)  # fmt: skip


class Script:
    """The statements of a script, in order. `delimiter` may be changed between two of them."""

    def __init__(self, pieces: Iterator[bytes], dialect: Dialect) -> None:
        self.pieces, self.dialect = pieces, dialect
        self.data, self.position, self.line = b"", 0, 1
        self.is_at_end = False
        self.last_size = 0
        self.blank = re.compile(rb"(?s)(?:" + dialect.blank + rb")*+")
        patterns = (dialect.comment, dialect.command, dialect.quote, dialect.block)
        self.comment, self.command, self.quote, self.block = (re.compile(part, re.DOTALL) for part in patterns)
        self.set_delimiter(dialect.delimiter)

    def set_delimiter(self, delimiter: bytes) -> None:
        self.delimiter = delimiter
        text, first = re.escape(delimiter), re.escape(delimiter[:1])
        plain = rb"[^" + first + self.dialect.special + rb"]++"
        # What a token may begin with is a delimiter first.
        parts = rb"|".join([plain, self.dialect.token, rb"[;" + first + rb"]"])
        self.body = re.compile(rb"(?s)(?:(?!" + text + rb")(?:" + parts + rb"))*+")

    def __iter__(self) -> Iterator[Statement]:
        """Yield statements, and lines for the dump's own client, which begin with a backslash or DELIMITER.

        Raises ScriptTooLong.
        """
        while self._skip_blanks():
            yield self._take(self._find_end())

    def _read_more(self) -> bool:
        """Read as much again as is held, so that a long statement is matched a few times only."""
        held = len(self.data) - self.position
        parts, size = [self.data[self.position :]], 0
        while size <= held:
            piece = next(self.pieces, None)
            if piece is None:
                self.is_at_end = True
                break
            parts.append(piece)
            size += len(piece)
        self.data, self.position = b"".join(parts), 0
        if held > MAX_STATEMENT_BYTES:
            raise ScriptTooLong
        return size > 0

    def _skip_blanks(self) -> bool:
        """Move to the next statement. Return False at the end of the script."""
        while True:
            found = self.blank.match(self.data, self.position)
            end = found.end() if found else self.position
            self._advance(end)
            # A comment that is not whole, or the first bytes of what may be one, need what follows.
            if len(self.data) - self.position > MARK_BYTES and not self._is_cut_comment():
                return True
            if not self._read_more():
                return self._has_rest()

    def _is_cut_comment(self) -> bool:
        return not self.is_at_end and self.comment.match(self.data, self.position) is not None

    def _has_rest(self) -> bool:
        """Return True if the end of the script is more than a comment without its own end."""
        rest = self.data[self.position :]
        return bool(rest.strip()) and not self.comment.match(rest)

    def _find_end(self) -> int:
        """Return where the statement ends in `data`, its delimiter included."""
        # The statements of a dump are of a similar size. Searching one of them twice takes most of the time.
        while len(self.data) - self.position < self.last_size * 5 // 4 and self._read_more():
            pass
        while True:
            if found := self.command.match(self.data, self.position):
                if self.is_at_end or found.end() < len(self.data):
                    return found.end()
            else:
                end = self._match_statement()
                if end is not None:
                    return end
            if not self._read_more():
                return len(self.data)

    def _match_statement(self) -> int | None:
        end = start = self.position
        depth, is_block = 0, self.block.match(self.data, start) is not None
        while found := self.body.match(self.data, end):
            end = found.end()
            if self.data.startswith(self.delimiter, end):
                end += len(self.delimiter)
                if is_block:  # only what follows the last delimiter, so that a long one takes linear time
                    depth = self.dialect.nesting(self.data, start, end, depth)
                    start = end
                if depth <= 0:
                    return end
            elif tag := self.quote.match(self.data, end):
                end = self.data.find(tag[0], tag.end())
                if end < 0:
                    return None
                end += len(tag[0])
            else:
                return None
        return None

    def _take(self, end: int) -> Statement:
        statement = Statement(self.data[self.position : end], self.line)
        self.last_size = len(statement.text)
        self._advance(end)
        return statement

    def _advance(self, end: int) -> None:
        self.line += self.data.count(b"\n", self.position, end)
        self.position = end

    # --- Rows of COPY ------------------------------------------------------------------------------------------------

    def copy_rows(self) -> Iterator[bytes]:
        """Yield the lines that follow a COPY statement in large pieces, up to its end mark `\\.`.

        Raises EOFError for a script that ends before.
        """
        self._skip_line()
        starts_line = True
        while True:
            end = self._find_end_mark(starts_line=starts_line)
            if end is not None:
                rows, after = end
                if rows > self.position:
                    yield self.data[self.position : rows]
                self._advance(after)
                return
            # The mark may be cut: keep back what could be its beginning.
            kept = max(len(self.data) - self.position - 4, 0)
            if kept:
                yield self.data[self.position : self.position + kept]
                starts_line = self.data[self.position + kept - 1 : self.position + kept] == b"\n"
                self._advance(self.position + kept)
            if not self._read_more():
                raise EOFError

    def _skip_line(self) -> None:
        while (end := self.data.find(b"\n", self.position)) < 0:
            if not self._read_more():
                raise EOFError
        self._advance(end + 1)

    def _find_end_mark(self, *, starts_line: bool) -> tuple[int, int] | None:
        """Return where the rows end, and where the script goes on."""
        if starts_line and (found := _END_MARK.match(self.data, self.position)):
            return self.position, found.end()
        at = self.data.find(b"\n\\.", self.position)
        while at >= 0:
            found = _END_MARK.match(self.data, at + 1)
            if found:
                return at + 1, found.end()
            at = self.data.find(b"\n\\.", at + 1)
        return None


_END_MARK = re.compile(rb"\\\.\r?\n")
