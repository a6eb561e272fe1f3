"""A portal is lost and restored: from SQLite to PostgreSQL, and from there to SQLite again, with every kind of row."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyrage
import pytest
import requests
from vigie_client import UsageTelemetryClient, build_usage_payload, flush_spool, new_run_id, spool_payload

from demo.forms import read_form
from portal.tests.helpers.portal_process import Portal
from portal.tests.helpers.waiting import PATIENCE
from tests.postgres import temporary_postgres
from tests.upgrade.dumps import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_database("portals of its own on SQLite and PostgreSQL", despite=("connection.", "migrat")),
]
DUMP = "d5adac3"
FILES = ("SECRET_KEY", "TOKEN_PEPPER", "ENCRYPTION_KEY", "METRICS_TOKEN")
# Tables whose rows a restore leaves out or changes, as it should.
DROPPED = {"django_session", "usersessions_usersession"}
CHANGED = {"django_migrations", "portal_outboxmessage", "portal_auditevent", "django_q_ormq", "portal_jobrun"}
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")
Rows = dict[str, list[dict[str, Any]]]


def rows_of(file: Path) -> Rows:
    """Return the rows of all tables as SQLite stores them; JSON and times by their values."""
    with closing(sqlite3.connect(file)) as own:
        own.row_factory = sqlite3.Row
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        names = [row[0] for row in own.execute(tables)]
        return {
            name: [{key: plain(value) for key, value in dict(row).items()} for row in own.execute(f'SELECT * FROM "{name}" ORDER BY 1')]
            for name in names
        }  # fmt: skip


def plain(value: Any) -> Any:
    if isinstance(value, str) and TIME.fullmatch(value):
        return datetime.fromisoformat(value)
    if isinstance(value, str) and value[:1] in ("{", "[", '"'):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


@dataclass
class Chain:
    """The portal on SQLite, what it was restored to, and what was done before it was lost."""

    first: Portal
    second: Portal
    third: Portal
    names: list[str]
    secrets: dict[str, Any]
    token: str
    spool: Path
    before: Rows

    def run_of(self, portal: Portal, *arguments: str) -> str:
        done = portal.manage(*arguments, "--passphrase-file", str(self.first.directory.parent / "key"))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def portal_at(directory: Path, url: str | None = None) -> Portal:
    portal = Portal(directory, url or f"sqlite:///{directory}/db.sqlite3")
    portal.extra = {"DJANGO_SETTINGS_MODULE": "portal.settings", "CONNECTIVITY_PROBES": "127.0.0.1:9"}
    return portal


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    (folder / "key").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    (folder / "target").mkdir()
    (folder / "spool").mkdir()
    (folder / "a").mkdir()
    with temporary_postgres(is_durable=False) as server:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("CREATE DATABASE restored")
        first = portal_at(folder / "a")
        second = portal_at(folder / "b", urlsplit(server)._replace(path="/restored").geturl())
        third = portal_at(folder / "c")
        secrets = load(DUMP, first.database_url)
        (folder / "a/secrets").mkdir()
        for name in FILES:
            (folder / "a/secrets" / name.lower()).write_text(secrets["keys"][name])
        own = Chain(first, second, third, [], secrets, "", folder / "spool/usage.jsonl", {})
        try:
            assert first.manage("prepare").returncode == 0
            (folder / "a/reports/beta_report.txt").write_text("GO")
            first.start()
            own.token = use_portal(own)
            own.run_of(first, "backup_portal", str(folder / "target"))  # while it runs
            first.sql("ANALYZE")  # which makes a table that PostgreSQL has not
            first.clean_up()
            own.names.append(own.run_of(first, "backup_portal", str(folder / "target"), "--keep", "1"))
            own.before = rows_of(folder / "a/db.sqlite3")
            own.run_of(second, "restore_portal", str(folder / "target" / own.names[0]))
            own.names.append(own.run_of(second, "backup_portal", str(folder / "target")))
            own.run_of(third, "restore_portal", str(folder / "target" / own.names[1]))
            yield own
        finally:
            for portal in (first, second, third):
                portal.clean_up()


def call(portal: Portal, method: str, path: str, token: str, **body: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{portal.port}/api/v1/{path}"
    return requests.request(method, url, json=body, headers=headers, timeout=PATIENCE)


def new_run() -> dict[str, Any]:
    return build_usage_payload(run_id=new_run_id(), app_name="restored", app_version="6.1.0", machine_id="PC-RESTORED")


def use_portal(chain: Chain) -> str:
    """Enrol a machine and report a run whose answer is lost: it stays in the client's spool."""
    enrolled = call(chain.first, "POST", "agents/enroll", chain.secrets["tokens"]["enroll"], machine_id="PC-RESTORED")
    assert enrolled.status_code == 201, enrolled.text
    payload = new_run()
    sender = UsageTelemetryClient(f"http://127.0.0.1:{chain.first.port}", chain.secrets["tokens"]["client"])
    assert sender.report(payload)
    spool_payload(chain.spool, payload)
    return str(enrolled.json()["api_token"])


def test_every_row_comes_back_through_both_databases(chain: Chain) -> None:
    after = rows_of(chain.third.directory / "db.sqlite3")
    assert after.keys() == chain.before.keys()
    for table, rows in after.items():
        if table in DROPPED:
            assert rows == []
        elif table not in CHANGED:
            assert rows == chain.before[table], table


def test_waiting_messages_are_not_sent_again(chain: Chain) -> None:
    after = {row["id"]: row for row in rows_of(chain.third.directory / "db.sqlite3")["portal_outboxmessage"]}
    waiting = [row["id"] for row in chain.before["portal_outboxmessage"] if row["status"] == "waiting"]
    assert waiting
    assert {after[pk]["status"] for pk in waiting} == {"given_up"}
    assert {row["status"] for row in after.values()} >= {"sent"}


def test_secrets_and_reports_come_back(chain: Chain) -> None:
    for name in FILES:
        assert (chain.third.directory / "secrets" / name.lower()).read_text() == chain.secrets["keys"][name]
    assert (chain.third.directory / "reports/beta_report.txt").read_text() == "GO"


def test_tokens_and_spools_go_on_after_the_restore(chain: Chain) -> None:
    assert chain.second.manage("prepare").returncode == 0
    chain.second.start()
    try:
        beat = call(chain.second, "POST", "agents/heartbeat", chain.token)
        assert (beat.status_code, beat.json()["status"]) == (200, "ok")
        sender = UsageTelemetryClient(f"http://127.0.0.1:{chain.second.port}", chain.secrets["tokens"]["client"])
        assert flush_spool(chain.spool, sender, force=True) == 1
        count = "SELECT count(*) FROM usage_run WHERE app_name = 'restored'"
        assert chain.second.sql(count) == [(1,)]
        assert sender.report(new_run())
        assert chain.second.sql(count) == [(2,)]
        again = call(chain.second, "POST", "agents/enroll", chain.secrets["tokens"]["enroll"], machine_id="PC-NEW")
        assert again.status_code == 201
        sign_in(chain)
    finally:
        chain.second.clean_up()


def sign_in(chain: Chain) -> None:
    url = f"http://127.0.0.1:{chain.second.port}/accounts/login/"
    with requests.Session() as browser:
        form = read_form(browser.get(url, timeout=PATIENCE).text, "login")
        answer = browser.post(url, form | {"login": "carol", "password": chain.secrets["password"]}, timeout=PATIENCE)
        assert "sessionid" in browser.cookies, answer.text


def test_restore_into_a_full_place_is_refused_and_changes_nothing(chain: Chain, tmp_path: Path) -> None:
    key = str(chain.first.directory.parent / "key")
    archive = str(chain.first.directory.parent / "target" / chain.names[0])
    before = rows_of(chain.third.directory / "db.sqlite3")
    done = chain.third.manage("restore_portal", archive, "--passphrase-file", key)
    assert done.returncode == 5
    assert "agents_agent" in done.stderr
    assert rows_of(chain.third.directory / "db.sqlite3") == before
