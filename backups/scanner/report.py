"""Parse reports of agents strictly, in two dialects, and name every fault. Pure: bytes in, facts out.

A few spellings of real agents are accepted as well, and listed in `AgentReport.spellings`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from vigie_client.contract import REPORT_STEPS, path_name

from backups.reasons import Reason, make_reason, to_single_line
from backups.scanner.claims import Claim, ClaimError, parse_moment, read_claim
from backups.scanner.disk import paths
from portal.api.bodies import STRICT

LARGEST = 1024 * 1024
MOMENT_KEYS = ("timestamp", "operation_timestamp", "operation_end_time")
# `OPERATION_20250612_1300_agent.json`, `20250612_200600_agent.json` and `2025-06-12_20-06-00_agent.json`. [0-9], since
# \d matches the digits of every script.
REPORT_NAME = re.compile(
    r"(?:OPERATION_(?P<minutes>[0-9]{8}_[0-9]{4})|(?P<seconds>[0-9]{8}_[0-9]{6})"
    r"|(?P<dashed>[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}))_(?P<agent>[A-Za-z0-9._:-]{1,128})\.json"
)
NAME_FORMATS = {"minutes": "%Y%m%d_%H%M", "seconds": "%Y%m%d_%H%M%S", "dashed": "%Y-%m-%d_%H-%M-%S"}
FAILING = re.compile(r"fail|error|partial|abort|false", re.IGNORECASE)
MAX_UNEXPECTED = 20


@dataclass(frozen=True)
class AgentReport:
    """One file of the log folder. `fault` condemns all of it: then it claims nothing.

    `named_at` is the time in its file name. `is_complete` is False for one that may still be being written.
    `unexpected` are databases without a job. `is_contradictory` marks a report that calls the whole operation failed
    and every step good.
    """

    name: str
    moment: datetime
    claims: Mapping[str, Claim] = field(default_factory=dict)
    fault: Reason | None = None
    is_complete: bool = True
    unexpected: tuple[str, ...] = ()
    spellings: frozenset[str] = frozenset()
    is_contradictory: bool = False
    named_at: datetime | None = None


def parse_report_name(name: str, agent_id: str) -> tuple[datetime, frozenset[str]] | None:
    """Return the time in the name of a report and the spellings it uses, or None for any other name.

    The time only selects the files to read.
    """
    found = REPORT_NAME.fullmatch(name)
    if found is None:
        return None
    own_names, agent = (agent_id, path_name(agent_id)), found["agent"]
    if agent.lower() not in [own_name.lower() for own_name in own_names]:
        return None
    form = next(form for form in NAME_FORMATS if found[form])
    try:
        moment = datetime.strptime(found[form], NAME_FORMATS[form]).replace(tzinfo=UTC)
    except ValueError:
        return None
    spellings = {*(["dashed_name"] if form == "dashed" else []), *([] if agent in own_names else ["agent_case"])}
    return moment, frozenset(spellings)


def moment_of_name(name: str, agent_id: str) -> datetime | None:
    parsed = parse_report_name(name, agent_id)
    return parsed[0] if parsed else None


def parse_report(name: str, named_at: datetime, agent_id: str, wanted: Container[str], content: bytes) -> AgentReport:
    """Parse a file's content, and keep only the wanted databases: a report may list any number.

    If it has no readable time, the time of its name is used. Database names are compared in NFC.
    """

    def faulty(fault: Reason, moment: datetime = named_at, is_complete: bool = True) -> AgentReport:
        return AgentReport(name, moment, fault=fault, is_complete=is_complete, named_at=named_at)

    if len(content) > LARGEST:
        return faulty(make_reason("report_too_large", limit=LARGEST))
    try:
        root = json.loads(content.decode("utf-8-sig"), **STRICT)
    except RecursionError:
        return faulty(make_reason("report_too_deep"))
    except ValueError:  # bad UTF-8, bad JSON, duplicate keys, NaN, or more digits than Python reads
        return faulty(explain_invalid_json(content), is_complete=False)
    parsed_name = parse_report_name(name, agent_id)
    spellings = set(parsed_name[1]) if parsed_name else set()
    try:
        moment = read_moment(root, spellings)
    except ClaimError as error:
        return faulty(error.why)
    try:
        databases = read_databases(root, agent_id, spellings)
    except ClaimError as error:
        return faulty(error.why, moment)
    claims = {
        database: read_claim(database, section, spellings)
        for database, section in databases.items()
        if database in wanted
    }
    unexpected = islice((to_single_line(database) for database in databases if database not in wanted), MAX_UNEXPECTED)
    return AgentReport(
        name,
        moment,
        claims,
        unexpected=tuple(unexpected),
        spellings=frozenset(spellings),
        is_contradictory=is_contradictory(root, databases),
        named_at=named_at,
    )


def explain_invalid_json(content: bytes) -> Reason:
    """Return the likely cause why a content is not JSON."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return make_reason("report_utf16")
    return make_reason("report_nul") if b"\0" in content else make_reason("report_not_json")


def read_moment(root: Any, spellings: set[str]) -> datetime:
    """Return the time of the operation. Raises ClaimError."""
    if not isinstance(root, dict):
        raise ClaimError(make_reason("report_not_object"))
    key = next((key for key in MOMENT_KEYS if key in root), None)
    if key is None:
        raise ClaimError(make_reason("report_no_moment"))
    try:
        return parse_moment(root[key], spellings)
    except ClaimError as error:
        is_leap = error.why["code"] == "moment_leap_second"
        raise ClaimError(make_reason("report_leap_second" if is_leap else "report_no_moment")) from None


def read_databases(root: dict[str, Any], agent_id: str, spellings: set[str]) -> dict[str, Any]:
    """Return the sections by database. Raises ClaimError for a report of another machine, or without databases."""
    reported_id = root.get("agent_id")
    if reported_id not in (None, agent_id):
        if not isinstance(reported_id, str) or reported_id.lower() != agent_id.lower():
            raise ClaimError(make_reason("report_other_agent"))
        spellings.add("agent_case")
    databases = root.get("databases")
    if not isinstance(databases, dict):
        raise ClaimError(make_reason("report_no_databases"))
    return {paths.normalize_name(name): section for name, section in databases.items()}


def is_contradictory(root: dict[str, Any], databases: dict[str, Any]) -> bool:
    overall = root.get("overall_status")
    is_failing = overall is False or (isinstance(overall, str) and FAILING.search(overall) is not None)
    return is_failing and not any(map(has_failed_step, databases.values()))


def has_failed_step(section: Any) -> bool:
    """Return True if a section explains the failure of the whole operation."""
    if not isinstance(section, dict):
        return True
    bodies = [section.get(name) for names in REPORT_STEPS.values() for name in names]
    return any(isinstance(body, dict) and body.get("status") in (False, "False") for body in bodies)
