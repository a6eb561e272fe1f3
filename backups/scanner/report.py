"""Reports of agents: two dialects, read strictly, every fault named. Pure: bytes in, facts out.

A few spellings that real agents use are read as well, and named in `Report.spellings`.
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

from backups.reasons import Reason, quoted, reason
from backups.scanner.claims import STEPS, Claim, Faulty, claim_of, moment_from
from backups.scanner.disk import paths
from portal.api.bodies import STRICT

LARGEST = 1024 * 1024
MOMENT_KEYS = ("timestamp", "operation_timestamp", "operation_end_time")
# `OPERATION_20250612_1300_agent.json`, `20250612_200600_agent.json` and `2025-06-12_20-06-00_agent.json`; [0-9], since
# \d knows digits of all scripts.
REPORT_NAME = re.compile(
    r"(?:OPERATION_(?P<minutes>[0-9]{8}_[0-9]{4})|(?P<seconds>[0-9]{8}_[0-9]{6})"
    r"|(?P<dashed>[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}))_(?P<agent>[A-Za-z0-9._:-]{1,128})\.json"
)
NAME_FORMATS = {"minutes": "%Y%m%d_%H%M", "seconds": "%Y%m%d_%H%M%S", "dashed": "%Y-%m-%d_%H-%M-%S"}
FAILING = re.compile(r"fail|error|partial|abort|false", re.IGNORECASE)
MOST_UNEXPECTED = 20


@dataclass(frozen=True)
class Report:
    """One file of the log folder. `fault` is what is wrong with all of it: then it claims nothing.

    `named_at` is the time in its file name. `is_whole` is false for one that may still be being written. `unexpected`
    are databases that nobody asked for. `spellings` are codes of the variants that it uses. `is_contradictory` says
    that it calls the whole operation failed and every step good.
    """

    name: str
    moment: datetime
    claims: Mapping[str, Claim] = field(default_factory=dict)
    fault: Reason | None = None
    is_whole: bool = True
    unexpected: tuple[str, ...] = ()
    spellings: frozenset[str] = frozenset()
    is_contradictory: bool = False
    named_at: datetime | None = None


def named_of(name: str, agent_id: str) -> tuple[datetime, frozenset[str]] | None:
    """The time in the name of a report and the spellings it uses; None for any other name.

    The time is a first filter, nothing more.
    """
    found = REPORT_NAME.fullmatch(name)
    if found is None:
        return None
    own, agent = (agent_id, paths.reduced(agent_id)), found["agent"]
    if agent.lower() not in [one.lower() for one in own]:
        return None
    form = next(form for form in NAME_FORMATS if found[form])
    try:
        moment = datetime.strptime(found[form], NAME_FORMATS[form]).replace(tzinfo=UTC)
    except ValueError:
        return None
    spellings = {*(["dashed_name"] if form == "dashed" else []), *([] if agent in own else ["agent_case"])}
    return moment, frozenset(spellings)


def moment_in(name: str, agent_id: str) -> datetime | None:
    named = named_of(name, agent_id)
    return named[0] if named else None


def parsed(name: str, named_at: datetime, agent_id: str, wanted: Container[str], content: bytes) -> Report:
    """The report in a file's content, of which only the wanted databases are kept: it may list any number.

    Where it does not say when it was, the moment of its name stands in. Names of databases are compared in NFC.
    """
    if len(content) > LARGEST:
        return Report(name, named_at, fault=reason("report_too_large", limit=LARGEST), named_at=named_at)
    try:
        root = json.loads(content.decode("utf-8-sig"), **STRICT)
    except RecursionError:
        return Report(name, named_at, fault=reason("report_too_deep"), named_at=named_at)
    except ValueError:  # bad UTF-8, bad JSON, duplicate keys, NaN, or more digits than Python reads
        return Report(name, named_at, fault=unreadable(content), is_whole=False, named_at=named_at)
    named = named_of(name, agent_id)
    spellings = set(named[1]) if named else set()
    try:
        moment = moment_of(root, spellings)
    except Faulty as error:
        return Report(name, named_at, fault=error.why, named_at=named_at)
    try:
        databases = databases_of(root, agent_id, spellings)
    except Faulty as error:
        return Report(name, moment, fault=error.why, named_at=named_at)
    claims = {one: claim_of(one, section, spellings) for one, section in databases.items() if one in wanted}
    unexpected = islice((quoted(one) for one in databases if one not in wanted), MOST_UNEXPECTED)
    return Report(
        name,
        moment,
        claims,
        unexpected=tuple(unexpected),
        spellings=frozenset(spellings),
        is_contradictory=is_contradictory(root, databases),
        named_at=named_at,
    )


def unreadable(content: bytes) -> Reason:
    """What is wrong with a content that is no JSON, and its likely cause."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return reason("report_utf16")
    return reason("report_nul") if b"\0" in content else reason("report_not_json")


def moment_of(root: Any, spellings: set[str]) -> datetime:
    if not isinstance(root, dict):
        raise Faulty(reason("report_not_object"))
    key = next((key for key in MOMENT_KEYS if key in root), None)
    if key is None:
        raise Faulty(reason("report_no_moment"))
    try:
        return moment_from(root[key], spellings)
    except Faulty as error:
        is_leap = error.why["code"] == "moment_leap_second"
        raise Faulty(reason("report_leap_second" if is_leap else "report_no_moment")) from None


def databases_of(root: dict[str, Any], agent_id: str, spellings: set[str]) -> dict[str, Any]:
    named = root.get("agent_id")
    if named not in (None, agent_id):
        if not isinstance(named, str) or named.lower() != agent_id.lower():
            raise Faulty(reason("report_other_agent"))
        spellings.add("agent_case")
    databases = root.get("databases")
    if not isinstance(databases, dict):
        raise Faulty(reason("report_no_databases"))
    return {paths.normal(name): section for name, section in databases.items()}


def is_contradictory(root: dict[str, Any], databases: dict[str, Any]) -> bool:
    overall = root.get("overall_status")
    is_failing = overall is False or (isinstance(overall, str) and FAILING.search(overall) is not None)
    return is_failing and not any(map(has_failed_step, databases.values()))


def has_failed_step(section: Any) -> bool:
    """Whether a section explains the failure of the whole."""
    if not isinstance(section, dict):
        return True
    bodies = [section.get(name) for names in STEPS.values() for name in names]
    return any(isinstance(body, dict) and body.get("status") in (False, "False") for body in bodies)
