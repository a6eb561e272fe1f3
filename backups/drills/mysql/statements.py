"""Recognize what a statement of a MySQL dump does, and contain it.

Only forms of statements that dumps consist of are sent to the server: none that can hide others (dynamic SQL, CALL,
compound statements) or outlive the sandbox (XA). What is sent of a statement that isn't about rows has no comments, so
that the server reads the same words as this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

ROWS = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE", "SELECT", "WITH", "VALUES", "DO"})
SCHEMA = frozenset({"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"})
SESSION = frozenset(
    {"SET", "USE", "LOCK", "UNLOCK", "START", "BEGIN", "COMMIT", "ROLLBACK", "ANALYZE", "CHECK", "OPTIMIZE", "REPAIR"}
)
LEFT_OUT = frozenset({"GRANT", "REVOKE", "FLUSH", "CHANGE", "INSTALL", "UNINSTALL", "STOP", "RESET", "PURGE"})
SENT = ROWS | SCHEMA | SESSION | LEFT_OUT
# Words that may be shown. Any other first word may be part of a value, in a script whose quotes are wrong.
REFUSED = frozenset(
    {
        "BACKUP", "BINLOG", "CALL", "CASE", "CONNECT", "DEALLOCATE", "DECLARE", "DELIMITER", "EDIT", "EXECUTE",
        "EXPLAIN", "FOR", "HANDLER", "HELP", "IF", "IMPORT", "KILL", "LOAD", "LOOP", "NOPAGER", "NOTEE", "PAGER",
        "PREPARE", "RELEASE", "REPEAT", "RESTART", "SAVEPOINT", "SHOW", "SHUTDOWN", "SIGNAL", "SOURCE", "SYSTEM",
        "TEE", "WHILE", "XA",
    }
)  # fmt: skip
SERVER_DATABASES = frozenset({"information_schema", "mysql", "performance_schema", "sys"})
HEAD_BYTES = 4096

_GAP = re.compile(rb"(?s)(?:[\s(;]++|--(?=\s)[^\n]*+\n?|#[^\n]*+\n?|/\*(?!M?!).*?\*/)*+")
_EXECUTABLE = re.compile(rb"/\*M?!\d*+")
# Every version of both products reads these: 5.7 is older than any that a sandbox has.
_ALWAYS_READ = re.compile(rb"/\*!(?:[0-4]\d{4}|50[0-6]\d\d)?\Z")
_WORD = re.compile(rb"[A-Za-z_]+")
# A quote that isn't closed reaches to the end, or the text would be searched again from each quote in it.
_QUOTED = rb"'(?:[^'\\]++|\\.)*+'?|\"(?:[^\"\\]++|\\.)*+\"?|`[^`]*+`?"
_TOKEN = re.compile(
    rb"(?s)(?P<quoted>" + _QUOTED + rb")|(?P<line>(?:--(?=[\x00-\x20\x7f]|\Z)|#)[^\n]*+)"
    rb"|/\*(?P<mark>M?)!(?P<version>\d{5,6})?|(?P<block>/\*)|(?P<end>\*/)"
)
_NAME = r"(?:`((?:[^`]|``)+)`|([\w$]+))"
_USE = re.compile(rf"USE {_NAME}\Z", re.IGNORECASE)
_DATABASE = re.compile(rf"(CREATE|DROP|ALTER) (?:DATABASE|SCHEMA) (?:IF (?:NOT )?EXISTS )?{_NAME}", re.IGNORECASE)
_CHARSET = re.compile(r"(?:CHARACTER SET|CHARSET|(COLLATE))[ =]+'?(\w+)", re.IGNORECASE)
_USERS = re.compile(
    r"(?:CREATE (?:OR REPLACE )?|ALTER |DROP |RENAME )(?:USER|ROLE)\b|GRANT\b|REVOKE\b|FLUSH PRIVILEGES\b"
    r"|SET (?:PASSWORD|ROLE|DEFAULT ROLE)\b"
    # What `mariadb-dump --system=users` ends with.
    r"|EXECUTE IMMEDIATE CONCAT\('SET ROLE ', @current_role\)\Z",
    re.IGNORECASE,
)
_SERVER = re.compile(
    r"(?:CHANGE|INSTALL|UNINSTALL|STOP|RESET|PURGE|FLUSH)\b|START (?:SLAVE|REPLICA|ALL)\b"
    r"|(?:CREATE (?:OR REPLACE )?|ALTER |DROP )(?:SERVER|TABLESPACE|LOGFILE|UNDO)\b"
    r"|CREATE (?:OR REPLACE )?(?:AGGREGATE )?FUNCTION [^(]{1,300} SONAME\b"
    # What dump programs set for the server.
    r"|SET (?:@@)?GLOBAL[ .](?:GTID_PURGED|GTID_SLAVE_POS|INNODB_STATS_AUTO_RECALC)\b"
    r"|SET (?:@@)?(?:SESSION[ .])?SQL_LOG_BIN\b|SET @MYSQLDUMP_TEMP_LOG_BIN\b",
    re.IGNORECASE,
)
_EVENT = re.compile(r"(?:CREATE (?:OR REPLACE )?|ALTER |DROP )(?:DEFINER ?= ?\S+ )?EVENT\b", re.IGNORECASE)
# Every form of statement that is sent, its DEFINER removed.
_FORMS = re.compile(
    r"(?:INSERT|REPLACE|UPDATE|DELETE|SELECT|WITH|VALUES|DO)\b"
    r"|CREATE (?:OR REPLACE )?(?:ALGORITHM ?= ?\w+ )?(?:SQL SECURITY \w+ )?"
    r"(?:(?:AGGREGATE|FULLTEXT|SPATIAL|TEMPORARY|UNIQUE) )?"
    r"(?:EVENT|FUNCTION|INDEX|PACKAGE|PROCEDURE|SEQUENCE|TABLE|TRIGGER|VIEW)\b"
    r"|ALTER (?:ALGORITHM ?= ?\w+ )?(?:SQL SECURITY \w+ )?(?:ONLINE |IGNORE )*"
    r"(?:EVENT|FUNCTION|PROCEDURE|SEQUENCE|TABLE|VIEW)\b"
    r"|DROP (?:TEMPORARY )?(?:EVENT|FUNCTION|INDEX|PACKAGE|PROCEDURE|SEQUENCE|TABLES?|TRIGGER|VIEW)\b"
    r"|RENAME TABLES?\b|TRUNCATE\b|(?:UN)?LOCK TABLES?\b|START TRANSACTION\b|BEGIN(?: WORK)?\Z|(?:COMMIT|ROLLBACK)\b"
    r"|(?:ANALYZE|CHECK|OPTIMIZE|REPAIR) (?:(?:NO_WRITE_TO_BINLOG|LOCAL) )?(?:TABLES?|VIEW)\b"
    r"|SET (?!STATEMENT\b)[\w@`]",
    re.IGNORECASE,
)
# The size of a table that is filled while it is made cannot be seen.
_MAKES_TABLE = re.compile(r"CREATE (?:OR REPLACE )?(?:TEMPORARY )?TABLE\b", re.IGNORECASE)
_FILLING = re.compile(rb"\bSELECT\b|\bVALUES\s*\(|\bTABLE\b(?s:.*)\bTABLE\b", re.IGNORECASE)
_STRINGS = re.compile(rb"(?s)" + _QUOTED)
_MODE = re.compile(r"SET\b.*\b(?:sql_mode|foreign_key_checks)\b", re.IGNORECASE)
_ACCOUNT = rb"(?:`[^`]*+`|'[^']*+'|\"[^\"]*+\"|[\w$.%-]++)"
_DEFINER = re.compile(
    rb"(?i)\A((?:\s|/\*M?!\d*|\*/|CREATE\b|ALTER\b|OR\s+REPLACE\b|ALGORITHM\s*=\s*\w+)*)"
    rb"DEFINER\s*=\s*(?:CURRENT_USER(?:\s*\(\s*\))?|CURRENT_ROLE\b|" + _ACCOUNT + rb"(?:\s*@\s*" + _ACCOUNT + rb")?)"
)
_NOT_QUALIFYING = rb"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\.\s*`[^`]*`|\.\s*\w+"
_TABLE = re.compile(
    r"(?:INTO|UPDATE|FROM|TABLE|VIEW)(?: IF (?:NOT )?EXISTS)? (`[^`]{1,64}`(?:\.`[^`]{1,64}`)?)", re.IGNORECASE
)


def leading_words(text: bytes) -> list[str]:
    """Return the first word of the statement and, before it, those of executable comments that not every version reads.

    Whatever the server reads, the verb of the statement is one of these words. None is an empty statement.
    """
    words, position = [], _skip_gap(text, 0)
    while opened := _EXECUTABLE.match(text, position):
        position = _skip_gap(text, opened.end())
        if _EXECUTABLE.match(text, position):
            continue
        if not text.startswith(b"*/", position):
            words.append(_word_at(text, position))
            if _ALWAYS_READ.match(opened[0]):
                return words
        end = text.find(b"*/", position)
        position = _skip_gap(text, end + 2) if end >= 0 else len(text)
    return [*words, _word_at(text, position)] if position < len(text) else words


def _skip_gap(text: bytes, position: int) -> int:
    found = _GAP.match(text, position)
    return found.end() if found else position


def _word_at(text: bytes, position: int) -> str:
    found = _WORD.match(text, position)
    return found[0].decode().upper() if found else ""


def show_word(words: list[str]) -> str:
    """Return the word that a statement of this kind may be named by."""
    return next((word for word in words if word not in SENT), words[0]) if SENT.union(REFUSED).issuperset(words) else ""


def without_comments(text: bytes, is_read: Callable[[bytes, int], bool]) -> bytes:
    """Return the statement as the server reads it, on the same lines.

    `is_read` says of an executable comment, by the letter in its mark and its version, whether the server runs it.
    """
    parts, position, depth = list[bytes](), 0, 0
    while found := _TOKEN.search(text, position):
        parts.append(text[position : found.start()])
        position = found.end()
        if found["quoted"] or (found["end"] and not depth):
            # Without an open comment, `*/` is two operators, the second of which may begin a comment.
            position -= 0 if found["quoted"] else 1
            parts.append(text[found.start() : position])
            continue
        is_opened = found["mark"] is not None and is_read(found["mark"], int(found["version"] or 0))
        if found["block"] or (found["mark"] is not None and not is_opened):
            position = _end_of_comment(text, position)
        depth += is_opened - (found["end"] is not None)
        parts.append(b" " + b"\n" * text.count(b"\n", found.start(), position))
    return b"".join([*parts, text[position:]])


def _end_of_comment(text: bytes, position: int) -> int:
    end = text.find(b"*/", position)
    return end + 2 if end >= 0 else len(text)


def read_head(text: bytes) -> str:
    """Return the beginning of a statement without comments on one line."""
    return " ".join(text[:HEAD_BYTES].decode("utf-8", "replace").split()).lstrip("(; ")


def used_database(head: str) -> str | None:
    found = _USE.match(head)
    return _unquote(found[1], found[2]) if found else None


def changed_database(head: str) -> tuple[str, str, str] | None:
    """Return the verb, the database and its options of CREATE, DROP or ALTER DATABASE."""
    if not (found := _DATABASE.match(head)):
        return None
    options = [
        f"{'COLLATE' if collate else 'CHARACTER SET'} {name}" for collate, name in _CHARSET.findall(head[found.end() :])
    ]
    return found[1].upper(), _unquote(found[2], found[3]), " ".join(options)


def _unquote(quoted: str | None, plain: str) -> str:
    return quoted.replace("``", "`") if quoted is not None else plain


def is_about_users(head: str) -> bool:
    return _USERS.match(head) is not None


def is_about_server(head: str) -> bool:
    """Return True for settings, plugins and links of the server itself, also those that dump programs write."""
    return _SERVER.match(head) is not None


def is_about_events(head: str) -> bool:
    return _EVENT.match(head) is not None


def is_sent(head: str) -> bool:
    """Return True for the forms of statements that dumps consist of, without their DEFINER."""
    return _FORMS.match(head) is not None


def fills_table(text: bytes, head: str) -> bool:
    """Return True for CREATE TABLE ... SELECT, which no dump program writes.

    The server's mode and character set decide whether a backslash escapes a quote. Dumps double quotes here, so a
    statement that both readings may tell apart is one that fills a table.
    """
    if not _MAKES_TABLE.match(head) or not _FILLING.search(text):
        return False
    return bool(re.search(rb"\\['\"]", text) or _FILLING.search(_STRINGS.sub(b"''", text)))


def makes_schema(words: list[str], head: str) -> bool:
    """Return True for a statement that an empty copy of the schema needs."""
    if _MODE.match(head):
        return "SELECT" not in head.upper()
    return not {"CREATE", "ALTER", "DROP", "RENAME"}.isdisjoint(words)


def runs_code(words: list[str], text: bytes) -> bool:
    """Return True for a statement that may run triggers or functions of the dump."""
    return not ROWS.isdisjoint(words) or ("SET" in words and b"(" in text)


def drop_definer(text: bytes) -> bytes:
    """Remove the DEFINER of a view, trigger, routine or event: its user isn't on the sandbox's server."""
    return _DEFINER.sub(rb"\1", text, count=1)


def rename_databases(text: bytes, names: Mapping[str, str]) -> bytes:
    """Replace the names of databases that qualify another name, outside quotes."""
    renamed = {old.encode(): new.encode() for old, new in names.items()}
    either = b"|".join(rb"`%s`|\b%s\b" % (re.escape(old), re.escape(old)) for old in renamed)
    pattern = re.compile(rb"(?s)" + _NOT_QUALIFYING + rb"|(?P<name>" + either + rb")(?=\s*\.)")
    return pattern.sub(lambda found: renamed[found[0].strip(b"`")] if found["name"] else found[0], text)


def named_table(head: str) -> str:
    """Return the quoted name of the table of a statement about rows, or nothing. What follows a value isn't read."""
    found = _TABLE.search(re.split("['\"]", head[:300], maxsplit=1)[0])
    return found[1] if found else ""
