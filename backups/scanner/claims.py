"""What a report says of one database: its three steps, read strictly, every fault named. Pure: values in, facts out.

A few spellings that real agents use are read as well. Each reader adds the code of such a spelling to `spellings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backups.reasons import Reason, quoted, reason
from backups.scanner.disk import paths
from portal.base.logs import redact_tokens
from portal.base.moments import format_iso_seconds

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
DIGITS = re.compile(r"[0-9]{1,19}")
HASH_KEYS = ("sha256", "sha256_checksum", "hash_post_compress", "agent_compress_hash_post_compress")
SIZE_KEYS = ("size", "size_post_compress", "size_bytes", "agent_compress_size_post_compress")
MOMENT_KEYS = ("start_time", "end_time")
TEXT_KEYS = ("error_message", "message")
# How Python writes a truth value and an absent one as text.
BOOLEAN_TEXTS, NOTHING_TEXTS = {"True": True, "False": False}, ("null", "None")
# Each step by its names in the two dialects.
STEPS = {
    "backup": ("backup_process", "BACKUP"),
    "compress": ("compress_process", "COMPRESS"),
    "transfer": ("transfer_process", "TRANSFER"),
}
LARGEST_SIZE = 2**63 - 1


class Faulty(Exception):
    """A value is not as it must be; `why` says so."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why["code"])
        self.why = why


@dataclass(frozen=True)
class Claim:
    """What the agent says of one database.

    `faults` are what is wrong with the section, `failed` the step the agent says failed. Hash and size are those of the
    compressed dump; `staged_name` is None where the report does not name the file. `steps` are status, times and size
    of each step, to be shown: no verdict depends on them.
    """

    faults: tuple[Reason, ...] = ()
    failed: Reason | None = None
    sha256: str = ""
    size: int | None = None
    staged_name: str | None = None
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def claim_of(database: str, section: Any, spellings: set[str]) -> Claim:
    """One database of a report. A step said to have failed makes the steps after it of no account."""
    if not isinstance(section, dict):
        return Claim(faults=(reason("section_malformed", section=quoted(database)),))
    faults: list[Reason] = []
    found: dict[str, Any] = {}
    steps: dict[str, Mapping[str, Any]] = {}
    for step, names in STEPS.items():
        try:
            name, body = step_in(section, step, names)
            status, steps[step] = facts_of(name, body, spellings)
            if not status:
                return Claim(faults=tuple(faults), failed=failure(name, body), steps=steps)
            found |= compressed(name, body, spellings) if step == "compress" else {}
        except Faulty as error:
            faults.append(error.why)
    try:
        staged = staged_name_in(section, spellings)
    except Faulty as error:
        faults.append(error.why)
        staged = None
    return Claim(faults=tuple(faults), staged_name=staged, steps=steps, **found)


def step_in(section: dict[str, Any], step: str, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The step's own name and body. Raises Faulty."""
    name = next((name for name in names if name in section), None)
    if name is None:
        raise Faulty(reason("section_missing", section=step))
    body = section[name]
    if not isinstance(body, dict):
        raise Faulty(reason("section_malformed", section=name))
    return name, body


def facts_of(name: str, body: dict[str, Any], spellings: set[str]) -> tuple[bool, dict[str, Any]]:
    """Whether a step succeeded, and what is kept of it. Raises Faulty."""
    status = body.get("status")
    if isinstance(status, str) and status in BOOLEAN_TEXTS:
        spellings.add("status_as_text")
        status = BOOLEAN_TEXTS[status]
    if not isinstance(status, bool):
        raise Faulty(reason("status_malformed", section=name))
    facts: dict[str, Any] = {"status": status}
    for key in MOMENT_KEYS:
        if body.get(key) is not None:
            facts[key] = format_iso_seconds(moment_from(body[key], spellings, section=name, key=key))
    size = next((whole(body[key], spellings) for key in SIZE_KEYS if body.get(key) is not None), None)
    return status, facts if size is None else facts | {"size": size}


def moment_from(value: Any, spellings: set[str], **about: Any) -> datetime:
    """A time as UTC, which is also assumed where it names no zone. Raises Faulty."""
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
        raise Faulty(reason(code, **about)) from None


LEAP_SECOND = re.compile(r"[T ][0-9]{2}:?[0-9]{2}:?60")


def whole(value: Any, spellings: set[str]) -> int | None:
    """A number of bytes; None for anything else."""
    if isinstance(value, str) and DIGITS.fullmatch(value):
        spellings.add("size_as_text")
        value = int(value)
    return value if type(value) is int and 0 <= value <= LARGEST_SIZE else None


def failure(name: str, body: dict[str, Any]) -> Reason:
    texts = (body[key] for key in TEXT_KEYS if isinstance(body.get(key), str))
    said = next((text for text in texts if text.strip() and text not in NOTHING_TEXTS), "")
    text = quoted(redact_tokens(said))
    return reason("step_failed_saying", section=name, text=text) if text else reason("step_failed", section=name)


def compressed(name: str, body: dict[str, Any], spellings: set[str]) -> dict[str, Any]:
    """Hash and size of the compressed dump. Raises Faulty."""
    sha256 = one_of([body[key] for key in HASH_KEYS if body.get(key) is not None], name, "hash")
    if not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
        raise Faulty(reason("hash_malformed", section=name))
    given = [body[key] for key in SIZE_KEYS if body.get(key) is not None]
    sizes = [whole(value, spellings) for value in given]
    if given and None in sizes:
        raise Faulty(reason("size_malformed", section=name))
    return {"sha256": sha256.lower(), "size": one_of(sizes, name, "size")}


def one_of(values: list[Any], name: str, what: str) -> Any:
    """The value that stands under one of the keys, or the same under several. Raises Faulty."""
    if not values:
        raise Faulty(reason(f"{what}_missing", section=name))
    if any(value != values[0] for value in values):
        raise Faulty(reason(f"{what}_ambiguous", section=name))
    return values[0]


def staged_name_in(section: dict[str, Any], spellings: set[str]) -> str | None:
    """The last part of a path counts: the file lies in the machine's own folder. Raises Faulty."""
    staged = section.get("staged_file_name")
    if staged is None:
        return None
    name = re.split(r"[/\\]", staged)[-1] if isinstance(staged, str) else ""
    if not paths.is_staged_name(name):
        raise Faulty(reason("staged_name_malformed"))
    if name != staged:
        spellings.add("staged_path")
    return name
