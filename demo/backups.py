"""Servers that back up their databases: real dumps in a real deposit area, and one failure of each kind.

Most servers deposit to a folder, as over SFTP, and one over HTTP. Past deposits are scanned as of their time.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from vigie_client import DepositFolder, DepositPortal, Dump, deposit, make_session

from demo import restores
from demo.commands import manage, portal_command
from demo.fleet import Machine
from demo.restores import BREST

SAMPLES = Path(__file__).parent / "deposits"
SAMPLES_AT = datetime(2025, 6, 12, 20, 30, tzinfo=UTC)
DAYS = 21
PARIS, LILLE, NANTES, BATCH = "SRV-PARIS-DB", "SRV-LILLE-DB", "SRV-NANTES-DB", "SRV-BATCH-01"
COLUMNS = ("agent_id", "database_name", "company_name", "city", "expected_hour_utc", "expected_minute_utc")


class Past:
    """Has the portal scan as of a given time, and restore what it stored, in one process for all calls."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            portal_command("past_backups"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def scan(self, at: datetime, agent: str) -> None:
        self.call("scan", at.isoformat(), agent)

    def call(self, *call: str) -> None:
        """Run a function of `past_backups`, given by its name and arguments."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(call)}\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise RuntimeError(f"the portal failed to {call[0]}")

    def stop(self) -> None:
        self.process.communicate()


@dataclass
class Servers:
    """The servers with their files. `expected` is the time of the latest cycle, an hour ago."""

    folder: Path
    deposits: Path
    expected: datetime

    def database(self, name: str, rows: int, payments: int = 0) -> Path:
        """Dump a database with `rows` invoices, like `sqlite3 .dump`. Return the path."""
        rng = random.Random(name)  # noqa: S311 - a play, not a secret
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE invoice (id INTEGER PRIMARY KEY, customer TEXT, cents INTEGER)")
        invoices = ((n, f"customer {rng.randrange(900)}", rng.randrange(10**6)) for n in range(rows))
        connection.executemany("INSERT INTO invoice VALUES (?, ?, ?)", invoices)
        if payments:
            connection.execute("CREATE TABLE payment (id INTEGER PRIMARY KEY, invoice INTEGER REFERENCES invoice)")
            connection.executemany("INSERT INTO payment VALUES (?, ?)", ((n, n) for n in range(payments)))
        path = self.folder / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(connection.iterdump()), encoding="utf-8")
        return path

    def back_up(self, agent: str, at: datetime, dumps: list[Dump]) -> None:
        place = DepositFolder(self.deposits)
        deposit(dumps, place, agent_id=agent, state_dir=self.folder / agent, now=at.timestamp)

    def corrupt(self, agent: str, database: str) -> None:
        """Flip one bit of the deposited file."""
        path = self.deposits / agent / "database" / f"{database}.sql.gz"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    def jobs(self, soon: datetime) -> list[tuple[Any, ...]]:
        hour, minute = self.expected.hour, self.expected.minute
        own = [
            *((PARIS, name, "Exemple SARL", "Paris", hour, minute) for name in ("facturation", "stock", "paie", "crm")),
            (LILLE, "catalogue", "Exemple SARL", "Lille", hour, minute),
            (NANTES, "rh", "Exemple SARL", "Nantes", hour, minute),
            *((BREST, name, "Exemple SARL", "Brest", hour, minute) for name in restores.NAMES),
            (BATCH, "traitements", "Exemple SARL", "Lyon", soon.hour, soon.minute),
        ]
        return [
            *own,
            ("agent_douala_prod_01", "compta_db", "SIRPACAM", "Douala", 13, 0),
            ("agent_douala_prod_01", "stock_db", "SIRPACAM", "Douala", 13, 0),
            ("SIRPACAM_YAOUNDE_CENTRE", "SIRPACAM_YAOUNDE_CAISSE_2025", "SIRPACAM", "Yaoundé", 20, 0),
        ]


def play(url: str, data: Path, fleet: list[Machine], staff_token: str) -> Iterator[str]:
    """Play the scenes and yield a line for each. If the jobs exist already, play only today's."""
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    deposits = Path(os.environ.get("DEPOSITS_ROOT", data / "deposits"))
    servers = Servers(data / "servers", deposits, minute - timedelta(hours=1))
    [batch] = [machine for machine in fleet if machine.machine_id == BATCH]
    api = make_session(staff_token)
    if list_jobs(api, url):
        yield deposit_over_http(url, servers, batch, api)
    else:
        yield import_jobs(servers, data, minute + timedelta(minutes=2))
        past = Past()
        try:
            yield from play_history(servers, past)
            yield from play_latest_cycle(servers, past)
            yield from scan_real_deposits(servers, past)
            yield play_restores(servers, past)
            # The workers are asked last, so that the scan of this one does not wait.
            yield deposit_over_http(url, servers, batch, api)
            yield request_drills(past)
        finally:
            past.stop()
    yield summarize_jobs(list_jobs(api, url))


def import_jobs(servers: Servers, data: Path, soon: datetime) -> str:
    path = data / "jobs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(servers.jobs(soon))
    return f"the expected backups were imported: {manage('import_backup_jobs', str(path), capture=True)}"


def play_history(servers: Servers, past: Past) -> Iterator[str]:
    """Play weeks of successful backups, as a baseline."""
    for back in range(DAYS, 0, -1):
        moment = servers.expected - timedelta(days=back)
        rows = 2_000 + 40 * (DAYS - back)
        for agent, names in (
            (PARIS, ["facturation", "stock", "paie", "crm"]),
            (LILLE, ["catalogue"]),
            (NANTES, ["rh"]),
        ):
            dumps = [Dump(name, file=servers.database(name, rows + 300 * len(name))) for name in names]
            servers.back_up(agent, moment + timedelta(minutes=3), dumps)
            past.scan(moment + timedelta(minutes=10), agent)
    yield f"3 servers uploaded backups of 6 databases on {DAYS} days; they were verified, stored and thinned out"


def play_latest_cycle(servers: Servers, past: Past) -> Iterator[str]:
    at, late = servers.expected + timedelta(minutes=4), servers.expected + timedelta(minutes=45)
    today = 2_000 + 40 * DAYS
    dumps = [
        Dump("facturation", file=servers.database("facturation", today + 3_300)),
        Dump("stock", file=servers.database("stock", today - 40 + 1_500)),
        Dump("paie", command=["sh", "-c", "echo 'database paie does not exist' >&2; exit 1"]),
        Dump("crm", file=servers.database("crm", today + 900)),
    ]
    servers.back_up(PARIS, at, dumps)
    servers.corrupt(PARIS, "crm")
    yield f"{PARIS} uploaded one good dump, one identical to the previous, one failed command and one corrupted file"
    for agent in (PARIS, LILLE, NANTES):
        past.scan(servers.expected + timedelta(minutes=40), agent)
    yield f"{LILLE} uploaded nothing: its backup is missing"
    servers.back_up(NANTES, late, [Dump("rh", file=servers.database("rh", today + 600))])
    past.scan(late + timedelta(minutes=5), NANTES)
    yield f"the backup of {NANTES} was missing, then arrived late"


def scan_real_deposits(servers: Servers, past: Past) -> Iterator[str]:
    """Scan the deposits of two real agents from June 2025."""
    for tree in sorted(SAMPLES.iterdir()):
        shutil.copytree(tree, servers.deposits / tree.name, dirs_exist_ok=True)
        past.scan(SAMPLES_AT, tree.name)
    yield "uploads of two real machines, in two report formats, were verified as of their date"


def play_restores(servers: Servers, past: Past) -> str:
    """Deposit dumps of which a restore says more than a hash, and restore yesterday's as the proof to compare with."""
    for back, (rows, payments) in zip((1, 0), restores.TILL, strict=True):
        at = servers.expected - timedelta(days=back)
        till = Dump("caisse", file=servers.database("caisse", rows, payments))
        others = restores.write_samples(servers.folder, at, is_today=not back)
        servers.back_up(BREST, at + timedelta(minutes=4), [till, *others])
        past.scan(at + timedelta(minutes=40), BREST)
        if back:
            past.call("restore", BREST, "caisse")
    for arguments in restores.assertions(PARIS, LILLE):
        past.call("add_assertion", *arguments)
    return f"{BREST} uploaded backups of SQLite, PostgreSQL and MariaDB, all of them verified"


def request_drills(past: Past) -> str:
    for agent, database in (*((BREST, name) for name in restores.NAMES), (PARIS, "facturation"), (LILLE, "catalogue")):
        past.call("request_drill", agent, database)
    return f"their restore drills run now: on {BREST} caisse has lost payments, and a row of commandes is corrupted"


def deposit_over_http(url: str, servers: Servers, batch: Machine, api: requests.Session) -> str:
    """Deposit today's backup of a fleet machine with its own token, and request a scan as staff."""
    credentials = batch.store.load()
    assert credentials is not None
    dump = Dump("traitements", file=servers.database("traitements", 5_000))
    place = DepositPortal(url, make_session(credentials.api_token))
    done = deposit([dump], place, agent_id=batch.machine_id, state_dir=servers.folder / batch.machine_id)
    api.post(f"{url}/api/v1/backups/scan", json={}, timeout=10).raise_for_status()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        [job] = [one for one in list_jobs(api, url) if one["agent_id"] == batch.machine_id]
        if job["last_verified_at"]:
            return f"{batch.machine_id} uploaded a backup over HTTP ({done.report}): {job['current_status']}"
        time.sleep(0.3)
    return f"{batch.machine_id} uploaded a backup over HTTP ({done.report}); it has not been scanned yet"


def list_jobs(api: requests.Session, url: str) -> list[dict[str, Any]]:
    answer = api.get(f"{url}/api/v1/backups/jobs", params={"limit": 100}, timeout=10)
    answer.raise_for_status()
    return list(answer.json()["results"])


def summarize_jobs(jobs: list[dict[str, Any]]) -> str:
    statuses = sorted({str(job["current_status"]) for job in jobs})
    return f"{len(jobs)} databases with these statuses: {', '.join(statuses)}"
