"""Reasons and warnings of a status: stable codes with their details, and a sentence for each code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_lazy as _

Reason = dict[str, Any]
LONGEST_TEXT = 200
SEPARATOR = _("; ")


def make_reason(code: str, **details: Any) -> Reason:
    return {"code": code, **details}


def to_single_line(text: str) -> str:
    """Return text from outside as one short printable line for display."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


SENTENCES: dict[str, Any] = {
    # MISSING
    "no_report": _("no report arrived by the deadline"),
    "report_early": _(
        "the report %(report)s of %(moment)s UTC came %(minutes)s minutes before the expected time; at most %(most)s"
        " minutes early count"
    ),
    "report_ahead": _(
        "the report %(report)s arrived before the time that it gives, so it counts for an earlier backup: the machine’s"
        " clock is wrong"
    ),
    "report_of_another_time": _(
        "the report %(report)s gives another time, %(moment)s UTC: the machine’s clock may be wrong"
    ),
    "reports_unread": _("no report that can be read arrived by the deadline; JSON files with other names: %(name)s"),
    "not_listed": _("the report %(report)s does not list the database"),
    "listed_in_other_case": _(
        "the report %(report)s lists %(name)s, which differs from the expected name in upper and lower case"
    ),
    # FAILED
    "report_too_large": _("the report is larger than %(limit)s bytes"),
    "report_not_json": _("the report is not JSON"),
    "report_utf16": _("the report is in UTF-16, as PowerShell writes it; UTF-8 is expected"),
    "report_nul": _("the report holds NUL bytes, as a power cut leaves them"),
    "report_too_deep": _("the report is nested too deeply"),
    "report_unreadable": _("the report cannot be read"),
    "report_not_object": _("the report is not an object"),
    "report_no_moment": _(
        "the report gives no readable time of the operation: timestamp, operation_timestamp or operation_end_time, such"
        " as 2026-11-20T13:04:00Z"
    ),
    "report_leap_second": _("the time of the report has a leap second (60), which cannot be read"),
    "report_no_databases": _("the report lists no databases"),
    "report_other_agent": _("the report is one of another machine"),
    "section_missing": _("the section %(section)s is missing"),
    "section_malformed": _("the section %(section)s is not an object"),
    "status_malformed": _("%(section)s: the status is neither true nor false"),
    "hash_missing": _("%(section)s: the SHA-256 is missing"),
    "hash_malformed": _("%(section)s: the SHA-256 is not 64 hexadecimal digits"),
    "hash_ambiguous": _("%(section)s: the SHA-256 is given twice, and differently"),
    "size_missing": _("%(section)s: the size is missing"),
    "size_malformed": _("%(section)s: the size is not a whole number of bytes"),
    "size_ambiguous": _("%(section)s: the size is given twice, and differently"),
    "moment_malformed": _("%(section)s: %(key)s is not a time"),
    "moment_leap_second": _("%(section)s: %(key)s has a leap second (60), which cannot be read"),
    "staged_name_malformed": _("the name of the staged file is not a plain name that ends in .gz, .zst or .dump"),
    "step_failed": _("the machine says that the step %(section)s failed"),
    "step_failed_saying": _("the machine says that the step %(section)s failed: %(text)s"),
    # TRANSFER_INTEGRITY_FAILED
    "file_absent": _("the staged file %(name)s is not there"),
    "file_not_regular": _("the staged file %(name)s is not a regular file"),
    "file_unreadable": _("the staged file %(name)s cannot be read"),
    "file_changed": _("the staged file changed while it was read"),
    "size_differs": _("the staged file has %(found)s bytes, the machine says %(claimed)s"),
    "hash_differs": _("the SHA-256 of the staged file is not the one the machine says"),
    # UNCHANGED, UNVERIFIED, SUCCESS
    "unchanged": _("the dump is the same as the one verified before"),
    "later_failed": _("the later report %(report)s of the same cycle brings no better backup"),
    "overwritten": _("the staged file belongs to the later report %(report)s"),
    "verified": _("hash and size are those the machine says"),
    # Folders
    "folder_absent": _("the folder %(folder)s is not there"),
    "folder_not_plain": _("the folder %(folder)s is a link or no folder, and is not followed"),
    "folder_unreadable": _("the folder %(folder)s cannot be read"),
    "too_many_files": _("the folder %(folder)s holds more than %(limit)s files"),
    "scan_failed": _("the scan of the machine failed; the log says why"),
    # Promotion
    "storage_absent": _("the folder of verified backups is not there"),
    "storage_full": _("no space is left for the verified backup"),
    "storage_failed": _("the verified backup cannot be stored: %(error)s"),
    "storage_shared": _("the backups of %(job)s are stored in the same folder"),
    "staged_gone": _("the verified file is no longer in the deposit area"),
    "staged_replaced": _("the file in the deposit area is no longer the verified one"),
    # The current version, hashed again
    "current_absent": _("the current version is not there"),
    "current_differs": _("the SHA-256 of the current version is no longer the one that was verified"),
    "current_unreadable": _("the current version cannot be read"),
}

# About the content of a dump: an older version may be the better one.
DOUBT_SENTENCES: dict[str, Any] = {
    "empty": _("the dump is empty"),
    "truncated_gzip": _("the gzip is truncated or damaged: it cannot be unpacked to its end"),
    "truncated_zstd": _("the zstd file is truncated or damaged: it cannot be unpacked to its end"),
    "incomplete": _("the dump is incomplete: the line with which the dump program ends is missing"),
    "not_a_dump": _("it does not begin like a dump: neither with SQL nor as an archive of pg_dump"),
    "misnamed": _("its name does not match its format: .gz is gzip, .zst is zstd, .dump is neither"),
    "trailing_garbage": _("it unpacks, but other data follows its end"),
    "too_small": _("it is smaller than expected"),
    "shrunk": _("it is much smaller than the last ones"),
}
DOUBTS = frozenset(DOUBT_SENTENCES)
WARNINGS: dict[str, Any] = DOUBT_SENTENCES | {
    "not_unpacked": _("it takes too much time or memory to unpack: only its hash was checked"),
    "later_failed": _("a later attempt to back up failed or is suspicious; the earlier backup stays"),
    "overall_failed": _("the report calls the operation as a whole failed, although every step succeeded"),
    "early": _("it came before it was expected"),
    "clock_skew": _("the machine’s clock is wrong"),
    # Only in entries of earlier releases.
    "inflates_too_much": _("it unpacks to more than any dump would: the check was stopped"),
}
# Variants of reports that are accepted.
SPELLINGS: dict[str, Any] = {
    "dashed_name": _("file names as YYYY-MM-DD_HH-MM-SS"),
    "agent_case": _("the machine’s name in another case"),
    "no_zone": _("times without a zone, taken as UTC"),
    "status_as_text": _("“True” and “False” as text"),
    "size_as_text": _("sizes as text"),
    "staged_path": _("a whole path as staged_file_name, of which the last part counts"),
}


def format_reason(why: Reason) -> str:
    """Return the sentence of a reason in the active language, or its code if it is unknown."""
    code = str(why.get("code", ""))
    text = SENTENCES.get(code) or WARNINGS.get(code)  # a doubt about a later dump is a reason to keep this one
    return code if text is None else str(text) % why


def join_sentences(texts: Iterable[str]) -> str:
    """Join clauses with semicolons, from a capital to a full stop."""
    text = str(SEPARATOR).join(texts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def format_reasons(reasons: Iterable[Reason]) -> str:
    return join_sentences(map(format_reason, reasons))


def format_warnings(codes: Iterable[str]) -> str:
    return join_sentences(str(WARNINGS.get(code, code)) for code in codes)


def format_spellings(codes: Iterable[str]) -> str:
    text = str(SEPARATOR).join(str(SPELLINGS.get(code, code)) for code in codes)
    return f"{text}." if text else ""
