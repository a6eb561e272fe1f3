"""The wire contract that client and portal share: patterns, limits and codes. Imports nothing.

Patterns are strings, to be matched with `re.fullmatch` unless a comment says otherwise.
"""

MACHINE_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
IDENTIFIER = r"[A-Za-z0-9._:+ -]{1,128}"
EXTENSION = r"\.?([a-z0-9]{1,10})"
UUID = r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# A token, whole or cut short, anywhere in a text (`re.search`). No text with one is taken as a name.
TOKEN = r"(vigie_(?:enroll|agent|client|staff)_[0-9A-Za-z]{12})_[0-9A-Za-z_]+"  # noqa: S105

MAX_INTEGER = 2**31 - 1
MAX_DOCUMENTS = 10_000
MAX_RUNS_IN_BATCH = 100
MAX_BODY = 1024 * 1024  # bytes as sent
STATUSES = ("success", "failed")

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
