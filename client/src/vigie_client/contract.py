"""The wire contract that client and portal share: patterns, limits, codes and the rules made of them.

Imports only the standard library: the portal loads this module and nothing else of the client.
Patterns are strings, to be matched with `re.fullmatch` unless a comment says otherwise.
"""

import unicodedata

MACHINE_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
IDENTIFIER = r"[A-Za-z0-9._:+ -]{1,128}"
EXTENSION = r"\.?([a-z0-9]{1,10})"
UUID = r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# A token, whole or cut short, anywhere in a text (`re.search`). No text with one is taken as a name.
TOKEN = r"(vigie_(?:enroll|agent|client|staff)_[0-9A-Za-z]{12})_[0-9A-Za-z_]+"  # noqa: S105

MAX_INTEGER = 2**31 - 1
MAX_DOCUMENTS = 10_000
MAX_RUNS_IN_BATCH = 100
MAX_EVENTS_IN_CALL = 500
MAX_BODY = 1024 * 1024  # bytes as sent
STATUSES = ("success", "failed")


def plain_int(value: object) -> "int | None":
    """`value` when it is an integer from 0 to 2^31-1 and nothing that merely passes for one (True, 3.0), else None."""
    return value if type(value) is int and 0 <= value <= MAX_INTEGER else None


LONGEST_NORMALIZED = 1024


def normalized(text: str, form: str = "NFC") -> str:
    """Return the Unicode normal form of the first LONGEST_NORMALIZED characters.

    Sorting combining marks takes quadratic time: a longer text could take minutes.
    """
    return unicodedata.normalize(form, text[:LONGEST_NORMALIZED])  # type: ignore[arg-type]


# --- Machines --------------------------------------------------------------------------------------------------------

# What a machine says of itself, and how long it may be. Longer texts are cut; longer addresses and ids are left out.
DESCRIPTION = {
    "user_name": 200, "user_email": 254, "user_id": 128, "hostname": 255, "os_info": 255, "version": 64,
}  # fmt: skip
NEVER_CUT = ("user_email", "user_id")
NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._"


def machine_name(host_name: str) -> str:
    """The machine_id that a host name makes: the rule of the client and, in their languages, of the installers.

    Each run of other characters, hyphens among them, becomes one hyphen; dots, underscores and hyphens in front and a
    hyphen at the end go; the rest is cut to 128. It counts no bytes or characters of what it replaces, so that no
    encoding makes a difference. Empty if nothing is left: the client then uses the network card's address and the
    snippets their enrollment_id.
    """
    kept = "".join(character if character in NAME_CHARACTERS else " " for character in host_name)
    return "-".join(kept.split()).lstrip("._-")[:128]


# The rule by examples, for the tests of each language.
MACHINE_NAMES = (
    ("PC-LYON-07", "PC-LYON-07"),
    ("desktop-lyon-comptabilite", "desktop-lyon-comptabilite"),
    ("srv_01.Example.ORG", "srv_01.Example.ORG"),
    ("PC-\u00c9ric 01", "PC-ric-01"),
    ("H\u00d4TE-\u00c9", "H-TE"),
    ("PC LYON/07", "PC-LYON-07"),
    ("pc:07", "pc-07"),
    ("_srv", "srv"),
    ("-_.a--b-", "a-b"),
    ("{0f8fad5b-d9cb-469f-a165-70867728950e}", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("a" * 200, "a" * 128),
    ("\u65e5\u672c", ""),
    ("---", ""),
    ("", ""),
)

# --- Events ----------------------------------------------------------------------------------------------------------

MAX_EMAIL, MAX_ROUTE = 254, 200
# Addresses that people have, `bob@intranet` and `jérôme@example.org` too.
EMAIL = (
    r"(?=[^@]{1,64}@)[\w%+'&-]+(?:\.[\w%+'&-]+)*"
    r"@\w(?:[\w-]{0,61}\w)?(?:\.\w(?:[\w-]{0,61}\w)?)*"
)
# A class or a code. No spaces, so that the text of an exception does not pass for its name.
ERROR_NAME = r"[A-Za-z_][A-Za-z0-9_.]{0,127}"
# A word that ends like the name of a file (`re.search`).
FILE_NAME = r"[A-Za-z0-9_-]\.[A-Za-z][A-Za-z0-9]{1,4}(?!\.?\w)"
ROUTE = r"(?!.*:/)[A-Za-z0-9._~{}<>:/-]*"
# The name of a parameter, in the usual spellings (`re.sub`).
ROUTE_PARAMETER = r"\{[A-Za-z_:]+[0-9]?\}|<[A-Za-z_:]+[0-9]?>|^:[A-Za-z_]+[0-9]?(?=\.|$)"
# A segment with a value filled in: digits, a UUID, digits among letters, a long random word, a file name (`re.search`).
FILLED_IN = (
    r"^[0-9][0-9._:~-]*$|[0-9]{4}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16}"
    r"|^(?=.*[0-9])(?=.*[A-Za-z]).{8}|[a-z]{21}|[A-Z]{21}|^[^{}<>]+\.[A-Za-z][A-Za-z0-9]{1,4}$"
)
# In a path also a person or a password (`re.search`). A name without a slash, such as `documents.upload`, is a view's.
FILLED_IN_PATH = r"[A-Za-z0-9]\.[A-Za-z]|:"
LONG_WORD = r"[A-Za-z]{8,}"
PLAIN_WORD = r"[A-Z]+|[A-Z]?[a-z]+(?:[A-Z][a-z]+)*[A-Z]{0,5}"
PARAMETER = "{id}"

# --- Feedback --------------------------------------------------------------------------------------------------------

MAX_PARTICIPANT, MAX_COMMENT, MAX_PAGE, MAX_VERSION = 254, 100_000, 200, 64
# As sent. A name may become shorter once it is normalised, but not by more than that.
MAX_PARTICIPANT_SENT = 4 * MAX_PARTICIPANT
MAX_SCORE = 10
# How the portal names tokens, and so no participant (`re.match`).
MACHINE_LIKE = r"(?i:agent|client)\s*:"

# --- Refusals --------------------------------------------------------------------------------------------------------

# Only a problem of the portal with one of these codes condemns an item of a spool; after any other answer it waits.
QUARANTINE_CODES = (
    "validation_failed",
    "malformed_json",
    "counters_mismatch",
    "run_conflict",
    "event_conflict",
    "feedback_conflict",
    "body_too_large",
    "body_too_deep",
    "programme_unknown",
)

# --- Dumps -----------------------------------------------------------------------------------------------------------

# How much of an unpacked dump is looked at.
DUMP_HEAD_BYTES = 16 * 1024
DUMP_TAIL_BYTES = 8 * 1024
DUMP_NAMED_WITHIN = 4 * 1024

# A line near the beginning of what a dump program writes, and what it writes when it is done. Lines end with \n here.
DUMP_PROGRAMS = (
    (b"\n-- PostgreSQL database cluster dump\n", b"\n-- PostgreSQL database cluster dump complete\n"),
    (b"\n-- PostgreSQL database dump\n", b"\n-- PostgreSQL database dump complete\n"),
    (b"\n-- MySQL dump ", b"\n-- Dump completed"),
    (b"\n-- MariaDB dump ", b"\n-- Dump completed"),
    # mysqldump and mariadb-dump with --skip-comments: a setting that is saved first and restored last.
    (b"@OLD_SQL_NOTES=@@SQL_NOTES", b"@OLD_SQL_NOTES"),
    (b"@OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY", b"@OLD_NOTE_VERBOSITY"),
)
# The same of dumps that are known by their first bytes: sqlite3's .dump, iterdump of Python, mysqldump --xml.
DUMP_BEGINNINGS = (
    (b"\nPRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;", b"\nCOMMIT;"),
    (b"\nBEGIN TRANSACTION;", b"\nCOMMIT;"),
    (b'\n<?xml version="1.0"?>\n<mysqldump', b"\n</mysqldump>"),
)
SQL_WORDS = frozenset(
    b"ALTER ANALYZE ATTACH BEGIN CALL COMMENT COMMIT COPY CREATE DECLARE DELETE DELIMITER DO DROP END EXEC EXECUTE"
    b" FLUSH GO GRANT INSERT LOCK MERGE PRAGMA PRINT REPLACE RESET REVOKE ROLLBACK SAVEPOINT SELECT SET START TRUNCATE"
    b" UNLOCK UPDATE USE VACUUM WITH".split()
)
BLANK = b" \t\r\n"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# How the messages of a dump program begin, when they are all that there is.
DUMP_MESSAGES = (b"pg_dump: ", b"pg_dumpall: ", b"mysqldump: ", b"mariadb-dump: ", b"sqlite3: ", b"Error: ")
# An archive of `pg_dump -Fc` begins with PGDMP, three bytes of version, two of sizes, and its format: 1 is custom.
CUSTOM_ARCHIVE, CUSTOM_FORMAT_AT, CUSTOM_FORMAT = b"PGDMP", 10, 1
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257


class DumpEnds:
    """The size of a dump that is fed piece by piece, with its first and last bytes."""

    def __init__(self) -> None:
        self.size = 0
        self.head = b""
        # Longer than it needs to be, so that small pieces do not each move all of it.
        self._last = bytearray()

    def add(self, data: "bytes | memoryview") -> None:
        self.size += len(data)
        if len(self.head) < DUMP_HEAD_BYTES:
            self.head += bytes(data[: DUMP_HEAD_BYTES - len(self.head)])
        self._last += data[-DUMP_TAIL_BYTES:]
        if len(self._last) > 8 * DUMP_TAIL_BYTES:
            del self._last[:-DUMP_TAIL_BYTES]

    @property
    def tail(self) -> bytes:
        return bytes(self._last[-DUMP_TAIL_BYTES:])


def dump_doubts(head: bytes, tail: bytes) -> tuple[str, ...]:
    """Codes of what is wrong with a dump, by its first DUMP_HEAD_BYTES and its last DUMP_TAIL_BYTES, unpacked.

    `empty`, `not_a_dump`, `incomplete`; nothing for a dump without a sign of either.
    """
    if not (head.strip(BLANK) or tail.strip(BLANK)):
        return ("empty",)
    if _is_dump_archive(head):
        return () if tail.endswith(_end_of_archive(head)) else ("incomplete",)
    head = _lines(head)
    doubts = () if _begins_like_a_dump(head) else ("not_a_dump",)
    return doubts if _is_complete(head, _lines(tail)) else (*doubts, "incomplete")


def is_message(head: bytes) -> bool:
    """Whether this is the message of a dump program in the place of a dump."""
    head = _lines(head)
    return head.lstrip(BLANK).startswith(DUMP_MESSAGES) and not _program(head)


def _lines(text: bytes) -> bytes:
    """The text with \\n at the end of each line, and before the first."""
    return b"\n" + text[len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0 :].replace(b"\r\n", b"\n")


def _is_dump_archive(head: bytes) -> bool:
    """Whether this is the beginning of an archive for pg_restore: `pg_dump -Fc` or `-Ft`."""
    return head.startswith(CUSTOM_ARCHIVE) or head[TAR_MAGIC_AT:].startswith(TAR_MAGIC)


def _end_of_archive(head: bytes) -> bytes:
    """How a whole archive ends: -Fc with a block of length 0, which is five bytes, and tar with two empty records."""
    if head[CUSTOM_FORMAT_AT : CUSTOM_FORMAT_AT + 1] == bytes([CUSTOM_FORMAT]) and head.startswith(CUSTOM_ARCHIVE):
        return b"\0" * 5
    return b"\0" * 1024 if head.startswith(b"toc.dat\0") else b""


def _begins_like_a_dump(head: bytes) -> bool:
    """Whether the first thing behind blanks and comments is a statement of SQL or a command of psql."""
    text = head[:DUMP_NAMED_WITHIN].lstrip(BLANK)
    while text.startswith((b"--", b"#", b"/*")):
        text = text.partition(b"*/" if text.startswith(b"/*") else b"\n")[2].lstrip(BLANK + b";\0")
    word = text[: len(text) - len(text.lstrip(LETTERS))]
    # An error message may begin with such a word too, but then with one capital.
    is_sql = word.upper() in SQL_WORDS and (word.isupper() or word.islower())
    is_known = head.startswith(tuple(first for first, _last in DUMP_BEGINNINGS))
    return not text or text.startswith(b"\\") or is_sql or is_known


def _is_complete(head: bytes, tail: bytes) -> bool:
    """Whether the program that the head names came to its end; of one that it does not name, that is not known.

    Another dump may follow in the same file, such as that of `pg_dump` behind `pg_dumpall --globals-only`.
    """
    while named := _program(head):
        at, first, last = named
        ended = tail.rfind(last)
        if ended > tail.rfind(first):
            head = tail = tail[ended + len(last) :]
            continue
        ended = head.find(last, at + len(first))
        if ended < 0:
            return False
        head = head[ended + len(last) :]
    return True


def _program(head: bytes) -> "tuple[int, bytes, bytes] | None":
    """Where the head names the first dump program, with the marks of its beginning and its end."""
    found = [(head.find(first, 0, DUMP_NAMED_WITHIN), first, last) for first, last in DUMP_PROGRAMS]
    found += [(0, first, last) for first, last in DUMP_BEGINNINGS if head.startswith(first)]
    return min((one for one in found if one[0] >= 0), default=None)
