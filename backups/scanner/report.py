"""Reports of agents: two dialects, read strictly, every fault named. Pure: bytes in, facts out."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from backups import paths
from backups.reasons import Reason, quoted, reason
from portal.api.bodies import STRICT
from portal.logs import redacted

LARGEST = 1024 * 1024
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
HASH_KEYS = ("sha256", "sha256_checksum", "hash_post_compress")
SIZE_KEYS = ("size", "size_post_compress")
MOMENT_KEYS = ("start_time", "end_time")
TEXT_KEYS = ("error_message", "message")
# Each step by its names in the two dialects.
STEPS = {
    "backup": ("backup_process", "BACKUP"),
    "compress": ("compress_process", "COMPRESS"),
    "transfer": ("transfer_process", "TRANSFER"),
}
# `OPERATION_20250612_1300_agent.json` and `20250612_200600_agent.json`; [0-9], since \d knows digits of all scripts.
REPORT_NAME = re.compile(r"(?:OPERATION_([0-9]{8})_([0-9]{4})|([0-9]{8})_([0-9]{6}))_([A-Za-z0-9._:-]{1,128})\.json")
LARGEST_SIZE = 2**63 - 1
MOST_UNEXPECTED = 20


class Faulty(Exception):
    """A value is not as it must be; `why` says so."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why["code"])
        self.why = why


@dataclass(frozen=True)
class Claim:
    """What the agent says of one database.

    `faults` are what is wrong with the section, `failed` the step the agent says failed. Hash and size are those of the
    compressed dump; `staged_name` is None where the report does not name the file.
    """

    faults: tuple[Reason, ...] = ()
    failed: Reason | None = None
    sha256: str = ""
    size: int | None = None
    staged_name: str | None = None


@dataclass(frozen=True)
class Report:
    """One file of the log folder. `fault` is what is wrong with all of it: then it claims nothing.

    `is_whole` is false for one that may still be being written. `unexpected` are databases that nobody asked for.
    """

    name: str
    moment: datetime
    claims: Mapping[str, Claim] = field(default_factory=dict)
    fault: Reason | None = None
    is_whole: bool = True
    unexpected: tuple[str, ...] = ()


def moment_in(name: str, agent_id: str) -> datetime | None:
    """When the operation was, by the name of its report: a first sieve, nothing more. None for any other name."""
    found = REPORT_NAME.fullmatch(name)
    if found is None or found[5] not in (agent_id, paths.reduced(agent_id)):
        return None
    text = found[1] + found[2] + "00" if found[1] else found[3] + found[4]
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def parsed(name: str, named_at: datetime, agent_id: str, wanted: Container[str], content: bytes) -> Report:
    """The report in a file's content, of which only the wanted databases are kept: it may list any number.

    Where it does not say when it was, the moment of its name stands in.
    """
    if len(content) > LARGEST:
        return Report(name, named_at, fault=reason("report_too_large", limit=LARGEST))
    try:
        root = json.loads(content.decode("utf-8-sig"), **STRICT)
    except RecursionError:
        return Report(name, named_at, fault=reason("report_too_deep"))
    except ValueError:  # bad UTF-8, bad JSON, duplicate keys, NaN, or more digits than Python reads
        return Report(name, named_at, fault=reason("report_not_json"), is_whole=False)
    try:
        moment = moment_of(root)
    except Faulty as error:
        return Report(name, named_at, fault=error.why)
    try:
        databases = databases_of(root, agent_id)
    except Faulty as error:
        return Report(name, moment, fault=error.why)
    claims = {name: claim_of(name, section) for name, section in databases.items() if name in wanted}
    unexpected = islice((quoted(name) for name in databases if name not in wanted), MOST_UNEXPECTED)
    return Report(name, moment, claims, unexpected=tuple(unexpected))


def moment_of(root: Any) -> datetime:
    if not isinstance(root, dict):
        raise Faulty(reason("report_not_object"))
    for key in ("timestamp", "operation_end_time"):
        if key in root:
            moment = moment_from(root[key])
            if moment is None:
                raise Faulty(reason("report_no_moment"))
            return moment
    raise Faulty(reason("report_no_moment"))


def moment_from(value: Any) -> datetime | None:
    """A moment with its offset from UTC, as UTC; None for anything else."""
    if not isinstance(value, str) or not value.isascii():
        return None
    try:
        moment = datetime.fromisoformat(value)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def databases_of(root: dict[str, Any], agent_id: str) -> dict[str, Any]:
    if root.get("agent_id") not in (None, agent_id):
        raise Faulty(reason("report_other_agent"))
    databases = root.get("databases")
    if not isinstance(databases, dict):
        raise Faulty(reason("report_no_databases"))
    return databases


def claim_of(database: str, section: Any) -> Claim:
    """One database of a report. A step said to have failed makes the steps after it of no account."""
    if not isinstance(section, dict):
        return Claim(faults=(reason("section_malformed", section=quoted(database)),))
    faults: list[Reason] = []
    found: dict[str, Any] = {}
    for step, names in STEPS.items():
        try:
            name, body = step_in(section, step, names)
            if body["status"] is False:
                return Claim(faults=tuple(faults), failed=failure(name, body))
            found |= compressed(name, body) if step == "compress" else {}
        except Faulty as error:
            faults.append(error.why)
    staged = section.get("staged_file_name")
    if staged is not None and not (isinstance(staged, str) and paths.is_staged_name(staged)):
        faults.append(reason("staged_name_malformed"))
        staged = None
    return Claim(faults=tuple(faults), staged_name=staged, **found)


def step_in(section: dict[str, Any], step: str, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The step's own name and body. Raises Faulty."""
    name = next((name for name in names if name in section), None)
    if name is None:
        raise Faulty(reason("section_missing", section=step))
    body = section[name]
    if not isinstance(body, dict):
        raise Faulty(reason("section_malformed", section=name))
    if not isinstance(body.get("status"), bool):
        raise Faulty(reason("status_malformed", section=name))
    for key in MOMENT_KEYS:
        if body.get(key) is not None and moment_from(body[key]) is None:
            raise Faulty(reason("moment_malformed", section=name, key=key))
    return name, body


def failure(name: str, body: dict[str, Any]) -> Reason:
    said = next((body[key] for key in TEXT_KEYS if isinstance(body.get(key), str) and body[key].strip()), "")
    text = quoted(redacted(said))
    return reason("step_failed_saying", section=name, text=text) if text else reason("step_failed", section=name)


def compressed(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Hash and size of the compressed dump. Raises Faulty."""
    sha256 = one_of(body, HASH_KEYS, name, "hash")
    if not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
        raise Faulty(reason("hash_malformed", section=name))
    size = one_of(body, SIZE_KEYS, name, "size")
    if type(size) is not int or not 0 <= size <= LARGEST_SIZE:
        raise Faulty(reason("size_malformed", section=name))
    return {"sha256": sha256.lower(), "size": size}


def one_of(body: dict[str, Any], keys: tuple[str, ...], name: str, what: str) -> Any:
    """The value that stands under one of the keys, or the same under several. Raises Faulty."""
    values = [body[key] for key in keys if body.get(key) is not None]
    if not values:
        raise Faulty(reason(f"{what}_missing", section=name))
    if any(value != values[0] or type(value) is not type(values[0]) for value in values):
        raise Faulty(reason(f"{what}_ambiguous", section=name))
    return values[0]
