"""Reasons and warnings of a status: stable codes with their details, and a sentence for each code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_lazy as _

from backups.drills.outcomes import Reason as Reason
from portal.base.words import format_count

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
        "report %(report)s of %(moment)s UTC arrived %(minutes)s minutes before the scheduled time; the early tolerance"
        " is %(most)s minutes"
    ),
    "report_ahead": _(
        "report %(report)s arrived before the time it states, so it counts for an earlier backup: the machine’s clock"
        " is wrong"
    ),
    "report_of_another_time": _(
        "report %(report)s states another time, %(moment)s UTC: the machine’s clock may be wrong"
    ),
    "reports_unread": _("no readable report arrived by the deadline; JSON files with other names: %(name)s"),
    "not_listed": _("report %(report)s doesn’t list the database"),
    "listed_in_other_case": _(
        "report %(report)s lists %(name)s, which differs from the expected name only in upper and lower case"
    ),
    # FAILED
    "report_too_large": _("the report is larger than %(limit)s bytes"),
    "report_not_json": _("the report isn’t JSON"),
    "report_utf16": _("the report is in UTF-16, as PowerShell writes it; UTF-8 is expected"),
    "report_nul": _("the report contains NUL bytes, typical of a power failure"),
    "report_too_deep": _("the report is nested too deeply"),
    "report_unreadable": _("the report can’t be read"),
    "report_not_object": _("the report isn’t a JSON object"),
    "report_no_moment": _(
        "the report states no readable time: timestamp, operation_timestamp or operation_end_time, such as"
        " 2026-11-20T13:04:00Z"
    ),
    "report_leap_second": _("the report’s time has a leap second (60), which isn’t supported"),
    "report_no_databases": _("the report lists no databases"),
    "report_other_agent": _("the report is from another machine"),
    "section_missing": _("section “%(section)s” is missing"),
    "section_malformed": _("section “%(section)s” isn’t an object"),
    "status_malformed": _("%(section)s: the status is neither true nor false"),
    "hash_missing": _("%(section)s: the SHA-256 is missing"),
    "hash_malformed": _("%(section)s: the SHA-256 isn’t 64 hexadecimal digits"),
    "hash_ambiguous": _("%(section)s: two different SHA-256 values"),
    "size_missing": _("%(section)s: the size is missing"),
    "size_malformed": _("%(section)s: the size isn’t a whole number of bytes"),
    "size_ambiguous": _("%(section)s: two different sizes"),
    "moment_malformed": _("%(section)s: %(key)s isn’t a date and time"),
    "moment_leap_second": _("%(section)s: %(key)s has a leap second (60), which isn’t supported"),
    "staged_name_malformed": _("the uploaded file’s name must be plain and end in .gz, .zst or .dump"),
    "step_failed": _("step “%(section)s” failed on the machine"),
    "step_failed_saying": _("step “%(section)s” failed on the machine: %(text)s"),
    # TRANSFER_INTEGRITY_FAILED
    "file_absent": _("the uploaded file %(name)s is missing"),
    "file_not_regular": _("the uploaded file %(name)s isn’t a regular file"),
    "file_unreadable": _("the uploaded file %(name)s can’t be read"),
    "file_changed": _("the uploaded file changed while it was being read"),
    "size_differs": _("the uploaded file has %(found)s bytes, but the machine reported %(claimed)s"),
    "hash_differs": _("checksum mismatch: the uploaded file’s SHA-256 differs from the one the machine reported"),
    # UNCHANGED, UNVERIFIED, SUCCESS
    "unchanged": _("the dump is identical to the last verified one"),
    "later_failed": _("the later report %(report)s for the same scheduled time brings no better backup"),
    "overwritten": _("the uploaded file belongs to the later report %(report)s"),
    "verified": _("SHA-256 and size match what the machine reported"),
    # Any of them, of an older tool
    "imported": _("imported from an older tool"),
    "imported_saying": _("imported from an older tool: %(text)s"),
    # Folders
    "folder_absent": _("folder “%(folder)s” doesn’t exist"),
    "folder_not_plain": _("“%(folder)s” is a link or not a folder, and isn’t followed"),
    "folder_unreadable": _("folder “%(folder)s” can’t be read"),
    "too_many_files": _("folder “%(folder)s” contains more than %(limit)s files"),
    "scan_failed": _("the scan of the machine failed; see the log"),
    # Promotion
    "storage_absent": _("the storage folder doesn’t exist"),
    "storage_full": _("no space left for the verified backup"),
    "storage_failed": _("the verified backup can’t be stored: %(error)s"),
    "storage_shared": _("the backups of %(job)s are stored in the same folder"),
    "staged_gone": _("the verified file is no longer in the upload area"),
    "staged_replaced": _("the file in the upload area is no longer the verified one"),
    # The current version, hashed again
    "current_absent": _("the current version is missing"),
    "current_differs": _("checksum mismatch: the current version’s SHA-256 is no longer the verified one"),
    "current_unreadable": _("the current version can’t be read"),
    # Off-site copies: why there is none, or why it is not verified
    "offsite_waiting": _("they are waiting to be copied"),
    "offsite_unverified": _("they are waiting to be verified"),
    "offsite_refused": _("the store refuses the key"),
    "offsite_unreachable": _("the store can’t be reached"),
    "offsite_timeout": _("the store doesn’t answer in time"),
    "offsite_full": _("the store is full"),
    "offsite_no_bucket": _("the bucket doesn’t exist"),
    "offsite_not_found": _("the store doesn’t find the upload"),
    "offsite_garbage": _("the store’s answer can’t be used"),
    "offsite_local_absent": _("the stored file is missing"),
    "offsite_local_differs": _("the stored file is no longer the verified one"),
    "offsite_local_unreadable": _("the portal can’t read the stored file"),
    # Restore drills: without proof, and warnings
    "not_restorable": _("it can’t be restored: %(error)s"),
    "table_gone": _("table %(table)s is gone"),
    "rows_lost": _("table %(table)s has only %(now)s rows; it had %(before)s"),
    "more_losses": _("and %(count)s more"),
    "assertion_false": _("assertion “%(name)s” failed"),
    "engine_unknown": _("the database system of the dump isn’t recognized"),
    "no_postgresql_sandbox": _("there is no PostgreSQL to restore into: set DRILL_POSTGRES_URL or install PostgreSQL"),
    "no_mysql_sandbox": _("there is no MySQL or MariaDB to restore into: set DRILL_MYSQL_URL"),
    "proof_expired": _("the last proof is too old"),
    "sandbox_differs": _("the dump is from %(dumped)s, and the sandbox is %(sandbox)s: %(message)s"),
    "pg_restore_missing": _("the program pg_restore isn’t installed; archives of pg_dump need it"),
    "pg_restore_too_old": _("the program pg_restore is older than the archive"),
    "users_left_out": _("users, roles and privileges of the dump were left out"),
    "server_left_out": _("settings and tables of the server itself were left out"),
    "tablespaces_left_out": _("tablespaces of the dump were left out"),
    "databases_left_out": _("statements that create or change databases were left out"),
    "outside_left_out": _("%(kind)s was left out: it reaches beyond the database"),
    "extension_missing": _("the sandbox doesn’t have the extension %(extension)s"),
    "setting_ignored": _("the sandbox’s server doesn’t have the setting %(setting)s"),
    "events_left_out": _("events were left out: the sandbox would run them"),
    "damage_not_checked": _("pg_amcheck could not check tables and indexes for damage"),
    "foreign_keys_violated": _("rows of table %(table)s refer to rows that don’t exist"),
    # Errors of restore drills
    "time_is_up": _("the time limit (DRILL_TIMEOUT_SECONDS) was reached"),
    "disk_is_full": _("the restored database is larger than the limit (DRILL_MAX_BYTES)"),
    "out_of_memory": _("a statement or its result needs too much memory"),
    "ended_early": _("the restore ended early: %(how)s"),
    "no_tables": _("the restored database has no tables"),
    "too_many_tables": _("the names of the dump’s tables are too long to record"),
    "too_many_databases": _("the dump has more than %(limit)s databases"),
    "rows_cut_off": _("the dump ends within the rows of a COPY"),
    "statement_not_run": _("%(statement)s: refused in the sandbox"),
    "statement_unknown": _("unknown statement: refused in the sandbox"),
    "client_command": _("a command of the client program: refused in the sandbox"),
    "not_utf8": _("%(statement)s: not valid UTF-8, or a zero byte"),
    "server_ended": _("the server ended while this dump was restored"),
    "session_ended": _("the server ended the session"),
    "connection_ended": _("the script has ended its own connection"),
    "locked_out": _("the server refuses another session of the restored database"),
    "database_damaged": _("the restored database is corrupted (integrity_check)"),
    "object_damaged": _("the %(kind)s “%(name)s” is corrupted (pg_amcheck)"),
    "not_one_value": _("the query must return one row with one column"),
    # Unavailable sandboxes
    "space_is_low": _("there is too little free space for restore drills (DISK_RESERVE_MIB)"),
    "sessions_ended": _("the server ended all sessions"),
    "sessions_refused": _("the server refuses further sessions"),
    "server_went_away": _("the server went away during a restore"),
    "server_full": _("the server has no space left"),
    "resources_lacking": _("the server lacks resources: %(condition)s"),
    "not_dropped": _("the restored databases could not be dropped: %(left)s"),
    "archive_not_unpacked": _("the archive can’t be unpacked: %(error)s"),
    "private_server_ended": _("the private PostgreSQL server did not start"),
    "private_server_failed": _("the private PostgreSQL server did not start: %(error)s"),
    "postgresql_too_old": _("the server of DRILL_POSTGRES_URL is older than PostgreSQL 13"),
    "languages_offered": _(
        "the server offers languages in which a dump could run code (%(names)s); remove them or use another server"
    ),
    "mysql_url_malformed": _("DRILL_MYSQL_URL isn’t of the form mysql://user:password@host"),
    "binary_log": _("the server has a binary log: disable it, or enable log_bin_trust_function_creators"),
    "engines_reach_outside": _("the server has storage engines that reach outside its databases: %(engines)s"),
    "databases_open_to_all": _("every user of the server may use its databases %(databases)s"),
    "functions_of_libraries": _("the server has functions of shared libraries (mysql.func), which dumps could call"),
}

# About the content of a dump: an older version may be the better one.
DOUBT_SENTENCES: dict[str, Any] = {
    "empty": _("the dump is empty"),
    "truncated_gzip": _("the gzip file is truncated or corrupted: it can’t be fully decompressed"),
    "truncated_zstd": _("the zstd file is truncated or corrupted: it can’t be fully decompressed"),
    "incomplete": _("the dump is incomplete: the dump program’s last line is missing"),
    "not_a_dump": _("it doesn’t look like a dump: neither SQL nor a pg_dump archive"),
    "misnamed": _("its name doesn’t match its format: .gz is gzip, .zst is zstd, .dump is neither"),
    "trailing_garbage": _("it can be decompressed, but other data follows its end"),
    "too_small": _("it is smaller than the minimum size"),
    "shrunk": _("it is much smaller than the previous dumps"),
}
DOUBTS = frozenset(DOUBT_SENTENCES)
WARNINGS: dict[str, Any] = DOUBT_SENTENCES | {
    "not_unpacked": _("it takes too much time or memory to decompress: only its SHA-256 was verified"),
    "later_failed": _("a later attempt failed or is suspicious; the earlier backup is kept"),
    "overall_failed": _("the report marks the whole operation as failed, although every step succeeded"),
    "early": _("it arrived before its scheduled time"),
    "clock_skew": _("the machine’s clock is wrong"),
    # Only in entries of earlier releases.
    "inflates_too_much": _("it decompresses to more than any dump would: the test was stopped"),
}
# Variants of reports that are accepted.
SPELLINGS: dict[str, Any] = {
    "dashed_name": _("file names as YYYY-MM-DD_HH-MM-SS"),
    "agent_case": _("machine name in different case"),
    "no_zone": _("times without a time zone, read as UTC"),
    "status_as_text": _("“True” and “False” as text"),
    "size_as_text": _("sizes as text"),
    "staged_path": _("full path as staged_file_name; only the last part is used"),
}


def format_reason(why: Reason) -> str:
    """Return the sentence of a reason in the active language, or its code if it is unknown."""
    if "code" not in why:
        return str(why.get("message", "")).rstrip(".")  # of a server
    code = str(why["code"])
    text = SENTENCES.get(code) or WARNINGS.get(code)  # a doubt about a later dump is a reason to keep this one
    values = {key: format_detail(value) for key, value in why.items()}
    return code if text is None else str(text) % values


def format_detail(value: Any) -> Any:
    """Return a nested reason as its sentence, and a number grouped as the reader's language does."""
    if isinstance(value, dict):
        return format_reason(value)
    return format_count(value) if isinstance(value, int) else value


def join_sentences(texts: Iterable[str]) -> str:
    """Join clauses with semicolons, from a capital to a full stop."""
    text = str(SEPARATOR).join(texts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def join_reasons(reasons: Iterable[Reason]) -> str:
    """Join the clauses with semicolons, to be the end of a sentence."""
    return str(SEPARATOR).join(map(format_reason, reasons))


def format_reasons(reasons: Iterable[Reason]) -> str:
    return join_sentences(map(format_reason, reasons))


def format_error(why: Reason) -> str:
    """Return an error of a drill or a sandbox: a sentence of ours, or the text of a server as it wrote it."""
    return format_reasons([why]) if "code" in why else str(why.get("message", ""))


def format_warnings(codes: Iterable[str]) -> str:
    return join_sentences(str(WARNINGS.get(code, code)) for code in codes)


def format_spellings(codes: Iterable[str]) -> str:
    text = str(SEPARATOR).join(str(SPELLINGS.get(code, code)) for code in codes)
    return f"{text}." if text else ""
