"""Import machines from the table `enrolled_agents` of an older tool. No token is issued for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from typing import Any

from vigie_client.contract import DESCRIPTION, NEVER_CUT, reduce_description

from agents.models import Agent, MachineToken
from portal.legacy.files import LegacyFile, LegacyRow
from portal.legacy.registry import ImportOptions, LegacyKind, batched, legacy_kinds
from portal.legacy.reports import BAD_TIME, NO_TIME, ImportReport, Reason
from portal.legacy.tables import read_table
from portal.legacy.values import read_moment, read_text, reduce_machine_id

TABLE = "enrolled_agents"
TIMES = ("enrolled_at", "last_seen_at", "uninstalled_at")
COLUMNS = ("machine_id", *DESCRIPTION, "status", *TIMES, "uninstall_reason")
# Equal ids follow each other, the active machine first, else the one with the newest time.
ORDER = (
    "machine_name(CAST({machine_id} AS BLOB)), preference(CAST({status} AS BLOB), CAST({uninstalled_at} AS BLOB),"
    " CAST({enrolled_at} AS BLOB), CAST({last_seen_at} AS BLOB)) DESC, {rowid}"
)
LONGEST_REASON = 255
UPDATED = (*DESCRIPTION, "status", *TIMES, "uninstall_reason")

NO_ID = Reason("no_machine_id", "no machine id is left of it")
UNKNOWN_STATUS = Reason("unknown_status", "the status is neither active nor uninstalled")
SAME_MACHINE = Reason("same_machine", "another row of the same machine is active or newer")
ENROLLED = Reason("enrolled", "the machine is enrolled in this portal")
KNOWN_NEWER = Reason("known_newer", "the portal knows a newer state")


def has_machines(file: LegacyFile) -> bool:
    return "machine_id" in file.tables.get(TABLE, {})


def load_machines(file: LegacyFile, report: ImportReport, options: ImportOptions) -> None:
    for batch in batched(read_machines(file, report, options.zone)):
        with options.transaction():
            store_machines(batch, report, applies=options.applies)


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_machines(file: LegacyFile, report: ImportReport, zone: tzinfo) -> Iterator[tuple[int, Agent]]:
    """Yield one machine for each name, with the number of its row."""
    functions = {
        "machine_name": (1, lambda value: reduce_machine_id(read_text(value)).lower()),
        "preference": (4, lambda *values: preference(*values, zone=zone)),
    }
    rows = read_table(file.path, TABLE, file.tables[TABLE], COLUMNS, ORDER, functions)
    found = (LegacyRow(*row) for row in rows)
    for name, same in groupby(found, lambda row: reduce_machine_id(read_text(row.values["machine_id"])).lower()):
        taken = ""
        for row in same:
            if taken and name:
                report.skip(row.number, SAME_MACHINE)
                report.note_id(read_text(row.values["machine_id"]), taken)
                continue
            machine = read_machine(row.values, zone)
            if isinstance(machine, Reason):
                report.refuse(row.number, machine)
                continue
            taken = machine.machine_id
            report.note_id(read_text(row.values["machine_id"]), taken)
            yield row.number, machine


def preference(status: Any, uninstalled_at: Any, *others: Any, zone: tzinfo) -> str:
    """Return a text that sorts by whether a row is active, then by its newest time. Never raises: SQLite calls it."""
    newest = datetime.min.replace(tzinfo=UTC)
    for value in (uninstalled_at, *others):
        try:
            newest = max(newest, read_moment(value, zone) or newest)
        except ValueError:
            continue
    return f"{read_status(status, uninstalled_at) == Agent.Status.ACTIVE:d}{newest.isoformat()}"


def read_status(value: Any, uninstalled_at: Any) -> str:
    """Return the status; without one, a machine is active unless it has a time of uninstallation."""
    text = read_text(value).strip().lower()
    return text or (Agent.Status.UNINSTALLED if read_text(uninstalled_at).strip() else Agent.Status.ACTIVE)


def read_machine(values: Mapping[str, Any], zone: tzinfo) -> Agent | Reason:
    """Return the unsaved machine, or the reason why the row is refused."""
    machine_id = reduce_machine_id(read_text(values["machine_id"]))
    status = read_status(values["status"], values["uninstalled_at"])
    if not machine_id:
        return NO_ID
    if status not in Agent.Status:
        return UNKNOWN_STATUS
    try:
        enrolled_at, last_seen_at, uninstalled_at = (read_moment(values[name], zone) for name in TIMES)
    except ValueError:
        return BAD_TIME
    first = enrolled_at or last_seen_at or uninstalled_at
    if first is None:
        return NO_TIME
    last = max(first, last_seen_at or first)
    machine = Agent(machine_id=machine_id, status=status, enrolled_at=first, last_seen_at=last)
    for name, longest in DESCRIPTION.items():
        text = reduce_description(read_text(values[name]), longest, may_cut=name not in NEVER_CUT)
        setattr(machine, name, text or "")
    if status == Agent.Status.UNINSTALLED:
        machine.uninstalled_at = uninstalled_at or last
        reason = reduce_description(read_text(values["uninstall_reason"]), LONGEST_REASON, may_cut=True)
        machine.uninstall_reason = reason or ""
    return machine


# --- Writing ---------------------------------------------------------------------------------------------------------


def store_machines(batch: list[tuple[int, Agent]], report: ImportReport, *, applies: bool) -> None:
    """Create unknown machines, and update those that no machine has enrolled as since, if the row is newer."""
    stored = stored_by_name([machine.machine_id.lower() for _number, machine in batch], locks=applies)
    enrolled = set(MachineToken.objects.filter(agent__in=stored.values()).values_list("agent", flat=True))
    created, updated = [], []
    for number, machine in batch:
        known = stored.get(machine.machine_id.lower())
        if known is None:
            created.append(machine)
        elif all(getattr(known, name) == getattr(machine, name) for name in UPDATED):
            report.count("unchanged")
        elif known.pk in enrolled:
            report.skip(number, ENROLLED)
        elif newest_time(machine) <= newest_time(known):
            report.skip(number, KNOWN_NEWER)
        else:
            machine.pk = known.pk
            updated.append(machine)
    report.count("created", len(created))
    report.count("updated", len(updated))
    if applies:
        # One that enrols at this moment is the machine's own, and stays.
        Agent.objects.bulk_create(created, ignore_conflicts=True)
        Agent.objects.bulk_update(updated, UPDATED, batch_size=100)


def stored_by_name(names: list[str], *, locks: bool) -> dict[str, Agent]:
    """Return the machines by name, locked if they are to be updated: one that enrols meanwhile waits."""
    stored = Agent.objects.filter(name__in=names, owns_name=True).order_by("pk")
    return {agent.name: agent for agent in (stored.select_for_update() if locks else stored)}


def newest_time(machine: Agent) -> datetime:
    return max(machine.enrolled_at, machine.last_seen_at, machine.uninstalled_at or machine.enrolled_at)


legacy_kinds.register(LegacyKind("machines", has_machines, load_machines))
