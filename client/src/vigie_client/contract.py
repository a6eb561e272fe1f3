"""The wire contract that client and portal share: allowed keys, limits, patterns, codes and validation rules.

Imports only the standard library: the portal loads this module and nothing else of the client.
Patterns are strings, to be matched with `re.fullmatch` unless a comment says otherwise.
"""

from __future__ import annotations

import re
import unicodedata

MACHINE_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
IDENTIFIER = r"[A-Za-z0-9._:+ -]{1,128}"
EXTENSION = r"\.?([a-z0-9]{1,10})"
UUID = r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# A token, whole or cut short, anywhere in a text (`re.search`). No text with one is taken as a name.
TOKEN = r"(vigie_(?:enroll|agent|client|staff)_[0-9A-Za-z]{12})_[0-9A-Za-z_]+"  # noqa: S105

MAX_INTEGER = 2**31 - 1
MAX_BODY = 1024 * 1024  # bytes as sent
# Characters of a name to normalize.
MAX_NORMALIZED = 1024

_TOKEN, _IDENTIFIER = re.compile(TOKEN), re.compile(IDENTIFIER)


def has_token(text: str) -> bool:
    return _TOKEN.search(text) is not None


def is_identifier(text: str) -> bool:
    """Return True for a valid identifier without a token, which has the form of one and would be kept and shown."""
    return _IDENTIFIER.fullmatch(text) is not None and not has_token(text)


def wire_integer(value: object) -> int | None:
    """Return `value` if it is an int from 0 to MAX_INTEGER, else None. True and 3.0 are no integers here."""
    return value if type(value) is int and 0 <= value <= MAX_INTEGER else None


def strip_query(url: str) -> str:
    """Cut off query and fragment, which may name anything."""
    return re.split(r"[?#]", url, maxsplit=1)[0]


def normal_form(text: str, form: str = "NFC") -> str:
    """Return the Unicode normal form of the first MAX_NORMALIZED characters.

    Python sorts combining marks in quadratic time: a longer text could take minutes.
    """
    return unicodedata.normalize(form, text[:MAX_NORMALIZED])  # type: ignore[arg-type]


# --- Runs ------------------------------------------------------------------------------------------------------------

MAX_DOCUMENTS = 10_000
MAX_RUNS_IN_BATCH = 100
STATUSES = ("success", "failed")  # any other becomes OTHER
OTHER = "other"
COUNTERS = ("document_count", "succeeded_count", "failed_count", "total_pages")
# The only keys that are kept; others are dropped and counted.
DOCUMENT_KEYS = frozenset({"ordinal", "page_count", "status", "duration_ms", "extension"})
RUN_KEYS = frozenset(
    {"run_id", "license_ref", "machine_id", "app_name", "app_version", "documents", "documents_omitted", "started_at",
     "sent_at", *COUNTERS}
)  # fmt: skip

_EXTENSION = re.compile(EXTENSION)


def normalize_extension(value: object) -> str | None:
    """Return `pdf` for `.PDF` and `pdf`, `other` for anything that is not an extension, and None for None."""
    if value is None:
        return None
    match = _EXTENSION.fullmatch(value.lower()) if isinstance(value, str) else None
    return match[1] if match else OTHER


# --- Machines --------------------------------------------------------------------------------------------------------

# Descriptive fields of a machine with their maximum lengths. Longer texts are cut, but not these two: half an address
# may be somebody else's.
DESCRIPTION = {
    "user_name": 200, "user_email": 254, "user_id": 128, "hostname": 255, "os_info": 255, "version": 64,
}  # fmt: skip
NEVER_CUT = ("user_email", "user_id")
_REMOVED_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._"


def reduce_description(text: str, max_length: int, *, may_cut: bool) -> str | None:
    """Return a descriptive text as the portal keeps it, or None if it is left out.

    Control characters and surrogates are removed. A text with a token is left out, and so is a long one unless
    `may_cut`.
    """
    if has_token(text):
        return None
    kept = _REMOVED_CHARACTERS.sub("", text).strip()
    if len(kept) > max_length and not may_cut:
        return None
    return kept[:max_length].rstrip() or (None if text.strip() else "")


def machine_name(host_name: str) -> str:
    """Derive the machine_id from a host name: the rule of the client and, in their languages, of the installers.

    Replace each run of other characters, hyphens among them, by one hyphen; strip dots, underscores and hyphens in
    front and a hyphen at the end; cut to 128. The number of replaced bytes or characters does not matter, so that all
    encodings give one name. Return an empty text if nothing is left: the client then uses the network card's address
    and the snippets their enrollment_id.
    """
    kept = "".join(character if character in NAME_CHARACTERS else " " for character in host_name)
    return "-".join(kept.split()).lstrip("._-")[:128]


# --- Events ----------------------------------------------------------------------------------------------------------

MAX_EVENTS_IN_CALL = 500
MAX_EMAIL, MAX_ROUTE = 254, 200
EVENT_KEYS = {
    "sessions": frozenset({"id", "user_email", "session_start", "session_end", "user_agent"}),
    "features": frozenset({"id", "user_email", "feature_name", "endpoint", "timestamp", "success", "duration_ms"}),
    "errors": frozenset({"id", "user_email", "endpoint", "method", "error_type", "error_code", "timestamp"}),
}
# Also `bob@intranet` and `jérôme@example.org`.
EMAIL = (
    r"(?=[^@]{1,64}@)[\w%+'&-]+(?:\.[\w%+'&-]+)*"
    r"@\w(?:[\w-]{0,61}\w)?(?:\.\w(?:[\w-]{0,61}\w)?)*"
)
# A class or a code. Without spaces, so that the message of an exception does not pass for its name.
ERROR_NAME = r"[A-Za-z_][A-Za-z0-9_.]{0,127}"
# A word that ends like the name of a file (`re.search`).
FILE_NAME = r"[A-Za-z0-9_-]\.[A-Za-z][A-Za-z0-9]{1,4}(?!\.?\w)"
ROUTE = r"(?!.*:/)[A-Za-z0-9._~{}<>:/-]*"
# The name of a parameter in the usual notations (`re.sub`).
ROUTE_PARAMETER = r"\{[A-Za-z_:]+[0-9]?\}|<[A-Za-z_:]+[0-9]?>|^:[A-Za-z_]+[0-9]?(?=\.|$)"
# A segment that holds a value: digits, a UUID, digits among letters, a long random word, a file name (`re.search`).
ROUTE_VALUE = (
    r"^[0-9][0-9._:~-]*$|[0-9]{4}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16}"
    r"|^(?=.*[0-9])(?=.*[A-Za-z]).{8}|[a-z]{21}|[A-Z]{21}|^[^{}<>]+\.[A-Za-z][A-Za-z0-9]{1,4}$"
)
# In a path also a person or a password (`re.search`). A name without a slash, such as `documents.upload`, is a view's.
VALUE_IN_PATH = r"[A-Za-z0-9]\.[A-Za-z]|:"
LONG_WORD = r"[A-Za-z]{8,}"
PLAIN_WORD = r"[A-Z]+|[A-Z]?[a-z]+(?:[A-Z][a-z]+)*[A-Z]{0,5}"
ROUTE_PLACEHOLDER = "{id}"

_EMAIL, _ERROR_NAME, _FILE_NAME, _ROUTE = map(re.compile, (EMAIL, ERROR_NAME, FILE_NAME, ROUTE))
_ROUTE_PARAMETER, _ROUTE_VALUE, _VALUE_IN_PATH = map(re.compile, (ROUTE_PARAMETER, ROUTE_VALUE, VALUE_IN_PATH))
_LONG_WORD, _PLAIN_WORD = map(re.compile, (LONG_WORD, PLAIN_WORD))


def normalize_email(value: object) -> str:
    """Return an e-mail address in lower case; empty for anything else."""
    text = value.lower() if isinstance(value, str) and len(value) <= MAX_EMAIL else ""
    return text if len(text) <= MAX_EMAIL and _EMAIL.fullmatch(text) and not has_token(text) else ""


def has_file_name(text: str) -> bool:
    return _FILE_NAME.search(text) is not None


def is_error_name(text: str) -> bool:
    """Return True for the name of a class or a code. The caller checks that it is an identifier."""
    return _ERROR_NAME.fullmatch(text) is not None and not has_file_name(text)


def reduce_route(endpoint: str) -> str | None:
    """Cut off the query and replace parameter values by `{id}`. Empty if too long, None if it is not a route."""
    path = strip_query(endpoint)
    if len(path) > MAX_ROUTE:
        return ""
    if not _ROUTE.fullmatch(path) or has_token(path):
        return None
    parts = path.split("/")
    route = "/".join(ROUTE_PLACEHOLDER if _holds_value(part, in_path=len(parts) > 1) else part for part in parts)
    return route if len(route) <= MAX_ROUTE else ""


def _holds_value(part: str, *, in_path: bool) -> bool:
    rest = _ROUTE_PARAMETER.sub("{}", part)
    is_random = not all(map(_PLAIN_WORD.fullmatch, _LONG_WORD.findall(rest)))
    return bool(is_random or _ROUTE_VALUE.search(rest) or (in_path and _VALUE_IN_PATH.search(rest)))


# --- Feedback --------------------------------------------------------------------------------------------------------

MAX_PARTICIPANT, MAX_COMMENT, MAX_PAGE, MAX_VERSION = 254, 100_000, 200, 64
# As sent. A name may become shorter once it is normalised, but not by more than that.
MAX_PARTICIPANT_SENT = 4 * MAX_PARTICIPANT
MAX_SCORE = 10
FEEDBACK_TYPES = ("bug", "ux", "feature", "other")
FEEDBACK_SEVERITIES = ("critical", "high", "medium", "low")
# The portal names machines `agent:...` and applications `client:...`; no participant may be called so (`re.match`).
CALLER_PREFIX = r"(?i:agent|client)\s*:"
# Control characters, halves of surrogate pairs and what XML cannot hold (`re.search`). Line ends and tabs are spaces.
UNPRINTABLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd-\uffff]"

_UNPRINTABLE, _CALLER_PREFIX = re.compile(UNPRINTABLE), re.compile(CALLER_PREFIX)


def is_score(value: object) -> bool:
    """Return True for an int from 0 to MAX_SCORE. True and 7.0 are no scores."""
    return type(value) is int and 0 <= value <= MAX_SCORE


def participant_name(value: object) -> str:
    """Return the name in its normalized spelling, so that each participant counts once; empty for an invalid one.

    Invisible format characters are removed: two names that look the same are the same.
    """
    if not isinstance(value, str) or len(value) > MAX_PARTICIPANT_SENT:
        return ""
    visible = "".join(character for character in value if unicodedata.category(character) != "Cf")
    if _UNPRINTABLE.search(visible) or has_token(visible):
        return ""
    name = normal_form(" ".join(visible.split()).lower())
    return name if len(name) <= MAX_PARTICIPANT and not _CALLER_PREFIX.match(name) else ""


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

# --- Deposits --------------------------------------------------------------------------------------------------------

MAX_PATH_NAME = 128
# The section of each step in a report in two dialects, such as backup_process and BACKUP; the client writes the first.
REPORT_STEPS = {step: (f"{step}_process", step.upper()) for step in ("backup", "compress", "transfer")}


def path_name(name: str) -> str:
    """Reduce the name of a database or an agent to a file name: `Compta é/2025` becomes `Compta_e_2025`.

    At most MAX_PATH_NAME of `[A-Za-z0-9._-]`, never empty, never with a dot in front. Reports keep the name itself.
    """
    ascii_only = normal_form(name[: 4 * MAX_PATH_NAME], "NFKD").encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^A-Za-z0-9._-]", "_", ascii_only.strip()).lstrip(".")[:MAX_PATH_NAME] or "_"


# --- Dumps -----------------------------------------------------------------------------------------------------------

# The parts of an unpacked dump that are examined.
DUMP_HEAD_BYTES = 16 * 1024
DUMP_TAIL_BYTES = 8 * 1024
DUMP_MARKER_WITHIN = 4 * 1024

# A line that a dump program writes near the beginning, and its last line. Lines end with \n here.
DUMP_PROGRAMS = (
    (b"\n-- PostgreSQL database cluster dump\n", b"\n-- PostgreSQL database cluster dump complete\n"),
    (b"\n-- PostgreSQL database dump\n", b"\n-- PostgreSQL database dump complete\n"),
    (b"\n-- MySQL dump ", b"\n-- Dump completed"),
    (b"\n-- MariaDB dump ", b"\n-- Dump completed"),
    # mysqldump and mariadb-dump with --skip-comments: a setting that is saved first and restored last.
    (b"@OLD_SQL_NOTES=@@SQL_NOTES", b"@OLD_SQL_NOTES"),
    (b"@OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY", b"@OLD_NOTE_VERBOSITY"),
)
# The same for dumps that are recognized by their first bytes: sqlite3's .dump, Python's iterdump, mysqldump --xml.
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
BLANKS = b" \t\r\n"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ASCII_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Prefixes of error messages, which may be all that a dump program has written.
DUMP_MESSAGES = (b"pg_dump: ", b"pg_dumpall: ", b"mysqldump: ", b"mariadb-dump: ", b"sqlite3: ", b"Error: ")
# An archive of `pg_dump -Fc` begins with PGDMP, three bytes of version, two of sizes, and its format: 1 is custom.
CUSTOM_ARCHIVE, CUSTOM_FORMAT_AT, CUSTOM_FORMAT = b"PGDMP", 10, 1
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257


class DumpSample:
    """Keeps the size and the first and last bytes of a dump that is fed piece by piece."""

    def __init__(self) -> None:
        self.size = 0
        self.head = b""
        # Up to eight times as long as needed: small pieces then do not each move all of it.
        self._last = bytearray()

    def add(self, data: bytes | memoryview) -> None:
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
    """Return the codes of doubts about an unpacked dump: `empty`, `not_a_dump`, `incomplete`, or none.

    `head` has its first DUMP_HEAD_BYTES, `tail` its last DUMP_TAIL_BYTES.
    """
    if not (head.strip(BLANKS) or tail.strip(BLANKS)):
        return ("empty",)
    if _is_dump_archive(head):
        return () if tail.endswith(_end_of_archive(head)) else ("incomplete",)
    head = _unix_lines(head)
    doubts = () if _begins_like_a_dump(head) else ("not_a_dump",)
    return doubts if _is_complete(head, _unix_lines(tail)) else (*doubts, "incomplete")


def is_error_message(head: bytes) -> bool:
    """Return True if the dump program wrote an error message in place of a dump."""
    head = _unix_lines(head)
    return head.lstrip(BLANKS).startswith(DUMP_MESSAGES) and not _find_program(head)


def _unix_lines(text: bytes) -> bytes:
    """Return the text with \\n before the first line and at the end of each."""
    return b"\n" + text[len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0 :].replace(b"\r\n", b"\n")


def _is_dump_archive(head: bytes) -> bool:
    """Return True for an archive of `pg_dump -Fc` or `-Ft`."""
    return head.startswith(CUSTOM_ARCHIVE) or head[TAR_MAGIC_AT:].startswith(TAR_MAGIC)


def _end_of_archive(head: bytes) -> bytes:
    """Return the last bytes of a complete archive: five zeros (a block of length 0) for -Fc, two records for tar."""
    if head[CUSTOM_FORMAT_AT : CUSTOM_FORMAT_AT + 1] == bytes([CUSTOM_FORMAT]) and head.startswith(CUSTOM_ARCHIVE):
        return b"\0" * 5
    return b"\0" * 1024 if head.startswith(b"toc.dat\0") else b""


def _begins_like_a_dump(head: bytes) -> bool:
    """Return True if an SQL statement or a psql command follows the leading blanks and comments."""
    text = head[:DUMP_MARKER_WITHIN].lstrip(BLANKS)
    while text.startswith((b"--", b"#", b"/*")):
        text = text.partition(b"*/" if text.startswith(b"/*") else b"\n")[2].lstrip(BLANKS + b";\0")
    word = text[: len(text) - len(text.lstrip(ASCII_LETTERS))]
    # An error message may begin with such a word too, but capitalized.
    is_sql = word.upper() in SQL_WORDS and (word.isupper() or word.islower())
    is_known = head.startswith(tuple(first for first, _last in DUMP_BEGINNINGS))
    return not text or text.startswith(b"\\") or is_sql or is_known


def _is_complete(head: bytes, tail: bytes) -> bool:
    """Return False if the program named in the head did not write its last line. An unknown program counts as complete.

    Another dump may follow in the same file, for example `pg_dump` after `pg_dumpall --globals-only`.
    """
    while program := _find_program(head):
        at, first, last = program
        ended = tail.rfind(last)
        if ended > tail.rfind(first):
            head = tail = tail[ended + len(last) :]
            continue
        ended = head.find(last, at + len(first))
        if ended < 0:
            return False
        head = head[ended + len(last) :]
    return True


def _find_program(head: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the position of the first dump program's marker, with its first and last line."""
    found = [(head.find(first, 0, DUMP_MARKER_WITHIN), first, last) for first, last in DUMP_PROGRAMS]
    found += [(0, first, last) for first, last in DUMP_BEGINNINGS if head.startswith(first)]
    return min((one for one in found if one[0] >= 0), default=None)
