"""An installation of an earlier commit goes on under this code, with its data, tokens, sessions, queues and spools."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.apps import apps
from django.utils.module_loading import import_string
from psycopg.rows import dict_row
from vigie_client import (
    ActivityTracker,
    FeedbackClient,
    UsageTelemetryClient,
    build_usage_payload,
    flush_spool,
    new_run_id,
)

from demo.forms import read_form
from portal.tests.helpers.portal_process import Portal, database
from portal.tests.helpers.receiver import BotApi, Receiver
from portal.tests.helpers.waiting import PATIENCE, wait_for
from tests.upgrade.dumps import load

pytestmark = [pytest.mark.slow, pytest.mark.each_database]
# An early commit, and 0.1.0.
DUMPS = ["d5adac3", "18e14fd"]
# Nothing is old enough to be deleted, whenever the test runs.
KEPT = {
    f"{name}_RETENTION_DAYS": "36500"
    for name in (
        *("AUDIT", "JOB", "NOTIFICATION", "CHECK", "MINUTE_ROLLUP", "FEEDBACK"),
        *("ACTIVITY", "USER_SESSION", "GUARDIAN"),
    )
}
# Rows of schedules follow the declarations: those of jobs that are gone go too.
MAY_GO = {"django_q_schedule"}
# What `prepare` may change of a row that is kept, by table; "*" is any column.
MAY_CHANGE = {
    "django_content_type": {"app_label", "model"},
    "auth_permission": {"name", "codename", "content_type_id"},
    "django_q_schedule": {"*"},
    "portal_channelstate": {"*"},
}


@dataclass
class Upgraded:
    """The installation, its rows before and after `prepare`, and who receives its messages."""

    portal: Portal
    secrets: dict[str, Any]
    telegram: BotApi
    hook: Receiver
    mails: Path
    before: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    after: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.portal.port}"

    def call(self, method: str, path: str, token: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{self.url}/api/v1/{path}", json=body, headers=headers, timeout=PATIENCE)

    def page(self, path: str, user: str) -> requests.Response:
        cookies = {"sessionid": self.secrets["sessions"][user]}
        return requests.get(self.url + path, cookies=cookies, timeout=PATIENCE)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of all tables, in the order of their keys."""
        if self.portal.database_url.startswith("sqlite"):
            with closing(sqlite3.connect(self.portal.database_url.removeprefix("sqlite:///"))) as own:
                own.row_factory = sqlite3.Row
                tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
                names = [row[0] for row in own.execute(tables)]
                return {name: [dict(row) for row in own.execute(f'SELECT * FROM "{name}"')] for name in names}
        with psycopg.connect(self.portal.database_url, row_factory=dict_row) as other:
            public = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            names = [row["tablename"] for row in other.execute(public)]
            return {name: other.execute(f'SELECT * FROM "{name}"'.encode()).fetchall() for name in names}


@pytest.fixture(scope="module", params=DUMPS)
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """Loaded from the dump, prepared by this code and started."""
    directory = tmp_path_factory.mktemp("upgraded")
    mails = directory / "mails"
    mails.mkdir()
    with database(directory) as url:
        secrets = load(request.param, url)
        telegram = BotApi(secrets["keys"]["TELEGRAM_BOT_TOKEN"])
        with telegram, Receiver() as hook:
            portal = Portal(directory, url)
            portal.extra = {
                **secrets["keys"],
                **KEPT,
                "DJANGO_SETTINGS_MODULE": "portal.settings",
                "TELEGRAM_API_BASE": telegram.url,
                "EMAIL_URL": f"filemail:///{mails}",
                "CONNECTIVITY_PROBES": f"127.0.0.1:{telegram.server_port}",
            }
            own = Upgraded(portal, secrets, telegram, hook, mails)
            try:
                own.before = own.rows()
                prepared = portal.manage("prepare")
                assert prepared.returncode == 0, prepared.stderr
                own.after = own.rows()
                moved = f"SET {{}} = replace({{}}, '{secrets['webhook_address']}', '{hook.url}')"
                portal.sql(f"UPDATE portal_notificationchannel {moved.format('addresses', 'addresses')}")
                portal.sql(f"UPDATE portal_outboxmessage {moved.format('recipient', 'recipient')}")
                portal.start()
                yield own
            finally:
                portal.clean_up()


# --- The database ----------------------------------------------------------------------------------------------------


def test_dump_has_rows_of_every_kind(upgraded: Upgraded) -> None:
    empty = {name for name, rows in upgraded.before.items() if not rows}
    assert empty == {"account_emailconfirmation", "socialaccount_socialapp", "socialaccount_socialtoken"}


def test_every_row_is_kept_by_the_migrations(upgraded: Upgraded) -> None:
    for table, rows in upgraded.before.items():
        may_change = MAY_CHANGE.get(table, set())
        key = next((name for name in ("id", "session_key", "token_id") if name in rows[0]), "id") if rows else "id"
        kept = {row[key]: row for row in upgraded.after[table]}
        for row in rows:
            if row[key] not in kept and table in MAY_GO:
                continue
            found = kept[row[key]]
            same = {name for name in row if name in found and name not in may_change and "*" not in may_change}
            assert {name: found[name] for name in same} == {name: row[name] for name in same}, table


def test_targets_keep_their_programme(upgraded: Upgraded) -> None:
    if "beta_programmetarget" in upgraded.before:
        expected = {row["target_id"]: row["programme_id"] for row in upgraded.before["beta_programmetarget"]}
    else:
        rows = upgraded.before["monitoring_target"]
        expected = {row["id"]: row["beta_programme_id"] for row in rows if row["beta_programme_id"]}
    found = {row["target_id"]: row["programme_id"] for row in upgraded.after["beta_programmetarget"]}
    assert found == expected != {}


def test_environment_channels_get_rows_and_keep_their_states(upgraded: Upgraded) -> None:
    rows = {row["environment_key"]: row for row in upgraded.after["portal_notificationchannel"]}
    assert {"telegram", "guardian"} < rows.keys()
    assert (rows["telegram"]["addresses"], rows["telegram"]["secret"]) == ("", "")
    kept = {row["channel"]: row["id"] for row in upgraded.after["portal_channelstate"]}
    assert kept == {row["channel"]: row["id"] for row in upgraded.before["portal_channelstate"]}


def test_permissions_are_those_of_the_code_and_each_stands_once(upgraded: Upgraded) -> None:
    """Others would be there if a model changed its app or name and its content type did not follow."""
    types = {row["id"]: (row["app_label"], row["model"]) for row in upgraded.after["django_content_type"]}
    found = [(*types[row["content_type_id"]], row["codename"]) for row in upgraded.after["auth_permission"]]
    expected = [
        (*model._meta.label_lower.split("."), codename)
        for model in apps.get_models()
        for codename in (
            *(f"{action}_{model._meta.model_name}" for action in model._meta.default_permissions),
            *(codename for codename, _ in model._meta.permissions),
        )
    ]
    assert sorted(found) == sorted(expected)


# --- Tokens ----------------------------------------------------------------------------------------------------------


def run_of(app_name: str = "gui_v6") -> dict[str, Any]:
    return build_usage_payload(run_id=new_run_id(), app_name=app_name, app_version="6.1.0", machine_id="PC-01")


def feedback() -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "participant": "heidi@example.org", "type": "ux", "comment": "Good."}


def test_tokens_of_each_kind_are_accepted(upgraded: Upgraded) -> None:
    tokens = upgraded.secrets["tokens"]
    programme = {"programme": "autumn-beta"}
    calls: list[tuple[str, str, str, Any, int]] = [
        ("POST", "agents/heartbeat", "agent", {"version": "6.1.0"}, 200),
        ("POST", "usage/report", "agent", run_of(), 201),
        ("POST", "usage/report", "client", run_of(), 201),
        ("POST", "usage/report", "client_bound", run_of("batch"), 201),
        ("POST", "usage/report", "client_bound", run_of("gui_v6"), 403),
        ("POST", "beta/feedback", "client", feedback() | programme, 201),
        ("GET", "agents/fleet", "staff", None, 200),
        ("GET", "beta/report?programme=autumn-beta", "staff", None, 200),
        ("POST", "agents/enroll", "enroll", {"machine_id": "PC-09"}, 201),
        ("POST", "agents/enroll", "enroll_bound", {"machine_id": "SRV-01"}, 201),
        ("POST", "agents/uninstall", "uninstall", {"machine_id": "PC-09"}, 200),
    ]
    answers = [(path, name, upgraded.call(method, path, tokens[name], body)) for method, path, name, body, _ in calls]
    found = [(path, name, answer.status_code) for path, name, answer in answers]
    assert found == [(path, name, expected) for _, path, name, _, expected in calls]


def test_revoked_token_stays_refused(upgraded: Upgraded) -> None:
    answer = upgraded.call("POST", "agents/heartbeat", upgraded.secrets["revoked_token"], {})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked")


def test_run_reported_before_conflicts_with_another_of_its_id(upgraded: Upgraded) -> None:
    run = run_of() | {"run_id": upgraded.secrets["reported_run"]}
    assert upgraded.call("POST", "usage/report", upgraded.secrets["tokens"]["agent"], run).status_code == 409


def test_public_key_takes_feedback(upgraded: Upgraded) -> None:
    key = upgraded.secrets["public_key"]
    sent = requests.post(f"{upgraded.url}/api/v1/beta/feedback?key={key}", json=feedback(), timeout=PATIENCE)
    assert sent.status_code == 201
    assert requests.get(f"{upgraded.url}/feedback/{key}", timeout=PATIENCE).status_code == 200


# --- People ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["alice", "bob", "carol"])
def test_session_still_opens_the_admin(upgraded: Upgraded, user: str) -> None:
    page = upgraded.page("/admin/", user)
    assert page.status_code == 200
    assert "/accounts/login/" not in page.url
    assert f">{user}</a>" in page.text


def test_password_and_second_factor_sign_in(upgraded: Upgraded) -> None:
    secret = upgraded.secrets["totp_secret"]
    with requests.Session() as browser:
        page = browser.get(f"{upgraded.url}/accounts/login/", timeout=PATIENCE)
        person = {"login": "alice", "password": upgraded.secrets["password"]}
        asked = browser.post(page.url, read_form(page.text, "login") | person, timeout=PATIENCE)
        assert "/2fa/authenticate/" in asked.url
        code = format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))
        done = browser.post(asked.url, read_form(asked.text, "code") | {"code": code}, timeout=PATIENCE)
    assert (done.status_code, done.url) == (200, f"{upgraded.url}/admin/")


BETA_PAGES = ["betaprogramme/", "betaprogramme/1/change/", "betafeedback/", "betafeedback/1/change/", "betasnapshot/"]


@pytest.mark.parametrize("page", BETA_PAGES)
@pytest.mark.parametrize("user", ["bob", "carol"])
def test_permissions_still_open_the_pages_of_the_beta_programme(upgraded: Upgraded, user: str, page: str) -> None:
    """By a role, and by a group of other name with a permission of the user's own."""
    answer = upgraded.page(f"/admin/monitoring/{page}", user)
    assert answer.status_code == 200
    assert page.partition("/")[0] in answer.url


@pytest.mark.parametrize("user", ["bob", "carol"])
def test_permissions_still_close_other_pages(upgraded: Upgraded, user: str) -> None:
    assert upgraded.page("/admin/auth/user/", user).status_code == 403


def test_history_of_a_programme_is_shown(upgraded: Upgraded) -> None:
    page = upgraded.page("/admin/monitoring/betaprogramme/1/history/", "alice")
    assert page.status_code == 200
    assert "alice" in page.text
    assert "Allowed origins" in page.text


# --- Work ------------------------------------------------------------------------------------------------------------


def test_functions_of_schedules_are_there(upgraded: Upgraded) -> None:
    functions = {row["func"] for row in upgraded.after["django_q_schedule"]}
    assert functions
    for function in functions:
        assert callable(import_string(function)), function


def test_queued_tasks_are_run(upgraded: Upgraded) -> None:
    queued = upgraded.secrets["queued"]

    def ended() -> dict[str, str] | None:
        # A round of checks takes a minute, so that one only has to begin.
        over = (
            "SELECT task_id, error FROM portal_taskattempt WHERE finished_at IS NOT NULL OR name = 'monitoring.round'"
        )
        found = {task: error for task, error in upgraded.portal.sql(over) if task in queued}
        return found if len(found) == len(queued) else None

    found = wait_for("all tasks ended", ended, PATIENCE) or {}
    errors = {queued[task]: error for task, error in found.items()}
    assert errors == dict.fromkeys(queued.values(), "")


def test_queued_erasure_has_erased(upgraded: Upgraded) -> None:
    erased = "SELECT 1 FROM agents_agent WHERE machine_id = 'PC-01' AND user_email LIKE 'erased-%'"
    wait_for("the user's address is erased", lambda: upgraded.portal.sql(erased), PATIENCE)


def test_waiting_messages_are_sent_by_every_channel(upgraded: Upgraded) -> None:
    waiting = "SELECT channel FROM portal_outboxmessage WHERE status != 'sent' AND dedupe_key LIKE 'upgrade:%'"
    wait_for("no message waits", lambda: not upgraded.portal.sql(waiting), PATIENCE)
    assert any("telegram, waiting" in text for text in upgraded.telegram.texts)
    mails = " ".join(path.read_text() for path in upgraded.mails.iterdir())
    assert {"To: ops@example.org", "To: guardian@example.org"} <= set(re.findall("To: .*", mails))
    _, headers, body = next(each for each in upgraded.hook.requests if "channel:1, waiting" in each[2].decode())
    moment, signature = re.fullmatch("t=(.*),v1=(.*)", headers["X-Vigie-Signature"]).groups()  # type: ignore[union-attr]
    key = upgraded.secrets["signing_key"].encode()
    assert signature == hmac.new(key, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert json.loads(body)["severity"] == "critical"


# --- Clients ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def spool(upgraded: Upgraded, tmp_path: Path) -> Path:
    """The state directory of a client, as it was left."""
    for name, text in upgraded.secrets["spool"].items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_spools_are_delivered(upgraded: Upgraded, spool: Path) -> None:
    token = upgraded.secrets["tokens"]["client"]
    runs = UsageTelemetryClient(upgraded.url, token)
    assert flush_spool(spool / "usage.jsonl", runs, force=True) == len(upgraded.secrets["spooled_runs"])
    assert FeedbackClient(upgraded.url, token, spool_path=spool / "feedback.jsonl").flush(force=True) == 1
    tracker = ActivityTracker(upgraded.url, token, "grace@example.org", spool_path=spool / "activity.jsonl")
    assert tracker.flush(force=True) == 1
    [[count]] = upgraded.portal.sql("SELECT count(*) FROM monitoring_betafeedback WHERE participant LIKE 'grace@%'")
    assert count == 1
