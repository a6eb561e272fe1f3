"""The usage of customers: licences with a history and a quota, people at work, and the guardian's report.

Past runs and events are sent over HTTP with their own times, as by machines that were offline.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
import uuid
from collections import Counter
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

from demo.services import LoginFailed, Operator, wait

DAY, DAYS, BATCH_SIZE = timedelta(days=1), 60, 100
# A quota period that began so many days ago can be used up.
PERIOD_AGE, LAST_DAY = timedelta(days=20), 28
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
    """Raised by an application for a locked document."""


@dataclass(frozen=True)
class Customer:
    """A customer with the used `share` of the quota, if there is one. An empty name is an unknown licence holder."""

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


# --- Mail of the guardian --------------------------------------------------------------------------------------------


def mail_folder(data: Path) -> Path:
    return (data / "mails").resolve()


def settings(data: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return settings that write mails to files, unless a mail server is configured."""
    if any(name.startswith(("EMAIL_URL", "GUARDIAN_RECIPIENTS")) for name in given):
        return {}
    mail_folder(data).mkdir(parents=True, exist_ok=True)
    return {"EMAIL_URL": f"filemail:///{mail_folder(data)}", "GUARDIAN_RECIPIENTS": "guardian@example.org"}


# --- History ---------------------------------------------------------------------------------------------------------


def past_runs(customer: Customer, now: datetime, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the customer's runs: in working hours, fewer at weekends, and a few more each week."""
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


def send_past_runs(url: str, session: requests.Session, rng: random.Random) -> int:
    """Send the past runs of all customers. Return the number delivered."""
    client, now = UsageTelemetryClient(url, session), datetime.now(UTC)
    runs = [run for customer in CUSTOMERS for run in past_runs(customer, now, rng)]
    batches = (runs[first : first + BATCH_SIZE] for first in range(0, len(runs), BATCH_SIZE))
    return sum(outcome.delivered for batch in batches for outcome in client.report_batch(batch).items)


def send_past_activity(url: str, session: requests.Session, rng: random.Random) -> None:
    """Send the activity of the last 90 minutes afterwards, without the client package."""
    now = datetime.now(UTC)
    events: dict[str, list[dict[str, Any]]] = {"sessions": [], "features": [], "errors": []}
    for person in PEOPLE:
        started = now - timedelta(minutes=rng.uniform(50, 90))
        ended = started + timedelta(minutes=rng.uniform(15, 45))
        times = {"session_start": started.isoformat(), "session_end": ended.isoformat()}
        events["sessions"].append(event(person, **times))
        for _ in range(rng.randint(8, 18)):
            at, name = started + rng.random() * (ended - started), rng.choice(list(FEATURES))
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
    """A person's workplace, where a program tracks its use with the client package."""

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
    places = []
    for person in PEOPLE:
        session, spool = make_session(token), folder / f"{person}.jsonl"
        tracker = ActivityTracker(url, session, f"{person}@example.org", spool_path=spool)
        places.append(Workplace(session, tracker, spool))
    return places


# --- Licences --------------------------------------------------------------------------------------------------------


def pages_since(url: str, api: requests.Session, since: date) -> dict[str, int]:
    """Return the pages by licence, exported by machine, which reads the runs: rollups lag by a minute."""
    query = {"from": since.isoformat(), "group": "license,machine", "format": "json"}
    answer = api.get(f"{url}/api/v1/usage/export", params=query, timeout=60)
    answer.raise_for_status()
    pages: Counter[str] = Counter()
    for row in answer.json()["results"]:
        pages[row["license_ref"]] += row["pages"]
    return pages


def write_licences(url: str, api: requests.Session, operator: Operator) -> None:
    today = datetime.now(UTC).date()
    day = min((today - PERIOD_AGE).day, LAST_DAY)
    since = today.replace(day=day) if day <= today.day else (today.replace(day=1) - DAY).replace(day=day)
    pages = pages_since(url, api, since)
    for customer in CUSTOMERS:
        if customer.name:
            quota = round(pages[customer.ref] / customer.share) if customer.share else ""
            fields = {"customer": customer.name, "monthly_page_quota": quota, "period_day": day}
            write_licence(operator, customer.ref, fields)


def write_licence(operator: Operator, ref: str, fields: dict[str, Any]) -> None:
    """Change the licence, after adding it unless a run has made it known."""
    known = find_licence(operator, ref)
    if known is None:
        operator.submit("/admin/usage/licence/add/", ref=ref, **fields)
        known = find_licence(operator, ref)
    operator.submit(f"/admin/usage/licence/{known}/change/", **fields)


def find_licence(operator: Operator, ref: str) -> str | None:
    match = LICENCE.search(operator.read("/admin/usage/licence/", q=ref))
    return match[1] if match else None


# --- Scenes ----------------------------------------------------------------------------------------------------------


def play(
    url: str, data: Path, people: list[Workplace], api: requests.Session, password: str, seed: int = 7
) -> Iterator[str]:
    """Play the scenes and yield a line for each. A repetition leaves the past unchanged, and people go on working."""
    rng, application = random.Random(seed), people[0].session  # noqa: S311 - a play, not a secret
    if not pages_since(url, api, datetime.now(UTC).date() - DAYS * DAY).keys() >= {CUSTOMERS[-1].ref}:
        yield f"{len(CUSTOMERS)} customers have {DAYS} days of history: {send_past_runs(url, application, rng)} runs"
        send_past_activity(url, application, rng)
        yield f"an application reported the morning of its {len(PEOPLE)} users"
    for workplace in people:
        workplace.work_for_a_while(rng)
    pending = sum(not workplace.is_delivered for workplace in people)
    delivered = f"the activity of {pending} is still to be delivered" if pending else "all activity was delivered"
    yield f"{len(people)} people worked; {delivered}"
    try:
        operator = Operator(url, password)
    except LoginFailed:
        yield "the operator's password was changed, so no licence was added and no report was created"
        return
    write_licences(url, api, operator)
    near, beyond = (customer.name for customer in CUSTOMERS[:2])
    yield f"{near} is near its quota, {beyond} beyond it, and one licence has no customer"
    yield request_report(url, data, api, operator)


def request_report(url: str, data: Path, api: requests.Session, operator: Operator) -> str:
    """Request a report by mail. Return a line with its figures."""
    before = set(mail_folder(data).glob("*"))
    operator.submit("/admin/usage/guardianreport/add/", hours=2, is_mailed="on")
    answer = api.get(f"{url}/api/v1/usage/summary", params={"hours": 2}, timeout=30)
    answer.raise_for_status()
    summary = answer.json()
    counts = f"{summary['active_users']} people, {summary['total_requests']} requests, {summary['total_errors']} errors"
    mail = wait(lambda: set(mail_folder(data).glob("*")) - before) if mail_folder(data).exists() else None
    return f"the usage digest shows {counts}" + (f"; its mail is {mail.pop()}" if mail else "")


def live(people: list[Workplace], rng: random.Random) -> None:
    """Let one of the people work a little."""
    rng.choice(people).work(rng, 3)
