"""The last release goes on serving while this version migrates its database, and beside it afterwards."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from vigie_client import build_usage_payload, new_run_id

from demo.forms import read_form
from portal import __version__
from portal.tests.helpers.portal_process import Portal, database
from portal.tests.helpers.waiting import PATIENCE, wait_for
from tests.upgrade.dumps import load
from tests.upgrade.former import unpack_former_release

pytestmark = [pytest.mark.slow, pytest.mark.each_database]
NOWHERE = "http://127.0.0.1:9"
DUMP = b"the bytes of a dump"
Answers = Counter[tuple[str, int]]
PAGES = re.compile(r'href="(/admin/[a-z]+/[a-z]+/(?:\d+/change/)?)"')


@dataclass
class Callers:
    """Everybody who calls a portal: machines, applications and an operator, with what the dump knows of them."""

    secrets: dict[str, Any]

    def call_each_kind(self, portal: Portal) -> Answers:
        """Return how often each call got which status."""
        answers: Answers = Counter()
        for method, path, token, body in self.api_calls():
            headers = {"Authorization": f"Bearer {self.secrets['tokens'][token]}"}
            if isinstance(body, bytes):
                sent: dict[str, Any] = {"data": body}
                headers["X-Content-SHA256"] = hashlib.sha256(body).hexdigest()
            else:
                sent = {"json": body}
            url = f"http://127.0.0.1:{portal.port}/api/v1/{path}"
            answers[path, requests.request(method, url, headers=headers, timeout=PATIENCE, **sent).status_code] += 1
        return answers + self.open_pages(portal) + self.change_backups(portal)

    def api_calls(self) -> list[tuple[str, str, str, Any]]:
        feedback = {"id": uuid.uuid4().hex, "participant": "heidi@example.org", "type": "ux", "comment": "Good."}
        run = build_usage_payload(run_id=new_run_id(), app_name="gui_v6", app_version="6.1.0", machine_id="PC-01")
        return [
            ("POST", "agents/enroll", "enroll", {"machine_id": f"PC-{uuid.uuid4().hex}"}),
            ("POST", "agents/heartbeat", "agent", {"version": "6.1.0"}),
            ("POST", "usage/report", "agent", run),
            ("POST", "usage/events", "client", {"errors": []}),
            ("POST", "beta/feedback", "client", feedback | {"programme": "autumn-beta"}),
            ("PUT", "backups/deposits/database/accounts.sql.gz", "agent", DUMP),
            ("POST", "backups/scan", "staff", {"agent_id": "PC-01"}),
            ("GET", "backups/jobs", "staff", None),
            ("GET", "agents/fleet", "staff", None),
            ("GET", "usage/summary", "staff", None),
            ("GET", "monitoring/targets", "staff", None),
            ("GET", "beta/report?programme=autumn-beta", "staff", None),
        ]

    def browser(self) -> requests.Session:
        browser = requests.Session()
        browser.cookies.set("sessionid", self.secrets["sessions"]["alice"])
        return browser

    def open_pages(self, portal: Portal) -> Answers:
        """Open the overview, the lists it leads to, and the first row of each."""
        address, answers = f"http://127.0.0.1:{portal.port}", Counter[tuple[str, int]]()
        with self.browser() as browser:
            index = browser.get(f"{address}/admin/", timeout=PATIENCE)
            answers["/admin/", index.status_code] += 1
            for path in sorted({match for match in PAGES.findall(index.text) if "change" not in match}):
                page = browser.get(address + path, timeout=PATIENCE)
                answers[path, page.status_code] += 1
                rows = [match for match in PAGES.findall(page.text) if match.startswith(path) and "change" in match]
                if rows:
                    answers["a row", browser.get(address + rows[0], timeout=PATIENCE).status_code] += 1
        return answers

    def change_backups(self, portal: Portal) -> Answers:
        """Add an expected backup, change and delete it, by the forms of the admin."""
        place = f"http://127.0.0.1:{portal.port}/admin/backups/expectedbackupjob/"
        answers, name = Counter[tuple[str, int]](), f"db_{uuid.uuid4().hex}"
        with self.browser() as browser:

            def submit(path: str, field: str, **values: str) -> None:
                page = browser.get(place + path, timeout=PATIENCE)
                form = read_form(page.text, field) | values
                sent = browser.post(page.url, form, timeout=PATIENCE, allow_redirects=False)
                answers[path.partition("/")[2] or path, sent.status_code] += 1

            submit("add/", "database_name", agent_id="PC-01", database_name=name, expected_hour_utc="3")
            found = browser.get(f"{place}?q={name}", timeout=PATIENCE).text
            for key in re.findall(r"expectedbackupjob/(\d+)/change/", found)[:1]:
                submit(f"{key}/change/", "database_name", company_name="Example")
                submit(f"{key}/delete/", "post")
        return answers


def refused(answers: Answers) -> dict[tuple[str, int], int]:
    """Return what was not answered as it should be."""
    return {(path, status): count for (path, status), count in answers.items() if status not in (200, 201, 202, 302)}


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Portal, Portal, Callers]]:
    """The last release on its database, this version beside it, and who calls them."""
    folder = tmp_path_factory.mktemp("two-versions")
    roots = {name: str(folder / name) for name in ("DEPOSITS_ROOT", "VALIDATED_ROOT", "REPORTS_ROOT")}
    for root in roots.values():
        Path(root).mkdir()
    with database(folder) as url:
        secrets = load("18e14fd", url)
        shared = {
            **secrets["keys"],
            **roots,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "TELEGRAM_API_BASE": NOWHERE,
            "CONNECTIVITY_PROBES": "127.0.0.1:9",
        }
        former, present = (Portal(folder / name, url) for name in ("former", "present"))
        former.root = folder / "code"
        former.extra = shared | unpack_former_release(former.root)
        present.extra = shared
        for portal in (former, present):
            portal.directory.mkdir()
        try:
            prepared = former.manage("prepare")
            assert prepared.returncode == 0, prepared.stderr
            former.sql("DELETE FROM django_q_ormq")  # among them an erasure, which disturbs a report that is written
            former.start()
            yield former, present, Callers(secrets)
        finally:
            former.clean_up()
            present.clean_up()


def test_last_release_answers_while_its_database_is_migrated(versions: tuple[Portal, Portal, Callers]) -> None:
    former, present, callers = versions
    before = callers.call_each_kind(former)
    with ThreadPoolExecutor(1) as executor:
        migrating = executor.submit(present.manage, "prepare")
        meanwhile: Answers = Counter()
        while not migrating.done():
            meanwhile += callers.call_each_kind(former)
    assert migrating.result().returncode == 0, migrating.result().stderr
    after = callers.call_each_kind(former)
    assert [refused(answers) for answers in (before, meanwhile, after)] == [{}, {}, {}]
    assert before.keys() == meanwhile.keys() == after.keys()


def test_both_versions_answer_on_one_database(versions: tuple[Portal, Portal, Callers]) -> None:
    former, present, callers = versions
    present.start()
    health = requests.get(f"http://127.0.0.1:{present.port}/healthz", timeout=PATIENCE).json()
    assert health["version"] == __version__
    assert [refused(callers.call_each_kind(portal)) for portal in (present, former, present)] == [{}, {}, {}]


def test_workers_of_both_versions_finish_what_either_has_queued(versions: tuple[Portal, Portal, Callers]) -> None:
    former = versions[0]
    unfinished = "SELECT name FROM portal_taskattempt WHERE finished_at IS NULL AND name != 'monitoring.round'"
    wait_for("no task runs", lambda: not former.sql(unfinished), PATIENCE)
    assert former.sql("SELECT name, error FROM portal_taskattempt WHERE error != ''") == []
    assert former.sql("SELECT 1 FROM portal_taskattempt WHERE name = 'backups.scan_agent'")


def test_last_release_starts_again_on_the_migrated_database(versions: tuple[Portal, Portal, Callers]) -> None:
    former, present, callers = versions
    present.clean_up()
    former.clean_up()
    prepared = former.manage("prepare")
    assert prepared.returncode == 0, prepared.stderr
    former.start()
    assert refused(callers.call_each_kind(former)) == {}
