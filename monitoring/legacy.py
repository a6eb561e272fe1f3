"""Import rounds from the log of an older `beta_monitor`, as hourly figures of paused targets.

The rounds themselves would be deleted at once, since rounds are kept for days, and their numbers are those of the
workers' rounds, by which alerts are decided. No check is made and no incident opened for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Any

from django.db.models.functions import TruncHour
from vigie_client.contract import strip_query

from monitoring.checks.adhoc import EXPECTED, parse_base
from monitoring.figures.rollups import LEASE_KEY, RollupTallies, RollupTally, add_hours, select_writable
from monitoring.figures.uptime import HOUR, floor_to_step
from monitoring.models import CheckResult, Rollup, Target
from portal import audit
from portal.base.text import shorten_with_hash
from portal.egress.urls import clean_url
from portal.legacy.errors import UnreadableFile
from portal.legacy.files import LegacyFile
from portal.legacy.registry import ACTOR, ImportOptions, LegacyKind, legacy_kinds
from portal.legacy.reports import BAD_TIME, ImportReport, Reason
from portal.legacy.values import read_moment

MAX_TARGETS, MAX_RESULTS = 200, 500
LONGEST_NAME, LONGEST_URL = 100, 1_000
# Rounds are in the order of time, apart from the hour that a clock without a zone repeats in autumn.
DISORDER = timedelta(hours=2)
# A response time beyond a day is none.
MAX_LATENCY_MS = 86_400_000
# Hours that are counted at a time, of all targets.
MOST_HOURS = 48

BAD_ROUND = Reason("bad_round", "the round has no list of results, each with ok and the path of an address")
OUT_OF_ORDER = Reason("out_of_order", "the round is more than two hours older than one above it")
COUNTED = Reason("counted", "the portal has counted as many checks of this hour already")
WATCHED = Reason("watched", "the portal checked this target itself in this hour")


@dataclass(frozen=True)
class OldCheck:
    """One result of a round: the path without its query, and the response time in milliseconds, if it succeeded."""

    path: str
    is_ok: bool
    latency_ms: float | None


@dataclass
class OldHour:
    """The checks of an hour by their path, and the line of its first round."""

    start: datetime
    line: int
    tallies: dict[str, RollupTally] = field(default_factory=dict)

    def add(self, check: OldCheck) -> None:
        tally = self.tallies.setdefault(check.path, RollupTally())
        tally.count("" if check.is_ok else "status", check.latency_ms, "", 0)


def has_rounds(file: LegacyFile) -> bool:
    return any({"total_checks", "timestamp", "results"} <= found.keys() for found in file.objects)


def load_rounds(file: LegacyFile, report: ImportReport, options: ImportOptions) -> None:
    base = read_base(options.base_url)
    targets = PathTargets(base, applies=options.applies)
    hours = read_hours(file, report, base, options.zone)
    with options.lease(LEASE_KEY) as lease:
        while batch := list(islice(hours, MOST_HOURS)):
            with options.transaction(lease):
                store_hours(batch, targets, report, applies=options.applies)
    report.remarks += [f"target, paused: {target.name}" for target in targets.created]


def read_base(text: str) -> str:
    """Return the address that paths lie below. Raises UnreadableFile."""
    try:
        return parse_base(text if text.isprintable() else "")
    except ValueError:
        why = "its rounds name only paths: give the address that they lie below with --url https://…"
        raise UnreadableFile("url_required", why) from None


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_hours(file: LegacyFile, report: ImportReport, base: str, zone: tzinfo) -> Iterator[OldHour]:
    """Yield the hours, each once no round of it can follow any more."""
    open_hours: dict[datetime, OldHour] = {}
    newest: datetime | None = None
    for line, at, checks in read_rounds(file, report, base, zone):
        start = floor_to_step(at, HOUR)
        newest = max(newest or start, start)
        if start < newest - DISORDER:
            report.refuse(line, OUT_OF_ORDER)
            continue
        hour = open_hours.setdefault(start, OldHour(start, line))
        for check in checks:
            hour.add(check)
        for old in sorted(known for known in open_hours if known < newest - DISORDER):
            yield open_hours.pop(old)
    yield from (open_hours[start] for start in sorted(open_hours))


def read_rounds(
    file: LegacyFile, report: ImportReport, base: str, zone: tzinfo
) -> Iterator[tuple[int, datetime, list[OldCheck]]]:
    for row in file.json_rows(report):
        results = row.values.get("results")
        checks = [read_check(result, base) for result in results] if isinstance(results, list) else []
        known = [check for check in checks if check is not None]
        if not 0 < len(known) == len(checks) <= MAX_RESULTS:
            report.refuse(row.number, BAD_ROUND)
            continue
        try:
            at = read_moment(row.values.get("timestamp"), zone)
        except ValueError:
            at = None
        if at is None:
            report.refuse(row.number, BAD_TIME)
        else:
            yield row.number, at, known


def read_check(result: Any, base: str) -> OldCheck | None:
    """Return the result, or None for one that is not in the documented form."""
    path, is_ok = (result.get("path"), result.get("ok")) if isinstance(result, dict) else (None, None)
    if not isinstance(path, str) or not isinstance(is_ok, bool):
        return None
    if not path or len(path) > LONGEST_URL or not make_url(base, path := f"/{strip_query(path).lstrip('/')}"):
        return None
    latency = result.get("latency_ms")
    is_number = isinstance(latency, (int, float)) and not isinstance(latency, bool)
    is_measured = is_ok and is_number and 0 <= latency <= MAX_LATENCY_MS
    return OldCheck(path, is_ok, float(latency) if is_measured else None)


@lru_cache(MAX_TARGETS)
def make_url(base: str, path: str) -> str:
    """Return the address of a path, empty if it is none."""
    try:
        url = clean_url(base + path)
    except ValueError:
        return ""
    return url if url.isprintable() and len(url) <= LONGEST_URL else ""


# --- Writing ---------------------------------------------------------------------------------------------------------


class PathTargets:
    """The targets of paths below a base. Missing ones are created, paused."""

    def __init__(self, base: str, *, applies: bool) -> None:
        self.base, self.applies = base, applies
        self.known: dict[str, Target] = {}
        self.created: list[Target] = []

    def find(self, path: str) -> Target:
        """Return the target; for a dry run it may be unsaved. Raises UnreadableFile."""
        if path not in self.known:
            if len(self.known) >= MAX_TARGETS:
                raise UnreadableFile("too_many_paths", f"its rounds have more than {MAX_TARGETS} paths")
            url = make_url(self.base, path)
            self.known[path] = Target.objects.filter(url=url).order_by("pk").first() or self.create(url)
        return self.known[path]

    def create(self, url: str) -> Target:
        name = shorten_with_hash(url.partition("://")[2], LONGEST_NAME)
        if Target.objects.filter(name=name).exists():
            name = shorten_with_hash(url, LONGEST_NAME)
        target = Target(name=name, url=url, is_active=False, expected_statuses=EXPECTED)
        self.created.append(target)
        if self.applies:
            target.save()
            after = {"name": name, "url": url, "is_active": False}
            audit.record_event("target.added", target.subject, actor=ACTOR, after=after)
        return target


def store_hours(hours: list[OldHour], targets: PathTargets, report: ImportReport, *, applies: bool) -> None:
    """Write the figures of each hour, or find out which would be. Rows are hours of a target in the report."""
    tallies: RollupTallies = {}
    lines: dict[tuple[int, datetime], int] = {}
    for hour in hours:
        for path, tally in hour.tallies.items():
            target = targets.find(path)
            if target.pk is None:
                report.count("created")
                continue
            tallies[target.pk, hour.start], lines[target.pk, hour.start] = tally, hour.line
    for key in own_hours(tallies):
        report.skip(lines[key], WATCHED)
        del tallies[key]
    keys = {target for target, _start in tallies}
    starts = {start for _target, start in tallies}
    stored = Rollup.objects.filter(target__in=keys, period=Rollup.Period.HOUR, start__in=starts)
    before = {(rollup.target_id, rollup.start): rollup for rollup in stored}
    written = add_hours(tallies) if applies else select_writable(Rollup.Period.HOUR, tallies, only_changed=True)
    for key, tally in tallies.items():
        if key in written:
            report.count("updated" if key in before else "created")
        elif (before[key].checks, before[key].failures) == (tally.checks, tally.failures):
            report.count("unchanged")
        else:
            report.skip(lines[key], COUNTED)


def own_hours(tallies: RollupTallies) -> list[tuple[int, datetime]]:
    """Return the hours of which the portal has checks, or minutes that it counted from checks."""
    if not tallies:
        return []
    targets, starts = zip(*tallies, strict=True)
    since, until = min(starts), max(starts) + HOUR
    minutes = Rollup.objects.filter(target__in=targets, period=Rollup.Period.MINUTE, start__gte=since, start__lt=until)
    checks = CheckResult.objects.filter(target__in=targets, at__gte=since, at__lt=until)
    own: set[tuple[int, datetime]] = set()
    for rows, time in ((minutes, "start"), (checks, "at")):
        hours = rows.order_by().annotate(hour=TruncHour(time, tzinfo=UTC)).values_list("target_id", "hour").distinct()
        own.update(hours)
    return [key for key in tallies if key in own]


legacy_kinds.register(LegacyKind("rounds", has_rounds, load_rounds))
