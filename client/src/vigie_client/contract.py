"""The wire contract that client and portal share: patterns, limits and codes. Imports nothing.

Patterns are strings, to be matched with `re.fullmatch`.
"""

MACHINE_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
IDENTIFIER = r"[A-Za-z0-9._:+ -]{1,128}"
EXTENSION = r"\.?([a-z0-9]{1,10})"

MAX_INTEGER = 2**31 - 1
MAX_DOCUMENTS = 10_000
MAX_RUNS_IN_BATCH = 100

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
