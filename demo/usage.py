"""What customers use: licences with a past and a quota, people at work, and the guardian, who reports on them.

The past is told as a customer's machines and applications tell of theirs: later, over HTTP, and with its own moments.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from vigie_client import (
    ActivityTracker,
    UsageTelemetryClient,
    build_usage_payload,
    make_session,
    new_run_id,
    spool_stats,
)

from demo.services import NotLetIn, Operator, wait

DAY, DAYS, BATCH = timedelta(days=1), 60, 100
# A period that began so long ago has had time to use up its quota.
INTO_THE_PERIOD, LAST_DAY = 20, 28
PEOPLE = ("alice.martin", "bruno.petit", "chloe.durand", "grace.mbarga", "karim.haddad")
FEATURES = {
    "document_upload": "/api/documents",
    "page_count": "/api/documents/{id}/pages",
    "search": "/api/search",
    "export": "/api/exports",
    "settings": "/api/settings",
}
FAILURES = {"export": ("TimeoutError", 504), "document_upload": ("ValidationError", 400), "search": ("KeyError", 500)}
LICENCE = re.compile(r"/admin/usage/licence/(\d+)/change/")


class PasswordProtected(Exception):
    """What an application raises at a document that is locked."""


@dataclass(frozen=True)
class Customer:
    """`share` of the quota is used in the running period; without one there is no quota, without a name nobody knows
    whose licence it is.
    """

    ref: str
    name: str
    runs_a_day: int
    share: float | None = None


CUSTOMERS = (
    Customer("LIC-2040", "Exemple SARL", 14, 0.83),
    Customer("LIC-2041", "SIRPACAM", 9, 1.12),
    Customer("LIC-2042", "Cabinet Benali", 6, 0.35),
    Customer("LIC-2043", "", 4),
    Customer("LIC-2044", "Imprimerie Laurent", 3),
)


# --- The guardian's mail ---------------------------------------------------------------------------------------------


def mails(data: Path) -> Path:
    return (data / "mails").resolve()


def settings(data: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Mails become files, unless somebody has a mail server of his own."""
    if any(name.startswith(("EMAIL_URL", "GUARDIAN_RECIPIENTS")) for name in given):
        return {}
    mails(data).mkdir(parents=True, exist_ok=True)
    return {"EMAIL_URL": f"filemail:///{mails(data)}", "GUARDIAN_RECIPIENTS": "guardian@example.org"}


# --- The past --------------------------------------------------------------------------------------------------------


def past_of(customer: Customer, now: datetime, rng: random.Random) -> Iterator[dict[str, Any]]:
    """The customer's runs: in working hours, few at the weekend, and a little more each week."""
    morning = now.replace(hour=7, minute=0, second=0, microsecond=0)
    for back in range(DAYS, 0, -1):
        day = morning - back * DAY
        usual = customer.runs_a_day * (1 - back / (2 * DAYS)) * (0.2 if day.weekday() > 4 else 1)
        for _ in range(round(usual * rng.uniform(0.6, 1.4))):
            yield build_usage_payload(
                run_id=new_run_id(),
                app_name=rng.choice(["gui_v6", "gui_v6", "batch"]),
                app_version="6.0.3" if back > 18 else "6.1.0",
                license_ref=customer.ref,
                machine_id=f"{customer.ref}-PC-{rng.randint(1, 4)}",
                documents=[document(rng) for _ in range(rng.randint(1, 9))],
                started_at=day + timedelta(minutes=rng.uniform(0, 600)),
            )


def document(rng: random.Random) -> dict[str, Any]:
    failed = rng.random() < 0.02
    pages = None if failed else rng.randint(1, 48)
    status = "failed" if failed else "success"
    return {"page_count": pages, "status": status, "duration_ms": rng.randint(90, 4_000), "extension": ".pdf"}


def tell_of_runs(url: str, session: requests.Session, rng: random.Random) -> int:
    """How many the portal has taken."""
    client, now = UsageTelemetryClient(url, session), datetime.now(UTC)
    runs = [run for customer in CUSTOMERS for run in past_of(customer, now, rng)]
    batches = (runs[first : first + BATCH] for first in range(0, len(runs), BATCH))
    return sum(outcome.delivered for batch in batches for outcome in client.report_batch(batch).items)


def tell_of_a_morning(url: str, session: requests.Session, rng: random.Random) -> None:
    """The last hour and a half of the people, told afterwards, and by a program that has no client package."""
    now = datetime.now(UTC)
    events: dict[str, list[dict[str, Any]]] = {"sessions": [], "features": [], "errors": []}
    for person in PEOPLE:
        begun = now - timedelta(minutes=rng.uniform(50, 90))
        ended = begun + timedelta(minutes=rng.uniform(15, 45))
        times = {"session_start": begun.isoformat(), "session_end": ended.isoformat()}
        events["sessions"].append(event(person, **times))
        for _ in range(rng.randint(8, 18)):
            at, name = begun + rng.random() * (ended - begun), rng.choice(list(FEATURES))
            failed = name in FAILURES and rng.random() < 0.15
            what = {"endpoint": FEATURES[name], "timestamp": at.isoformat()}
            took = {"success": not failed, "duration_ms": rng.randint(20, 900)}
            events["features"].append(event(person, feature_name=name, **what, **took))
            if failed:
                kind, code = FAILURES[name]
                events["errors"].append(event(person, method="POST", error_type=kind, error_code=code, **what))
    session.post(f"{url}/api/v1/usage/events", json=events, timeout=30).raise_for_status()


def event(person: str, **fields: Any) -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "user_email": f"{person}@example.org", **fields}


# --- People at work --------------------------------------------------------------------------------------------------


@dataclass
class Workplace:
    """Where a person works with a program that notes, by the client package, what is done with it."""

    session: requests.Session
    tracker: ActivityTracker
    spool: Path

    def work(self, rng: random.Random, times: int) -> None:
        for _ in range(times):
            name = rng.choice(list(FEATURES))
            with contextlib.suppress(PasswordProtected), self.tracker.feature(name, endpoint=FEATURES[name]):
                time.sleep(rng.uniform(0.001, 0.02))
                if rng.random() < 0.08:
                    raise PasswordProtected("none of this is told")

    def work_for_a_while(self, rng: random.Random) -> None:
        with self.tracker:
            self.work(rng, rng.randint(6, 12))
        self.tracker.flush(force=True)

    @property
    def is_delivered(self) -> bool:
        return not spool_stats(self.spool).pending


def workplaces(url: str, token: str, folder: Path) -> list[Workplace]:
    found = []
    for person in PEOPLE:
        session, spool = make_session(token), folder / f"{person}.jsonl"
        tracker = ActivityTracker(url, session, f"{person}@example.org", spool_path=spool)
        found.append(Workplace(session, tracker, spool))
    return found


# --- Licences --------------------------------------------------------------------------------------------------------


def period_day(today: date) -> int:
    return min((today - timedelta(days=INTO_THE_PERIOD)).day, LAST_DAY)


def pages_since(url: str, api: requests.Session, since: date) -> dict[str, int]:
    """By licence; of the runs themselves, for hours are summed up once a minute."""
    query = {"from": since.isoformat(), "group": "license,machine", "format": "json"}
    answer = api.get(f"{url}/api/v1/usage/export", params=query, timeout=60)
    answer.raise_for_status()
    found: dict[str, int] = {}
    for row in answer.json()["results"]:
        found[row["license_ref"]] = found.get(row["license_ref"], 0) + row["pages"]
    return found


def write_licences(url: str, api: requests.Session, operator: Operator) -> None:
    today = datetime.now(UTC).date()
    day = period_day(today)
    since = today.replace(day=day) if day <= today.day else (today.replace(day=1) - DAY).replace(day=day)
    pages = pages_since(url, api, since)
    for customer in CUSTOMERS:
        if customer.name:
            quota = round(pages[customer.ref] / customer.share) if customer.share else ""
            fields = {"customer": customer.name, "monthly_page_quota": quota, "period_day": day}
            write_licence(operator, customer.ref, fields)


def write_licence(operator: Operator, ref: str, fields: dict[str, Any]) -> None:
    """The portal may have come upon it meanwhile, in a run: then it is named, else added."""
    known = licence(operator, ref)
    if known is None:
        operator.submit("/admin/usage/licence/add/", ref=ref, **fields)
        known = licence(operator, ref)
    operator.submit(f"/admin/usage/licence/{known}/change/", **fields)


def licence(operator: Operator, ref: str) -> str | None:
    found = LICENCE.search(operator.read("/admin/usage/licence/", q=ref))
    return found[1] if found else None


# --- The play --------------------------------------------------------------------------------------------------------


def play(
    url: str, data: Path, people: list[Workplace], api: requests.Session, password: str, seed: int = 7
) -> Iterator[str]:
    """The play, a line per scene. Played again, the past stays as it was, and people go on working."""
    rng, application = random.Random(seed), people[0].session  # noqa: S311 - a play, not a secret
    if not pages_since(url, api, datetime.now(UTC).date() - DAYS * DAY).keys() >= {CUSTOMERS[-1].ref}:
        yield f"{len(CUSTOMERS)} customers have a past of {DAYS} days: {tell_of_runs(url, application, rng)} runs"
        tell_of_a_morning(url, application, rng)
        yield f"an application told of the morning of its {len(PEOPLE)} users"
    for workplace in people:
        workplace.work_for_a_while(rng)
    lost = sum(not workplace.is_delivered for workplace in people)
    yield f"{len(people)} people worked: {'all they did was told' if not lost else f'{lost} are still to be heard'}"
    try:
        operator = Operator(url, password)
    except NotLetIn:
        yield "the operator's password is another one by now, so nobody wrote licences or asked for a report"
        return
    write_licences(url, api, operator)
    near, beyond = (customer.name for customer in CUSTOMERS[:2])
    yield f"{near} is near its quota, {beyond} beyond it, and one licence waits to be named"
    yield asked_for(url, data, api, operator)


def asked_for(url: str, data: Path, api: requests.Session, operator: Operator) -> str:
    """A report, now, and by mail; what it says in short."""
    before = set(mails(data).glob("*"))
    operator.submit("/admin/usage/guardianreport/add/", hours=2, is_mailed="on")
    answer = api.get(f"{url}/api/v1/usage/summary", params={"hours": 2}, timeout=30)
    answer.raise_for_status()
    said = answer.json()
    counts = f"{said['active_users']} people, {said['total_requests']} requests, {said['total_errors']} errors"
    mail = wait(lambda: set(mails(data).glob("*")) - before) if mails(data).exists() else None
    return f"the guardian reported: {counts}" + (f"; its mail is {mail.pop()}" if mail else "")


def live(people: list[Workplace], rng: random.Random) -> None:
    """What happens while somebody looks: one of the people goes on."""
    rng.choice(people).work(rng, 3)
