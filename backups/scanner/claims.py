"""Read what a report claims of one database: its three steps, strictly. Pure: values in, facts out.

Every fault is named. A few spellings of real agents are accepted as well: each reader adds the code of such a spelling
to `spellings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vigie_client.contract import REPORT_STEPS

from backups.reasons import Reason, make_reason, to_single_line
from backups.scanner.disk import paths
from portal.base.logs import redact_tokens
from portal.base.moments import format_iso_seconds

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
DIGITS = re.compile(r"[0-9]{1,19}")
LEAP_SECOND = re.compile(r"[T ][0-9]{2}:?[0-9]{2}:?60")
HASH_KEYS = ("sha256", "sha256_checksum", "hash_post_compress", "agent_compress_hash_post_compress")
SIZE_KEYS = ("size", "size_post_compress", "size_bytes", "agent_compress_size_post_compress")
MOMENT_KEYS = ("start_time", "end_time")
TEXT_KEYS = ("error_message", "message")
# Python's text for booleans and None.
BOOLEAN_TEXTS, NULL_TEXTS = {"True": True, "False": False}, ("null", "None")
LARGEST_SIZE = 2**63 - 1


class ClaimError(Exception):
    """A value breaks the format; `why` is the reason."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why["code"])
        self.why = why


@dataclass(frozen=True)
class Claim:
    """The agent's claim about one database.

    `faults` are format errors of the section, and `failed` is the step that the agent reports as failed. Hash and size
    are of the compressed dump; `staged_name` is None if the report does not name the file. `steps` hold status, times
    and size of each step for display: no verdict depends on them.
    """

    faults: tuple[Reason, ...] = ()
    failed: Reason | None = None
    sha256: str = ""
    size: int | None = None
    staged_name: str | None = None
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_claim(database: str, section: Any, spellings: set[str]) -> Claim:
    """Read one database of a report, up to the first step that failed."""
    if not isinstance(section, dict):
        return Claim(faults=(make_reason("section_malformed", section=to_single_line(database)),))
    faults: list[Reason] = []
    found: dict[str, Any] = {}
    steps: dict[str, Mapping[str, Any]] = {}
    for step, names in REPORT_STEPS.items():
        try:
            name, body = find_step(section, step, names)
            status, steps[step] = read_step(name, body, spellings)
            if not status:
                return Claim(faults=tuple(faults), failed=describe_failure(name, body), steps=steps)
            found |= read_compressed(name, body, spellings) if step == "compress" else {}
        except ClaimError as error:
            faults.append(error.why)
    try:
        staged = read_staged_name(section, spellings)
    except ClaimError as error:
        faults.append(error.why)
        staged = None
    return Claim(faults=tuple(faults), staged_name=staged, steps=steps, **found)


def find_step(section: dict[str, Any], step: str, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return the step's name in the report and its body. Raises ClaimError."""
    name = next((name for name in names if name in section), None)
    if name is None:
        raise ClaimError(make_reason("section_missing", section=step))
    body = section[name]
    if not isinstance(body, dict):
        raise ClaimError(make_reason("section_malformed", section=name))
    return name, body


def read_step(name: str, body: dict[str, Any], spellings: set[str]) -> tuple[bool, dict[str, Any]]:
    """Return whether a step succeeded, and its facts to display. Raises ClaimError."""
    status = body.get("status")
    if isinstance(status, str) and status in BOOLEAN_TEXTS:
        spellings.add("status_as_text")
        status = BOOLEAN_TEXTS[status]
    if not isinstance(status, bool):
        raise ClaimError(make_reason("status_malformed", section=name))
    facts: dict[str, Any] = {"status": status}
    for key in MOMENT_KEYS:
        if body.get(key) is not None:
            facts[key] = format_iso_seconds(parse_moment(body[key], spellings, section=name, key=key))
    size = next((parse_size(body[key], spellings) for key in SIZE_KEYS if body.get(key) is not None), None)
    return status, facts if size is None else facts | {"size": size}


def parse_moment(value: Any, spellings: set[str], **details: Any) -> datetime:
    """Parse a time in UTC, which is assumed if it names no zone. Raises ClaimError with `details`."""
    try:
        if not isinstance(value, str) or not value.isascii():
            raise ValueError
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            spellings.add("no_zone")
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        is_leap = isinstance(value, str) and LEAP_SECOND.search(value)
        code = "moment_leap_second" if is_leap else "moment_malformed"
        raise ClaimError(make_reason(code, **details)) from None


def parse_size(value: Any, spellings: set[str]) -> int | None:
    """Return a number of bytes, or None for anything else."""
    if isinstance(value, str) and DIGITS.fullmatch(value):
        spellings.add("size_as_text")
        value = int(value)
    return value if type(value) is int and 0 <= value <= LARGEST_SIZE else None


def describe_failure(name: str, body: dict[str, Any]) -> Reason:
    texts = (body[key] for key in TEXT_KEYS if isinstance(body.get(key), str))
    message = next((text for text in texts if text.strip() and text not in NULL_TEXTS), "")
    text = to_single_line(redact_tokens(message))
    if text:
        return make_reason("step_failed_saying", section=name, text=text)
    return make_reason("step_failed", section=name)


def read_compressed(name: str, body: dict[str, Any], spellings: set[str]) -> dict[str, Any]:
    """Return hash and size of the compressed dump. Raises ClaimError."""
    sha256 = single_value([body[key] for key in HASH_KEYS if body.get(key) is not None], name, "hash")
    if not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
        raise ClaimError(make_reason("hash_malformed", section=name))
    given = [body[key] for key in SIZE_KEYS if body.get(key) is not None]
    sizes = [parse_size(value, spellings) for value in given]
    if given and None in sizes:
        raise ClaimError(make_reason("size_malformed", section=name))
    return {"sha256": sha256.lower(), "size": single_value(sizes, name, "size")}


def single_value(values: list[Any], name: str, kind: str) -> Any:
    """Return the one value found, which several keys may repeat. Raises ClaimError."""
    if not values:
        raise ClaimError(make_reason(f"{kind}_missing", section=name))
    if any(value != values[0] for value in values):
        raise ClaimError(make_reason(f"{kind}_ambiguous", section=name))
    return values[0]


def read_staged_name(section: dict[str, Any], spellings: set[str]) -> str | None:
    """Return the last part of a path, since the file lies in the machine's own folder. Raises ClaimError."""
    staged = section.get("staged_file_name")
    if staged is None:
        return None
    name = re.split(r"[/\\]", staged)[-1] if isinstance(staged, str) else ""
    if not paths.is_staged_name(name):
        raise ClaimError(make_reason("staged_name_malformed"))
    if name != staged:
        spellings.add("staged_path")
    return name
